package importer

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	crossplane "github.com/nginxinc/nginx-go-crossplane"
)

// Nginx reads nginx's configuration and the files that it includes: of each
// server of `stream` it makes a service.
func Nginx(path string, o Options) (*Result, error) {
	payload, err := crossplane.Parse(path, &crossplane.ParseOptions{
		CombineConfigs: true, SkipDirectiveContextCheck: true, SkipDirectiveArgsCheck: true, StopParsingOnError: true,
	})
	if err != nil {
		return nil, fmt.Errorf("nginx configuration: %w", err)
	}
	n := &nginx{work: newWork(o)}
	n.result.From, n.result.interfaces = "nginx", o.Interfaces
	streams := 0
	for _, c := range payload.Config {
		for _, d := range c.Parsed {
			switch d.Directive {
			case "stream":
				streams++
				if err := n.stream(d); err != nil {
					return nil, err
				}
			case "http", "mail":
				n.note(n.at(d), d.Directive+" {…}", "xlb balances connections and does not look into them: this stays with nginx")
			}
		}
	}
	if streams == 0 {
		return nil, &Error{path, 1, "there is no stream { } block: only nginx's layer-4 part can be imported"}
	}
	return &n.result, nil
}

type nginx struct {
	*work
	scope     crossplane.Directives // of the stream block
	upstreams map[string]*crossplane.Directive
	resolvers []string
}

func (n *nginx) at(d *crossplane.Directive) place { return place{d.File, d.Line} }

func (n *nginx) stream(block *crossplane.Directive) error {
	n.scope, n.upstreams = block.Block, map[string]*crossplane.Directive{}
	var servers []*crossplane.Directive
	for _, d := range block.Block {
		switch d.Directive {
		case "upstream":
			if len(d.Args) == 1 {
				n.upstreams[d.Args[0]] = d
			}
		case "server":
			servers = append(servers, d)
		case "map", "geo", "split_clients":
			n.note(n.at(d), d.Directive+" {…}", "variables of nginx are not known to xlb; a policy can decide by the client's address (docs/guides/write-a-policy.md)")
		case "resolver":
			n.resolvers = resolverAddresses(d.Args)
		}
	}
	for _, s := range servers {
		if err := n.server(s); err != nil {
			return err
		}
	}
	return nil
}

func resolverAddresses(args []string) []string {
	var out []string
	for _, a := range args {
		if strings.Contains(a, "=") {
			continue
		}
		if ip, err := netip.ParseAddr(strings.Trim(a, "[]")); err == nil {
			out = append(out, netip.AddrPortFrom(ip, 53).String())
		} else if ap, err := netip.ParseAddrPort(a); err == nil {
			out = append(out, ap.String())
		}
	}
	return out
}

// get is the directive of a server, or what it inherits of the stream block.
func (n *nginx) get(server *crossplane.Directive, name string) *crossplane.Directive {
	for _, scope := range []crossplane.Directives{server.Block, n.scope} {
		for _, d := range slices.Backward(scope) {
			if d.Directive == name && len(d.Args) > 0 {
				return d
			}
		}
	}
	return nil
}

func (n *nginx) server(d *crossplane.Directive) error {
	at := n.at(d)
	pass := n.get(d, "proxy_pass")
	if pass == nil {
		n.leaveOut(at, "server {…}", "it has no proxy_pass")
		return nil
	}
	target := pass.Args[0]
	listeners, ok, err := n.listeners(d)
	if err != nil || !ok {
		return err
	}
	if strings.Contains(target, "$") {
		n.leaveOut(n.at(pass), "proxy_pass "+target, "variables of nginx are not known to xlb")
		return nil
	}
	if strings.HasPrefix(target, "unix:") {
		n.leaveOut(n.at(pass), "proxy_pass "+target, "xlb sends packets, and a Unix socket takes none")
		return nil
	}
	if bad := n.terminates(d); bad != nil {
		n.leaveOut(n.at(bad), text(bad), "nginx speaks TLS itself here; xlb passes on what the client sends")
		return nil
	}
	s := Service{Schedule: "round-robin", Timeouts: map[string]string{}}
	var members []member
	name := target
	if up := n.upstreams[target]; up != nil {
		if members = n.upstream(up, &s); members == nil {
			return nil
		}
	} else {
		m, ok := n.member(n.at(pass), target)
		if !ok {
			return nil
		}
		members = []member{m}
		name = "to-" + target
	}
	n.options(d, &s)
	n.access(d, &s)
	n.add(at, name, listeners, members, s)
	return nil
}

