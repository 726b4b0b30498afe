package schedule

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func turnsOf(t testing.TB, entries []Entry, size int) []uint32 {
	t.Helper()
	table, err := RoundRobin(entries, size)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// The heavy one is not served in a row, nor do the light ones come in a row.
func TestRoundRobinIsSmooth(t *testing.T) {
	for _, c := range []struct {
		weights []uint32
		want    []uint32
	}{
		{[]uint32{1, 1}, []uint32{2, 1, 2, 1, 2, 1, 1}},
		{[]uint32{1, 1, 1}, []uint32{2, 1, 3, 2, 1, 3, 1}},
		{[]uint32{5, 1, 1}, []uint32{1, 2, 1, 1, 1, 3, 1}},
		{[]uint32{3, 0, 4}, []uint32{3, 1, 3, 1, 3, 3, 1}},
	} {
		entries := backends(len(c.weights), func(i int) uint32 { return c.weights[i] })
		if got := turnsOf(t, entries, 7); !slices.Equal(got, c.want) {
			t.Errorf("weights %v take turns %v, want %v", c.weights, got, c.want)
		}
	}
}

// In any number of turns in a row every entry has its share, give or take two.
func TestRoundRobinSharesAnyPart(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for range 20 {
		var total float64
		entries := backends(2+rng.IntN(20), func(int) uint32 { return 1 + rng.Uint32N(50) })
		for _, e := range entries {
			total += float64(e.Weight)
		}
		const size = 4093
		table := turnsOf(t, entries, size)
		for range 50 {
			from := rng.IntN(size)
			n := rng.IntN(size - from)
			got := count(table[from : from+n])
			for _, e := range entries {
				want := float64(n) * float64(e.Weight) / total
				if math.Abs(float64(got[e.ID])-want) > 2 {
					t.Fatalf("weight %d of %v has %d of %d turns, want %.1f", e.Weight, total, got[e.ID], n, want)
				}
			}
		}
	}
}

func TestRoundRobinErrors(t *testing.T) {
	for _, c := range []struct {
		entries []Entry
		size    int
		want    string
	}{
		{nil, 12, "round-robin: table_size 12 is not a prime (nearest: 11 and 13)"},
		{backends(14, equal), 13, "round-robin: 14 backends do not fit into a table of 13 slots (raise table_size; a hundred slots per backend would be 1409)"},
		{[]Entry{{"a", 1, 1}, {"a", 3, 1}}, 13, "round-robin: backend a is there twice"},
	} {
		if _, err := RoundRobin(c.entries, c.size); fmt.Sprint(err) != c.want {
			t.Errorf("error is %q, want %q", err, c.want)
		}
	}
	if table := turnsOf(t, nil, 13); count(table)[0] != 13 {
		t.Errorf("nobody has turns %v", table)
	}
}
