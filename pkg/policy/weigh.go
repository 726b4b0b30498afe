package policy

import (
	"context"
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// BackendState is what a policy is told of a backend.
type BackendState uint8

// The states; their numbers are the ABI's.
const (
	StateUnknown BackendState = iota
	StateUp
	StateDown
	StateDraining
)

// WeighInput is a backend as a policy sees it.
type WeighInput struct {
	Address netip.AddrPort
	State   BackendState
	Weight  uint16
	// Tier is its priority.
	Tier uint8
	Zone string
	Tags model.Tags
	// Latency is that of its probes, smoothed; 0: not known.
	Latency time.Duration
	// Flows live now, and counts since the daemon began.
	Flows, FlowsTotal, ErrorsTotal uint64
}

// Leave is the weight or tier of a backend that the policy leaves as it is.
const Leave = -1

// WeighOutput is what a policy says of a backend.
type WeighOutput struct {
	// Weight is 0 to 65535, Tier 0 to 255; or Leave.
	Weight, Tier int
	// Eject: it takes no new flows.
	Eject  bool
	Reason uint16
}

// Weigh asks about a service's backends. They are given to the module in the order
// of address, whatever their order here; the answers are in the order of the
// question. An answer of which any part is wrong is an error and nothing of it is
// returned. Calls wait for each other; each takes the policy's timeout at most.
func (p *Policy) Weigh(ctx context.Context, in []WeighInput) ([]WeighOutput, error) {
	panic("unfinished")
}
