package maps

import (
	"fmt"
	"time"

	"github.com/xlb-io/xlb/bpf"
)

// Decision is what a service's policies say about a new flow.
type Decision struct {
	// Drop drops the flow's packets for five seconds; then the daemon is asked
	// again.
	Drop bool
	// Backend is the number of the flow's backend. 0, or a backend that does not
	// serve the service: the table's.
	Backend uint32
	// Hash, if not nil, is what the service's table is asked with in place of the
	// flow's own.
	Hash *uint32
}

// How long a decision waits for its packet.
const decisionLife = bpf.DecisionLife * time.Millisecond

// Decide leaves a decision for the packet, which must be injected after it. Of a
// TCP packet that begins no connection only Drop counts.
func (s *Set) Decide(u *Upcall, d Decision) error {
	value := bpf.Decision{At: uint64(coarse()), Service: u.Service, Backend: d.Backend, Action: bpf.DecisionSend}
	if d.Drop {
		value.Action = bpf.DecisionDrop
	}
	if d.Hash != nil {
		value.Hash, value.Hashed = *d.Hash, 1
	}
	if err := s.maps[decisionsName].Put(u.key, value); err != nil {
		return fmt.Errorf("write map %s, flow from %v to %v: %w", decisionsName, u.Source, u.Destination, err)
	}
	return nil
}
