package model

import (
	"encoding/hex"
	"time"
)

// Selection is how a service chooses the backend of a new flow.
type Selection struct {
	Schedule Schedule
	// Hash is what names the slot of a table.
	Hash     HashInput
	Affinity Affinity
	// OnePacket: each datagram of a UDP service is a flow by itself.
	OnePacket bool
	QUIC      QUIC
}

// RecordsAll says whether each flow must be recorded, because nothing else knows
// where it went.
func (s Selection) RecordsAll() bool {
	return !s.OnePacket && (s.Schedule.Draws() || s.Affinity.Timeout > 0)
}

// Affinity keeps the flows of a client with one backend.
type Affinity struct {
	// Timeout since the last new flow, whole seconds; 0: there is no affinity.
	Timeout time.Duration
	// IPv4 and IPv6 are how many bits of the address are a client: 1 to 32, and to
	// 128.
	IPv4, IPv6 uint8
}

// QUIC is how connection IDs of QUIC name the server that made them, after
// draft-ietf-quic-load-balancers, in plaintext.
type QUIC struct {
	// ServerIDLength in octets, 1 to 15; 0: they name none.
	ServerIDLength int
	// ConfigRotation is the upper three bits of an ID's first octet, 0 to 6.
	ConfigRotation int
}

// Schedule is the rule by which a new flow gets its backend.
type Schedule uint8

// The schedules.
const (
	// Maglev looks into a table by a hash of the flow: the same flow has the
	// same backend on every load balancer.
	Maglev Schedule = iota
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

// Draws says whether a flow's backend does not follow from the flow and the table.
func (s Schedule) Draws() bool { return s >= Random }

// HashInput is what of a packet is hashed to find a slot in a table.
type HashInput uint8

// The inputs.
const (
	// HashFiveTuple is addresses, ports and protocol.
	HashFiveTuple HashInput = iota
	// HashSource is the client's address.
	HashSource
	// HashSourceDestination is the client's address and the VIP.
	HashSourceDestination
	// HashDestinationPort is the frontend's port.
	HashDestinationPort
)

var (
	scheduleNames = map[Schedule]string{
		Maglev: "maglev", SourceHash: "source-hash", Random: "random", RoundRobin: "round-robin",
		LeastConnections: "least-connections", LeastLatency: "least-latency",
	}
	hashNames = map[HashInput]string{
		HashFiveTuple: "five-tuple", HashSource: "source", HashSourceDestination: "source-destination",
		HashDestinationPort: "destination-port",
	}
)

func (s Schedule) String() string  { return nameOf(scheduleNames, s) }
func (h HashInput) String() string { return nameOf(hashNames, h) }

// MarshalText implements [encoding.TextMarshaler].
func (s Schedule) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalText implements [encoding.TextMarshaler].
func (h HashInput) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Schedule) UnmarshalText(b []byte) error { return parse(s, scheduleNames, "schedule", b) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *HashInput) UnmarshalText(b []byte) error { return parse(h, hashNames, "hash input", b) }

// QUICServerID is what connection IDs call a backend, in hexadecimal digits, length
// octets of them: what was given, or the last octets of its address, with zeros
// before one that is too short.
func (b Backend) QUICServerID(length int) string {
	if b.ServerID != "" {
		return b.ServerID
	}
	id := make([]byte, length)
	a := b.Address.Addr().AsSlice()
	if len(a) > length {
		a = a[len(a)-length:]
	}
	copy(id[length-len(a):], a)
	return hex.EncodeToString(id)
}
