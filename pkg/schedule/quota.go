package schedule

import (
	"cmp"
	"slices"
)

// quotas divides size slots among the weights, all of them positive and no
// more than size.
//
// The division is Hamilton's (largest remainder; the first of equal
// remainders wins), so a quota differs from the exact share, size·weight/total,
// by less than one slot. A weight whose share rounds to no slot gets one
// nevertheless; what these take is missing at the others in proportion to
// their weights.
func quotas(weights []uint32, size int) []int {
	q := make([]int, len(weights))
	open := make([]int, len(weights)) // those not lifted to one slot
	for i := range open {
		open[i] = i
	}
	for {
		hamilton(q, weights, open, size-(len(weights)-len(open)))
		rest := open[:0]
		for _, i := range open {
			if q[i] == 0 {
				q[i] = 1
			} else {
				rest = append(rest, i)
			}
		}
		if len(rest) == len(open) {
			return q
		}
		if open = rest; len(open) == 0 {
			return q
		}
	}
}

// hamilton sets q[i] for every i of members so that they add up to slots.
// The products fit: a size is below 2^31 and a weight below 2^32.
func hamilton(q []int, weights []uint32, members []int, slots int) {
	var total uint64
	for _, i := range members {
		total += uint64(weights[i])
	}
	left := slots
	remainders := make([]uint64, len(weights))
	for _, i := range members {
		exact := uint64(slots) * uint64(weights[i])
		q[i] = int(exact / total)
		remainders[i] = exact % total
		left -= q[i]
	}
	order := slices.Clone(members)
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(remainders[b], remainders[a]), cmp.Compare(a, b))
	})
	for _, i := range order[:left] {
		q[i]++
	}
}
