package importer

import (
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
