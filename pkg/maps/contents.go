package maps

import (
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Contents is the exact content of every map that the control plane writes.
// The zero value is an empty load balancer.
type Contents struct {
	// VIPs are the frontends, the backends of `dnat` services and, with port and
	// protocol 0, the source addresses.
	VIPs map[VIPKey]VIP
	// Services by number, 1 to Sizes.Services-1.
	Services map[uint32]Service
	// Tables by service number, and by those of Subsets; each of Sizes.Table slots.
	Tables map[uint32]Table
	// Subsets say whose the tables are from number Sizes.Services on; there are
	// Sizes.Subsets of them.
	Subsets map[uint32]Subset
	// Rules by service number: the lists of those that have some.
	Rules map[uint32]Rules
	// Backends by number, 1 to Sizes.Backends-1.
	Backends map[uint32]Backend
	// Sources by index, 0 to Sizes.Sources-1.
	Sources map[uint32]netip.Addr
	// Tunnels are the outer headers by family: 0 is IPv4, 1 IPv6.
	Tunnels map[uint32]Tunnel
	// QUICServers are backends' numbers by what connection IDs call them.
	QUICServers map[QUICServer]uint32
	// Features has the entry 0 if some service needs something of every packet.
	Features map[uint32]Features
}

// VIPKey is the key of a frontend, or of a source address if Port and Protocol
// are 0.
type VIPKey struct {
	Address  netip.Addr     `json:"address"`
	Port     uint16         `json:"port"`
	Protocol model.Protocol `json:"protocol,omitzero"`
}

// VIP is what an address and port mean.
type VIP struct {
	// Service is the service's number; 0 if the key is a source only.
	Service uint32 `json:"service"`
	// Source is the index of Address in Contents.Sources plus one if `nat`
	// uses it as source; 0 if not. A frontend whose address is also a source
	// carries it too.
	Source uint16 `json:"source"`
	// DNATBackend: a backend of a `dnat` service listens here, so that packets
	// from here may be its replies.
	DNATBackend bool `json:"dnat_backend,omitempty"`
}

// Service is what the data plane knows of a service.
type Service struct {
	Forward model.Forward
	// Track; zero counts as [model.TrackAuto].
	Track model.Track
	// FirstSource and Sources are the run of Contents.Sources (all of one
	// family) that `nat` draws from.
	FirstSource, Sources uint16
	Timeouts             model.Timeouts
	// Selection is how the backend of a new flow is chosen.
	Selection Selection
	// Policy: the daemon is asked about each new flow, and this is what becomes
	// of one that it cannot be asked about. Zero: the service has no policies.
	Policy model.OnOverload
	// Upcalls and UpcallsPerSource are how many new flows a second the daemon is
	// asked about, in all and for each IPv4 address or IPv6 /64. The data plane
	// counts in windows of 67 ms, rounds up, and knows 14 to 976547.
	Upcalls, UpcallsPerSource uint32
	// Outcomes: what becomes of connections is counted. Of a service whose flows are
	// not all recorded, only those that are.
	Outcomes bool
	// Retries is how many other backends a connection may try, 0 to 3. It needs
	// Outcomes, and replies that are seen.
	Retries int
	// Ruled: Contents.Rules are asked about each packet's source.
	Ruled  bool
	Limits Limits
}

// Backend is what the data plane knows of a backend.
type Backend struct {
	Address netip.AddrPort `json:"address"`
	// Service is the number of the service it belongs to.
	Service uint32 `json:"service"`
	// Serves: flows that have this backend may keep it. Not set: they are
	// given another at their next packet. A drained backend serves.
	Serves bool `json:"serves"`
	// Weight is what its connections are compared by, with
	// [model.LeastConnections]; 0 elsewhere.
	Weight uint16 `json:"weight,omitzero"`
}

// Resolution of a timeout in the data plane.
const tick = time.Duration(1 << 20)

// Clone copies everything but the tables' slots, which nobody changes.
func (c Contents) Clone() Contents {
	return Contents{
		VIPs: clone(c.VIPs), Services: clone(c.Services), Tables: clone(c.Tables),
		Subsets: clone(c.Subsets), Rules: clone(c.Rules),
		Backends: clone(c.Backends), Sources: clone(c.Sources),
		Tunnels: clone(c.Tunnels), QUICServers: clone(c.QUICServers), Features: clone(c.Features),
	}
}

func clone[K comparable, V any](m map[K]V) map[K]V {
	out := make(map[K]V, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
