package policy

import (
	"context"
	"net"
)

// ProbeResult is a policy's word on a backend.
type ProbeResult struct {
	Healthy bool
	// Role is what it says the backend is, Reason why; at most 64 bytes each.
	Role, Reason string
}

// Probe asks whether the backend at the other end of conn is alive. It ends with
// ctx, or after the policy's timeout. The caller closes conn. An error is the
// policy's, not the backend's. Probes run at the same time, up to 64 of a policy.
func (p *Policy) Probe(ctx context.Context, conn net.Conn) (ProbeResult, error) {
	panic("unfinished")
}
