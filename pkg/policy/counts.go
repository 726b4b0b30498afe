package policy

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// maxVerdicts is how many different (mode, action, reason) are told apart; what
// comes later counts with reason 65535 of its action.
const maxVerdicts = 512

// counts are what a policy did.
type counts struct {
	flow, weigh, probe hookCounts
	empty, restarts    atomic.Uint64
	fuelMost           atomic.Uint64

	// verdicts is replaced, never changed, so that counting takes no lock.
	verdicts atomic.Pointer[map[verdictKey]*atomic.Uint64]
	mu       sync.Mutex
}

type verdictKey struct {
	mode   model.PolicyMode
	action Action
	reason uint16
}

type hookCounts struct {
	breaker
	calls, errors, skipped atomic.Uint64
	times                  histogram
	last                   atomic.Pointer[failure]
}

type failure struct {
	text string
	at   time.Time
}

func (c *counts) hook(h Hook) *hookCounts {
	switch h {
	case HookFlow:
		return &c.flow
	case HookWeigh:
		return &c.weigh
	}
	return &c.probe
}

func (h *hookCounts) fail(err error, at time.Time) {
	h.errors.Add(1)
	h.last.Store(&failure{text: err.Error(), at: at})
}

func (c *counts) most(fuel uint64) {
	for {
		most := c.fuelMost.Load()
		if fuel <= most || c.fuelMost.CompareAndSwap(most, fuel) {
			return
		}
	}
}

func (c *counts) verdict(mode model.PolicyMode, v Verdict) {
	key := verdictKey{mode, v.Action, v.Reason}
	if m := c.verdicts.Load(); m != nil {
		if n, ok := (*m)[key]; ok {
			n.Add(1)
			return
		}
	}
	c.newVerdict(key).Add(1)
}

// newVerdict makes a counter, unless another goroutine did or there are too many.
func (c *counts) newVerdict(key verdictKey) *atomic.Uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[verdictKey]*atomic.Uint64{}
	if m := c.verdicts.Load(); m != nil {
		all = maps.Clone(*m)
	}
	if _, ok := all[key]; !ok && len(all) >= maxVerdicts {
		key.reason = 0xffff
	}
	if n, ok := all[key]; ok {
		return n
	}
	n := new(atomic.Uint64)
	all[key] = n
	c.verdicts.Store(&all)
	return n
}

// add adds what another policy counted.
func (c *counts) add(old *counts) {
	for _, h := range hooks {
		to, from := c.hook(h), old.hook(h)
		to.calls.Add(from.calls.Load())
		to.errors.Add(from.errors.Load())
		to.skipped.Add(from.skipped.Load())
		to.ejections.Add(from.ejections.Load())
		if f := from.last.Load(); f != nil {
			to.last.CompareAndSwap(nil, f)
		}
	}
	c.empty.Add(old.empty.Load())
	c.restarts.Add(old.restarts.Load())
	if m := old.verdicts.Load(); m != nil {
		for key, n := range *m {
			c.newVerdict(key).Add(n.Load())
		}
	}
}
