package backendhost

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
)

// Bytes of headers.
const (
	ipv4Header = 20
	ipv6Header = 40
	tcpHeader  = 20
	udpHeader  = 8
)

// SegmentSizes are the largest TCP segments that a tunnel carries whole to the
// backend, in bytes, for clients of each family.
type SegmentSizes struct {
	IPv4 int `json:"ipv4"`
	IPv6 int `json:"ipv6"`
}

// segmentSizes returns what the backend is to announce; nil: what it would
// anyway. The outer headers come on top of a client's packet, which knows
// nothing of them, so they must be left room.
func segmentSizes(c *Config) (*SegmentSizes, error) {
	switch c.MSS {
	case MSSOff:
		return nil, nil
	case MSSAuto:
		l, err := netlink.LinkByName(c.Interface)
		if err != nil {
			return nil, fmt.Errorf("interface %q: %w (see `ip link`)", c.Interface, err)
		}
		room := l.Attrs().MTU - outerHeaders(c) - tcpHeader
		s := &SegmentSizes{IPv4: room - ipv4Header, IPv6: room - ipv6Header}
		if s.IPv6 < leastMSS {
			return nil, fmt.Errorf("the MTU %d of %s leaves segments of %d bytes in the tunnel (raise it, or choose one with --mss)",
				l.Attrs().MTU, c.Interface, s.IPv6)
		}
		return s, nil
	}
	n, err := strconv.Atoi(c.MSS)
	if err != nil {
		return nil, fmt.Errorf("segment size %q: %w", c.MSS, err)
	}
	return &SegmentSizes{n, n}, nil
}

// outerHeaders is their length. xlb sends GUE of variant 1, which is nothing
// but UDP.
func outerHeaders(c *Config) int {
	n := ipv4Header
	if slices.ContainsFunc(c.From, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		n = ipv6Header
	}
	if c.Forward == GUE {
		n += udpHeader
	}
	return n
}
