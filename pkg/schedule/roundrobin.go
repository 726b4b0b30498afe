package schedule

// RoundRobin returns a table of size slots in the order of the entries' turns:
// whoever takes slot after slot serves each entry by its weight, and evenly: so any
// part of the table has about the same shares. Its size, what it needs and how it
// fails are those of [Maglev].
func RoundRobin(entries []Entry, size int) ([]uint32, error) {
	live, err := fitting("round-robin", entries, size)
	if err != nil {
		return nil, err
	}
	table := make([]uint32, size)
	if len(live) == 0 {
		return table, nil
	}
	// Turns begin apart, at multiples of the golden ratio: if they began at once, all
	// light entries would come in a row, and the heavy ones between.
	const ratio = golden >> 32
	weights, phases := make([]uint32, len(live)), make([]uint32, len(live))
	for i, e := range live {
		weights[i], phases[i] = e.Weight, uint32(i+1)*ratio
	}
	for slot, t := range turns(weights, quotas(weights, size), phases) {
		table[slot] = live[t.entry].ID
	}
	return table, nil
}
