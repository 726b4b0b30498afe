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
	blocks, err := readBlocks(path, 0)
	if err != nil {
		return nil, fmt.Errorf("keepalived configuration: %w", err)
	}
	k := &keepalived{work: newWork(o), groups: map[string]*block{}}
	k.result.From, k.result.interfaces = "keepalived", o.Interfaces
	found := false
	for _, b := range blocks {
		switch b.first() {
		case "virtual_server_group":
			k.groups[b.arg(0)] = b
		case "vrrp_instance", "vrrp_sync_group":
			k.note(b.at, b.String(), "xlb does not move addresses between hosts: keep keepalived for this, or announce the VIP from every balancer (ECMP)")
		}
	}
	for _, b := range blocks {
		if b.first() == "virtual_server" {
			found = true
			if err := k.service(b); err != nil {
				return nil, err
			}
		}
	}
	if !found {
		return nil, &Error{path, 1, "there is no virtual_server"}
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
		k.leaveOut(b.at, b.String(), "xlb balances TCP and UDP, and this is %s", protocol)
		return nil
	}
	listeners, ok, err := k.listeners(b, protocol)
	if err != nil || !ok {
		return err
	}
	s := Service{Forward: "dnat"}
	if m := b.find("lb_kind", "lvs_method"); m != nil {
		forward, ok := lvsMethods[strings.ToUpper(m.arg(0))]
		if !ok {
			k.leaveOut(m.at, m.String(), "is not known")
			return nil
		}
		s.Forward = forward
		if m.has("type") && m.has("gue") {
			s.Forward = "gue"
		}
	}
	if a := b.find("lb_algo", "lvs_sched"); a != nil {
		k.scheduler(a.at, a.String(), a.arg(0), &s)
	} else {
		s.Schedule = "round-robin"
	}
	s.OPS = b.find("ops") != nil && protocol == "udp"
	if s.OPS && s.Forward == "dnat" {
		s.OPS = false
		k.note(b.find("ops").at, "ops", "dnat needs the flow's record for the way back")
	}
	if err := k.persistence(b, &s); err != nil {
		return err
	}
	members := k.members(b, &s)
	k.others(b)
	k.add(b.at, "vs-"+strings.Join(b.text[1:], "-"), listeners, members, s)
	return nil
}

// lvsMethods: what LVS calls NAT keeps the client's address.
var lvsMethods = map[string]string{"NAT": "dnat", "DR": "l2dsr", "TUN": "ipip"}

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
			some, err := virtualAddress(l.at, protocol, l.first(), l.arg(0))
			if err != nil {
				return nil, false, err
			}
			out = append(out, some...)
		}
		return out, len(out) > 0, nil
	}
	out, err := virtualAddress(b.at, protocol, b.arg(0), b.arg(1))
	return out, err == nil, err
}

// virtualAddress reads an address, which may be a range of its last part
// (192.0.2.1-5), and a port.
func virtualAddress(at place, protocol, address, port string) ([]listener, error) {
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || p == 0 {
		return nil, at.errorf("%s %s: a frontend needs a port from 1 to 65535 (a service of all ports has no counterpart)", address, port)
	}
	first, last, ranged := strings.Cut(address, "-")
	a, err := netip.ParseAddr(first)
	if err != nil {
		return nil, at.errorf("%q is not an IP address", address)
	}
	count := 1
	if ranged {
		base, radix := 10, a.AsSlice()
		if a.Is6() {
			base = 16
		}
		end, err := strconv.ParseUint(last, base, 16)
		begin := uint64(radix[len(radix)-1])
		if a.Is6() {
			begin |= uint64(radix[len(radix)-2]) << 8
		}
		if err != nil || end < begin || end-begin > 255 {
			return nil, at.errorf("%q is not a range of at most 256 addresses", address)
		}
		count = int(end-begin) + 1
	}
	var out []listener
	for range count {
		out = append(out, listener{protocol, netip.AddrPortFrom(a, uint16(p))})
		a = a.Next()
	}
	return out, nil
}

