package backendhost

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoInterface is returned if there is no route to choose an interface by.
var ErrNoInterface = errors.New("no route says where the balancers' packets arrive")

// chooseInterface names the interface that the balancers' packets arrive at.
func chooseInterface(c *Config) (string, error) {
	for _, p := range c.From {
		routes, err := netlink.RouteGet(p.Addr().AsSlice())
		if err != nil {
			continue
		}
		if name, ok := outward(routes); ok {
			return name, nil
		}
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
		if err != nil {
			return "", fmt.Errorf("list routes: %w", err)
		}
		if name, ok := outward(routes); ok {
			return name, nil
		}
	}
	return "", ErrNoInterface
}

// outward is the first route's interface that is not a loopback.
func outward(routes []netlink.Route) (string, bool) {
	for _, r := range routes {
		l, err := netlink.LinkByIndex(r.LinkIndex)
		if err == nil && l.Attrs().Flags&net.FlagLoopback == 0 {
			return l.Attrs().Name, true
		}
	}
	return "", false
}

// findInterface returns an Ethernet interface.
func findInterface(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w (see `ip link`)", name, err)
	}
	if l.Attrs().Flags&net.FlagLoopback != 0 || l.Attrs().EncapType != "ether" {
		return nil, fmt.Errorf("interface %q is no Ethernet interface (balancers' packets arrive by Ethernet)", name)
	}
	return l, nil
}

// upItem wants an interface to be up. Nobody but its owner should do that.
type upItem struct{ iface string }

func (i upItem) look() (*Problem, error) {
	l, err := netlink.LinkByName(i.iface)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w (see `ip link`)", i.iface, err)
	}
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil, nil
	}
	return &Problem{What: i.iface + " is down", Mend: "ip link set dev " + i.iface + " up", byHand: true}, nil
}

func (upItem) record() (*record, error)    { return nil, nil }
func (upItem) put(*record) (string, error) { return "", nil }
func (upItem) keys() []string              { return nil }
