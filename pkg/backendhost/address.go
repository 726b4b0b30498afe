package backendhost

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addressItem wants a VIP on lo.
type addressItem struct{ vip netip.Addr }

func (i addressItem) look() (*Problem, error) {
	held, err := holders(i.vip)
	if err != nil || len(held) > 0 {
		return nil, err // conflictItem judges where
	}
	return &Problem{
		What: fmt.Sprintf("no interface holds %s: packets to it are not for this host", i.vip),
		Mend: addCommand(i.vip),
	}, nil
}

func addCommand(vip netip.Addr) string {
	command := fmt.Sprintf("ip address add %s dev lo", whole(vip))
	if vip.Is6() {
		// No duplicate address detection, as all backends have it, and never
		// the source of this host's own connections.
		command += " nodad preferred_lft 0"
	}
	return command
}

func (i addressItem) record() (*record, error) { return &record{Address: &address{i.vip}}, nil }

func (i addressItem) put(*record) (string, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return "", fmt.Errorf("interface lo: %w", err)
	}
	addr := &netlink.Addr{IPNet: ipNet(whole(i.vip))}
	if i.vip.Is6() {
		addr.Flags = unix.IFA_F_NODAD
		addr.ValidLft = math.MaxUint32 // for ever
	}
	if err := netlink.AddrAdd(lo, addr); err != nil && !errors.Is(err, unix.EEXIST) {
		return "", fmt.Errorf("add %s to lo: %w", whole(i.vip), err)
	}
	return fmt.Sprintf("added %s to lo", whole(i.vip)), nil
}

func (i addressItem) keys() []string { return []string{(&address{i.vip}).key()} }

// address is a VIP that Apply gave to lo.
type address struct {
	VIP netip.Addr `json:"vip"`
}

func (a *address) key() string { return "address " + a.VIP.String() }

func (a *address) undo() (string, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return "", fmt.Errorf("interface lo: %w", err)
	}
	err = netlink.AddrDel(lo, &netlink.Addr{IPNet: ipNet(whole(a.VIP))})
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("remove %s from lo: %w", whole(a.VIP), err)
	}
	return fmt.Sprintf("removed %s from lo", whole(a.VIP)), nil
}

// conflictItem wants a VIP not to be where it does harm.
type conflictItem struct {
	vip   netip.Addr
	iface string
}

func (i conflictItem) look() (*Problem, error) {
	held, err := holders(i.vip)
	if err != nil {
		return nil, err
	}
	for _, h := range held {
		remove := fmt.Sprintf("ip address del %s dev %s", h.prefix, h.iface)
		switch {
		case h.iface == i.iface:
			return &Problem{
				What:   fmt.Sprintf("%s is on %s itself, which answers ARP and neighbour discovery for it", i.vip, h.iface),
				Mend:   remove,
				byHand: true,
			}, nil
		case h.iface == "lo" && !h.prefix.IsSingleIP():
			return &Problem{
				What:   fmt.Sprintf("%s on lo makes all of %s this host's own", h.prefix, h.prefix.Masked()),
				Mend:   remove + " && " + addCommand(i.vip),
				byHand: true,
			}, nil
		}
	}
	if i.vip.Is6() {
		return i.proxied()
	}
	return nil, nil
}

// proxied looks for an entry that makes the kernel answer neighbour
// solicitations. Without one it answers only for addresses of the interface
// that is asked, so IPv6 needs no setting like arp_ignore.
func (i conflictItem) proxied() (*Problem, error) {
	l, err := netlink.LinkByName(i.iface)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w (see `ip link`)", i.iface, err)
	}
	entries, err := netlink.NeighProxyList(l.Attrs().Index, unix.AF_INET6)
	if err != nil {
		return nil, fmt.Errorf("list proxy neighbours: %w", err)
	}
	for _, e := range entries {
		if e.IP.Equal(i.vip.AsSlice()) {
			return &Problem{
				What:   fmt.Sprintf("%s answers neighbour discovery for %s as a proxy", i.iface, i.vip),
				Mend:   fmt.Sprintf("ip -6 neighbour del proxy %s dev %s", i.vip, i.iface),
				byHand: true,
			}, nil
		}
	}
	return nil, nil
}

func (conflictItem) record() (*record, error)    { return nil, nil }
func (conflictItem) put(*record) (string, error) { return "", nil }
func (conflictItem) keys() []string              { return nil }

// holder is an interface that has an address.
type holder struct {
	iface  string
	prefix netip.Prefix
}

func holders(vip netip.Addr) ([]holder, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addrs, err := netlink.AddrList(nil, familyOf(vip))
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var found []holder
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok || ip.Unmap() != vip {
			continue
		}
		bits, _ := a.Mask.Size()
		found = append(found, holder{names[a.LinkIndex], netip.PrefixFrom(vip, bits)})
	}
	return found, nil
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// whole is the address as a prefix of its full length.
func whole(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
