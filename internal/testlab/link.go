package testlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a cable.
type End struct {
	Namespace *Namespace
	// Name of the interface, up to 15 characters.
	Name string
	// Addresses with their prefix lengths, usable at once (no duplicate
	// address detection).
	Addresses []netip.Prefix
	// MAC is chosen by the kernel when empty.
	MAC net.HardwareAddr
	// MTU in bytes; 0 is 1500.
	MTU int
	// Features are left as the kernel has them when nil.
	Features *Features
	// Bridge is the bridge of the same namespace that the end is plugged
	// into; empty for none.
	Bridge string
}

// ForXDP are the features every end of a path needs whose packets a native
// XDP program transmits or redirects.
var ForXDP = &Features{TxChecksum: false, GRO: true}

// firstIndex is above any index that the kernel chooses in a lab.
const firstIndex = 1000

// Veth lays a cable, sets both ends up and configures them.
func (l *Lab) Veth(a, b End) error {
	fail := func(err error) error {
		return fmt.Errorf("cable %s/%s to %s/%s: %w", a.Namespace.Name, a.Name, b.Namespace.Name, b.Name, err)
	}
	h, err := a.Namespace.Handle()
	if err != nil {
		return fail(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = a.Name, a.MTU, a.MAC
	// Were both ends given the same index, each in its namespace, the kernel
	// would no longer see that they are a pair and leave them for up to a
	// second before it declares them up (linkwatch_urgent_event).
	attrs.Index = firstIndex + int(l.cables.Add(1))
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: b.Name, PeerHardwareAddr: b.MAC,
		PeerMTU: uint32(b.MTU), PeerNamespace: netlink.NsFd(b.Namespace.fd),
	}
	// A PeerMTU of 0 would be taken from a's, not from the kernel's default.
	if b.MTU == 0 {
		veth.PeerMTU = 1500
	}
	if err := h.LinkAdd(veth); err != nil {
		return fail(err)
	}
	// Everything before either end is up, so that no packet of the kernel's
	// own (neighbour discovery) leaves with the wrong features.
	for _, e := range []End{a, b} {
		if err := e.configure(); err != nil {
			return fail(errors.Join(err, h.LinkDel(veth)))
		}
	}
	for _, e := range []End{a, b} {
		if err := e.Namespace.LinkUp(e.Name); err != nil {
			return fail(errors.Join(err, h.LinkDel(veth)))
		}
	}
	return nil
}

func (e End) configure() error {
	if e.Features != nil {
		if err := e.Namespace.SetFeatures(e.Name, *e.Features); err != nil {
			return err
		}
	}
	if err := e.Namespace.AddAddresses(e.Name, e.Addresses...); err != nil {
		return err
	}
	if e.Bridge == "" {
		return nil
	}
	h, port, err := e.Namespace.link(e.Name)
	if err != nil {
		return err
	}
	_, bridge, err := e.Namespace.link(e.Bridge)
	if err != nil {
		return err
	}
	if err := h.LinkSetMasterByIndex(port, bridge.Attrs().Index); err != nil {
		return fmt.Errorf("plug %s into bridge %s: %w", e.Name, e.Bridge, err)
	}
	return nil
}

// Bridge makes an Ethernet switch without spanning tree, which forwards from
// the first packet on, and floods multicast like a plain switch.
func (n *Namespace) Bridge(name string) error {
	h, err := n.Handle()
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: new(false)}); err != nil {
		return fmt.Errorf("bridge %s in namespace %s: %w", name, n.Name, err)
	}
	return n.LinkUp(name)
}

// AddAddresses gives a link addresses. IPv6 ones skip duplicate address
// detection.
func (n *Namespace) AddAddresses(link string, addresses ...netip.Prefix) error {
	h, l, err := n.link(link)
	if err != nil {
		return err
	}
	for _, p := range addresses {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("address %s on %s in namespace %s: %w", p, link, n.Name, err)
		}
	}
	return nil
}

// AddRoute routes a prefix over a gateway.
func (n *Namespace) AddRoute(to netip.Prefix, via netip.Addr) error {
	h, err := n.Handle()
	if err != nil {
		return err
	}
	if err := h.RouteAdd(&netlink.Route{Dst: ipNet(to.Masked()), Gw: via.AsSlice()}); err != nil {
		return fmt.Errorf("route %s via %s in namespace %s: %w", to, via, n.Name, err)
	}
	return nil
}

// AddNeighbour fixes the MAC address of a neighbour on a link.
func (n *Namespace) AddNeighbour(link string, ip netip.Addr, mac net.HardwareAddr) error {
	h, l, err := n.link(link)
	if err != nil {
		return err
	}
	neigh := &netlink.Neigh{LinkIndex: l.Attrs().Index, IP: ip.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT}
	if err := h.NeighSet(neigh); err != nil {
		return fmt.Errorf("neighbour %s on %s in namespace %s: %w", ip, link, n.Name, err)
	}
	return nil
}

// LinkUp sets a link up.
func (n *Namespace) LinkUp(link string) error {
	h, l, err := n.link(link)
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up in namespace %s: %w", link, n.Name, err)
	}
	return nil
}

// LinkDown sets a link down: to everybody else this host is dead and silent.
// The kernel forgets the routes and IPv6 addresses of the link.
func (n *Namespace) LinkDown(link string) error {
	h, l, err := n.link(link)
	if err != nil {
		return err
	}
	if err := h.LinkSetDown(l); err != nil {
		return fmt.Errorf("set %s down in namespace %s: %w", link, n.Name, err)
	}
	return nil
}

// MAC is the Ethernet address of a link.
func (n *Namespace) MAC(link string) (net.HardwareAddr, error) {
	_, l, err := n.link(link)
	if err != nil {
		return nil, err
	}
	return l.Attrs().HardwareAddr, nil
}

// Index is the interface index of a link within the namespace.
func (n *Namespace) Index(link string) (int, error) {
	_, l, err := n.link(link)
	if err != nil {
		return 0, err
	}
	return l.Attrs().Index, nil
}

// WaitUp waits until every link of the namespace that is set up carries
// packets.
func (n *Namespace) WaitUp(ctx context.Context) error {
	h, err := n.Handle()
	if err != nil {
		return err
	}
	for {
		links, err := h.LinkList()
		if err != nil {
			return fmt.Errorf("list links of namespace %s: %w", n.Name, err)
		}
		waiting := ""
		for _, l := range links {
			a := l.Attrs()
			// lo has no operational state, it is "unknown" when up.
			if a.Flags&net.FlagUp != 0 && a.OperState != netlink.OperUp && a.OperState != netlink.OperUnknown {
				waiting = a.Name
			}
		}
		if waiting == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("link %s in namespace %s does not come up: %w", waiting, n.Name, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (n *Namespace) link(name string) (*netlink.Handle, netlink.Link, error) {
	h, err := n.Handle()
	if err != nil {
		return nil, nil, err
	}
	l, err := h.LinkByName(name)
	if err != nil {
		return nil, nil, fmt.Errorf("link %s in namespace %s: %w", name, n.Name, err)
	}
	return h, l, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
