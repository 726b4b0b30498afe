package api

import (
	"net/netip"
	"time"
)

// StatsFilter selects counters.
type StatsFilter struct {
	// Service by name; empty means all.
	Service string
	// NoBackends leaves out the counters of single backends.
	NoBackends bool
	// Counting leaves out those of services that do not count outcomes.
	Counting bool
}

// Stats are counters at a moment. They only grow while an id lasts; a rate is
// the difference of two divided by the difference of their At.
type Stats struct {
	At time.Time `json:"at"`
	// Reasons count every packet seen once, by how it left the program.
	Reasons []Counter `json:"reasons"`
	// Events have no bytes.
	Events []Counter `json:"events"`
	// Upcalls count the packets of new flows that the daemon took, since its start.
	Upcalls Upcalls `json:"upcalls"`
	// Probes are the health checks, and Hooks who is told of changes, sorted by
	// name; both since the daemon's start.
	Probes   ProbeStats     `json:"probes"`
	Hooks    []HookStats    `json:"hooks"`
	Services []ServiceStats `json:"services"`
	Backends []BackendStats `json:"backends"`
}

// Counter is a named count.
type Counter struct {
	Name string `json:"name"`
	Count
}

// Count counts packets, and bytes from the Ethernet header on.
type Count struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Traffic is what went through a service or a backend.
type Traffic struct {
	// Request is what came from clients.
	Request Count `json:"request"`
	// Reply is what came from backends; counted for nat only.
	Reply   Count `json:"reply"`
	Dropped Count `json:"dropped"`
	// FlowsCreated counts new flows.
	FlowsCreated uint64 `json:"flows_created"`
}

// Outcomes is what became of the TCP connections of a service or to a backend.
type Outcomes struct {
	// Attempts are connections begun; one that tries several backends is an attempt at
	// each.
	Attempts uint64 `json:"attempts"`
	// Answered are those that got a SYN-ACK or, where replies pass the load balancer
	// by, in which the client went on.
	Answered uint64 `json:"answered"`
	// Unanswered are those whose SYN came again before an answer.
	Unanswered uint64 `json:"unanswered"`
	// Refused are RSTs to a SYN, Reset those amid a connection: nat and dnat only.
	Refused uint64 `json:"refused"`
	Reset   uint64 `json:"reset"`
	// Retried are attempts that failed and went on with another backend.
	Retried uint64 `json:"retried"`
	// HandshakeSeconds is the smoothed time from SYN to SYN-ACK of a backend of nat or
	// dnat; 0 if none was measured.
	HandshakeSeconds float64 `json:"handshake_seconds,omitempty"`
}

// Counts returns the counters with their names.
func (o Outcomes) Counts() []Counter {
	count := func(name string, n uint64) Counter { return Counter{Name: name, Count: Count{Packets: n}} }
	return []Counter{
		count("attempt", o.Attempts), count("answered", o.Answered), count("unanswered", o.Unanswered),
		count("refused", o.Refused), count("reset", o.Reset), count("retried", o.Retried),
	}
}

// ServiceStats are the counters of a service.
type ServiceStats struct {
	Service string `json:"service"`
	ID      uint32 `json:"id"`
	// Flows is the number of live flows, counted at most some seconds ago.
	Flows int `json:"flows"`
	// MarkedSlots is as in [Service].
	MarkedSlots int `json:"marked_slots"`
	// Usable is how many backends can take new flows. Critical and CriticalDown
	// say whether the service or a backend is marked so, and whether that is down.
	Usable       int  `json:"usable"`
	Critical     bool `json:"critical,omitempty"`
	CriticalDown bool `json:"critical_down,omitempty"`
	// Sources are as in [Service].
	Sources []Source `json:"sources,omitempty"`
	Traffic
	Refused Refused `json:"refused"`
	// Outcomes, where the service counts them.
	Outcomes *Outcomes `json:"outcomes,omitempty"`
	// Ejected is how many backends are ejected because their connections failed, and
	// Ejections how often one was, since the daemon's start.
	Ejected   int    `json:"ejected,omitempty"`
	Ejections uint64 `json:"ejections,omitempty"`
}

// BackendStats are the counters of a backend.
type BackendStats struct {
	Service string         `json:"service"`
	Address netip.AddrPort `json:"address"`
	ID      uint32         `json:"id"`
	// Flows is the number of live flows, counted at most some seconds ago.
	Flows int `json:"flows"`
	Traffic
	// Outcomes, where the service counts them.
	Outcomes *Outcomes `json:"outcomes,omitempty"`
}
