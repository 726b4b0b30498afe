package bench

import (
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// kind is what the packets of a scenario meet.
type kind int

const (
	noVIP   kind = iota // an address that is not ours
	hit                 // a flow that was there before
	unknown             // a packet from its middle, and nothing is recorded of it
	newFlow             // its first packet, and room in the flow table
	flood               // the same, and no room
	reply               // the way back of nat and dnat
	asked               // a flow's first packet, which goes to the daemon
	refused             // a packet of a source that the service does not take
)

// variant is what the scenario's service looks like.
type variant int

const (
	plain   variant = iota // as it is by default, its table at rest
	marked                 // its table has just changed, in every slot
	always                 // it records all flows
	policed                // it has policies
	counted                // it counts what becomes of connections, and retries
	few10                  // ten prefixes say whom it takes
	listed                 // a hundred thousand do, one for each client
	barred                 // as many say whom it does not take
	limited                // it counts new flows, in all and of each source
	// How it chooses the backend of a new flow.
	random
	roundRobin
	leastConnections
	leastLatency
	bound     // it has affinity by the client's address
	bySource  // its table is asked by the client's address
	onePacket // each datagram is drawn
	named     // QUIC connection IDs name the backend, and nothing is recorded
	variants
)

// selections are those that differ from the default.
var selections = map[variant]maps.Selection{
	random:           {Schedule: model.Random},
	roundRobin:       {Schedule: model.RoundRobin},
	leastConnections: {Schedule: model.LeastConnections},
	leastLatency:     {Schedule: model.LeastLatency},
	bound:            {AffinityTimeout: time.Hour, AffinityIPv4: 32, AffinityIPv6: 64},
	bySource:         {Schedule: model.SourceHash},
	onePacket:        {Schedule: model.Random, OnePacket: true},
	named:            {QUICServerID: 4},
}

type scenario struct {
	name     string
	kind     kind
	variant  variant
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
	{"no-vip", noVIP, plain, model.TCP, false, many},
	{"tcp4-hit-1", hit, plain, model.TCP, false, one},
	{"tcp4-hit-1k", hit, plain, model.TCP, false, few},
	{"tcp4-hit-100k", hit, plain, model.TCP, false, many},
	{"tcp4-hit-1m", hit, plain, model.TCP, false, million},
	{"tcp4-syn-new", newFlow, plain, model.TCP, false, 0},
	{"tcp4-syn-flood", flood, plain, model.TCP, false, 0},
	{"udp4-hit-100k", hit, plain, model.UDP, false, many},
	{"udp4-new", newFlow, plain, model.UDP, false, 0},
	{"tcp6-hit-1", hit, plain, model.TCP, true, one},
	{"tcp6-hit-100k", hit, plain, model.TCP, true, many},
	{"tcp6-syn-new", newFlow, plain, model.TCP, true, 0},
	{"tcp4-reply-1", reply, plain, model.TCP, false, one},
	{"tcp4-reply-100k", reply, plain, model.TCP, false, many},
	{"marked-hit-100k", hit, marked, model.TCP, false, many},
	{"marked-unknown-100k", unknown, marked, model.TCP, false, many},
	{"always-hit-100k", hit, always, model.TCP, false, many},
	{"policy-hit-100k", hit, policed, model.TCP, false, many},
	{"policy-upcall", asked, policed, model.TCP, false, 0},
	{"outcomes-hit-100k", hit, counted, model.TCP, false, many},
	{"outcomes-syn-new", newFlow, counted, model.TCP, false, 0},
	{"outcomes-reply-100k", reply, counted, model.TCP, false, many},
	{"rules-10-hit-100k", hit, few10, model.TCP, false, many},
	{"rules-100k-hit-1", hit, listed, model.TCP, false, one},
	{"rules-100k-hit-100k", hit, listed, model.TCP, false, many},
	{"rules-100k-tcp6-hit-100k", hit, listed, model.TCP, true, many},
	{"rules-100k-denied-100k", refused, barred, model.TCP, false, many},
	{"rate-syn-new", newFlow, limited, model.TCP, false, 0},
	{"always-syn-new", newFlow, always, model.TCP, false, 0},
	{"random-syn-new", newFlow, random, model.TCP, false, 0},
	{"round-robin-syn-new", newFlow, roundRobin, model.TCP, false, 0},
	{"least-connections-syn-new", newFlow, leastConnections, model.TCP, false, 0},
	{"least-latency-syn-new", newFlow, leastLatency, model.TCP, false, 0},
	{"affinity-syn-new", newFlow, bound, model.TCP, false, 0},
	{"source-hit-100k", hit, bySource, model.TCP, false, many},
	{"ops-udp4", newFlow, onePacket, model.UDP, false, 0},
	{"quic-100k", hit, named, model.UDP, false, many},
}

// rewrites says whether a forwarding mode changes addresses, so that it must
// record every flow and sees the replies.
func rewrites(f model.Forward) bool { return f == model.NAT || f == model.DNAT }

// wraps says whether a forwarding mode puts an outer header in front.
func wraps(f model.Forward) bool { return f == model.IPIP || f == model.GUE }

// has says whether a forwarding mode knows the scenario. Where backends answer
// clients directly there are no replies; where every flow is recorded anyway, it
// does not matter what the table looks like, but how it is asked. That is measured
// with nat.
func (s scenario) has(f model.Forward) bool {
	if rewrites(f) {
		return s.variant.everywhere() || f == model.NAT && s.variant >= random && s.variant <= bound
	}
	return s.kind != reply
}

// everywhere: modes that record every flow have the variant, too.
func (v variant) everywhere() bool { return v == plain || v == counted }

// measurable says whether a forwarding mode can be measured at a hook. The
// kernel marks a packet that TC encapsulated, refuses to do it again, and has no
// helper that takes the mark away: the packet cannot be used for another
// repetition.
func measurable(hook string, f model.Forward) bool { return hook != "tc" || !wraps(f) }

// records says whether the data plane records the scenario's flows.
func (m *measurement) records() bool { return rewrites(m.forward) || m.variant.records() }

// records says whether the data plane records flows of the variant.
func (v variant) records() bool {
	return v != plain && !v.ruled() && v != limited && v != bySource && v != onePacket && v != named
}

// ruled: sources are looked up.
func (v variant) ruled() bool { return v == few10 || v == listed || v == barred }

// roomKind is the kind of the room that the scenario needs.
func (m *measurement) roomKind() roomKind {
	switch {
	case m.kind == asked:
		return empty
	case !m.records():
		return steady
	case m.kind == newFlow || m.kind == unknown:
		return fresh
	case m.kind == flood:
		return full
	case m.variant == counted:
		return counting
	case m.flows > many:
		return large
	}
	return steady
}

// encapsulates says whether the scenario's packets get an outer header.
func (m *measurement) encapsulates() bool {
	return wraps(m.forward) && m.kind != noVIP && m.kind != asked && m.kind != refused
}

// Hooks are the hooks by name, in the order of a report.
func Hooks() []string { return []string{"xdp", "tc"} }

// Forwards are the forwarding modes, in the order of a report.
func Forwards() []model.Forward {
	return []model.Forward{model.L2DSR, model.IPIP, model.GUE, model.NAT, model.DNAT}
}

// Scenarios are the scenarios by name, in the order of a report.
func Scenarios() []string {
	names := make([]string, len(scenarios))
	for i, s := range scenarios {
		names[i] = s.name
	}
	return names
}