func text(d *crossplane.Directive) string {
	return strings.Join(append([]string{d.Directive}, d.Args...), " ")
}

// terminates finds what makes nginx more than a pipe.
func (n *nginx) terminates(server *crossplane.Directive) *crossplane.Directive {
	if d := n.get(server, "proxy_ssl"); d != nil && d.Args[0] == "on" {
		return d
	}
	for _, d := range server.Block {
		if d.Directive == "listen" && slices.Contains(d.Args, "ssl") {
			return d
		}
	}
	return nil
}

func (n *nginx) listeners(server *crossplane.Directive) ([]listener, bool, error) {
	var out []listener
	for _, d := range server.Block {
		if d.Directive != "listen" || len(d.Args) == 0 {
			continue
		}
		at, where := n.at(d), d.Args[0]
		protocol := "tcp"
		for _, a := range d.Args[1:] {
			switch name, _, _ := strings.Cut(a, "="); name {
			case "udp":
				protocol = "udp"
			case "proxy_protocol":
				n.leaveOut(at, text(d), "xlb does not read the PROXY protocol")
				return nil, false, nil
			case "ssl", "reuseport", "backlog", "rcvbuf", "sndbuf", "bind", "so_keepalive", "ipv6only", "fastopen", "default_server":
				// They are about nginx's own sockets, of which xlb has none.
			default:
				n.note(at, "listen … "+a, "is not known")
			}
		}
		if strings.HasPrefix(where, "unix:") {
			n.note(at, text(d), "xlb takes packets, and a Unix socket gives none")
			continue
		}
		addr, first, last, err := listenAddress(where)
		if err != nil {
			return nil, false, at.errorf("listen %s: %v", where, err)
		}
		both := slices.Contains(d.Args, "ipv6only=off")
		v4 := !addr.IsValid() || addr.Is4() || both
		v6 := addr.Is6()
		vips, err := n.vips(at, text(d), addr, v4, v6)
		if err != nil {
			return nil, false, err
		}
		if last-first >= 256 {
			n.leaveOut(at, text(d), "a frontend is one port, and these are %d", last-first+1)
			return nil, false, nil
		}
		for _, vip := range vips {
			for port := first; port <= last; port++ {
				out = append(out, listener{protocol, netip.AddrPortFrom(vip, uint16(port))})
			}
		}
	}
	if len(out) == 0 {
		n.leaveOut(n.at(server), "server {…}", "it listens nowhere that packets come to")
		return nil, false, nil
	}
	return out, true, nil
}

// listenAddress takes apart ADDRESS:PORT, *:PORT or PORT, of which PORT may be a
// range. The address is not valid if there is none.
func listenAddress(s string) (addr netip.Addr, first, last int, err error) {
	host, ports := "", s
	if i := strings.LastIndex(s, ":"); i >= 0 {
		host, ports = s[:i], s[i+1:]
	}
	a, b, ranged := strings.Cut(ports, "-")
	if !ranged {
		b = a
	}
	first, err1 := strconv.Atoi(a)
	last, err2 := strconv.Atoi(b)
	if err1 != nil || err2 != nil || first < 1 || last > 65535 || first > last {
		return addr, 0, 0, fmt.Errorf("%q is not a port from 1 to 65535", ports)
	}
	if host = strings.Trim(host, "[]"); host == "" || host == "*" {
		return addr, first, last, nil
	}
	if addr, err = netip.ParseAddr(host); err != nil {
		return addr, 0, 0, fmt.Errorf("%q is not an IP address (xlb needs the address itself)", host)
	}
	return addr.Unmap(), first, last, nil
}

