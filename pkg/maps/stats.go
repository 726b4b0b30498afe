package maps

import (
	"fmt"
	"strings"

	"github.com/xlb-io/xlb/bpf"
)

// Count is packets and bytes, from the Ethernet header on.
type Count struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// NamedCount is a counter of the data plane; events have no bytes.
type NamedCount struct {
	Name string `json:"name"`
	Count
}

// Traffic is what went through a service or a backend since the maps exist.
type Traffic struct {
	Request Count `json:"request"`
	// Reply is what came back through the load balancer: `nat` only.
	Reply   Count `json:"reply"`
	Dropped Count `json:"dropped"`
	// Flows created.
	Flows uint64 `json:"flows"`
}

// Reasons returns how often packets left the data plane for each reason. A
// packet that XDP hands to TC counts as pass_neighbour and under TC's reason; one
// that the daemon was asked about counts as upcall and, when it was injected
// again, under what became of it.
func (s *Set) Reasons() ([]NamedCount, error) {
	out := make([]NamedCount, bpf.XdpReasonREASON_MAX)
	for i := range out {
		var perCPU []bpf.Count
		if err := s.maps[reasonsName].Lookup(uint32(i), &perCPU); err != nil {
			return nil, fmt.Errorf("read map %s: %w", reasonsName, err)
		}
		out[i].Name = ReasonName(uint32(i))
		for _, c := range perCPU {
			out[i].Packets += c.Packets
			out[i].Bytes += c.Bytes
		}
	}
	return out, nil
}

// Events returns how often things happened that are not the end of a packet.
func (s *Set) Events() ([]NamedCount, error) {
	out := make([]NamedCount, bpf.XdpEventEVENT_MAX)
	for i := range out {
		var perCPU []uint64
		if err := s.maps[eventsName].Lookup(uint32(i), &perCPU); err != nil {
			return nil, fmt.Errorf("read map %s: %w", eventsName, err)
		}
		out[i].Name = eventNames[bpf.Event(i)]
		for _, n := range perCPU {
			out[i].Packets += n
		}
	}
	return out, nil
}

// ServiceTraffic returns the counters of a service by its number.
func (s *Set) ServiceTraffic(id uint32) (Traffic, error) { return s.traffic(serviceTrafficName, id) }

// BackendTraffic returns the counters of a backend by its number.
func (s *Set) BackendTraffic(id uint32) (Traffic, error) { return s.traffic(backendTrafficName, id) }

func (s *Set) traffic(name string, id uint32) (Traffic, error) {
	var perCPU []bpf.Traffic
	if err := s.maps[name].Lookup(id, &perCPU); err != nil {
		return Traffic{}, fmt.Errorf("read map %s, entry %d: %w", name, id, err)
	}
	return sumTraffic(perCPU), nil
}

func sumTraffic(perCPU []bpf.Traffic) (t Traffic) {
	add := func(to *Count, c bpf.Count) {
		to.Packets += c.Packets
		to.Bytes += c.Bytes
	}
	for _, c := range perCPU {
		add(&t.Request, c.Request)
		add(&t.Reply, c.Reply)
		add(&t.Dropped, c.Dropped)
		t.Flows += c.Flows
	}
	return t
}

// resetTraffic forgets the counters of a number that gets a new owner.
func (s *Set) resetTraffic(name string, id uint32) error {
	var perCPU []bpf.Traffic
	if err := s.maps[name].Lookup(id, &perCPU); err != nil {
		return fmt.Errorf("read map %s, entry %d: %w", name, id, err)
	}
	clear(perCPU)
	if err := s.maps[name].Put(id, perCPU); err != nil {
		return fmt.Errorf("reset map %s, entry %d: %w", name, id, err)
	}
	return nil
}