// scheduler translates one of LVS.
func (w *work) scheduler(at place, what, name string, s *Service) {
	switch name {
	case "rr", "wrr":
		s.Schedule = "round-robin"
	case "lc", "wlc":
		s.Schedule = "least-connections"
	case "sed", "nq", "lblc", "lblcr", "fo", "ovf":
		s.Schedule = "least-connections"
		w.note(at, what, "it became least-connections, which takes the less loaded of two")
	case "sh":
		s.Schedule = "source-hash"
	case "mh":
		s.Schedule, s.Hash = "maglev", "source"
	case "dh":
		s.Schedule, s.Hash = "maglev", "source-destination"
		w.note(at, what, "one VIP has one destination; it became a hash of source and destination")
	default:
		s.Schedule = "round-robin"
		w.note(at, what, "is not known; it became round-robin")
	}
}

func (k *keepalived) persistence(b *block, s *Service) error {
	p := b.find("persistence_timeout")
	if p == nil {
		return nil
	}
	seconds := 360 // keepalived's own, if the word stands alone
	if p.arg(0) != "" {
		n, err := strconv.Atoi(p.arg(0))
		if err != nil {
			return p.at.errorf("%q is not a number of seconds", p.arg(0))
		}
		seconds = n
	}
	s.Affinity = k.affinity(p.at, p.String(), seconds, b.value("persistence_granularity"))
	return nil
}

// affinity of so many seconds; the granularity is a netmask or, of IPv6, a
// length.
func (w *work) affinity(at place, what string, seconds int, granularity string) *Affinity {
	if seconds == 0 {
		return nil
	}
	out := &Affinity{Timeout: w.seconds(at, what, durationOf(seconds))}
	if mask, err := netip.ParseAddr(granularity); err == nil && mask.Is4() {
		out.IPv4 = ones(mask.As4())
	} else if n, err := strconv.Atoi(granularity); err == nil {
		out.IPv6 = n
	}
	return out
}

func (k *keepalived) members(b *block, s *Service) []member {
	var members []member
	for _, r := range b.inner {
		if r.first() != "real_server" && r.first() != "sorry_server" {
			continue
		}
		m := member{at: r.at, weight: 1}
		a, err := netip.ParseAddr(r.arg(0))
		if err != nil {
			k.note(r.at, r.String(), "is no IP address")
			continue
		}
		port, _ := strconv.ParseUint(r.arg(1), 10, 16)
		m.address = netip.AddrPortFrom(a, uint16(port))
		if r.first() == "sorry_server" {
			m.priority = 1
		}
		if v := r.value("weight"); v != "" {
			m.weight, _ = strconv.Atoi(v)
		}
		k.realServer(r)
		k.check(b, r, s)
		members = append(members, m)
	}
	if s.Probe == nil {
		s.Probe = &Probe{Type: "none"} // keepalived looks at those with a check alone
	}
	return members
}

func (k *keepalived) realServer(r *block) {
	for name, why := range map[string]string{
		"notify_up":          "see on_change: of probes",
		"notify_down":        "see on_change: of probes",
		"uthreshold":         "the cap is of a service (max_connections), not of a backend",
		"lthreshold":         "the cap is of a service (max_connections), not of a backend",
		"inhibit_on_failure": "an unhealthy backend keeps none of its flows; drain it to let them end",
	} {
		if c := r.find(name); c != nil {
			k.note(c.at, c.String(), "%s", why)
		}
	}
}

func (k *keepalived) others(b *block) {
	for name, why := range map[string]string{
		"quorum":             "see panic_threshold: and tiers:",
		"quorum_up":          "see on_change: of probes",
		"quorum_down":        "see on_change: of probes",
		"alpha":              "a backend counts as up until its first probe",
		"omega":              "the data plane stays when the daemon ends",
		"ha_suspend":         "every balancer of a fleet serves",
		"persistence_engine": "the data plane does not look into packets",
	} {
		if c := b.find(name); c != nil {
			k.note(c.at, c.String(), "%s", why)
		}
	}
}
