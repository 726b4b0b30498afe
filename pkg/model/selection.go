package model

// Selection is how a service chooses the backend of a new flow.
type Selection struct {
	// Schedule; zero counts as [Maglev].
	Schedule Schedule
}

// Schedule is the rule by which a new flow gets its backend.
type Schedule uint8

// The schedules.
const (
	// Maglev looks into a table by a hash of the flow: the same flow has the
	// same backend on every load balancer.
	Maglev Schedule = iota + 1
	// SourceHash does so by the client's address.
	SourceHash
	// Random draws, by weight.
	Random
	// RoundRobin lets the backends take turns, by weight.
	RoundRobin
	// LeastConnections draws two and takes the one with fewer connections for
	// its weight.
	LeastConnections
	// LeastLatency draws two and takes the one that opens connections faster.
	LeastLatency
)

var scheduleNames = map[Schedule]string{
	Maglev: "maglev", SourceHash: "source-hash", Random: "random", RoundRobin: "round-robin",
	LeastConnections: "least-connections", LeastLatency: "least-latency",
}

func (s Schedule) String() string { return nameOf(scheduleNames, s) }

// MarshalText implements [encoding.TextMarshaler].
func (s Schedule) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Schedule) UnmarshalText(b []byte) error { return parse(s, scheduleNames, "schedule", b) }
