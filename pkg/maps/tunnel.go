package maps

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"

	"github.com/xlb-io/xlb/bpf"
)

// Tunnel is the outer header of `ipip` and `gue` in one family.
type Tunnel struct {
	// Source is the outer source address.
	Source netip.Addr `json:"source"`
	// EntropyBits is how many of its last bits the flow's hash fills, 0 to 32.
	// They are 0 in Source.
	EntropyBits uint8 `json:"entropy_bits"`
	// GUEPort is the destination port of `gue`.
	GUEPort uint16 `json:"gue_port"`
}

// TunnelFrom returns the outer header whose source is prefix: of a prefix
// shorter than an address the flow's hash fills the rest, at most 32 bits.
func TunnelFrom(prefix netip.Prefix, guePort uint16) Tunnel {
	prefix = prefix.Masked()
	return Tunnel{
		Source: prefix.Addr(), GUEPort: guePort,
		EntropyBits: uint8(min(prefix.Addr().BitLen()-prefix.Bits(), 32)),
	}
}

func (t Tunnel) String() string {
	if t.EntropyBits == 0 {
		return t.Source.String()
	}
	return fmt.Sprintf("%s/%d", t.Source, t.Source.BitLen()-int(t.EntropyBits))
}

// check returns what the kernel must not be given at index i.
func (t Tunnel) check(i uint32) error {
	switch {
	case !t.Source.IsValid() || t.Source.IsUnspecified() || i > 1 || t.Source.Is4() != (i == 0):
		return fmt.Errorf("source %v does not belong here (0 is IPv4, 1 is IPv6)", t.Source)
	case t.EntropyBits > 32:
		return fmt.Errorf("%d bits of entropy, of 32", t.EntropyBits)
	case netip.PrefixFrom(t.Source, t.Source.BitLen()-int(t.EntropyBits)).Masked().Addr() != t.Source:
		return fmt.Errorf("the last %d bits of source %s are not 0", t.EntropyBits, t.Source)
	case t.GUEPort == 0:
		return fmt.Errorf("gue_port is 0")
	}
	return nil
}

func encodeTunnel(t Tunnel) bpf.Tunnel {
	mask := uint32(uint64(1)<<t.EntropyBits - 1)
	return bpf.Tunnel{
		Source: encodeAddr(t.Source), Entropy: binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, mask)),
		GuePort: swap16(t.GUEPort), Usable: 1,
	}
}

// decodeTunnel returns false for a family that has no source.
func decodeTunnel(i uint32, t bpf.Tunnel) (Tunnel, bool) {
	return Tunnel{
		Source: decodeAddr(t.Source, i == 1), EntropyBits: uint8(bits.OnesCount32(t.Entropy)), GUEPort: swap16(t.GuePort),
	}, t.Usable != 0
}

func (s *Set) readTunnels(c *Contents) error {
	return eachArray(s.maps[tunnelsName], tunnelsName, func(i uint32, v bpf.Tunnel) {
		if t, ok := decodeTunnel(i, v); ok {
			c.Tunnels[i] = t
		}
	})
}

func (s *Set) putTunnel(i uint32, t *Tunnel) error {
	var value bpf.Tunnel
	if t != nil {
		if err := t.check(i); err != nil {
			return fmt.Errorf("tunnel %d: %w", i, err)
		}
		value = encodeTunnel(*t)
	}
	if err := s.maps[tunnelsName].Put(i, value); err != nil {
		return fmt.Errorf("write map %s, entry %d: %w", tunnelsName, i, err)
	}
	return nil
}

func (s *Set) dumpTunnels() ([]DumpEntry, error) {
	c := Contents{}.Clone()
	err := s.readTunnels(&c)
	return sortedNumbers(c.Tunnels, func(t Tunnel) any { return t }), err
}
