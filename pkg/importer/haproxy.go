package importer

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HAProxy reads a configuration of HAProxy: of each `listen` or `frontend` in
// mode tcp it makes a service.
func HAProxy(path string, o Options) (*Result, error) {
	lines, err := readWords(path)
	if err != nil {
		return nil, fmt.Errorf("HAProxy configuration: %w", err)
	}
	h := &haproxy{work: newWork(o), proxies: map[string]*proxy{}, resolvers: map[string][]string{}}
	h.result.From, h.result.interfaces = "haproxy", o.Interfaces
	h.sections(lines)
	found := false
	for _, p := range h.order {
		if p.kind == "backend" {
			continue
		}
		found = true
		if err := h.service(p); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, &Error{path, 1, "there is neither listen nor frontend"}
	}
	return &h.result, nil
}

// proxy is a section, with what it has of `defaults` before its own lines.
type proxy struct {
	at         place
	kind, name string
	lines      []words
}

type haproxy struct {
	*work
	proxies   map[string]*proxy // by name: listen and backend
	order     []*proxy
	resolvers map[string][]string
}

func (h *haproxy) sections(lines []words) {
	var defaults []words
	named := map[string][]words{}
	var into *proxy
	section, name := "", ""
	for _, l := range lines {
		switch l.first() {
		case "defaults":
			section, name, into = "defaults", l.arg(0), nil
			defaults = nil
			if from, ok := l.after("from"); ok {
				defaults = slices.Clone(named[from])
			}
			continue
		case "listen", "frontend", "backend":
			section, name = l.first(), l.arg(0)
			begin := defaults
			if from, ok := l.after("from"); ok {
				begin = named[from]
			}
			into = &proxy{at: l.at, kind: section, name: name, lines: slices.Clone(begin)}
			h.order = append(h.order, into)
			if section != "frontend" {
				h.proxies[name] = into
			}
			continue
		case "global", "resolvers", "peers", "userlist", "mailers", "program", "cache", "http-errors", "ring", "log-forward", "fcgi-app", "crt-store":
			section, name, into = l.first(), l.arg(0), nil
			if section == "peers" {
				h.note(l.at, l.String(), "balancers of a fleet need not tell each other: their tables come out the same")
			}
			continue
		}
		switch {
		case section == "defaults":
			defaults = append(defaults, l)
			named[name] = defaults
		case section == "resolvers" && l.first() == "nameserver":
			if ap, err := netip.ParseAddrPort(strings.TrimPrefix(strings.TrimPrefix(l.arg(1), "udp@"), "tcp@")); err == nil {
				h.resolvers[name] = append(h.resolvers[name], ap.String())
			}
		case into != nil:
			into.lines = append(into.lines, l)
		}
	}
}

// last is the last line of a proxy that begins with these words.
func (p *proxy) last(keys ...string) (words, bool) {
	for _, l := range slices.Backward(p.lines) {
		if len(l.text) >= len(keys) && slices.Equal(l.text[:len(keys)], keys) {
			return l, true
		}
	}
	return words{}, false
}

// service makes one of a listen, or of a frontend and its default backend.
func (h *haproxy) service(p *proxy) error {
	if mode, ok := p.last("mode"); ok && mode.arg(0) != "tcp" {
		h.leaveOut(p.at, p.kind+" "+p.name, "mode %s looks into connections; xlb balances them whole", mode.arg(0))
		return nil
	}
	back := p
	if p.kind == "frontend" {
		uses := 0
		for _, l := range p.lines {
			if l.first() == "use_backend" {
				uses++
				h.note(l.at, l.String(), "xlb chooses a service by address and port alone; steer: chooses backends by the client's address, a policy by what it likes")
			}
		}
		d, ok := p.last("default_backend")
		if !ok {
			h.leaveOut(p.at, "frontend "+p.name, "it has no default_backend")
			return nil
		}
		if back = h.proxies[d.arg(0)]; back == nil {
			return d.at.errorf("there is no backend %q", d.arg(0))
		}
		if mode, ok := back.last("mode"); ok && mode.arg(0) != "tcp" {
			h.leaveOut(back.at, "backend "+back.name, "mode %s looks into connections", mode.arg(0))
			return nil
		}
	}
	listeners, ok, err := h.listeners(p)
	if err != nil || !ok {
		return err
	}
	s := Service{Schedule: "round-robin", Timeouts: map[string]string{}}
	h.balance(back, &s)
	h.options(p, back, &s)
	h.access(p, &s)
	members, ok := h.servers(back, &s)
	if !ok {
		return nil
	}
	h.add(p.at, p.name, listeners, members, s)
	return nil
}

