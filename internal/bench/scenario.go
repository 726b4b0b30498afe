package bench

import (
	"github.com/xlb-io/xlb/pkg/model"
)

// kind is what the packets of a scenario meet.
type kind int

const (
	noVIP   kind = iota // an address that is not ours
	hit                 // a flow that is known
	newFlow             // a SYN, and room in the flow table
	flood               // a SYN, and none
	reply               // nat's way back
)

type scenario struct {
	name     string
	kind     kind
	protocol model.Protocol
	ipv6     bool
	// flows of which packets come in turn; 0: each is of a new one.
	flows int
}

const (
	one     = 1
	few     = 1000
	many    = 100_000
	million = 1_000_000
)

var scenarios = []scenario{
	{"no-vip", noVIP, model.TCP, false, many},
	{"tcp4-hit-1", hit, model.TCP, false, one},
	{"tcp4-hit-1k", hit, model.TCP, false, few},
	{"tcp4-hit-100k", hit, model.TCP, false, many},
	{"tcp4-hit-1m", hit, model.TCP, false, million},
	{"tcp4-syn-new", newFlow, model.TCP, false, 0},
	{"tcp4-syn-flood", flood, model.TCP, false, 0},
	{"udp4-hit-100k", hit, model.UDP, false, many},
	{"udp4-new", newFlow, model.UDP, false, 0},
	{"tcp6-hit-1", hit, model.TCP, true, one},
	{"tcp6-hit-100k", hit, model.TCP, true, many},
	{"tcp6-syn-new", newFlow, model.TCP, true, 0},
	{"tcp4-reply-1", reply, model.TCP, false, one},
	{"tcp4-reply-100k", reply, model.TCP, false, many},
}

// room is the kind of the room that the scenario needs.
func (s scenario) room() roomKind {
	switch {
	case s.kind == newFlow:
		return fresh
	case s.kind == flood:
		return full
	case s.flows > many:
		return large
	}
	return steady
}

// has says whether a forwarding mode knows the scenario: under l2dsr backends
// answer clients directly.
func (s scenario) has(f model.Forward) bool { return s.kind != reply || f == model.NAT }

// Hooks are the hooks by name, in the order of a report.
func Hooks() []string { return []string{"xdp", "tc"} }

// Forwards are the forwarding modes, in the order of a report.
func Forwards() []model.Forward { return []model.Forward{model.L2DSR, model.NAT} }

// Scenarios are the scenarios by name, in the order of a report.
func Scenarios() []string {
	names := make([]string, len(scenarios))
	for i, s := range scenarios {
		names[i] = s.name
	}
	return names
}

// encapsulates says whether the scenario's packets get an outer header.
func (m *measurement) encapsulates() bool { return false }
