package policy

import (
	"sync"
	"sync/atomic"
	"time"
)

// A hook that fails ejectAfter times in a row is not asked for a time that doubles
// from firstBackoff to lastBackoff, and begins anew when it worked for lastBackoff.
const (
	ejectAfter   = 5
	firstBackoff = time.Second
	lastBackoff  = time.Minute
)

// breaker keeps a hook that fails from being asked. Times are those of a monotonic
// clock. While the hook works, allow and succeed cost a load each.
type breaker struct {
	row atomic.Int32
	// until is the end of the ejection; 0: in service.
	until atomic.Int64

	mu        sync.Mutex
	backoff   time.Duration
	back      time.Duration // when it was last found to work again
	ejections atomic.Uint64
}

// allow says whether the hook may be asked. After an ejection one call, the trial,
// is let through; others wait for how it ends.
func (b *breaker) allow(clock func() time.Duration) (ok, trial bool) {
	until := b.until.Load()
	if until == 0 {
		return true, false
	}
	now := clock()
	if int64(now) < until {
		return false, false
	}
	// If the trial never ends, the next one is in a while.
	trial = b.until.CompareAndSwap(until, int64(now+lastBackoff))
	return trial, trial
}

// succeed takes note of a call that worked, and says whether it ended an ejection.
func (b *breaker) succeed(now func() time.Duration, trial bool) bool {
	if !trial {
		if b.row.Load() != 0 && b.until.Load() == 0 {
			b.row.Store(0)
		}
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.row.Store(0)
	b.back = now()
	b.until.Store(0)
	return true
}

// fail takes note of a call that failed, and returns for how long the hook is
// ejected now; 0 if it is not, or was already.
func (b *breaker) fail(now time.Duration, trial bool) time.Duration {
	if b.row.Add(1) < ejectAfter && !trial {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !trial && b.until.Load() != 0 {
		return 0
	}
	if b.backoff == 0 || !trial && now-b.back > lastBackoff {
		b.backoff = firstBackoff
	} else {
		b.backoff = min(2*b.backoff, lastBackoff)
	}
	b.until.Store(int64(now + b.backoff))
	b.ejections.Add(1)
	return b.backoff
}

// forget undoes allow for a trial that was broken off by somebody else.
func (b *breaker) forget(now time.Duration, trial bool) {
	if trial {
		b.until.Store(int64(now) + 1)
	}
}
