package schedule

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTurnsOrder(t *testing.T) {
	// Entry 1 weighs twice as much as the others: it picks twice while they
	// pick once, and all pick once before anyone picks again.
	var order []int32
	for _, turn := range turns([]uint32{100, 200, 100}, []int{2, 4, 2}, nil) {
		order = append(order, turn.entry)
	}
	if want := []int32{0, 1, 2, 1, 0, 1, 2, 1}; !slices.Equal(order, want) {
		t.Errorf("order is %v, want %v", order, want)
	}
}

func TestTurnsAreSortedAndComplete(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for round := range 300 {
		weights := make([]uint32, 1+rng.IntN(60))
		left := make([]int, len(weights))
		for i := range weights {
			weights[i] = max(1, rng.Uint32N(math.MaxUint32)>>rng.IntN(32))
			left[i] = 1 + rng.IntN(40)
		}
		all := turns(weights, left, nil)
		for i, turn := range all {
			if i > 0 && (all[i-1].time > turn.time || all[i-1].time == turn.time && all[i-1].entry > turn.entry) {
				t.Fatalf("round %d: turn %d (%v) comes after %v", round, i, turn, all[i-1])
			}
			left[turn.entry]--
		}
		if slices.ContainsFunc(left, func(n int) bool { return n != 0 }) {
			t.Fatalf("round %d: turns missing or too many by entry: %v", round, left)
		}
	}
}
