package maps

import (
	"fmt"
	"slices"

	"github.com/xlb-io/xlb/bpf"
)

// Table is a service's lookup table. It is shared and never changed in place.
//
// A packet of an unmarked slot goes to the slot's present backend. In a marked
// slot the flow table is asked first, and of an unknown flow only a TCP SYN goes
// to the present backend: everything else may be older than the mark and goes to
// the previous one while that serves.
type Table struct {
	// Present is, by slot, a backend's number; 0 if there is none to offer.
	Present []uint32 `json:"present"`
	// Marked are the marked slots in ascending order.
	Marked []Mark `json:"marked,omitempty"`
}

// Mark is a marked slot.
type Mark struct {
	Slot uint32 `json:"slot"`
	// Previous is the number of the backend that flows older than the mark have
	// if nothing is recorded of them; 0 if there was none.
	Previous uint32 `json:"previous"`
}

// Equal says whether two tables do the same to every packet. It costs nothing
// if they are the same memory, as most are from one plan to the next.
func (t Table) Equal(u Table) bool {
	return same(t.Present, u.Present) && same(t.Marked, u.Marked)
}

func same[E comparable](a, b []E) bool {
	if len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] {
		return true
	}
	return slices.Equal(a, b)
}

// encode writes the table as the kernel holds it: every slot's present backend,
// with the mark, and then every slot's previous one.
func (t Table) encode(value []uint32) {
	n := len(t.Present)
	clear(value[copy(value, t.Present):])
	for _, m := range t.Marked {
		value[m.Slot] |= bpf.SlotMarked
		value[n+int(m.Slot)] = m.Previous
	}
}

// tableOf is the inverse of [Table.encode]. What is previous in a slot without a mark
// means nothing.
func tableOf(value []uint32) Table {
	n := len(value) / 2
	t := Table{Present: value[:n:n]}
	marked := 0
	for _, v := range t.Present {
		if v&bpf.SlotMarked != 0 {
			marked++
		}
	}
	if marked == 0 {
		return Table{Present: slices.Clone(t.Present)} // half of the memory
	}
	t.Present, t.Marked = make([]uint32, n), make([]Mark, 0, marked)
	for i, v := range value[:n] {
		t.Present[i] = v &^ bpf.SlotMarked
		if v&bpf.SlotMarked != 0 {
			t.Marked = append(t.Marked, Mark{Slot: uint32(i), Previous: value[n+i]})
		}
	}
	return t
}

// check returns what the kernel must not be given.
func (t Table) check(size int) error {
	if len(t.Present) != size {
		return fmt.Errorf("%d slots, the maps were made for %d", len(t.Present), size)
	}
	return t.checkMarks()
}

func (t Table) checkMarks() error {
	for i, m := range t.Marked {
		switch {
		case int(m.Slot) >= len(t.Present):
			return fmt.Errorf("slot %d is marked, of %d slots", m.Slot, len(t.Present))
		case i > 0 && m.Slot <= t.Marked[i-1].Slot:
			return fmt.Errorf("marked slot %d follows %d (want ascending order)", m.Slot, t.Marked[i-1].Slot)
		}
	}
	return nil
}

// resample returns a table of another size with the same shares.
func (t Table) resample(size int) Table {
	n := len(t.Present)
	if n == size || n == 0 {
		return t
	}
	previous := make(map[uint32]uint32, len(t.Marked))
	for _, m := range t.Marked {
		previous[m.Slot] = m.Previous
	}
	out := Table{Present: make([]uint32, size)}
	for i := range out.Present {
		from := i * n / size
		out.Present[i] = t.Present[from]
		if p, marked := previous[uint32(from)]; marked {
			out.Marked = append(out.Marked, Mark{Slot: uint32(i), Previous: p})
		}
	}
	return out
}

// backends returns every number that a table names, 0 included.
func (t Table) backends() []uint32 {
	all := slices.Clone(t.Present)
	for _, m := range t.Marked {
		all = append(all, m.Previous)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
