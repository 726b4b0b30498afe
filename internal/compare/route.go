package compare

import (
	"context"
	"net"

	"github.com/vishvananda/netlink"
)

// routeRow is a kernel that does nothing but route: the least that anything in
// the balancer's place costs. Its four next hops are chosen by a hash of the
// connection, so that all backends work as they do for the others.
func routeRow(name, what string, w way, nativeXDP bool) row {
	return row{name: name, what: what, way: w, nativeXDP: nativeXDP, start: startRoute}
}

func startRoute(_ context.Context, s *site) (balancer, error) {
	// By addresses and ports, not by addresses alone.
	if err := s.Balancer.Sysctl("net.ipv4.fib_multipath_hash_policy", "1"); err != nil {
		return balancer{}, err
	}
	h, err := s.Balancer.Handle()
	if err != nil {
		return balancer{}, err
	}
	towards, err := s.Balancer.Index(s.Interfaces[len(s.Interfaces)-1])
	if err != nil {
		return balancer{}, err
	}
	for _, f := range s.frontends() {
		r := &netlink.Route{Dst: &net.IPNet{IP: f.at.Addr().AsSlice(), Mask: net.CIDRMask(32, 32)}}
		for _, b := range f.backends {
			r.MultiPath = append(r.MultiPath, &netlink.NexthopInfo{LinkIndex: towards, Gw: b.Addr().AsSlice()})
		}
		if err := h.RouteAdd(r); err != nil {
			return balancer{}, err
		}
	}
	return balancer{}, nil
}
