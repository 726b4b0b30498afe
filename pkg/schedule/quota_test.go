package schedule

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestQuotas(t *testing.T) {
	const most = math.MaxUint32
	for _, c := range []struct {
		name    string
		weights []uint32
		size    int
		want    []int
	}{
		{"one takes all", []uint32{7}, 13, []int{13}},
		{"even", []uint32{1, 1}, 4, []int{2, 2}},
		{"first of equal remainders", []uint32{1, 1, 1}, 13, []int{5, 4, 4}},
		{"largest remainder", []uint32{47, 16, 37}, 10, []int{5, 1, 4}},
		{"small share lifted", []uint32{1, 1000}, 13, []int{1, 12}},
		{"others pay in proportion", []uint32{4000, 2000, 1, 1, 1}, 23, []int{13, 7, 1, 1, 1}},
		{"second lift after the first", []uint32{470, 160, 158, 120, 61, 31}, 10, []int{4, 2, 1, 1, 1, 1}},
		{"one each", []uint32{60000, 1, 5}, 3, []int{1, 1, 1}},
		{"largest weights", []uint32{most, most, most / 2}, 5, []int{2, 2, 1}},
		{"largest table", []uint32{most, most}, MaxSize, []int{1 << 30, 1<<30 - 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := quotas(c.weights, c.size); !slices.Equal(got, c.want) {
				t.Errorf("quotas(%v, %d) = %v, want %v", c.weights, c.size, got, c.want)
			}
		})
	}
}

// TestQuotasProperties draws weights of all magnitudes and checks what the
// documentation promises.
func TestQuotasProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := []int{2, 13, 251, 4093, 65537}
	lifts := 0
	for round := range 500 {
		size := sizes[round%len(sizes)]
		weights := make([]uint32, 1+rng.IntN(min(size, 300)))
		var total uint64
		for i := range weights {
			weights[i] = 1 + rng.Uint32N(1<<(1+rng.IntN(16)))
			total += uint64(weights[i])
		}
		q := quotas(weights, size)

		sum, lifted := 0, false
		for i := range q {
			sum += q[i]
			if q[i] < 1 {
				t.Fatalf("round %d: weight %d of %d got %d of %d slots", round, weights[i], total, q[i], size)
			}
			lifted = lifted || share(weights[i], total, size) < 1
		}
		if sum != size {
			t.Fatalf("round %d: %d slots given of %d", round, sum, size)
		}
		for i := range q {
			for j := range q {
				if weights[i] > weights[j] && q[i] < q[j] {
					t.Fatalf("round %d: weight %d got %d slots, but weight %d got %d", round, weights[i], q[i], weights[j], q[j])
				}
			}
			if lifted {
				continue
			}
			if off := math.Abs(float64(q[i]) - share(weights[i], total, size)); off >= 1 {
				t.Fatalf("round %d: weight %d of %d is off by %.3f slots", round, weights[i], total, off)
			}
		}
		if lifted {
			lifts++
		}
	}
	if lifts < 50 || lifts > 450 {
		t.Errorf("%d of 500 rounds had a share below one slot: the draw no longer covers both cases", lifts)
	}
}

func share(weight uint32, total uint64, size int) float64 {
	return float64(size) * float64(weight) / float64(total)
}
