package importer

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
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
	if err := h.sections(lines); err != nil {
		return nil, err
	}
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

// sections that hold nothing of a service.
var haproxySections = map[string]bool{
	"global": true, "resolvers": true, "peers": true, "userlist": true, "mailers": true, "program": true, "cache": true,
	"http-errors": true, "ring": true, "log-forward": true, "log-profile": true, "fcgi-app": true, "crt-store": true, "traces": true, "acme": true,
}

func (h *haproxy) sections(lines []words) error {
	var defaults, own *[]words
	named := map[string]*[]words{}
	inherited := func(l words) ([]words, error) {
		if from, ok := l.after("from"); ok {
			if named[from] == nil {
				return nil, l.at.errorf("there is no defaults %q", from)
			}
			return slices.Clone(*named[from]), nil
		}
		if l.first() == "defaults" || defaults == nil {
			return nil, nil
		}
		return slices.Clone(*defaults), nil
	}
	resolver := ""
	for _, l := range lines {
		switch first := l.first(); {
		case first == "defaults" || first == "listen" || first == "frontend" || first == "backend":
			begin, err := inherited(l)
			if err != nil {
				return err
			}
			if first == "defaults" {
				defaults = &begin
				named[l.arg(0)], own = defaults, defaults
				continue
			}
			p := &proxy{at: l.at, kind: first, name: l.arg(0), lines: begin}
			own = &p.lines
			h.proxy(p, l)
		case haproxySections[first]:
			own, resolver = nil, ""
			if first == "resolvers" {
				resolver = l.arg(0)
			}
			if first == "peers" {
				h.note(l.at, l.String(), "%s", whyNoPeers)
			}
		case own != nil:
			*own = appended(*own, l)
		case resolver != "" && first == "nameserver":
			if ap, err := netip.ParseAddrPort(strings.TrimPrefix(strings.TrimPrefix(l.arg(1), "udp@"), "tcp@")); err == nil {
				h.resolvers[resolver] = append(h.resolvers[resolver], ap.String())
			} else {
				h.note(l.at, l.String(), "a server is written address:port in servers: of discover")
			}
		}
	}
	return nil
}

// proxy takes a section in. Before HAProxy 2.1 `listen NAME ADDRESS:PORT` could be
// written.
func (h *haproxy) proxy(p *proxy, l words) {
	h.order = append(h.order, p)
	if p.kind != "frontend" {
		h.proxies[p.name] = p
	}
	if where := l.arg(1); where != "" && where != "from" {
		p.lines = append(p.lines, words{l.at, append([]string{"bind"}, l.text[2:]...)})
	}
}

// appended adds a line in today's words; `no option` takes one away.
func appended(lines []words, l words) []words {
	switch l.first() {
	case "clitimeout", "srvtimeout", "contimeout":
		old := map[string]string{"clitimeout": "client", "srvtimeout": "server", "contimeout": "connect"}
		l.text = append([]string{"timeout", old[l.first()]}, l.text[1:]...)
	case "redispatch":
		l.text = []string{"option", "redispatch"}
	case "no":
		without := l.text[1:]
		return slices.DeleteFunc(lines, func(o words) bool { return len(without) > 0 && o.begins(without...) })
	}
	return append(lines, l)
}

// last is the last line of a proxy that begins with these words.
func (p *proxy) last(keys ...string) (words, bool) {
	for _, l := range slices.Backward(p.lines) {
		if l.begins(keys...) {
			return l, true
		}
	}
	return words{}, false
}

func (p *proxy) String() string { return strings.TrimSpace(p.kind + " " + p.name) }

// service makes one of a listen, or of a frontend and its default backend.
func (h *haproxy) service(p *proxy) error {
	back, err := h.serving(p)
	if err != nil || back == nil {
		return err
	}
	listeners, ok, err := h.listeners(p)
	if err != nil || !ok {
		return err
	}
	s := Service{Schedule: "round-robin", Timeouts: map[string]string{}}
	h.balance(back, &s)
	h.options(p, back, &s)
	h.rules(p, back, &s)
	members, ok := h.servers(back, &s)
	if !ok {
		return nil
	}
	h.leftovers(p, back)
	h.add(p.at, p.name, listeners, members, s)
	return nil
}

