package probe

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// lateEvery is the least time between two warnings about late checks.
const lateEvery = time.Minute

// loop starts checks when they are due, takes their outcomes and reports what
// changed, all in one goroutine.
func (r *Runner) loop() {
	defer close(r.end)
	running := 0
	var warned time.Time
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		r.mu.Lock()
		news := r.news
		r.news = nil
		now := time.Now()
		var late time.Duration
		for running < r.opts.Parallel && r.queue.Len() > 0 && !r.queue[0].due.After(now) {
			e := r.queue.first()
			late = max(late, now.Sub(e.due)-e.target.Probe.Interval)
			r.start(e, now)
			running++
		}
		var due <-chan time.Time // never, while all places are taken
		if running < r.opts.Parallel && r.queue.Len() > 0 {
			alarm.Reset(r.queue[0].due.Sub(now))
			due = alarm.C
		}
		r.mu.Unlock()

		if late > 0 && now.Sub(warned) >= lateEvery {
			warned = now
			r.opts.Log.Warn("probes start late: more are due than may run at the same time (shorten timeouts or lengthen intervals)",
				"late", late.Round(time.Millisecond), "parallel", r.opts.Parallel)
		}
		for _, n := range news {
			if r.ctx.Err() == nil {
				r.report(n)
			}
		}

		select {
		case <-r.ctx.Done():
			for ; running > 0; running-- {
				<-r.done
			}
			return
		case o := <-r.done:
			running--
			r.finish(o)
		case <-r.wake:
		case <-due:
		}
	}
}

// start runs the check of e. The caller holds mu.
func (r *Runner) start(e *entry, now time.Time) {
	interval := e.target.Probe.Interval
	e.due = now.Add(interval - interval/10 + rand.N(interval/5+1))
	ctx, cancel := context.WithTimeout(r.ctx, e.target.Probe.Timeout)
	e.cancel = cancel
	go func() {
		defer cancel()
		begin := time.Now()
		role, err := e.check.check(ctx)
		end := time.Now()
		r.done <- outcome{entry: e, role: role, err: err, latency: end.Sub(begin), at: end}
	}()
}

// finish counts an outcome and queues the next check.
func (r *Runner) finish(o outcome) {
	e := o.entry
	r.mu.Lock()
	defer r.mu.Unlock()
	e.cancel = nil
	if r.entries[e.target.Key()] != e || r.ctx.Err() != nil {
		return // removed or cancelled: the outcome says nothing about the backend
	}
	before := e.status.Role
	state, reason := e.status.observe(o.err, e.decided, e.target.Probe, o.at)
	if !errors.Is(o.err, errLocal) {
		e.decided = true
		e.status.Latency, e.status.Checked, e.status.Role = o.latency, o.at, o.role
		e.status.count(o)
	}
	if e.due.Before(o.at) {
		e.due = o.at // a check that outlasts its interval is not late
	}
	r.queue.add(e)
	if state || reason || e.status.Role != before {
		r.news = append(r.news, Result{Target: e.target, Health: e.status.BackendHealth, Latency: o.latency, Changed: state})
	}
}

// report logs a change and hands it on.
func (r *Runner) report(n Result) {
	level := slog.LevelDebug // the reason alone changed, or nothing was probed
	switch probed := n.Target.Probe.Type != model.ProbeNone; {
	case n.Changed && n.Health.State != model.Healthy:
		level = slog.LevelWarn
	case n.Changed && probed:
		level = slog.LevelInfo
	}
	about := []any{"service", n.Target.Service, "backend", n.Target.Backend, "probe", n.Target.Probe.Type}
	if n.Health.Reason != "" {
		about = append(about, "reason", n.Health.Reason)
	}
	if n.Latency > 0 {
		about = append(about, "latency", n.Latency.Round(time.Microsecond))
	}
	r.opts.Log.Log(r.ctx, level, "backend is "+n.Health.State.String(), about...)
	r.opts.OnChange(n)
}
