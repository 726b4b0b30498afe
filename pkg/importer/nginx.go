package importer

import (
	"errors"
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
	if wrong := (*crossplane.ParseError)(nil); errors.As(err, &wrong) && wrong.File != nil && wrong.Line != nil {
		return nil, &Error{*wrong.File, *wrong.Line, wrong.What}
	}
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
		default:
			n.leftover(d)
		}
	}
	for _, s := range servers {
		if err := n.server(s); err != nil {
			return err
		}
	}
	return nil
}

// resolver is who is asked for names in a block, or in the one around it, and for
// how long an answer holds.
func (n *nginx) resolver(block *crossplane.Directive) (servers []string, ttl time.Duration) {
	d := n.get(block, "resolver")
	if d == nil {
		return nil, 0
	}
	for _, a := range d.Args {
		if name, value, ok := strings.Cut(a, "="); ok {
			if t, ok := nginxTime(value); ok && name == "valid" {
				ttl = min(max(t, time.Second), 24*time.Hour)
			}
		} else if ip, err := netip.ParseAddr(strings.Trim(a, "[]")); err == nil {
			servers = append(servers, netip.AddrPortFrom(ip, 53).String())
		} else if ap, err := netip.ParseAddrPort(a); err == nil {
			servers = append(servers, ap.String())
		} else {
			n.note(n.at(d), "resolver "+a, "a DNS server is an address in servers: of discover")
		}
	}
	return servers, ttl
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
		m, why := n.member(d, n.at(pass), target, false)
		if why != "" {
			n.leaveOut(n.at(pass), text(pass), "%s", why)
			return nil
		}
		members = []member{m}
		name = "to-" + target
	}
	n.options(d, &s)
	n.rules(d, &s)
	for _, l := range d.Block {
		n.leftover(l)
	}
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
			case "ssl", "reuseport", "backlog", "rcvbuf", "sndbuf", "bind", "so_keepalive", "ipv6only", "fastopen", "deferred", "setfib", "default_server":
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
		if name := (*nameError)(nil); errors.As(err, &name) {
			n.note(at, text(d), "%v", err)
			continue
		} else if err != nil {
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
		out = append(out, listenersOf(protocol, vips, first, last)...)
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
		if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			return addr, 0, 0, fmt.Errorf("it names no port")
		}
		return addr, 0, 0, fmt.Errorf("%q is not a port from 1 to 65535", ports)
	}
	if host = strings.Trim(host, "[]"); host == "" || host == "*" {
		return addr, first, last, nil
	}
	if addr, err = netip.ParseAddr(host); err != nil {
		return addr, 0, 0, &nameError{host}
	}
	return addr.Unmap(), first, last, nil
}

// nameError: a name stands where xlb needs an address.
type nameError struct{ name string }

func (e *nameError) Error() string {
	return fmt.Sprintf("%q is not an IP address, and xlb needs the address itself", e.name)
}