// serving is the proxy that has the servers; nil if there can be no service.
func (h *haproxy) serving(p *proxy) (*proxy, error) {
	tcp := func(p *proxy) bool {
		if mode, ok := p.last("mode"); ok && mode.arg(0) != "tcp" {
			h.leaveOut(p.at, p.String(), "mode %s looks into connections; xlb balances them whole", mode.arg(0))
			return false
		}
		if l, ok := p.last("disabled"); ok {
			if e, on := p.last("enabled"); !on || e.at.line < l.at.line {
				h.leaveOut(l.at, p.String(), "it is disabled")
				return false
			}
		}
		return true
	}
	if !tcp(p) {
		return nil, nil
	}
	if p.kind == "listen" {
		if _, ok := p.last("server"); ok || !slices.ContainsFunc(p.lines, func(l words) bool { return l.first() == "default_backend" || l.first() == "use_backend" }) {
			return p, nil
		}
	}
	to, ok := p.last("default_backend")
	for _, l := range p.lines {
		switch {
		case l.first() != "use_backend":
		case len(l.text) == 2 && !ok: // without a condition
			to, ok = l, true
		default:
			h.note(l.at, l.String(), "xlb chooses a service by address and port alone; steer: chooses backends by the client's address, a policy by what it likes")
		}
	}
	if !ok {
		h.leaveOut(p.at, p.String(), "it has no default_backend")
		return nil, nil
	}
	back := h.proxies[to.arg(0)]
	if back == nil {
		return nil, to.at.errorf("there is no backend %q", to.arg(0))
	}
	if !tcp(back) {
		return nil, nil
	}
	return back, nil
}

// listeners are those of a proxy's bind lines, without those that xlb cannot stand
// for.
func (h *haproxy) listeners(p *proxy) ([]listener, bool, error) {
	var out []listener
	at, what, why := p.at, p.String(), "it binds no address that packets come to"
	for _, l := range p.lines {
		if l.first() != "bind" {
			continue
		}
		options := bindOptions(l)
		refused := ""
		switch {
		case has(options, "ssl"):
			refused = "HAProxy speaks TLS itself here; xlb passes on what the client sends"
		case has(options, "accept-proxy"):
			refused = "xlb does not read the PROXY protocol"
		}
		if refused != "" {
			if at != p.at { // of several, the first is told as what leaves the service out
				h.note(l.at, l.String(), "%s", refused)
			} else {
				at, what, why = l.at, l.String(), refused
			}
			continue
		}
		for _, where := range strings.Split(l.arg(0), ",") {
			some, err := h.bind(l, where, options)
			if err != nil {
				return nil, false, err
			}
			out = append(out, some...)
		}
	}
	switch {
	case len(out) == 0:
		h.leaveOut(at, what, "%s", why)
	case at != p.at:
		h.note(at, what, "%s", why)
	}
	return out, len(out) > 0, nil
}

// bindOptions are those after the address of a bind line.
func bindOptions(l words) map[string]string {
	return l.options(2, strings.Fields("name interface maxconn mss tcp-ut id uid user gid group mode backlog process thread nice level namespace crt ca-file"))
}

func (h *haproxy) bind(l words, where string, options map[string]string) ([]listener, error) {
	for _, prefix := range []string{"unix@", "abns@", "fd@", "sockpair@", "/", "quic", "udp", "rhttp@"} {
		if strings.HasPrefix(where, prefix) {
			h.note(l.at, "bind "+where, "HAProxy's sockets of this kind are none that xlb could stand for: it takes packets of TCP at an address")
			return nil, nil
		}
	}
	if where == "" {
		return nil, l.at.errorf("bind names no address")
	}
	both, six := has(options, "v4v6"), strings.HasPrefix(where, "ipv6@")
	where = withoutFamily(where)
	addr, first, last, err := listenAddress(where)
	if name := (*nameError)(nil); errors.As(err, &name) {
		h.note(l.at, "bind "+where, "%v", err)
		return nil, nil
	} else if err != nil {
		return nil, l.at.errorf("bind %s: %v", where, err)
	}
	if last-first >= 256 {
		h.note(l.at, "bind "+where, "a frontend is one port, and these are %d", last-first+1)
		return nil, nil
	}
	for _, o := range [][2]string{
		{"interface", "a frontend is reached by every interface of interfaces:"},
		{"maxconn", "the cap is of a service: max_connections"},
		{"namespace", "xlb works in one network namespace"},
	} {
		if v := options[o[0]]; v != "" {
			h.note(l.at, "bind … "+o[0]+" "+v, "%s", o[1])
		}
	}
	six = six || addr.Is6()
	vips, err := h.vips(l.at, "bind "+where, addr, !six || both, six || both)
	if err != nil {
		return nil, err
	}
	return listenersOf("tcp", vips, first, last), nil
}

func withoutFamily(where string) string {
	for _, prefix := range []string{"ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"} {
		where = strings.TrimPrefix(where, prefix)
	}
	return where
}

func has(options map[string]string, name string) bool {
	_, ok := options[name]
	return ok
}
