package policy

import (
	"encoding/binary"
	"fmt"
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

// flowParams is the number of the hook's parameters.
const flowParams = 10

// write puts the parameters of the hook onto a stack.
func (f *FlowInput) write(stack *[flowParams]uint64) {
	stack[0], stack[1] = halves(f.Source.Addr())
	stack[2], stack[3] = halves(f.Destination.Addr())
	stack[4] = uint64(f.Source.Port())
	stack[5] = uint64(f.Destination.Port())
	stack[6] = uint64(f.Protocol)
	stack[7] = uint64(f.TCPFlags)
	stack[8] = f.Hash
	stack[9] = uint64(uint32(f.Backends))
}

// halves returns an address as a number of 128 bits, IPv4 as IPv4-mapped IPv6.
func halves(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// address is the inverse of halves.
func address(hi, lo uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b).Unmap()
}

// Action is what becomes of a flow.
type Action uint8

// The actions; their numbers are the ABI's.
const (
	// ActionContinue asks the next policy, and then the service's table.
	ActionContinue Action = iota
	// ActionDrop drops the packet, and others of the flow for a few seconds.
	ActionDrop
	// ActionReject tells the client, by a TCP RST or an ICMP message.
	ActionReject
	// ActionBackend sends the flow to a backend.
	ActionBackend
	// ActionSubset sends it to one of a subset of the backends.
	ActionSubset
	// ActionHash asks the service's table with another hash than the flow's.
	ActionHash
	actions
)

var actionNames = [actions]string{"continue", "drop", "reject", "backend", "subset", "hash"}

func (a Action) String() string {
	if a < actions {
		return actionNames[a]
	}
	return fmt.Sprintf("invalid(%d)", uint8(a))
}

// MarshalText implements [encoding.TextMarshaler].
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (a *Action) UnmarshalText(text []byte) error {
	for i, name := range actionNames {
		if name == string(text) {
			*a = Action(i)
			return nil
		}
	}
	return fmt.Errorf("unknown action %q (known: %s)", text, fmt.Sprint(actionNames))
}

// Verdict is a policy's answer about a flow, checked.
type Verdict struct {
	Action Action
	// Reason is a number of the policy's own; its manifest has texts for some.
	Reason uint16
	// Operand is the backend's index (in the order of address among those that take
	// new flows), the subset's index in the manifest, or the hash.
	Operand uint32
}

// decodeVerdict reads what flow returned: bits 0 to 7 are the action, 16 to 31 the
// reason, 32 to 63 the operand.
func decodeVerdict(v uint64, backends, subsets int) (Verdict, error) {
	d := Verdict{Action: Action(v), Reason: uint16(v >> 16), Operand: uint32(v >> 32)}
	if d.Action >= actions || v&0xff00 != 0 {
		return d, fmt.Errorf("%#x is no verdict (bits 0 to 7 are the action, at most %d, and 8 to 15 are zero)", v, actions-1)
	}
	most := 0
	switch d.Action {
	case ActionHash:
		return d, nil
	case ActionBackend:
		if most = backends; most == 0 {
			return d, fmt.Errorf("the verdict is backend %d, and there is none", d.Operand)
		}
	case ActionSubset:
		if most = subsets; most == 0 {
			return d, fmt.Errorf("the verdict is subset %d, and the manifest has none", d.Operand)
		}
	default:
		if d.Operand != 0 {
			return d, fmt.Errorf("the verdict %s has the operand %d, and takes none", d.Action, d.Operand)
		}
		return d, nil
	}
	if uint64(d.Operand) >= uint64(most) {
		return d, fmt.Errorf("the verdict is %s %d of %d (they count from 0)", d.Action, d.Operand, most)
	}
	return d, nil
}
