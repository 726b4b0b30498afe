package maps

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
)

// VLAN is where the packets of a VLAN device leave.
type VLAN struct {
	// Parent is the index of the interface below.
	Parent uint32 `json:"parent"`
	// ID is the VLAN's, 0 to 4094.
	ID uint16 `json:"id"`
	// Protocol is the tag's EtherType: "802.1q" or "802.1ad".
	Protocol VLANProtocol `json:"protocol"`
}

// VLANProtocol is the EtherType of a VLAN tag.
type VLANProtocol uint16

func (p VLANProtocol) String() string {
	switch p {
	case unix.ETH_P_8021Q:
		return "802.1q"
	case unix.ETH_P_8021AD:
		return "802.1ad"
	}
	return fmt.Sprintf("%#04x", uint16(p))
}

// MarshalText implements [encoding.TextMarshaler].
func (p VLANProtocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// VLANs returns the VLAN devices that the data plane knows, by index. They are
// the host's, not of [Contents]: whoever watches the host's interfaces sets them.
func (s *Set) VLANs() (map[uint32]VLAN, error) {
	out := map[uint32]VLAN{}
	err := each(s.maps[vlansName], vlansName, func(k uint32, v bpf.Vlan) {
		out[k] = VLAN{Parent: v.Parent, ID: v.Id, Protocol: VLANProtocol(swap16(v.Protocol))}
	})
	return out, err
}

// SetVLANs makes the data plane know these VLAN devices and no others. It
// returns how many entries it wrote or removed. If there are more than the map
// has room for, 4096, it returns an error after it wrote what fits.
func (s *Set) SetVLANs(want map[uint32]VLAN) (changed int, err error) {
	have, err := s.VLANs()
	if err != nil {
		return 0, err
	}
	m := s.maps[vlansName]
	changes := diff(have, want, cmp.Compare[uint32], equal[VLAN])
	for _, put := range []bool{false, true} { // removals make room
		err := forEach(changes, put, func(i uint32, v *VLAN) error {
			changed++
			if v == nil {
				if err := m.Delete(i); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
					return fmt.Errorf("remove VLAN device %d: %w", i, err)
				}
				return nil
			}
			err := m.Put(i, bpf.Vlan{Parent: v.Parent, Id: v.ID, Protocol: swap16(uint16(v.Protocol))})
			if errors.Is(err, errFull) {
				return fmt.Errorf("more VLAN devices than the %d the data plane has room for", m.MaxEntries())
			}
			if err != nil {
				return fmt.Errorf("write VLAN device %d: %w", i, err)
			}
			return nil
		})
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

func (s *Set) dumpVLANs() ([]DumpEntry, error) {
	all, err := s.VLANs()
	return sortedNumbers(all, func(v VLAN) any { return v }), err
}
