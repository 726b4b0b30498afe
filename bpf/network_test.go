package bpf_test

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
)

// The interfaces of the balancer, in whose namespace the programs look for
// routes and neighbours.
const (
	clients = "clients"
	servers = "servers"
	narrow  = "narrow" // with an MTU of 1280
	jumbo   = "jumbo"  // with an MTU of 9000
)

// balancer is the namespace, ifindex its interfaces.
var (
	balancer *testlab.Namespace
	ifindex  = map[string]uint32{}
)

func mac(network, host byte) testlab.MAC { return testlab.MAC{2, 0, 0, 0, network, host} }

func hardware(m testlab.MAC) net.HardwareAddr { return m[:] }

// Hosts are numbered alike in both families and in their MACs: 1 is the
// balancer, 254 a router.
var (
	own      = map[string]testlab.MAC{clients: mac(10, 1), servers: mac(20, 1), narrow: mac(40, 1), jumbo: mac(50, 1)}
	segments = []struct {
		name       string
		number     byte
		v4, v6     netip.Prefix
		mtu        int
		neighbours []byte
	}{
		{clients, 10, netip.MustParsePrefix("10.10.0.1/24"), netip.MustParsePrefix("fd10:10::1/64"), 1500, []byte{2, 254}},
		{servers, 20, netip.MustParsePrefix("10.20.0.1/24"), netip.MustParsePrefix("fd10:20::1/64"), 1500, []byte{2, 11, 12, 13, 14, 254}},
		{narrow, 40, netip.MustParsePrefix("10.40.0.1/24"), netip.MustParsePrefix("fd10:40::1/64"), 1280, []byte{11}},
		{jumbo, 50, netip.MustParsePrefix("10.50.0.1/24"), netip.MustParsePrefix("fd10:50::1/64"), 9000, []byte{2, 11}},
	}
)

// host is the address of a host of a segment, in the family of the prefix.
func host(p netip.Prefix, number byte) netip.Addr {
	b := p.Addr().AsSlice()
	b[len(b)-1] = number
	a, _ := netip.AddrFromSlice(b)
	return a
}

func wire(lab *testlab.Lab) error {
	outside, err := lab.Namespace("outside")
	if err != nil {
		return err
	}
	if balancer, err = lab.Namespace("balancer"); err != nil {
		return err
	}
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		if err := balancer.Sysctl(key, "1"); err != nil {
			return err
		}
	}
	for _, s := range segments {
		if err := lab.Veth(
			testlab.End{Namespace: balancer, Name: s.name, Addresses: []netip.Prefix{s.v4, s.v6}, MAC: hardware(own[s.name]), MTU: s.mtu},
			testlab.End{Namespace: outside, Name: s.name, MTU: s.mtu},
		); err != nil {
			return err
		}
		index, err := balancer.Index(s.name)
		if err != nil {
			return err
		}
		ifindex[s.name] = uint32(index)
		for _, n := range s.neighbours {
			for _, p := range []netip.Prefix{s.v4, s.v6} {
				if err := balancer.AddNeighbour(s.name, host(p, n), hardware(mac(s.number, n))); err != nil {
					return err
				}
			}
		}
	}
	return addRoutes()
}

func addRoutes() error {
	for to, via := range map[string]string{
		"198.51.100.0/24": "10.10.0.254", "2001:db8:c::/48": "fd10:10::fe", // distant clients
		"10.30.0.0/24": "10.20.0.254", "fd10:30::/64": "fd10:20::fe", // distant backends
		"10.31.0.0/24": "10.20.0.253", "fd10:31::/64": "fd10:20::fd", // behind an unknown neighbour
	} {
		if err := balancer.AddRoute(netip.MustParsePrefix(to), netip.MustParseAddr(via)); err != nil {
			return err
		}
	}
	h, err := balancer.Handle()
	if err != nil {
		return err
	}
	for to, kind := range map[string]int{
		"10.61.0.0/24": unix.RTN_BLACKHOLE, "10.62.0.0/24": unix.RTN_UNREACHABLE, "10.63.0.0/24": unix.RTN_PROHIBIT,
		"fd10:61::/64": unix.RTN_BLACKHOLE, "fd10:62::/64": unix.RTN_UNREACHABLE, "fd10:63::/64": unix.RTN_PROHIBIT,
	} {
		if err := h.RouteAdd(&netlink.Route{Dst: destination(to), Type: kind}); err != nil {
			return err
		}
	}
	// IPv4 over IPv6 neighbours (RFC 8950), a known and an unknown one.
	for to, via := range map[string]string{"10.51.0.0/24": "fd10:20::fe", "10.52.0.0/24": "fd10:20::fd"} {
		if err := h.RouteAdd(&netlink.Route{
			Dst: destination(to), LinkIndex: int(ifindex[servers]),
			Via: &netlink.Via{AddrFamily: unix.AF_INET6, Addr: net.ParseIP(via)},
		}); err != nil {
			return err
		}
	}
	return nil
}

func destination(prefix string) *net.IPNet {
	p := netip.MustParsePrefix(prefix)
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
