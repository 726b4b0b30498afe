package policy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Worker is an instance of a policy. It belongs to one goroutine.
type Worker struct {
	p     *Policy
	in    *instance // nil: to be made at the next call
	calls uint64
	used  uint64
}

// NewWorker returns a worker with an instance of its own, for one goroutine.
func (p *Policy) NewWorker(ctx context.Context) (*Worker, error) {
	if !p.bundle.Has(HookFlow) {
		return nil, p.wrap(string(HookFlow), errors.New("the policy has no such hook"))
	}
	w := &Worker{p: p}
	return w, w.ready(ctx)
}

// ready makes the instance, or takes one that waits, and configures it.
func (w *Worker) ready(ctx context.Context) error {
	c := w.p.config.Load()
	if w.in == nil {
		w.in = w.p.takeSpare()
	}
	if w.in == nil {
		in, err := w.p.start(ctx, false, c)
		if err != nil {
			return err
		}
		w.in = in
	}
	if err := w.in.configure(ctx, c); err != nil {
		w.drop()
		return w.p.wrap("configure", err)
	}
	return nil
}

// drop ends an instance that failed; the next call makes another.
func (w *Worker) drop() {
	w.p.counts.restarts.Add(1)
	w.in.close()
	w.in = nil
}

// Flow asks about a flow. If the policy fails, or is ejected, the verdict is that of
// the policy's on_error (continue or drop, reason 0), and the error says why; it is
// counted already.
func (w *Worker) Flow(in *FlowInput) (Verdict, error) { return w.flow(in, model.PolicyEnforce) }

func (w *Worker) flow(f *FlowInput, mode model.PolicyMode) (Verdict, error) {
	h := w.p.counts.hook(HookFlow)
	ok, trial := h.allow(w.p.rt.now)
	if !ok {
		h.skipped.Add(1)
		return w.p.onError(), w.p.wrap(string(HookFlow), ErrEjected)
	}
	v, err := w.timed(h, f)
	if err != nil {
		if errors.Is(err, ErrClosed) {
			return w.p.onError(), err
		}
		return w.p.onError(), w.p.failed(HookFlow, err, trial)
	}
	w.p.succeeded(HookFlow, trial)
	w.p.counts.verdict(mode, v)
	return v, nil
}

// timed asks, and takes the time of some calls.
func (w *Worker) timed(h *hookCounts, f *FlowInput) (Verdict, error) {
	h.calls.Add(1)
	w.calls++
	if w.calls%sampled != 1 {
		return w.ask(f)
	}
	start := w.p.rt.now()
	v, err := w.ask(f)
	h.times.add(w.p.rt.now() - start)
	w.p.counts.most(w.used)
	if w.in != nil {
		w.in.look()
	}
	return v, err
}

func (w *Worker) ask(f *FlowInput) (Verdict, error) {
	if w.in == nil || w.in.config != w.p.config.Load() {
		if err := w.ready(context.Background()); err != nil {
			return Verdict{}, err
		}
	}
	result, used, err := w.in.ask(f)
	w.used = used
	if used > w.p.counts.fuelMost.Load() {
		w.p.counts.most(used)
	}
	if err != nil {
		w.drop()
		return Verdict{}, err
	}
	return decodeVerdict(result, f.Backends, len(w.p.bundle.Manifest.Subsets))
}

// onError is the verdict about a flow of a policy that failed.
func (p *Policy) onError() Verdict {
	if p.spec.OnError == model.ErrorDrop {
		return Verdict{Action: ActionDrop}
	}
	return Verdict{}
}

// failed takes note of a failure, and ejects the policy if it was one too many.
func (p *Policy) failed(h Hook, err error, trial bool) error {
	err = p.wrap(string(h), err)
	c := p.counts.hook(h)
	c.fail(err, p.rt.clock())
	if d := c.breaker.fail(p.rt.now(), trial); d > 0 {
		p.rt.log.Error("policy is ejected", "policy", p.spec.Name, "hook", h, "for", d, "error", err)
	}
	return err
}

func (p *Policy) succeeded(h Hook, trial bool) {
	if p.counts.hook(h).breaker.succeed(p.rt.now, trial) {
		p.rt.log.Log(context.Background(), slog.LevelInfo, "policy works again", "policy", p.spec.Name, "hook", h)
	}
}

// guardedCall counts and times a call of a hook other than flow, and keeps one that
// fails too often from being made. A call that the caller broke off counts as none.
func (p *Policy) guardedCall(ctx context.Context, h Hook, call func(context.Context) error) error {
	if !p.bundle.Has(h) {
		return p.wrap(string(h), fmt.Errorf("the policy has no such hook"))
	}
	c := p.counts.hook(h)
	ok, trial := c.allow(p.rt.now)
	if !ok {
		c.skipped.Add(1)
		return p.wrap(string(h), ErrEjected)
	}
	c.calls.Add(1)
	start := p.rt.now()
	err := call(ctx)
	c.times.add(max(p.rt.now()-start, time.Nanosecond))
	switch {
	case err == nil:
		p.succeeded(h, trial)
		return nil
	case ctx.Err() != nil && isCanceled(err), errors.Is(err, ErrClosed):
		c.breaker.forget(p.rt.now(), trial)
		return p.wrap(string(h), err)
	}
	return p.failed(h, err, trial)
}

// Fuel is how much the last call of Flow took.
func (w *Worker) Fuel() uint64 { return w.used }

// Close frees the instance.
func (w *Worker) Close(context.Context) error {
	if w.in != nil {
		w.in.close()
		w.in = nil
	}
	return nil
}
