package policy

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets, four to each power of two: a quantile is
// at most a quarter too high.
type histogram struct {
	buckets [4 * 44]atomic.Uint64
	most    atomic.Int64
}

func bucket(d time.Duration) int {
	v := uint64(max(d, 4))
	top := bits.Len64(v) - 1
	return min(4*(top-2)+int(v>>(top-2)&3), len(histogram{}.buckets)-1)
}

// upper is the longest duration of bucket i.
func upper(i int) time.Duration {
	top := i/4 + 2
	return time.Duration(1<<top + (i%4+1)<<(top-2) - 1)
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucket(d)].Add(1)
	for {
		most := h.most.Load()
		if int64(d) <= most || h.most.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// quantile returns the duration that the part q of all does not exceed; 0 if there
// are none.
func (h *histogram) quantile(q float64) time.Duration {
	var counts [len(histogram{}.buckets)]uint64
	total := uint64(0)
	for i := range h.buckets {
		counts[i] = h.buckets[i].Load()
		total += counts[i]
	}
	rank := uint64(q*float64(total)) + 1
	seen := uint64(0)
	for i, n := range counts {
		if seen += n; n > 0 && (seen >= rank || seen == total) {
			return min(upper(i), time.Duration(h.most.Load()))
		}
	}
	return 0
}
