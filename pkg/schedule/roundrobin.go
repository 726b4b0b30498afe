package schedule

// RoundRobin returns a table of size slots in the order of the entries' turns:
// whoever takes slot after slot serves each entry by its weight, and as evenly as
// can be, as do the shares of any part of the table. Its size, what it needs and
// how it fails are those of [Maglev].
func RoundRobin(entries []Entry, size int) ([]uint32, error) {
	live, err := fitting("round-robin", entries, size)
	if err != nil {
		return nil, err
	}
	table := make([]uint32, size)
	if len(live) == 0 {
		return table, nil
	}
	weights := make([]uint32, len(live))
	for i, e := range live {
		weights[i] = e.Weight
	}
	// From the middle of their time: else all would begin at once, and a heavy entry
	// have to wait for each light one.
	for slot, t := range turns(weights, quotas(weights, size), 1) {
		table[slot] = live[t.entry].ID
	}
	return table, nil
}
