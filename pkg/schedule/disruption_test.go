package schedule

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestMaglevDisruption bounds how many slots move between two backends that
// both are in the table before and after a change; each such slot breaks new
// packets of flows that no flow table knows. The slots that the changed backend
// itself wins or loses have to move and are not counted.
func TestMaglevDisruption(t *testing.T) {
	const size = 65537
	rng := rand.New(rand.NewPCG(7, 8))
	random := func(int) uint32 { return 1 + rng.Uint32N(100) }
	const newcomer = 1 << 20
	changes := []struct {
		name  string
		apply func(entries []Entry, i int) []Entry
	}{
		{"removed", func(e []Entry, i int) []Entry { return slices.Delete(e, i, i+1) }},
		{"added", func(e []Entry, i int) []Entry {
			return append(e, Entry{Key: "10.9.9.9:8080", ID: newcomer, Weight: e[i].Weight})
		}},
		{"doubled", func(e []Entry, i int) []Entry { e[i].Weight *= 2; return e }},
		{"by one", func(e []Entry, i int) []Entry { e[i].Weight++; return e }},
	}
	for _, c := range []struct {
		name   string
		n      int
		weight func(int) uint32
		most   float64 // percent of all slots
	}{
		{"5 equal", 5, equal, 0.3},
		{"20 equal", 20, equal, 0.6},
		{"100 equal", 100, equal, 1},
		{"1000 equal", 1000, equal, 1},
		{"5 random", 5, random, 0.3},
		{"20 random", 20, random, 0.8},
		{"100 random", 100, random, 1},
		{"one heavy", 20, func(i int) uint32 { return uint32(10 + 990*((i+1)/20)) }, 1.5},
	} {
		for _, change := range changes {
			t.Run(c.name+" "+change.name, func(t *testing.T) {
				worst := 0.0
				for range 2 {
					entries := backends(c.n, c.weight)
					i := rng.IntN(c.n)
					before := build(t, entries, size)
					after := build(t, change.apply(slices.Clone(entries), i), size)
					own := uint32(i + 1)
					if change.name == "added" {
						own = newcomer
					}
					moved := 0
					for slot := range before {
						if before[slot] != after[slot] && before[slot] != own && after[slot] != own {
							moved++
						}
					}
					worst = max(worst, 100*float64(moved)/size)
				}
				t.Logf("%.2f %% of the slots moved between unchanged backends", worst)
				if worst > c.most {
					t.Errorf("%.2f %% of the slots moved between unchanged backends, want at most %.1f %%", worst, c.most)
				}
			})
		}
	}
}
