package importer

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// servers are the backends of a proxy, and its probe.
func (h *haproxy) servers(p *proxy, s *Service) ([]member, bool) {
	var members []member
	defaults := words{}
	var checked, unchecked *words
	for _, l := range p.lines {
		switch l.first() {
		case "default-server":
			defaults = l
			continue
		case "server", "server-template":
		default:
			continue
		}
		all := words{l.at, append(append([]string{}, l.text...), rest(defaults)...)}
		m, ok := h.server(l, all, s)
		if !ok {
			continue
		}
		members = append(members, m)
		line := all
		if all.has("check") {
			if checked == nil {
				checked = &line
			}
		} else if unchecked == nil {
			unchecked = &line
		}
	}
	if len(members) == 0 {
		h.leaveOut(p.at, p.kind+" "+p.name, "it has no server that xlb can send to")
		return nil, false
	}
	switch {
	case checked == nil:
		s.Probe = &Probe{Type: "none"}
	default:
		s.Probe = h.probe(p, *checked, s)
		if unchecked != nil {
			h.note(unchecked.at, unchecked.String(), "it has no check, but a probe is of all backends of a service")
		}
	}
	return members, true
}

func rest(l words) []string {
	if len(l.text) == 0 {
		return nil
	}
	return l.text[1:]
}

// server is a backend. What stands in the line wins over default-server, as the
// line comes first in all.
func (h *haproxy) server(l, all words, s *Service) (member, bool) {
	m := member{at: l.at, weight: 1}
	where := l.arg(1)
	if l.first() == "server-template" {
		where = l.arg(2)
	}
	if !h.target(&m, l, where) {
		return m, false
	}
	if w, ok := all.after("weight"); ok {
		if n, err := strconv.Atoi(w); err == nil {
			m.weight = n
		}
	}
	if all.has("backup") {
		m.priority = 1
	}
	m.drain = all.has("disabled")
	if r, ok := all.after("resolvers"); ok {
		m.servers = h.resolvers[r]
	}
	if t, ok := all.after("slowstart"); ok {
		if d, ok := haproxyTime(t); ok {
			s.SlowStart = short(d)
		}
	}
	if all.has("observe") {
		limit := 10
		if n, ok := all.after("error-limit"); ok {
			limit, _ = strconv.Atoi(n)
		}
		s.Eject = &Eject{Consecutive: max(limit, 1), Time: "10s"}
	}
	for key, why := range map[string]string{
		"maxconn":       "the cap is of a service (max_connections), not of a backend, and there is no queue; schedule: least-connections spreads them",
		"send-proxy":    "xlb does not write into connections; forward: dnat and the DSR modes keep the client's address instead",
		"send-proxy-v2": "xlb does not write into connections; forward: dnat and the DSR modes keep the client's address instead",
		"ssl":           "xlb does not encrypt: clients must speak TLS themselves",
		"agent-check":   "a probe of type exec or policy can set weights and roles",
		"cookie":        "of mode http",
		"track":         "a probe that services share is sent once anyway",
		"on-marked-up":  "connections end by their timeouts",
	} {
		if all.has(key) {
			h.note(l.at, "server … "+key, "%s", why)
		}
	}
	return m, true
}

// target reads where a server is: address:port, name:port, or a service record.
func (h *haproxy) target(m *member, l words, where string) bool {
	where = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(where, "ipv4@"), "ipv6@"), "tcp@")
	if strings.HasPrefix(where, "/") || strings.Contains(where, "@") {
		h.note(l.at, l.String(), "xlb sends packets to an address")
		return false
	}
	if ap, err := netip.ParseAddrPort(where); err == nil {
		m.address = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		return true
	}
	if a, err := netip.ParseAddr(strings.Trim(where, "[]")); err == nil {
		m.address = netip.AddrPortFrom(a, 0)
		return true
	}
	host, port, ok := strings.Cut(where, ":")
	if strings.HasPrefix(host, "_") {
		m.name, m.srv = host, true
		return true
	}
	p, err := strconv.Atoi(port)
	if ok && (err != nil || p < 1 || p > 65535) || strings.ContainsAny(host, "$%") {
		h.note(l.at, l.String(), "is no address or name with a port (a port relative to the frontend's, +1000, is not known either)")
		return false
	}
	m.name, m.port = host, p
	return true
}

// probe is the check of a proxy, by the line of its first checked server.
func (h *haproxy) probe(p *proxy, server words, s *Service) *Probe {
	out := &Probe{Type: "tcp", Rise: 2, Fall: 3}
	h.checkKind(p, out, server, s)
	time := func(key string) (d time.Duration) {
		if v, ok := server.after(key); ok {
			d, _ = haproxyTime(v)
		}
		return d
	}
	timeout := timeOf(p, "check")
	if timeout == 0 {
		timeout = timeOf(p, "connect")
	}
	interval := time("inter")
	if interval == 0 {
		interval = haproxyInterval
	}
	if timeout == 0 || timeout > interval {
		timeout = interval
	}
	out.within(h.work, server.at, interval, timeout)
	if d := time("downinter"); d > 0 {
		out.IntervalFailing = short(d)
	}
	if v, ok := server.after("fastinter"); ok {
		h.note(server.at, "fastinter "+v, "an interval holds while healthy (interval) or while not (interval_failing)")
	}
	for key, to := range map[string]*int{"rise": &out.Rise, "fall": &out.Fall, "port": &out.Port} {
		if v, ok := server.after(key); ok {
			*to, _ = strconv.Atoi(v)
		}
	}
	if v, ok := server.after("addr"); ok {
		out.Address = v
	}
	return out
}

const haproxyInterval = 2 * time.Second

func timeOf(p *proxy, name string) time.Duration {
	if l, ok := p.last("timeout", name); ok {
		d, _ := haproxyTime(l.arg(1))
		return d
	}
	return 0
}
