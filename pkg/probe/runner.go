package probe

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Options of a [Runner].
type Options struct {
	// Parallel is how many checks run at the same time; 0 means 128. A check
	// holds its place for its timeout at most, so at worst Parallel/timeout
	// checks are done per second; more than that start late, the most overdue
	// first, and the log says so.
	Parallel int
	// Log is told of changes and of checks that start late; nil means
	// [slog.Default].
	Log *slog.Logger
	// Dial opens the connections of checks, for example in another network
	// namespace; nil means a [net.Dialer], with mark and source of the target's
	// way.
	Dial DialFunc
	// Policy performs the checks of type policy; nil fails them.
	Policy PolicyFunc
	// OnChange is called when a target's state, reason or role changed, one call at
	// a time. No check starts or ends before it returns. It may call Apply and
	// Snapshot, but not Close. A call for a target that Apply just removed or
	// changed can still be under way when Apply returns.
	OnChange func(Result)
}

// Result is a change of a target's health.
type Result struct {
	Target Target
	Health model.BackendHealth
	// Latency is how long the check took; 0 without a check.
	Latency time.Duration
	// Changed tells that the state changed, and not only the reason.
	Changed bool
}

// Runner probes targets. Its methods may be called at the same time.
type Runner struct {
	opts Options
	ctx  context.Context
	stop context.CancelFunc
	wake chan struct{} // holds one: Apply changed something
	done chan outcome  // from checks to the loop
	end  chan struct{} // closed when the loop and all checks are over

	mu      sync.Mutex
	entries map[Key]*entry
	queue   queue    // entries with a check that is not running
	news    []Result // for OnChange, in order
}

// entry is a target with its state.
type entry struct {
	target  Target
	check   checker // nil if there is nothing to check
	status  Status
	decided bool // a check of this probe has set the state
	due     time.Time
	place   int                // in the queue
	cancel  context.CancelFunc // of the running check; nil while none runs
}

// outcome is how a check of entry ended.
type outcome struct {
	entry   *entry
	role    string
	err     error
	latency time.Duration
	at      time.Time
}

// NewRunner returns a runner without targets. The caller calls [Runner.Close].
func NewRunner(opts Options) *Runner {
	if opts.Parallel <= 0 {
		opts.Parallel = 128
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if opts.OnChange == nil {
		opts.OnChange = func(Result) {}
	}
	r := &Runner{
		opts:    opts,
		wake:    make(chan struct{}, 1),
		done:    make(chan outcome),
		end:     make(chan struct{}),
		entries: make(map[Key]*entry),
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	go r.loop()
	return r
}

// Apply makes targets the set that is probed. Those that are there already keep
// their state and schedule. New ones are probed at once, spread over 200 ms or
// the interval if that is shorter, and are unknown until then; those of type
// none are up. One with another probe than before is probed at once too and
// stays in its state until then: its first result decides alone. One with
// another way goes on counting as if nothing had changed. Checks of targets
// that are gone are cancelled. Of targets with the same key the last counts. After Close it does nothing.
func (r *Runner) Apply(targets []Target) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return
	}
	wanted := make(map[Key]Target, len(targets))
	for _, t := range targets {
		wanted[t.Key()] = t.normal()
	}
	for key, e := range r.entries {
		if _, ok := wanted[key]; !ok {
			r.remove(e)
		}
	}
	for key, t := range wanted {
		old := r.entries[key]
		sameProbe := old != nil && reflect.DeepEqual(old.target.Probe, t.Probe)
		if sameProbe && old.target.Via == t.Via {
			continue
		}
		e := &entry{target: t, place: -1, check: newChecker(t, r.opts.Dial, r.opts.Policy)}
		e.status.Since = now
		if old != nil {
			e.status.BackendHealth = old.status.BackendHealth
			if sameProbe {
				e.status, e.decided = old.status, old.decided
			}
			r.remove(old)
		}
		r.entries[key] = e
		if e.check != nil {
			e.due = now.Add(rand.N(min(t.Probe.Interval, 200*time.Millisecond)))
			r.queue.add(e)
			continue
		}
		before := e.status.BackendHealth
		if before.State != model.Healthy {
			e.status.BackendHealth = model.BackendHealth{State: model.Healthy, Since: now}
		}
		e.status.Reason = ""
		if e.status.BackendHealth != before {
			r.news = append(r.news, Result{Target: t, Health: e.status.BackendHealth, Changed: before.State != model.Healthy})
		}
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// remove forgets e and ends its check. The caller holds mu.
func (r *Runner) remove(e *entry) {
	delete(r.entries, e.target.Key())
	r.queue.remove(e)
	if e.cancel != nil {
		e.cancel()
	}
}

// Snapshot returns what is known of every target.
func (r *Runner) Snapshot() map[Key]Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[Key]Status, len(r.entries))
	for key, e := range r.entries {
		all[key] = e.status
	}
	return all
}

// Close cancels all checks and waits until they have closed their sockets.
// After it, OnChange is not called. Later calls do nothing more.
func (r *Runner) Close() {
	r.mu.Lock()
	r.stop()
	r.mu.Unlock()
	<-r.end
}
