package model

import (
	"fmt"
	"net/netip"
	"time"
)

// Config is all that an operator asks for: the data plane's settings and the
// services.
type Config struct {
	Settings Settings
	// Policies are sorted by name.
	Policies []Policy
	Services []Service
	// Networks are the contents of the files that services' rules name.
	Networks map[string]*Networks
	// LeftOut are services that the operator added and that do not go with the
	// rest: why not, by name.
	LeftOut map[string]string
}

// Settings shape the data plane. Those marked "at start" take effect when the
// daemon starts; a reload that changes one is refused by name.
type Settings struct {
	// Interfaces to attach to, by name. At start.
	Interfaces []string
	// Attach is the hook asked for. At start.
	Attach AttachMode
	// NextHop is how next hops are found. At start.
	NextHop NextHop
	// GatewayMAC is the fixed next hop (6 bytes) of NextHopGatewayMAC. At start.
	GatewayMAC HardwareAddr
	// Sources are the addresses that `nat` services use as source towards
	// backends, of both families. Empty: the daemon takes, per family, the
	// address the kernel would use towards the first backend.
	Sources []netip.Addr
	// TunnelSources are the outer source addresses of `ipip` and `gue`, at most
	// one of each family. Of a prefix the flow's entropy fills the host bits, of
	// IPv6 the last 32 at most; a prefix of full length is one fixed address.
	// Empty: as with Sources, the kernel's choice.
	TunnelSources []netip.Prefix
	// GUEPort is the destination port of `gue`.
	GUEPort uint16
	// NATPorts is the range of source ports for `nat`. It should not overlap
	// net.ipv4.ip_local_port_range if a source is an address of this host. At start.
	NATPorts PortRange
	// FlowTableSize is the number of flows, 1024 to 67108864, rounded up to
	// a power of two; 80 bytes of kernel memory each. At start.
	FlowTableSize int
	// TableSize is the number of slots of each service's lookup table, a
	// prime; four bytes each. At start.
	TableSize int
	// AffinityTableSize is the number of clients whose backend is remembered, of all
	// services with affinity. At start.
	AffinityTableSize int
	// MaxServices, MaxFrontends, MaxBackends and MaxSources cap the maps. At start.
	MaxServices  int
	MaxFrontends int
	MaxBackends  int
	MaxSources   int
	// PolicyRate and PolicyRatePerSource are how many new flows a second of each
	// service with policies are decided by them, of all clients and of one: an
	// IPv4 address or an IPv6 /64. Beyond that OnOverload holds.
	PolicyRate, PolicyRatePerSource int
	// Zone is the balancer's own, which services may prefer.
	Zone string
	// Probing is how health checks are run.
	Probing Probing
}

// PortRange is an inclusive range of ports, 1 to 65535.
type PortRange struct{ First, Last uint16 }

// HardwareAddr is an Ethernet address; the zero value means none.
type HardwareAddr [6]byte

func (h HardwareAddr) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", h[0], h[1], h[2], h[3], h[4], h[5])
}

// Service is a set of frontends that share a set of backends.
type Service struct {
	// Name is unique in a configuration: 1 to 63 of a-z, 0-9, '-', '.', '_'.
	Name string
	// Frontends is where the service is reached; all of one protocol.
	Frontends []Frontend
	Forward   Forward
	Track     Track
	Fail      FailMode
	// Backends are static ones, in the order of the configuration.
	Backends []Backend
	Probe    Probe
	Timeouts Timeouts
	// Policies are asked in order about each new flow, until one says more than
	// continue, and about weights.
	Policies []PolicyUse
	// OnOverload is 0 without policies.
	OnOverload OnOverload
	// Sources find backends beside the static ones.
	Sources   []Source
	Selection Selection
	Rules     Rules
	Placement Placement
	Role      RoleChoice
	// OnChange is who is told what becomes of backends.
	OnChange []Hook
	// Critical: without a usable backend of it the load balancer is not ready.
	Critical bool
	Outcomes Outcomes
	// Added: by the operator, not in the configuration file.
	Added bool
}

// Frontend is a VIP, a protocol and a port.
type Frontend struct {
	VIP      netip.Addr
	Port     uint16
	Protocol Protocol
}

func (f Frontend) String() string {
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(f.VIP, f.Port), f.Protocol)
}

// Backend is a server of a service. Address is its identity within the
// service.
type Backend struct {
	Address netip.AddrPort
	// Weight is the relative share of new flows, 0 to 65535; 0 takes no new
	// flows.
	Weight uint16
	// Zone is a free label, for example a rack or a data centre.
	Zone string
	// ServerID is how connection IDs of QUIC name it, in lower-case hexadecimal
	// digits; empty: by its address.
	ServerID string
	// Tags are free labels, by which subsets are chosen.
	Tags Tags
	// Priority is its tier, 0 to 255: the lowest with enough usable backends
	// takes new flows.
	Priority uint8
	// Drain: no new flows, old ones stay.
	Drain bool
	// Critical: without it the load balancer is not ready.
	Critical bool
}

// Timeouts are the idle times after which a flow is forgotten, 1 s to 7 days
// each, with the resolution of one second.
type Timeouts struct {
	// TCPSyn holds until both sides have spoken and the client has answered.
	TCPSyn time.Duration
	// TCPEstablished holds for an open connection.
	TCPEstablished time.Duration
	// TCPFin holds after one side sent FIN.
	TCPFin time.Duration
	// TCPClosed holds after both sides sent FIN, or one a RST.
	TCPClosed time.Duration
	UDP       time.Duration
}

// Override is what an operator said on the command line about one backend; it
// wins over the configuration and outlives a restart of the daemon.
type Override struct {
	Service string
	Backend netip.AddrPort
	// Drain, when not nil, replaces the backend's drain.
	Drain *bool `json:",omitempty"`
	// Deadline, when not nil, is when a drain ends: the flows that are left then
	// move to others.
	Deadline *time.Time `json:",omitempty"`
	// Weight, when not nil, replaces the backend's weight.
	Weight *uint16 `json:",omitempty"`
	// Disabled: no flows at all, and those that it has move to others.
	Disabled bool `json:",omitempty"`
}

// Empty says whether o says nothing.
func (o Override) Empty() bool { return o.Drain == nil && o.Weight == nil && !o.Disabled }

// DisabledZone is a zone that takes no new flows: those of one service, or of all
// if Service is empty.
type DisabledZone struct{ Zone, Service string }
