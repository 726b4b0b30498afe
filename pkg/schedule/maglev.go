package schedule

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// MaxSize bounds the slots of a table, so that the arithmetic of the weights
// stays within 64 bits.
const MaxSize = math.MaxInt32

// Entry is a backend in a table.
type Entry struct {
	// Key places the backend. It is unique in a table and the same on every
	// load balancer of a fleet: the text of address and port.
	Key string
	// ID is what the backend's slots hold; never 0, which marks a slot
	// without a backend. It has no influence on placement.
	ID uint32
	// Weight is the relative share of slots; 0 gets none.
	Weight uint32
}

// Maglev returns a table of size slots, a prime up to [MaxSize], each holding
// the ID of an entry (Maglev, NSDI 2016, §3.4, with weights). Without a
// positive weight all slots are 0.
//
// The order of entries does not matter and they are left as they are. An
// entry's number of slots is within one of size·Weight/total. Entries whose
// share would round to no slot still get one, at the cost of the others.
//
// It fails if size is not a prime, if there are more entries with a positive
// weight than slots, or if a key is there twice or an ID is 0.
func Maglev(entries []Entry, size int) ([]uint32, error) {
	live, err := fitting("maglev", entries, size)
	if err != nil {
		return nil, err
	}
	table := make([]uint32, size)
	if len(live) > 0 {
		fill(table, live)
	}
	return table, nil
}

// fitting returns the entries with a positive weight, sorted, if they go into a
// table of that size.
func fitting(what string, entries []Entry, size int) ([]Entry, error) {
	if size > MaxSize || !IsPrime(size) {
		below, above := NearestPrimes(min(max(size, 0), MaxSize))
		if below == 0 {
			return nil, fmt.Errorf("%s: table_size %d is not a prime (try %d)", what, size, above)
		}
		if above > MaxSize {
			return nil, fmt.Errorf("%s: table_size %d is not a prime up to %d (try %d)", what, size, MaxSize, below)
		}
		return nil, fmt.Errorf("%s: table_size %d is not a prime (nearest: %d and %d)", what, size, below, above)
	}
	live, err := sorted(what, entries)
	if err != nil {
		return nil, err
	}
	if len(live) > size {
		_, above := NearestPrimes(100 * len(live))
		return nil, fmt.Errorf("%s: %d backends do not fit into a table of %d slots (raise table_size; a hundred slots per backend would be %d)",
			what, len(live), size, above)
	}
	return live, nil
}

// sorted returns the entries with a positive weight in the order of their keys.
func sorted(what string, entries []Entry) ([]Entry, error) {
	live := make([]Entry, 0, len(entries))
	for _, e := range entries {
		if e.Weight == 0 {
			continue
		}
		if e.ID == 0 {
			return nil, fmt.Errorf("%s: backend %s has id 0, which marks an empty slot", what, e.Key)
		}
		live = append(live, e)
	}
	slices.SortFunc(live, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	for i := 1; i < len(live); i++ {
		if live[i].Key == live[i-1].Key {
			return nil, fmt.Errorf("%s: backend %s is there twice", what, live[i].Key)
		}
	}
	return live, nil
}

// fill gives every slot of table to one of the entries, which are sorted and
// have positive weights.
func fill(table []uint32, entries []Entry) {
	weights := make([]uint32, len(entries))
	walks := make([]struct{ next, skip int }, len(entries))
	for i, e := range entries {
		weights[i] = e.Weight
		walks[i].next, walks[i].skip = permutation(e.Key, len(table))
	}
	taken := make([]uint64, (len(table)+63)/64) // fits the first-level cache, the table does not
	for _, t := range turns(weights, quotas(weights, len(table)), nil) {
		w := &walks[t.entry]
		slot := w.next
		for taken[slot/64]&(1<<(slot%64)) != 0 {
			if slot += w.skip; slot >= len(table) {
				slot -= len(table)
			}
		}
		taken[slot/64] |= 1 << (slot % 64)
		table[slot] = entries[t.entry].ID
		w.next = slot
	}
}
