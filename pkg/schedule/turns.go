package schedule

import (
	"cmp"
	"slices"
)

// turn is the right of an entry to pick its next slot.
type turn struct {
	time  uint64 // in units of 2^-32
	entry int32
}

// turns returns who picks a slot after whom, quotas[i] turns for entry i.
//
// An entry of weight w has its turn number k = 0, 1, … at the time (k + phase)/w, of
// which phase is a part of 2^32, and 0 where phases is nil; at equal
// times the order of the entries counts. So turns are spread evenly, and the
// order of any two entries depends on their own weights alone: a change of one
// weight leaves the order among the others as it was. Were the turns a plain
// round robin instead, heavy entries would pick last from what light ones left,
// and every change would shuffle their slots.
func turns(weights []uint32, quotas []int, phases []uint32) []turn {
	n, latest := 0, uint64(0)
	for i, q := range quotas {
		n += q
		latest = max(latest, timeOf(q-1, weights[i], phaseOf(phases, i)))
	}
	// The times are almost uniform, so a bucket sort with as many buckets as
	// turns leaves little to do within a bucket.
	width := latest/uint64(n) + 1
	at := make([]int32, latest/width+2) // where the next turn of each bucket goes
	for i, q := range quotas {
		for k := range q {
			at[timeOf(k, weights[i], phaseOf(phases, i))/width+1]++
		}
	}
	for b := 1; b < len(at); b++ {
		at[b] += at[b-1]
	}
	sorted := make([]turn, n)
	for i, q := range quotas {
		for k := range q {
			t := timeOf(k, weights[i], phaseOf(phases, i))
			sorted[at[t/width]] = turn{t, int32(i)}
			at[t/width]++
		}
	}
	// By now each bucket's place is its end, the start of the one after it.
	start := int32(0)
	for _, end := range at[:len(at)-1] {
		slices.SortStableFunc(sorted[start:end], func(a, b turn) int { return cmp.Compare(a.time, b.time) })
		start = end
	}
	return sorted
}

// timeOf fits 64 bits because a quota is below 2^31.
func timeOf(k int, weight, phase uint32) uint64 {
	return (uint64(k)<<32 + uint64(phase)) / uint64(weight)
}

func phaseOf(phases []uint32, i int) uint32 {
	if phases == nil {
		return 0
	}
	return phases[i]
}