func (h *haproxy) listeners(p *proxy) ([]listener, bool, error) {
	var out []listener
	for _, l := range p.lines {
		if l.first() != "bind" {
			continue
		}
		if l.has("ssl") {
			h.leaveOut(l.at, l.String(), "HAProxy speaks TLS itself here; xlb passes on what the client sends")
			return nil, false, nil
		}
		if l.has("accept-proxy") {
			h.leaveOut(l.at, l.String(), "xlb does not read the PROXY protocol")
			return nil, false, nil
		}
		for _, where := range strings.Split(l.arg(0), ",") {
			some, err := h.bind(l, where)
			if err != nil {
				return nil, false, err
			}
			out = append(out, some...)
		}
	}
	if len(out) == 0 {
		h.leaveOut(p.at, p.kind+" "+p.name, "it binds no address that packets come to")
		return nil, false, nil
	}
	return out, true, nil
}

func (h *haproxy) bind(l words, where string) ([]listener, error) {
	for _, prefix := range []string{"unix@", "abns@", "fd@", "sockpair@", "/", "quic"} {
		if strings.HasPrefix(where, prefix) {
			h.note(l.at, "bind "+where, "xlb takes packets of TCP and UDP at an address")
			return nil, nil
		}
	}
	where = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(where, "ipv4@"), "ipv6@"), "tcp@")
	addr, first, last, err := listenAddress(where)
	if err != nil {
		return nil, l.at.errorf("bind %s: %v", where, err)
	}
	if last-first >= 256 {
		h.note(l.at, "bind "+where, "a frontend is one port, and these are %d", last-first+1)
		return nil, nil
	}
	v6 := addr.Is6() || l.has("v4v6")
	v4 := !addr.IsValid() || addr.Is4() || l.has("v4v6")
	vips, err := h.vips(l.at, "bind "+where, addr, v4, v6)
	if err != nil {
		return nil, err
	}
	var out []listener
	for _, vip := range vips {
		for port := first; port <= last; port++ {
			out = append(out, listener{"tcp", netip.AddrPortFrom(vip, uint16(port))})
		}
	}
	return out, nil
}

func (h *haproxy) balance(p *proxy, s *Service) {
	l, ok := p.last("balance")
	if !ok {
		return
	}
	algorithm, argument, _ := strings.Cut(strings.TrimSuffix(l.arg(0), ")"), "(")
	switch algorithm {
	case "roundrobin", "static-rr":
	case "leastconn":
		s.Schedule = "least-connections"
	case "source":
		s.Schedule = "source-hash"
	case "random":
		// Of two (the default) or more drawn ones HAProxy takes the less loaded.
		s.Schedule = "least-connections"
		if argument == "1" {
			s.Schedule = "random"
		}
	case "first":
		h.note(l.at, l.String(), "xlb fills no server before the next; priority: makes tiers, of which the next serves when one is down. It became round-robin")
	default:
		s.Schedule = "maglev"
		h.note(l.at, l.String(), "it needs what is in the connection; it became a hash of addresses and ports")
	}
}

// options are those of the listening and of the serving side.
func (h *haproxy) options(front, back *proxy, s *Service) {
	h.timeouts(front, back, s)
	if l, ok := front.last("maxconn"); ok {
		if n, err := strconv.Atoi(l.arg(0)); err == nil && n > 0 {
			s.MaxConnections = n
		}
	}
	if _, ok := back.last("option", "redispatch"); ok {
		s.SynRetry = 3
		if l, ok := back.last("retries"); ok {
			if n, err := strconv.Atoi(l.arg(0)); err == nil {
				s.SynRetry = min(max(n, 0), 3)
			}
		}
	}
	if l, ok := back.last("source"); ok {
		if l.has("usesrc") {
			s.Forward = "dnat"
		} else {
			h.note(l.at, l.String(), "the addresses towards backends are those of all services: set sources: at the top of the file")
		}
	}
	h.sticky(back, s)
	whys := map[string]string{
		"tcp-request content":  "xlb does not look into connections; a policy can decide on new flows",
		"tcp-response content": "xlb does not look into connections",
		"fullconn":             "weights do not depend on the load; see schedule: least-connections",
		"dispatch":             "name the server as a backend",
		"option forwardfor":    "of mode http",
		"email-alert":          "see on_change: of probes",
		"rate-limit":           "see rate: and rate_per_source:",
	}
	for _, p := range slices.Compact([]*proxy{front, back}) {
		for _, l := range p.lines {
			for key, why := range whys {
				if strings.HasPrefix(l.String(), key+" ") || l.String() == key {
					h.note(l.at, l.String(), "%s", why)
				}
			}
		}
	}
}

