package testlab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Shape is how client, balancer and backends are wired.
type Shape int

// The shapes.
const (
	// Routed: the balancer stands between two networks,
	//
	//	client ── cl0 balancer be0 ── switch ── backends
	//
	// so what it balances leaves by another interface than it came in by.
	Routed Shape = iota
	// OneArm: everybody is on one switch, the balancer with its single
	// interface lb0, by which packets leave as they came. Backends reach the
	// client directly.
	OneArm
)

func (s Shape) String() string {
	if s == OneArm {
		return "one-arm"
	}
	return "routed"
}

// TopologyOptions choose a network.
type TopologyOptions struct {
	Shape Shape
	// Backends is their number, 1 to 100.
	Backends int
	// BackendsHoldVIPs puts the VIPs on the backends' lo, without answering
	// ARP for them: what direct server return needs.
	BackendsHoldVIPs bool
	// KeepOffloads leaves checksum offload on and attaches no program to the
	// balancer's peers. The stack then moves packets of up to 64 KiB with
	// unfinished checksums, as TC and generic XDP meet them; native XDP does
	// not work on such a network.
	KeepOffloads bool
}

// Topology is a network of a client, a balancer and backends, dual stack.
// The client routes 192.0.2.0/24 and 2001:db8::/64, the VIPs' networks, over
// the balancer, which holds none of these addresses.
type Topology struct {
	Shape    Shape
	Client   *Namespace
	Balancer *Namespace
	// Switch holds the bridge br0 between the backends (and, with OneArm,
	// the others).
	Switch   *Namespace
	Backends []*Backend
	// VIP4 and VIP6 are the addresses BackendsHoldVIPs speaks of; any other
	// of their networks may be used too.
	VIP4, VIP6 netip.Addr
	// Client4 and Client6 are the client's addresses, on its eth0.
	Client4, Client6 netip.Addr
	// Source4 and Source6 are the balancer's addresses towards the backends.
	Source4, Source6 netip.Addr
	// Interfaces are the balancer's: cl0 and be0, or lb0.
	Interfaces []string
}

// Backend is a server of a topology, with one interface, eth0.
type Backend struct {
	*Namespace
	IP4, IP6 netip.Addr

	outlet port
}

// Unplug pulls the backend's cable: to everybody else it is dead and silent.
func (b *Backend) Unplug() error { return b.outlet.namespace.LinkDown(b.outlet.link) }

// Plug puts the cable back and waits until it carries packets.
func (b *Backend) Plug(ctx context.Context) error {
	if err := b.outlet.namespace.LinkUp(b.outlet.link); err != nil {
		return err
	}
	if err := b.outlet.namespace.WaitUp(ctx); err != nil {
		return err
	}
	return b.WaitUp(ctx)
}

var (
	vip4Net = netip.MustParsePrefix("192.0.2.0/24")
	vip6Net = netip.MustParsePrefix("2001:db8::/64")
	vip4    = netip.MustParseAddr("192.0.2.10")
	vip6    = netip.MustParseAddr("2001:db8::10")
)

// subnet is one dual-stack Ethernet segment.
type subnet struct{ v4, v6 netip.Prefix }

var (
	clientNet  = subnet{netip.MustParsePrefix("10.10.0.0/24"), netip.MustParsePrefix("fd10:10::/64")}
	backendNet = subnet{netip.MustParsePrefix("10.20.0.0/24"), netip.MustParsePrefix("fd10:20::/64")}
)

// Host numbers within a subnet.
const (
	balancerHost = 1
	clientHost   = 2
	backendHost  = 11
)

// host is the subnet's n-th address of each family.
func (s subnet) host(n int) (v4, v6 netip.Addr) {
	b4, b6 := s.v4.Addr().As4(), s.v6.Addr().As16()
	b4[3], b6[15] = byte(n), byte(n)
	return netip.AddrFrom4(b4), netip.AddrFrom16(b6)
}

// prefixes are the subnet's n-th addresses with their lengths.
func (s subnet) prefixes(n int) []netip.Prefix {
	v4, v6 := s.host(n)
	return []netip.Prefix{netip.PrefixFrom(v4, s.v4.Bits()), netip.PrefixFrom(v6, s.v6.Bits())}
}

// Topology builds a network and waits until its links carry packets.
func (l *Lab) Topology(o TopologyOptions) (*Topology, error) {
	if o.Backends < 1 || o.Backends > 100 {
		return nil, fmt.Errorf("topology with %d backends: want 1 to 100", o.Backends)
	}
	t := &Topology{Shape: o.Shape, VIP4: vip4, VIP6: vip6}
	b := &builder{lab: l, options: o, topology: t}
	if err := b.build(); err != nil {
		return nil, fmt.Errorf("%s topology: %w", o.Shape, err)
	}
	return t, nil
}

// builder keeps what the steps of building a topology share.
type builder struct {
	lab      *Lab
	options  TopologyOptions
	topology *Topology
}

