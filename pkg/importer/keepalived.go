package importer

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Keepalived reads keepalived's configuration: of each virtual_server it makes a
// service.
func Keepalived(path string, o Options) (*Result, error) {
	blocks, err := (&reader{map[string]string{}}).blocks(path, 0)
	if err != nil {
		return nil, fmt.Errorf("keepalived configuration: %w", err)
	}
	k := &keepalived{work: newWork(o), groups: map[string]*block{}}
	k.result.From, k.result.interfaces = "keepalived", o.Interfaces
	found := false
	for _, b := range blocks {
		switch first := b.first(); {
		case first == "virtual_server_group":
			k.groups[b.arg(0)] = b
		case first == "virtual_server":
			found = true
		case first == "vrrp_instance" || first == "vrrp_sync_group":
			k.note(b.at, b.String(), "xlb does not move addresses between hosts: keep keepalived for this, or announce the VIP from every balancer (ECMP)")
		case first == "global_defs" || strings.HasPrefix(first, "vrrp_") || strings.HasPrefix(first, "static_") || strings.HasPrefix(first, "garp_") || strings.HasPrefix(first, "linkbeat_"):
			// Of keepalived itself and its VRRP, which stays.
		case first == "SSL":
			k.note(b.at, b.String(), "see ca:, certificate: and key: of probes")
		default:
			k.note(b.at, b.String(), "is not known")
		}
	}
	if !found {
		return nil, &Error{path, 1, "there is no virtual_server"}
	}
	for _, b := range blocks {
		if b.first() == "virtual_server" {
			if err := k.service(b); err != nil {
				return nil, err
			}
		}
	}
	return &k.result, nil
}

type keepalived struct {
	*work
	groups map[string]*block
}

func (k *keepalived) service(b *block) error {
	protocol := strings.ToLower(b.value("protocol"))
	if protocol == "" {
		protocol = "tcp"
	}
	if protocol != "tcp" && protocol != "udp" {
		k.leaveOut(b.at, b.String(), "xlb balances TCP and UDP, and this is %s", strings.ToUpper(protocol))
		return nil
	}
	listeners, ok, err := k.listeners(b, protocol)
	if err != nil || !ok {
		return err
	}
	s := Service{Forward: "dnat"}
	if m := b.find("lb_kind", "lvs_method"); m != nil {
		if s.Forward = lvsMethod(m); s.Forward == "" {
			k.leaveOut(b.at, m.String(), "there is no such mode of forwarding")
			return nil
		}
	}
	k.schedule(b, &s)
	s.OPS = b.find("ops") != nil && protocol == "udp"
	if s.OPS && s.Forward == "dnat" {
		s.OPS = false
		k.note(b.find("ops").at, "ops", "dnat needs the flow's record for the way back")
	}
	if err := k.persistence(b, &s); err != nil {
		return err
	}
	members, err := k.members(b, &s)
	if err != nil {
		return err
	}
	if b.value("lb_algo", "lvs_sched") == "fo" {
		failover(members)
	}
	k.leftovers(b, virtualServerLines)
	k.add(b.at, "vs-"+strings.Join(b.text[1:], "-"), listeners, members, s)
	return nil
}

// lvsMethod is the mode of a line lvs_method; empty if there is none. What LVS
// calls NAT keeps the client's address.
func lvsMethod(m *block) string {
	switch strings.ToUpper(m.arg(0)) {
	case "NAT":
		return "dnat"
	case "DR":
		return "l2dsr"
	case "TUN":
		switch tunnel, _ := m.after("type"); tunnel {
		case "", "ipip":
			return "ipip"
		case "gue":
			return "gue"
		}
	}
	return ""
}

func (k *keepalived) schedule(b *block, s *Service) {
	algorithm := b.find("lb_algo", "lvs_sched")
	if algorithm == nil {
		s.Schedule = "least-connections" // wlc is keepalived's own
		return
	}
	var flags []string
	for _, f := range b.inner {
		switch f.first() {
		case "hashed", "flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback":
			flags = append(flags, f.first())
		}
	}
	k.scheduler(algorithm.at, algorithm.String(), algorithm.arg(0), flags, s)
}

