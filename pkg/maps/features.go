package maps

import (
	"fmt"

	"github.com/xlb-io/xlb/bpf"
)

// Features are what some service needs of every packet. What is off costs a
// packet that is not ours one look-up less.
type Features struct {
	// DNAT: packets to nobody may be replies of [VIP.DNATBackend].
	DNAT bool `json:"dnat"`
}

func (s *Set) readFeatures(c *Contents) error {
	var bits uint32
	if err := s.maps[featuresName].Lookup(uint32(0), &bits); err != nil {
		return fmt.Errorf("read map %s: %w", featuresName, err)
	}
	if f := (Features{DNAT: bits&bpf.FeatureDNAT != 0}); f != (Features{}) {
		c.Features[0] = f
	}
	return nil
}

func (s *Set) putFeatures(i uint32, f *Features) error {
	var bits uint32
	if f != nil && f.DNAT {
		bits |= bpf.FeatureDNAT
	}
	if err := s.maps[featuresName].Put(i, bits); err != nil {
		return fmt.Errorf("write map %s, entry %d: %w", featuresName, i, err)
	}
	return nil
}

func (s *Set) dumpFeatures() ([]DumpEntry, error) {
	c := Contents{}.Clone()
	err := s.readFeatures(&c)
	return sortedNumbers(c.Features, func(f Features) any { return f }), err
}