var eventNames = map[bpf.Event]string{
	bpf.XdpEventEVENT_FLOW_CREATED:   "flow_created",
	bpf.XdpEventEVENT_FLOW_EVICTED:   "flow_evicted",
	bpf.XdpEventEVENT_FLOW_MOVED:     "flow_moved",
	bpf.XdpEventEVENT_FLOW_MIDSTREAM: "flow_midstream",
	bpf.XdpEventEVENT_FLOW_INHERITED: "flow_inherited",
	bpf.XdpEventEVENT_UPCALL_RATE:    "upcall_rate",
	bpf.XdpEventEVENT_UPCALL_SOURCE:  "upcall_source",
	bpf.XdpEventEVENT_UPCALL_RING:    "upcall_ring",
	bpf.XdpEventEVENT_UPCALL_AWAY:    "upcall_away",
	bpf.XdpEventEVENT_UPCALL_SIZE:    "upcall_size",
	bpf.XdpEventEVENT_DECIDED:        "decided",
	bpf.XdpEventEVENT_SYN_RETRIED:    "syn_retried",
	bpf.XdpEventEVENT_AFFINITY:       "affinity",
	bpf.XdpEventEVENT_AFFINITY_LOST:  "affinity_lost",
	bpf.XdpEventEVENT_QUIC:           "quic",
}

// ReasonName is the name of a verdict's reason, such as "drop_no_backend".
func ReasonName(reason uint32) string {
	if n, ok := reasonNames[bpf.Reason(reason)]; ok {
		return n
	}
	return fmt.Sprintf("reason_%d", reason)
}

// IsDrop says whether a reason, by its name, is one for which packets are dropped.
func IsDrop(reason string) bool { return strings.HasPrefix(reason, "drop_") }

var reasonNames = map[bpf.Reason]string{
	bpf.XdpReasonREASON_TX:               "tx",
	bpf.XdpReasonREASON_REDIRECT:         "redirect",
	bpf.XdpReasonREASON_PASS_NOT_IP:      "pass_not_ip",
	bpf.XdpReasonREASON_PASS_NOT_VIP:     "pass_not_vip",
	bpf.XdpReasonREASON_PASS_TRUNCATED:   "pass_truncated",
	bpf.XdpReasonREASON_PASS_FRAGMENT:    "pass_fragment",
	bpf.XdpReasonREASON_PASS_EXTENSIONS:  "pass_extensions",
	bpf.XdpReasonREASON_PASS_NEIGHBOUR:   "pass_neighbour",
	bpf.XdpReasonREASON_PASS_UNREACHABLE: "pass_unreachable",
	bpf.XdpReasonREASON_PASS_NO_ROUTE:    "pass_no_route",
	bpf.XdpReasonREASON_PASS_MTU:         "pass_mtu",
	bpf.XdpReasonREASON_PASS_TTL:         "pass_ttl",
	bpf.XdpReasonREASON_PASS_VLAN:        "pass_vlan",
	bpf.XdpReasonREASON_PASS_CHECKSUM:    "pass_checksum",
	bpf.XdpReasonREASON_DROP_NO_BACKEND:  "drop_no_backend",
	bpf.XdpReasonREASON_DROP_NAT_PORTS:   "drop_nat_ports",
	bpf.XdpReasonREASON_DROP_CONTENDED:   "drop_contended",
	bpf.XdpReasonREASON_DROP_NO_FLOW:     "drop_no_flow",
	bpf.XdpReasonREASON_DROP_NOT_ON_LINK: "drop_not_on_link",
	bpf.XdpReasonREASON_DROP_NO_TUNNEL:   "drop_no_tunnel",
	bpf.XdpReasonREASON_DROP_REWRITE:     "drop_rewrite",
	bpf.XdpReasonREASON_UPCALL:           "upcall",
	bpf.XdpReasonREASON_DROP_POLICY:      "drop_policy",
	bpf.XdpReasonREASON_DROP_OVERLOAD:    "drop_overload",
	bpf.XdpReasonREASON_DROP_REFUSAL:     "drop_refusal",
	bpf.XdpReasonREASON_DROP_DENIED:      "drop_denied",
	bpf.XdpReasonREASON_DROP_NOT_ALLOWED: "drop_not_allowed",
	bpf.XdpReasonREASON_DROP_RATE:        "drop_rate",
	bpf.XdpReasonREASON_DROP_RATE_SOURCE: "drop_rate_source",
	bpf.XdpReasonREASON_DROP_CONNECTIONS: "drop_connections",
}