func (h *haproxy) timeouts(front, back *proxy, s *Service) {
	type limit struct {
		p    *proxy
		name string
	}
	read := func(of ...limit) string {
		var longest words
		var most time.Duration
		for _, o := range of {
			if l, ok := o.p.last("timeout", o.name); ok {
				if t, ok := haproxyTime(l.arg(1)); ok && t > most {
					longest, most = l, t
				}
			}
		}
		if most == 0 {
			return ""
		}
		return h.seconds(longest.at, longest.String(), most)
	}
	v := read(limit{back, "tunnel"}, limit{front, "tunnel"})
	if v == "" {
		v = read(limit{front, "client"}, limit{back, "server"})
	}
	if v != "" {
		s.Timeouts["tcp_established"] = v
	}
	if v := read(limit{front, "client-fin"}, limit{back, "server-fin"}); v != "" {
		s.Timeouts["tcp_fin"] = v
	}
	for _, p := range slices.Compact([]*proxy{front, back}) {
		for name, why := range map[string]string{
			"connect": "clients try again by themselves after 1 s, 3 s, …; see syn_retry",
			"queue":   "xlb keeps no queue: what cannot be served is sent to another or dropped",
		} {
			if l, ok := p.last("timeout", name); ok {
				h.note(l.at, l.String(), "%s", why)
			}
		}
	}
}

// sticky turns a stick table of clients.
func (h *haproxy) sticky(p *proxy, s *Service) {
	on, ok := p.last("stick", "on")
	if !ok {
		on, ok = p.last("stick", "match")
	}
	table, tabled := p.last("stick-table")
	switch {
	case !ok && tabled:
		h.note(table.at, table.String(), "xlb counts by source in rate_per_source alone")
	case !ok:
	case !slices.Contains([]string{"src", "src,ipmask(32)", "src,ipmask(24)"}, on.arg(1)):
		h.note(on.at, on.String(), "affinity is by the client's address")
	default:
		s.Affinity = &Affinity{Timeout: "10m"}
		if e, ok := table.after("expire"); ok {
			if t, ok := haproxyTime(e); ok {
				s.Affinity.Timeout = h.seconds(table.at, "expire "+e, t)
			}
		}
		if strings.HasSuffix(on.arg(1), "ipmask(24)") {
			s.Affinity.IPv4 = 24
		}
	}
}

// access turns the rules on new connections that ask for the client's address
// alone.
func (h *haproxy) access(p *proxy, s *Service) {
	acls := map[string][]string{}
	for _, l := range p.lines {
		if l.first() == "acl" && l.arg(1) == "src" {
			acls[l.arg(0)] = append(acls[l.arg(0)], addressesOf(l.text[3:])...)
		}
	}
	for _, l := range p.lines {
		if l.first() != "tcp-request" || l.arg(0) != "connection" {
			continue
		}
		list, known := conditionOf(l, acls)
		negated := l.has("!{") || strings.HasPrefix(l.text[len(l.text)-1], "!") || l.has("unless")
		switch verb := l.arg(1); {
		case verb == "reject" && known && !negated:
			s.Deny = append(s.Deny, list...)
		case verb == "reject" && known:
			s.Allow = append(s.Allow, list...)
		case verb == "accept" && known && !negated:
			h.note(l.at, l.String(), "who is on no list is admitted anyway; with allow: nobody else would be")
		default:
			h.note(l.at, l.String(), "allow: and deny: know the client's address alone, rate: new connections a second")
		}
	}
}

// conditionOf is the addresses that a rule's condition asks for.
func conditionOf(l words, acls map[string][]string) ([]string, bool) {
	i := slices.IndexFunc(l.text, func(w string) bool { return w == "if" || w == "unless" })
	if i < 0 || i+1 >= len(l.text) {
		return nil, false
	}
	rest := l.text[i+1:]
	if rest[0] == "{" || rest[0] == "!{" {
		if len(rest) < 4 || rest[1] != "src" || rest[len(rest)-1] != "}" || slices.Contains(rest[1:len(rest)-1], "}") {
			return nil, false
		}
		return addressesOf(rest[2 : len(rest)-1]), true
	}
	list, ok := acls[strings.TrimPrefix(rest[0], "!")]
	return list, ok && len(rest) == 1
}

// addressesOf are the arguments of src: addresses, prefixes, and files after -f.
func addressesOf(list []string) []string {
	var out []string
	for _, a := range list {
		if a != "-f" && a != "-m" && a != "ip" && a != "--" {
			out = append(out, a)
		}
	}
	return out
}
