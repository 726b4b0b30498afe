package compare

import (
	"context"
	"net/netip"

	"github.com/xlb-io/xlb/internal/testlab"
)

// row is a balancer as it is compared.
type row struct {
	name string
	// what says how it is set up, for the reader of the table.
	what string
	// needs are programs beyond those of clients and servers.
	needs []string
	way   way
	// nativeXDP: the cables are made ready for native XDP, which costs them
	// the stack's super-packets; see [testlab.ForXDP].
	nativeXDP bool
	// start starts the balancer; what it starts, the site's lab ends.
	start func(context.Context, *site) (balancer, error)
}

// balancer is what can be known of a running one. Any may be nil.
type balancer struct {
	// account fails unless the balancer itself counted at least what the
	// client did since the last call.
	account func(context.Context, work) error
	stop    func() error
}

// work is what a client did.
type work struct {
	requests    uint64
	uploadBytes uint64
	// everywhere: enough connections that each backend got some.
	everywhere bool
}

// way is how packets go, and what a backend sees of it.
type way struct {
	shape testlab.Shape
	// holdVIPs: packets arrive at the backends with the VIP as destination.
	holdVIPs bool
	// hidden: the backends see the balancer's address in the client's place.
	hidden bool
}

// client is whom a backend talks to.
func (w way) client(t *testlab.Topology) netip.Addr {
	if w.hidden {
		return t.Source4
	}
	return t.Client4
}

// server is the address a backend is reached at.
func (w way) server(t *testlab.Topology, backend int) netip.Addr {
	if w.holdVIPs {
		return t.VIP4
	}
	return t.Backends[backend].IP4
}

var (
	// proxied: both ends are the balancer's.
	proxied = way{shape: testlab.Routed, hidden: true}
	// translated: the destination is replaced, there and back.
	translated = way{shape: testlab.Routed}
	// routed there and back.
	routed = way{shape: testlab.Routed, holdVIPs: true}
	// direct: the balancer never sees the replies.
	direct = way{shape: testlab.OneArm, holdVIPs: true}
)

// forwards are the ways of xlb's modes.
var forwards = map[string]way{
	"nat":   proxied,
	"dnat":  translated,
	"l2dsr": direct,
	"ipip":  direct,
	"gue":   direct,
}

// rows are all balancers.
func rows() []row {
	return []row{
		routeRow("route", "kernel route over the balancer, four next hops", routed, false),
		routeRow("route-direct", "the same, replies straight to the client", direct, false),
		routeRow("route-xdpcables", "route, over the cables of native XDP", routed, true),
		routeRow("route-direct-xdpcables", "route-direct, over the cables of native XDP", direct, true),
		nftablesRow("jhash", "jhash ip saddr . tcp sport"),
		nftablesRow("numgen", "numgen inc"),
		haproxyRow(1, usualBuffer),
		haproxyRow(2, usualBuffer),
		haproxyRow(2, 4*usualBuffer),
		nginxRow(1),
		nginxRow(2),
		xlbRow("nat", "tc"),
		xlbRow("nat", "native"),
		xlbRow("dnat", "tc"),
		xlbRow("dnat", "native"),
		xlbRow("l2dsr", "tc"),
		xlbRow("l2dsr", "native"),
		xlbRow("ipip", "tc"),
		xlbRow("ipip", "native"),
		xlbRow("gue", "tc"),
		xlbRow("gue", "native"),
	}
}
