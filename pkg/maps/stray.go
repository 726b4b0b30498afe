package maps

import (
	"fmt"

	"github.com/xlb-io/xlb/bpf"
)

// Slots is a set of a table's slots. The zero value is empty.
type Slots []uint64

// NewSlots returns an empty set for a table of size slots.
func NewSlots(size int) Slots { return make(Slots, (size+63)/64) }

// Add adds a slot, which must be below the size.
func (s Slots) Add(slot uint32) { s[slot/64] |= 1 << (slot % 64) }

// Has says whether a slot is in the set.
func (s Slots) Has(slot uint32) bool { return int(slot/64) < len(s) && s[slot/64]&(1<<(slot%64)) != 0 }

// What the flow table's clock and the daemon's may differ by, generously: a
// flow is called dead only this long after the data plane does.
const strayGrace = 1024

// Strays returns, of the given tables by service number, the slots in which a
// live flow is recorded with another backend than the present one.
//
// A record that is being written meanwhile may be missed. A new one is not a
// stray in a slot whose previous backend is the present one, as only those are
// asked for; see the transition in package control.
func (s *Set) Strays(tables map[uint32]Table) (map[uint32]Slots, error) {
	if _, err := s.flowMemory(); err != nil {
		return nil, err
	}
	out := make(map[uint32]Slots, len(tables))
	services := make(map[uint32]bpf.Service, len(tables))
	for id, t := range tables {
		var service bpf.Service
		if err := s.maps[servicesName].Lookup(id, &service); err != nil {
			return nil, fmt.Errorf("read map %s, entry %d: %w", servicesName, id, err)
		}
		services[id] = service
		out[id] = NewSlots(len(t.Present))
	}
	now := now()
	s.eachRecord(func(f bpf.Flow) bool {
		t, asked := tables[f.Service]
		if !asked {
			return true
		}
		service := services[f.Service]
		idle, timeout, _ := age(f, service, now)
		if idle > timeout+strayGrace {
			return true
		}
		if slot := slotOf(&f, &service, len(t.Present)); t.Present[slot] != f.Backend {
			out[f.Service].Add(slot)
		}
		return true
	})
	return out, nil
}