func (b *builder) build() error {
	if err := b.namespaces(); err != nil {
		return err
	}
	wire := b.wireRouted
	if b.options.Shape == OneArm {
		wire = b.wireOneArm
	}
	if err := wire(); err != nil {
		return err
	}
	if err := b.configureBalancer(); err != nil {
		return err
	}
	if b.options.BackendsHoldVIPs {
		for _, backend := range b.topology.Backends {
			if err := b.holdVIPs(backend.Namespace); err != nil {
				return err
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, n := range b.topology.Namespaces() {
		if err := n.WaitUp(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) namespaces() error {
	t := b.topology
	for _, n := range []struct {
		into *(*Namespace)
		name string
	}{{&t.Client, "client"}, {&t.Balancer, "balancer"}, {&t.Switch, "switch"}} {
		var err error
		if *n.into, err = b.lab.Namespace(n.name); err != nil {
			return err
		}
	}
	if err := t.Switch.Bridge("br0"); err != nil {
		return err
	}
	for i := range b.options.Backends {
		n, err := b.lab.Namespace(fmt.Sprintf("backend%d", i+1))
		if err != nil {
			return err
		}
		backend := &Backend{Namespace: n, outlet: port{t.Switch, n.Name}}
		backend.IP4, backend.IP6 = backendNet.host(backendHost + i)
		t.Backends = append(t.Backends, backend)
	}
	return nil
}

func (b *builder) wireRouted() error {
	t := b.topology
	t.Interfaces = []string{"cl0", "be0"}
	t.Client4, t.Client6 = clientNet.host(clientHost)
	t.Source4, t.Source6 = backendNet.host(balancerHost)
	err := b.cable(
		End{Namespace: t.Client, Name: "eth0", Addresses: clientNet.prefixes(clientHost)},
		End{Namespace: t.Balancer, Name: "cl0", Addresses: clientNet.prefixes(balancerHost)})
	if err != nil {
		return err
	}
	if err := b.plug(t.Balancer, "be0", backendNet.prefixes(balancerHost)); err != nil {
		return err
	}
	if err := b.plugBackends(); err != nil {
		return err
	}
	gw4, gw6 := clientNet.host(balancerHost)
	for _, p := range []netip.Prefix{vip4Net, backendNet.v4} {
		if err := t.Client.AddRoute(p, gw4); err != nil {
			return err
		}
	}
	for _, p := range []netip.Prefix{vip6Net, backendNet.v6} {
		if err := t.Client.AddRoute(p, gw6); err != nil {
			return err
		}
	}
	for _, backend := range t.Backends {
		err := errors.Join(
			backend.AddRoute(netip.PrefixFrom(netip.IPv4Unspecified(), 0), t.Source4),
			backend.AddRoute(netip.PrefixFrom(netip.IPv6Unspecified(), 0), t.Source6))
		if err != nil {
			return err
		}
	}
	return b.pass(port{t.Client, "eth0"}, port{t.Switch, "be0"})
}

func (b *builder) wireOneArm() error {
	t := b.topology
	t.Interfaces = []string{"lb0"}
	t.Client4, t.Client6 = backendNet.host(clientHost)
	t.Source4, t.Source6 = backendNet.host(balancerHost)
	if err := b.plug(t.Client, "eth0", backendNet.prefixes(clientHost)); err != nil {
		return err
	}
	if err := b.plug(t.Balancer, "lb0", backendNet.prefixes(balancerHost)); err != nil {
		return err
	}
	if err := b.plugBackends(); err != nil {
		return err
	}
	if err := errors.Join(t.Client.AddRoute(vip4Net, t.Source4), t.Client.AddRoute(vip6Net, t.Source6)); err != nil {
		return err
	}
	return b.pass(port{t.Switch, "lb0"})
}

// cable joins two ends with the features the options ask for.
func (b *builder) cable(ends ...End) error {
	for i := range ends {
		if !b.options.KeepOffloads {
			ends[i].Features = ForXDP
		}
	}
	return b.lab.Veth(ends[0], ends[1])
}

// plug joins a namespace to the switch. The switch's end has the interface's
// name, or the namespace's where that is just eth0.
func (b *builder) plug(n *Namespace, name string, addresses []netip.Prefix) error {
	outlet := name
	if name == "eth0" {
		outlet = n.Name
	}
	return b.cable(
		End{Namespace: n, Name: name, Addresses: addresses},
		End{Namespace: b.topology.Switch, Name: outlet, Bridge: "br0"})
}

func (b *builder) plugBackends() error {
	for i, backend := range b.topology.Backends {
		if err := b.plug(backend.Namespace, "eth0", backendNet.prefixes(backendHost+i)); err != nil {
			return err
		}
	}
	return nil
}

// port is an interface somewhere.
type port struct {
	namespace *Namespace
	link      string
}

// pass puts a passing program on the peers of the balancer's interfaces.
func (b *builder) pass(peers ...port) error {
	if b.options.KeepOffloads {
		return nil
	}
	for _, p := range peers {
		if err := p.namespace.AttachPass(p.link); err != nil {
			return err
		}
	}
	return nil
}

// configureBalancer makes the balancer a router: bpf_fib_lookup refuses
// interfaces that do not forward.
func (b *builder) configureBalancer() error {
	return errors.Join(
		b.topology.Balancer.Sysctl("net.ipv4.ip_forward", "1"),
		b.topology.Balancer.Sysctl("net.ipv6.conf.all.forwarding", "1"))
}

func (b *builder) holdVIPs(n *Namespace) error {
	// ARP only for addresses of the asked interface, and only from those.
	return errors.Join(
		n.Sysctl("net.ipv4.conf.all.arp_ignore", "1"),
		n.Sysctl("net.ipv4.conf.all.arp_announce", "2"),
		n.AddAddresses("lo", netip.PrefixFrom(vip4, 32), netip.PrefixFrom(vip6, 128)))
}

// Namespaces are all the topology's.
func (t *Topology) Namespaces() []*Namespace {
	all := []*Namespace{t.Client, t.Balancer, t.Switch}
	for _, b := range t.Backends {
		all = append(all, b.Namespace)
	}
	return all
}
