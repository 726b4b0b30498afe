package importer

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// haproxyServer is a line of a server with what `default-server` adds.
type haproxyServer struct {
	words
	options   map[string]string
	inherited map[string]place // those of default-server, and where they stand
}

// place is where an option stands.
func (s haproxyServer) place(option string) place {
	if at, ok := s.inherited[option]; ok {
		return at
	}
	return s.at
}

func (s haproxyServer) duration(key string) (d time.Duration) {
	if v, ok := s.options[key]; ok {
		d, _ = haproxyTime(v)
	}
	return d
}

// serverArguments are the options of a server that take one.
var serverArguments = strings.Fields(`addr agent-addr agent-inter agent-port agent-send alpn ca-file check-alpn check-proto check-sni ciphers ciphersuites
	client-sigalgs cookie crl-file crt curves downinter error-limit fall fastinter group guid hash-key id idle-ping init-addr init-state inter interface
	log-bufsize log-proto max-reuse maxconn maxqueue minconn namespace npn observe on-error on-marked-down on-marked-up pool-conn-name
	pool-low-conn pool-max-conn pool-purge-delay port proto proxy-v2-options redir resolve-net resolve-opts resolve-prefer resolvers
	rise set-proxy-v2-tlv-fmt shard sigalgs slowstart sni socks4 source ssl-max-ver ssl-min-ver tcp-md5sig tcp-ut track usesrc verify verifyhost weight ws`)

// servers are the backends of a proxy, and its probe.
func (h *haproxy) servers(p *proxy, s *Service) ([]member, bool) {
	var members []member
	var checked, unchecked []haproxyServer
	defaults := haproxyServer{options: map[string]string{}, inherited: map[string]place{}}
	backups := 0
	_, all := p.last("option", "allbackups")
	for _, l := range p.lines {
		from := map[string]int{"default-server": 1, "server": 3, "server-template": 4}[l.first()]
		if from == 0 {
			continue
		}
		server := defaults.with(l, l.options(from, serverArguments))
		if l.first() == "default-server" {
			defaults = server
			continue
		}
		if has(server.options, "ssl") {
			h.leaveOut(l.at, p.String(), "HAProxy speaks TLS to %s here; xlb passes on what the client sends", l.arg(0))
			return nil, false
		}
		m, ok := h.server(server, s)
		if !ok {
			continue
		}
		if has(server.options, "backup") {
			// One at a time, in their order, or all at once.
			if !all || backups == 0 {
				backups++
			}
			m.priority = min(backups, 255)
		}
		members = append(members, m)
		if has(server.options, "check") {
			checked = append(checked, server)
		} else {
			unchecked = append(unchecked, server)
		}
	}
	if len(members) == 0 {
		h.leaveOut(p.at, p.String(), "it has no server that xlb can send to")
		return nil, false
	}
	h.probes(p, checked, unchecked, s)
	return members, true
}

// with is a line after default-server lines.
func (s haproxyServer) with(l words, own map[string]string) haproxyServer {
	out := haproxyServer{l, merged(s.options, own), maps.Clone(s.inherited)}
	for name := range own {
		delete(out.inherited, name)
		if l.first() == "default-server" {
			out.inherited[name] = l.at
		}
	}
	return out
}

// merged are options with others over them; no-x takes x away.
func merged(under, over map[string]string) map[string]string {
	out := maps.Clone(under)
	for name, v := range over {
		if off, ok := strings.CutPrefix(name, "no-"); ok {
			delete(out, off)
		} else if name == "enabled" {
			delete(out, "disabled")
		} else {
			out[name] = v
		}
	}
	return out
}

var serverWhys = map[string]string{
	"maxconn":          "the cap is of a service (max_connections), not of a backend, and there is no queue; schedule: least-connections spreads them",
	"minconn":          "see maxconn",
	"maxqueue":         "there is no queue",
	"send-proxy":       whyNoProxyProtocol,
	"send-proxy-v2":    whyNoProxyProtocol,
	"agent-check":      "a probe of type exec or policy can set weights and roles",
	"track":            "a probe that services share is sent once anyway",
	"on-marked-up":     "connections end by their timeouts",
	"check-send-proxy": "a probe does not write the PROXY protocol; forward: dnat and the DSR modes keep the client's address instead",
	"fastinter":        "an interval holds while healthy (interval) or while not (interval_failing)",
	"source":           "the addresses towards backends are those of all services: set sources: at the top of the file",
	"interface":        "the kernel's routes say by which interface a backend is reached",
	"namespace":        "xlb works in one network namespace",
	"check-via-socks4": "xlb asks the backends themselves",
	"socks4":           "xlb sends packets to the backends themselves",
	"on-error":         "see eject",
	"non-stick":        "affinity is of all backends",
	"redir":            "of mode http",
	"shard":            "of peers",
}

