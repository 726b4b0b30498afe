package probe

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// lateEvery is the least time between two warnings about late checks.
const lateEvery = time.Minute

// loop starts checks when they are due, takes their outcomes and reports what
// changed, all in one goroutine.
func (r *Runner) loop() {
	defer close(r.end)
	var warned time.Time
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		news, late, wait := r.begin()
		if late > 0 && time.Since(warned) >= lateEvery {
			warned = time.Now()
			r.opts.Log.Warn("probes start late: more are due than may run at the same time (raise probes.workers, shorten timeouts or lengthen intervals)",
				"late", late.Round(time.Millisecond))
		}
		for _, n := range news {
			if r.ctx.Err() == nil {
				r.report(n)
			}
		}
		var due <-chan time.Time // never, while all places are taken
		if wait >= 0 {
			alarm.Reset(wait)
			due = alarm.C
		}
		select {
		case <-r.ctx.Done():
			r.drain()
			return
		case o := <-r.done:
			r.finish(o)
		case <-r.wake:
		case <-due:
		}
	}
}

// begin starts what is due. It returns what is to be reported, by how much more
// than its interval a check was late, and the time until the next is due; less than
// 0 if none is, or may start.
func (r *Runner) begin() (news []Result, late, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	news, r.news = r.news, nil
	for r.stats.Running < r.limit && r.queue.Len() > 0 && !r.queue[0].due.After(now) {
		j := r.queue.first()
		late = max(late, now.Sub(j.due)-j.probe.Interval)
		r.stats.started(now.Sub(j.due))
		if r.onStart != nil {
			r.onStart(now.Sub(j.due))
		}
		r.start(j, now)
	}
	if r.stats.Running >= r.limit || r.queue.Len() == 0 {
		return news, late, -1
	}
	return news, late, max(0, r.queue[0].due.Sub(now))
}

// start runs the check of j. The caller holds mu.
func (r *Runner) start(j *job, now time.Time) {
	r.stats.Running++
	ctx, cancel := context.WithTimeout(r.ctx, j.probe.Timeout)
	j.cancel = cancel
	go func() {
		defer cancel()
		begin := time.Now()
		role, err := j.check.check(ctx)
		r.done <- outcome{job: j, role: role, err: err, start: begin, end: time.Now()}
	}()
}

// drain waits for the checks that run, which are cancelled.
func (r *Runner) drain() {
	r.mu.Lock()
	running := r.stats.Running
	r.mu.Unlock()
	for range running {
		<-r.done
	}
}

// finish counts an outcome and queues the next check.
func (r *Runner) finish(o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Running--
	j := o.job
	j.cancel = nil
	if j.gone || r.ctx.Err() != nil {
		return // removed or cancelled: the outcome says nothing about the backend
	}
	switch {
	case o.err == nil:
		r.stats.Passed++
	case errors.Is(o.err, errLocal):
		r.stats.Skipped++
	default:
		r.stats.Failed++
	}
	if j.count(o) {
		r.tellAll(j, o.end.Sub(o.start))
	}
	j.plan(o.start)
	if j.due.Before(o.end) {
		j.due = o.end // a check that outlasts its interval is not late
	}
	r.queue.add(j)
}

// report logs a change and hands it on.
func (r *Runner) report(n Result) {
	level := slog.LevelDebug // the reason alone changed, or nothing was probed
	switch {
	case n.Changed && n.Health.State != model.Healthy:
		level = slog.LevelWarn
	case n.Changed && !unprobed(n.Target.Probe), n.RoleChanged:
		level = slog.LevelInfo
	}
	about := []any{"service", n.Target.Service, "backend", n.Target.Backend, "probe", n.Target.Probe.Type}
	if n.Health.Role != "" {
		about = append(about, "role", n.Health.Role)
	}
	if n.Health.Reason != "" {
		about = append(about, "reason", n.Health.Reason)
	}
	if n.Latency > 0 {
		about = append(about, "latency", n.Latency.Round(time.Microsecond))
	}
	r.opts.Log.Log(r.ctx, level, "backend is "+n.Health.State.String(), about...)
	r.opts.OnChange(n)
}
