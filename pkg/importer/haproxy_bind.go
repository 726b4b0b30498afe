package importer

import (
	"errors"
	"strings"
)

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
