package probe

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Options of a [Runner].
type Options struct {
	// Probing says how many checks run at the same time. A check holds its place
	// for its timeout at most, so at worst a pool does workers/timeout checks a
	// second; more than that start late, the most overdue first, and the log
	// says so.
	Probing model.Probing
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
	// Changed tells that the state changed, and RoleChanged that the role did;
	// otherwise only the reason.
	Changed, RoleChanged bool
}

// Runner probes targets. Its methods may be called at the same time.
type Runner struct {
	opts Options
	ctx  context.Context
	stop context.CancelFunc
	wake chan struct{} // holds one: something changed that the loop must see
	done chan outcome  // from checks to the loop
	end  chan struct{} // closed when the loop and all checks are over

	mu      sync.Mutex
	limit   int // checks at the same time
	entries map[Key]*entry
	jobs    map[way][]*job // those of one way differ in their probes
	queue   queue          // jobs with a check that is not running
	news    []Result       // for OnChange, in order
	stats   Stats
	onStart func(late time.Duration) // of the benchmark; may be nil
}

// outcome is how a check of a job ended.
type outcome struct {
	job        *job
	role       string
	err        error
	start, end time.Time
}

// NewRunner returns a runner without targets. The caller calls [Runner.Close].
func NewRunner(opts Options) *Runner {
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if opts.OnChange == nil {
		opts.OnChange = func(Result) {}
	}
	r := &Runner{
		opts:    opts,
		limit:   opts.Probing.Limit(),
		wake:    make(chan struct{}, 1),
		done:    make(chan outcome),
		end:     make(chan struct{}),
		entries: make(map[Key]*entry),
		jobs:    make(map[way][]*job),
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	go r.loop()
	return r
}

// SetProbing changes how many checks run at the same time. Those that run already
// go on.
func (r *Runner) SetProbing(p model.Probing) {
	r.mu.Lock()
	r.limit = p.Limit()
	r.mu.Unlock()
	r.kick()
}

// Apply makes targets the set that is probed. Targets that are probed at the same
// place, by the same way and with an equal probe share one check, and one state.
//
// Those that are there already keep their state and schedule. New ones are probed
// at once, spread over some time (see startSpread), and are unknown until then;
// those of type none are healthy. One with another probe than before is probed at
// once too and stays in its state until then: its first result decides alone. One
// with another way goes on counting as if nothing had changed. Checks of targets
// that are gone are cancelled. Of targets with the same key the last counts. After
// Close it does nothing.
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
			r.leave(e)
			delete(r.entries, key)
		}
	}
	var fresh []*job
	for key, t := range wanted {
		old := r.entries[key]
		sameProbe := old != nil && reflect.DeepEqual(old.target.Probe, t.Probe)
		if sameProbe && old.target.Via == t.Via {
			continue
		}
		e := &entry{target: t}
		e.health.Since = now
		if old != nil {
			e.health = old.health
		}
		r.entries[key] = e
		if unprobed(t.Probe) {
			r.assume(e, now)
		} else if j, isNew := r.join(e, old, sameProbe); isNew {
			fresh = append(fresh, j)
		}
		if old != nil {
			r.leave(old)
		}
	}
	r.spread(fresh, now)
	r.kick()
}

// assume takes a target as healthy that is not probed.
func (r *Runner) assume(e *entry, now time.Time) {
	to := model.BackendHealth{State: model.Healthy, Since: now}
	if e.health.State == model.Healthy {
		to.Since = e.health.Since
	}
	r.tell(e, to, 0)
}

// join gives e the job that does its check, a new one if nobody does it yet. It
// counts on from the state of old, which may be nil and, with the same probe, from
// its checks as well.
func (r *Runner) join(e, old *entry, sameProbe bool) (j *job, isNew bool) {
	w := wayOf(e.target)
	for _, j := range r.jobs[w] {
		if reflect.DeepEqual(j.probe, e.target.Probe) {
			e.job = j
			j.sharers[e.target.Key()] = e
			if j.decided {
				r.tell(e, j.status.BackendHealth, j.status.Latency)
			}
			return j, false
		}
	}
	j = &job{
		way: w, probe: e.target.Probe, place: -1, sharers: map[Key]*entry{e.target.Key(): e},
		check: newChecker(e.target, r.opts.Dial, r.opts.Policy),
	}
	j.status.BackendHealth = e.health
	if sameProbe && old.job != nil {
		j.status, j.decided, j.again = old.job.status, old.job.decided, old.job.again
		j.status.BackendHealth = e.health
	}
	e.job = j
	r.jobs[w] = append(r.jobs[w], j)
	return j, true
}

// leave takes e out of its job, which ends with the last.
func (r *Runner) leave(e *entry) {
	j := e.job
	if j == nil {
		return
	}
	if delete(j.sharers, e.target.Key()); len(j.sharers) > 0 {
		return
	}
	j.gone = true
	r.queue.remove(j)
	if j.cancel != nil {
		j.cancel()
	}
	if left := slices.DeleteFunc(r.jobs[j.way], func(one *job) bool { return one == j }); len(left) > 0 {
		r.jobs[j.way] = left
	} else {
		delete(r.jobs, j.way)
	}
}

// startSpread is the time over which the first checks of n targets begin: short
// where there are few, and else slow enough that they are no burst of more than
// 10,000 a second.
func startSpread(n int) time.Duration {
	return max(200*time.Millisecond, time.Duration(n)*100*time.Microsecond)
}

// spread queues new jobs evenly over a time, and none later than its interval.
func (r *Runner) spread(fresh []*job, now time.Time) {
	over := startSpread(len(fresh))
	rand.Shuffle(len(fresh), func(i, k int) { fresh[i], fresh[k] = fresh[k], fresh[i] })
	for i, j := range fresh {
		within := min(over, j.probe.Interval)
		share := (float64(i) + rand.Float64()) / float64(len(fresh))
		j.due = now.Add(time.Duration(share * float64(within)))
		r.queue.add(j)
	}
}

// tell notes what is known of a target and queues the news of it.
func (r *Runner) tell(e *entry, h model.BackendHealth, latency time.Duration) {
	before := e.health
	if h.State == before.State {
		h.Since = before.Since
	}
	if h == before {
		return
	}
	e.health = h
	r.news = append(r.news, Result{Target: e.target, Health: h, Latency: latency, Changed: h.State != before.State, RoleChanged: h.Role != before.Role})
}

// tellAll does so for all that share a job, in the order of their names.
func (r *Runner) tellAll(j *job, latency time.Duration) {
	if len(j.sharers) == 1 {
		for _, e := range j.sharers {
			r.tell(e, j.status.BackendHealth, latency)
		}
		return
	}
	all := make([]*entry, 0, len(j.sharers))
	for _, e := range j.sharers {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.target.Service, b.target.Service), a.target.Backend.Compare(b.target.Backend))
	})
	for _, e := range all {
		r.tell(e, j.status.BackendHealth, latency)
	}
}

// kick makes the loop look again.
func (r *Runner) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Snapshot returns what is known of every target.
func (r *Runner) Snapshot() map[Key]Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[Key]Status, len(r.entries))
	for key, e := range r.entries {
		all[key] = e.status()
	}
	return all
}

// Status returns what is known of one target; false if there is none such.
func (r *Runner) Status(key Key) (Status, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[key]
	if !ok {
		return Status{}, false
	}
	return e.status(), true
}

// Close cancels all checks and waits until they have closed their sockets.
// After it, OnChange is not called. Later calls do nothing more.
func (r *Runner) Close() {
	r.mu.Lock()
	r.stop()
	r.mu.Unlock()
	<-r.end
}
