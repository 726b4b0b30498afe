package policy

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/xlb-io/xlb/pkg/model"
)

// Link is a policy's place in a chain.
type Link struct {
	Policy *Policy
	Mode   model.PolicyMode
}

// Chain is the policies of a service, in order. Any number of goroutines may use
// and replace it at the same time.
type Chain struct{ links atomic.Pointer[[]Link] }

// NewChain returns a chain of links.
func NewChain(links ...Link) *Chain {
	c := &Chain{}
	c.Replace(links...)
	return c
}

// Replace makes links the chain: each decision that begins afterwards is theirs. A
// policy that is in no chain any more may then be closed.
func (c *Chain) Replace(links ...Link) {
	links = slices.Clone(links)
	c.links.Store(&links)
}

// Links returns the policies in order.
func (c *Chain) Links() []Link { return slices.Clone(*c.links.Load()) }

// Decision is what a chain says of a flow.
type Decision struct {
	Action Action
	// Backend is the index of ActionBackend, in the order of address among the
	// backends that take new flows.
	Backend int
	// Subset of ActionSubset.
	Subset model.Subset
	// Hash of ActionHash.
	Hash uint32
	// Policy is who decided; empty if all said continue.
	Policy string
	Reason uint16
	// Failed: it is no verdict, but what on_error says of a policy that failed.
	Failed bool
}

// ChainWorker asks the policies of chains. It belongs to one goroutine and has one
// instance of each policy.
type ChainWorker struct {
	workers map[*Policy]*Worker
	// retired is how many policies were closed when the worker last looked for its
	// instances of such.
	retired uint64
}

// NewChainWorker returns a worker without instances; they are made when they are
// first needed, or were made by [Policy.Warm].
func NewChainWorker() *ChainWorker {
	return &ChainWorker{workers: map[*Policy]*Worker{}, retired: retired.Load()}
}

// Decide asks the policies of c in order, until one of mode enforce says more than
// continue. Policies without the hook flow are passed over.
func (w *ChainWorker) Decide(c *Chain, in *FlowInput) Decision {
	if n := retired.Load(); n != w.retired {
		w.retired = n
		w.sweep()
	}
	for {
		links := c.links.Load()
		d, closed := w.decide(*links, in)
		// A policy is closed after the chain was replaced: the new one decides.
		if !closed || c.links.Load() == links {
			return d
		}
	}
}

func (w *ChainWorker) decide(links []Link, in *FlowInput) (d Decision, closed bool) {
	for _, l := range links {
		p := l.Policy
		if !p.bundle.Has(HookFlow) {
			continue
		}
		v, err := w.worker(p).flow(in, l.Mode)
		if errors.Is(err, ErrClosed) {
			closed = true
		}
		if l.Mode != model.PolicyEnforce || v.Action == ActionContinue {
			continue
		}
		d := p.decision(v)
		d.Failed = err != nil
		if d.Action == ActionSubset && in.Empty != nil && in.Empty(d.Subset) {
			p.counts.empty.Add(1)
			continue
		}
		return d, closed
	}
	return Decision{}, closed
}

func (p *Policy) decision(v Verdict) Decision {
	d := Decision{Action: v.Action, Policy: p.spec.Name, Reason: v.Reason}
	switch v.Action {
	case ActionBackend:
		d.Backend = int(v.Operand)
	case ActionSubset:
		d.Subset = p.Subset(v.Operand)
	case ActionHash:
		d.Hash = v.Operand
	}
	return d
}

// worker returns the worker's instance of p, which is made when it is first asked.
func (w *ChainWorker) worker(p *Policy) *Worker {
	one, ok := w.workers[p]
	if !ok {
		one = &Worker{p: p}
		w.workers[p] = one
	}
	return one
}

// sweep frees the instances of policies that were closed.
func (w *ChainWorker) sweep() {
	for p, one := range w.workers {
		if p.isClosed() {
			one.Close(context.Background())
			delete(w.workers, p)
		}
	}
}

// Close frees the worker's instances.
func (w *ChainWorker) Close(ctx context.Context) error {
	for p, one := range w.workers {
		one.Close(ctx)
		delete(w.workers, p)
	}
	return nil
}