const whyNoProxyProtocol = "xlb does not write into connections, and the server must no longer expect it; forward: dnat and the DSR modes keep the client's address instead"

// serverSilent are read elsewhere, or of HAProxy's own sockets, or of mode http.
var serverSilent = words{text: strings.Fields(`check weight backup disabled enabled resolvers slowstart observe error-limit inter downinter rise fall port addr
	check-ssl check-sni check-alpn check-proto verify ca-file ssl id guid cookie init-addr init-state resolve-prefer resolve-opts resolve-net
	on-marked-down tfo tcp-ut pool-conn-name pool-low-conn pool-max-conn pool-purge-delay max-reuse proto ws stick usesrc
	agent-addr agent-inter agent-port agent-send proxy-v2-options send-proxy-v2-ssl send-proxy-v2-ssl-cn hash-key idle-ping group
	sni alpn npn ciphers ciphersuites curves crt crl-file verifyhost ssl-min-ver ssl-max-ver sigalgs client-sigalgs
	allow-0rtt force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 ssl-reuse tls-tickets log-proto log-bufsize`)}

// server is a backend.
func (h *haproxy) server(l haproxyServer, s *Service) (member, bool) {
	m := member{at: l.at, weight: 1}
	where := l.arg(1)
	if l.first() == "server-template" {
		where = l.arg(2)
	}
	if !h.target(&m, l.words, where) {
		return m, false
	}
	if m.address.IsValid() {
		if why := unreachable(m.address.Addr()); why != "" {
			h.note(l.at, l.String(), "%s", why)
			return m, false
		}
	}
	if l.first() == "server-template" && m.name != "" {
		h.note(l.at, strings.Join(l.text[:min(4, len(l.text))], " "), "xlb takes as many backends as the name has")
	}
	if w, ok := l.options["weight"]; ok {
		if n, err := strconv.Atoi(w); err == nil {
			m.weight = min(max(n, 0), 65535)
		}
	}
	m.drain = has(l.options, "disabled")
	if r, ok := l.options["resolvers"]; ok {
		m.servers = h.resolvers[r]
	}
	if t := l.duration("slowstart"); t > 0 {
		h.slowStart(l.at, "slowstart "+l.options["slowstart"], t, s)
	}
	if has(l.options, "observe") {
		limit, err := strconv.Atoi(l.options["error-limit"])
		if err != nil || limit < 1 {
			limit = 10 // HAProxy's own
		}
		s.Eject = &Eject{Consecutive: min(limit, 1000000), Time: "10s"}
	}
	for _, name := range slices.Sorted(maps.Keys(l.options)) {
		why, known := serverWhys[name]
		if !known && serverSilent.has(name) {
			continue
		}
		h.note(l.place(name), strings.TrimSpace("server … "+name+" "+l.options[name]), "%s", cmp.Or(why, "is not known"))
	}
	return m, true
}

// target reads where a server is: address:port, name:port, or a service record.
func (h *haproxy) target(m *member, l words, where string) bool {
	where = withoutFamily(where)
	if where == "" || strings.HasPrefix(where, "/") || strings.Contains(where, "@") {
		h.note(l.at, l.String(), "xlb sends packets to an address")
		return false
	}
	if ap, err := netip.ParseAddrPort(where); err == nil {
		m.address = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		return true
	}
	if a, err := netip.ParseAddr(strings.Trim(where, "[]")); err == nil && (a.Is4() || where[0] == '[') {
		m.address = netip.AddrPortFrom(a.Unmap(), 0)
		return true
	}
	host, port, ok := where, "", false
	if i := strings.LastIndex(where, ":"); i >= 0 {
		host, port, ok = where[:i], where[i+1:], true
	}
	if strings.HasPrefix(host, "_") {
		m.name, m.srv = host, true
		return true
	}
	p := portOf(port)
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() && p > 0 { // without brackets
		m.address = netip.AddrPortFrom(a, uint16(p))
		return true
	}
	if ok && p == 0 || !isName(host) {
		h.note(l.at, l.String(), "is no address or name with a port (a port relative to the frontend's, +1000, is not known either)")
		return false
	}
	m.name, m.port = host, p
	return true
}