func (n *nginx) options(server *crossplane.Directive, s *Service) {
	if d := n.get(server, "proxy_timeout"); d != nil {
		if t, ok := nginxTime(d.Args[0]); ok {
			v := n.seconds(n.at(d), text(d), t)
			s.Timeouts["tcp_established"], s.Timeouts["udp"] = v, v
		}
	} else {
		s.Timeouts["tcp_established"], s.Timeouts["udp"] = "10m", "10m" // nginx's default
	}
	if d := n.get(server, "proxy_next_upstream"); d == nil || d.Args[0] == "on" {
		s.SynRetry = 2
		if tries := n.get(server, "proxy_next_upstream_tries"); tries != nil {
			if k, err := strconv.Atoi(tries.Args[0]); err == nil && k > 0 {
				s.SynRetry = min(k-1, 3)
			}
		}
	}
	if d := n.get(server, "proxy_bind"); d != nil && d.Args[0] != "off" {
		if slices.Contains(d.Args, "transparent") {
			s.Forward = "dnat"
			s.SynRetry = min(s.SynRetry, 3)
		} else {
			n.note(n.at(d), text(d), "the addresses towards backends are those of all services: set sources: [%s] at the top of the file", d.Args[0])
		}
	}
	if d := n.get(server, "limit_conn"); d != nil {
		n.note(n.at(d), text(d), "xlb limits new connections a second of a source (rate_per_source), not how many it has")
	}
	whys := map[string]string{
		"proxy_protocol":              "xlb does not write into connections; forward: dnat and the DSR modes keep the client's address instead",
		"proxy_connect_timeout":       "clients try again by themselves after 1 s, 3 s, …: see syn_retry",
		"proxy_next_upstream_timeout": "see proxy_connect_timeout",
		"proxy_download_rate":         "xlb does not slow connections down",
		"proxy_upload_rate":           "xlb does not slow connections down",
		"health_check":                "of nginx Plus; set probe:",
		"ssl_preread":                 "the name in TLS is inside the connection, which begins at a backend before the name is known",
		"js_access":                   "a policy can decide on new flows (docs/guides/write-a-policy.md)",
		"js_filter":                   "xlb does not change what is in a connection",
		"js_preread":                  "xlb does not look into connections",
		"proxy_requests":              "",
	}
	for _, d := range server.Block {
		if why := whys[d.Directive]; why != "" && !(len(d.Args) > 0 && d.Args[0] == "off") {
			n.note(n.at(d), text(d), "%s", why)
		}
	}
	if d := n.get(server, "proxy_responses"); d != nil && d.Args[0] == "0" {
		n.note(n.at(d), text(d), "a UDP flow is remembered for timeouts.udp whatever the answers; where they go back directly, ops: true forgets it at once")
	}
}

// access turns allow and deny. In nginx the first that holds decides; in xlb the
// longest prefix does.
func (n *nginx) access(server *crossplane.Directive, s *Service) {
	rules := server.Block
	has := func(d *crossplane.Directive) bool { return d.Directive == "allow" || d.Directive == "deny" }
	if !slices.ContainsFunc(rules, has) {
		rules = n.scope
	}
	closed := false
	for i, d := range rules {
		if !has(d) || len(d.Args) == 0 {
			continue
		}
		what := d.Args[0]
		if what == "all" {
			closed = d.Directive == "deny"
			if slices.ContainsFunc(rules[i+1:], has) {
				n.note(n.at(d), text(d), "what follows it has no effect in nginx, and was not taken")
			}
			break
		}
		if what == "unix:" {
			continue
		}
		if d.Directive == "allow" {
			s.Allow = append(s.Allow, what)
		} else {
			s.Deny = append(s.Deny, what)
		}
	}
	if len(s.Allow) > 0 && !closed {
		// An allow list admits nobody else in xlb; here everybody else came in.
		s.Allow = append(s.Allow, "0.0.0.0/0", "::/0")
	}
	if closed && len(s.Allow) == 0 {
		s.Deny = []string{"0.0.0.0/0", "::/0"}
	}
}

// nginxTime reads 10, 10s, 1m30s, 500ms, 1d.
func nginxTime(s string) (time.Duration, bool) {
	var total time.Duration
	units := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "": time.Second}
	for s != "" {
		i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		digits, rest := s, ""
		if i >= 0 {
			digits, rest = s[:i], s[i:]
		}
		v, err := strconv.Atoi(digits)
		if err != nil {
			return 0, false
		}
		j := strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' })
		unit := rest
		if j >= 0 {
			unit = rest[:j]
		}
		u, ok := units[strings.TrimSpace(unit)]
		if !ok {
			return 0, false
		}
		total += time.Duration(v) * u
		s = rest[len(unit):]
	}
	return total, total > 0
}
