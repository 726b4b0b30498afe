package policy

import (
	"net/netip"

	"github.com/xlb-io/xlb/pkg/model"
)

// FlowInput is a new flow.
type FlowInput struct {
	// Source is the client, Destination the frontend.
	Source, Destination netip.AddrPort
	Protocol            model.Protocol
	// TCPFlags are byte 13 of the TCP header; 0 for UDP.
	TCPFlags uint8
	// Hash is the flow's, the same on every balancer.
	Hash uint64
	// Backends is how many backends take new flows.
	Backends int
	// Empty says whether a subset has none of them. Of such a one the verdict counts
	// as continue. nil: none is empty.
	Empty func(model.Subset) bool
}

// Action is what becomes of a flow.
type Action uint8

// The actions; their numbers are the ABI's.
const (
	ActionContinue Action = iota
	ActionDrop
	ActionReject
	ActionBackend
	ActionSubset
	ActionHash
)

// Verdict is a policy's answer about a flow, checked.
type Verdict struct {
	Action Action
	// Reason is a number of the policy's own; Policy.Bundle has texts for some.
	Reason uint16
	// Operand is the backend's index (in the order of address among those that take
	// new flows), the subset's index in the manifest, or the hash.
	Operand uint32
}