func (k *keepalived) listeners(b *block, protocol string) ([]listener, bool, error) {
	switch b.arg(0) {
	case "fwmark":
		k.leaveOut(b.at, b.String(), "a service is known by address and port, not by a mark of the firewall")
		return nil, false, nil
	case "group":
		g := k.groups[b.arg(1)]
		if g == nil {
			return nil, false, b.at.errorf("there is no virtual_server_group %q", b.arg(1))
		}
		var out []listener
		for _, l := range g.inner {
			if l.first() == "fwmark" {
				k.note(l.at, l.String(), "a service is known by address and port, not by a mark of the firewall")
				continue
			}
			some, err := k.virtualAddress(l.at, protocol, l.first(), l.arg(0))
			if err != nil {
				return nil, false, err
			}
			out = append(out, some...)
		}
		if len(out) == 0 {
			k.leaveOut(b.at, b.String(), "its group has no address and port")
		}
		return out, len(out) > 0, nil
	}
	out, err := k.virtualAddress(b.at, protocol, b.arg(0), b.arg(1))
	if err == nil && len(out) == 0 {
		k.leaveOut(b.at, b.String(), "it has no address and port that could be a frontend")
	}
	return out, len(out) > 0, err
}

// virtualAddress reads an address, which may be a range of its last part
// (192.0.2.1-5), and a port, which may be a range. None comes of a port 0, which is
// noted.
func (k *keepalived) virtualAddress(at place, protocol, address, port string) ([]listener, error) {
	addresses, err := addressRange(at, address)
	if err != nil {
		return nil, err
	}
	if port == "" || port == "0" {
		k.note(at, strings.TrimSpace(address+" "+port), "a frontend is one port, and port 0 is all of them")
		return nil, nil
	}
	_, first, last, err := listenAddress(port)
	if err != nil {
		return nil, at.errorf("%s %s: %v", address, port, err)
	}
	if (last-first+1)*len(addresses) > 256 {
		k.note(at, address+" "+port, "a frontend is one port, and these are %d", (last-first+1)*len(addresses))
		return nil, nil
	}
	return listenersOf(protocol, addresses, first, last), nil
}

func addressRange(at place, address string) ([]netip.Addr, error) {
	first, last, ranged := strings.Cut(address, "-")
	a, err := netip.ParseAddr(first)
	if err != nil {
		return nil, at.errorf("%q is not an IP address", address)
	}
	count := 1
	if ranged {
		base, octets := 10, a.AsSlice()
		begin := uint64(octets[len(octets)-1])
		if a.Is6() {
			base = 16
			begin |= uint64(octets[len(octets)-2]) << 8
		}
		end, err := strconv.ParseUint(last, base, 16)
		if err != nil || end < begin || end-begin > 255 || a.Is4() && end > 255 {
			return nil, at.errorf("%q is not a range of at most 256 addresses", address)
		}
		count = int(end-begin) + 1
	}
	var out []netip.Addr
	for range count {
		out = append(out, a)
		a = a.Next()
	}
	return out, nil
}

func (k *keepalived) persistence(b *block, s *Service) error {
	p := b.find("persistence_timeout")
	if p == nil {
		return nil
	}
	seconds := 360 // keepalived's own, if the word stands alone
	if p.arg(0) != "" {
		n, err := strconv.Atoi(p.arg(0))
		if err != nil || n < 0 {
			return p.at.errorf("%q is not a number of seconds", p.arg(0))
		}
		seconds = n
	}
	s.Affinity = k.affinity(p.at, p.String(), seconds, b.value("persistence_granularity"))
	return nil
}

func (k *keepalived) members(b *block, s *Service) ([]member, error) {
	var members []member
	for _, r := range b.inner {
		if r.first() != "real_server" && r.first() != "sorry_server" {
			continue
		}
		a, err := netip.ParseAddr(r.arg(0))
		if err != nil {
			k.note(r.at, r.String(), "is no IP address")
			continue
		}
		port := uint64(0)
		if r.arg(1) != "" {
			if port, err = strconv.ParseUint(r.arg(1), 10, 16); err != nil {
				return nil, r.at.errorf("%s: %q is not a port from 1 to 65535", r, r.arg(1))
			}
		}
		m := member{at: r.at, address: netip.AddrPortFrom(a.Unmap(), uint16(port)), weight: 1}
		if r.first() == "sorry_server" {
			m.priority = 1
			members = append(members, m)
			continue
		}
		if w := (&block{inner: append(append([]*block{}, b.inner...), r.inner...)}).find("weight"); w != nil {
			if m.weight, err = strconv.Atoi(w.arg(0)); err != nil || m.weight < 0 || m.weight > 65535 {
				return nil, w.at.errorf("%s: a weight is 0 to 65535", w)
			}
		}
		if o := r.find("lvs_method", "lb_kind"); o != nil && lvsMethod(o) != s.Forward {
			k.note(r.at, r.String(), "its %s differs from that of its virtual server (%s), and a service has one", o, s.Forward)
			continue
		}
		k.leftovers(r, realServerLines)
		k.check(b, r, s)
		members = append(members, m)
	}
	if s.Probe == nil {
		s.Probe = &Probe{Type: "none"} // keepalived looks at those with a check alone
	}
	return members, nil
}
