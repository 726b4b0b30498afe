package policy

import (
	"context"

	"github.com/xlb-io/xlb/pkg/model"
)

// Link is a policy's place in a chain.
type Link struct {
	Policy *Policy
	Mode   model.PolicyMode
}

// Chain is the policies of a service, in order. Any number of goroutines may use
// and replace it at the same time.
type Chain struct{}

// NewChain returns a chain of links.
func NewChain(links ...Link) *Chain { panic("unfinished") }

// Replace makes links the chain: each decision that begins afterwards is theirs. A
// policy that is in no chain any more may then be closed.
func (c *Chain) Replace(links ...Link) { panic("unfinished") }

// Links returns the policies in order.
func (c *Chain) Links() []Link { panic("unfinished") }

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
type ChainWorker struct{}

// NewChainWorker returns a worker without instances; they are made when they are
// first needed, or were made by [Policy.Warm].
func NewChainWorker() *ChainWorker { panic("unfinished") }

// Decide asks the policies of c in order, until one of mode enforce says more than
// continue.
func (w *ChainWorker) Decide(c *Chain, in *FlowInput) Decision { panic("unfinished") }

// Close frees the worker's instances.
func (w *ChainWorker) Close(ctx context.Context) error { panic("unfinished") }
