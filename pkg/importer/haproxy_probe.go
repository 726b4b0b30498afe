package importer

import (
	"net/netip"
	"reflect"
	"strconv"
	"time"
)

// probes is the check of the first checked server; that of others is noted where
// it is another.
func (h *haproxy) probes(p *proxy, checked, unchecked []haproxyServer, s *Service) {
	if len(checked) == 0 {
		s.Probe = &Probe{Type: "none"}
		return
	}
	s.Probe = h.probe(p, checked[0], s)
	for _, c := range checked[1:] {
		if !reflect.DeepEqual(h.quietly().probe(p, c, &Service{}), s.Probe) {
			h.note(c.at, c.String(), "its check differs from that of %s, and a probe is of all backends of a service", checked[0].arg(0))
		}
	}
	for _, u := range unchecked {
		h.note(u.at, u.String(), "it has no check, but a probe is of all backends of a service")
	}
}

// quietly is the same import, without its notes.
func (h *haproxy) quietly() *haproxy {
	other := *h
	other.work = newWork(h.Options)
	return &other
}

// probe is the check of a server.
func (h *haproxy) probe(p *proxy, server haproxyServer, s *Service) *Probe {
	out := &Probe{Type: "tcp", Rise: 2, Fall: 3}
	h.checkKind(p, out, server, s)
	interval := server.duration("inter")
	if interval == 0 {
		interval = haproxyInterval
	}
	timeout := timeOf(p, "check")
	if timeout == 0 {
		timeout = timeOf(p, "connect")
	}
	timeout = min(timeout, interval)
	failing := server.duration("downinter")
	if timeout == 0 {
		timeout = interval // HAProxy's own
		if failing > 0 {
			timeout = min(timeout, failing)
		}
	}
	out.within(h.work, server.at, interval, failing, timeout)
	h.count(server, "rise", &out.Rise, 100)
	h.count(server, "fall", &out.Fall, 100)
	h.count(server, "port", &out.Port, 65535)
	if v, ok := server.options["addr"]; ok {
		if a, err := netip.ParseAddr(v); err == nil {
			out.Address = a.Unmap().String()
		} else {
			h.note(server.at, "addr "+v, "a probe goes to an address, and names are not looked up")
		}
	}
	return out
}

// count reads a number from 1 on.
func (h *haproxy) count(server haproxyServer, key string, to *int, most int) {
	v, ok := server.options[key]
	if !ok {
		return
	}
	if n, err := strconv.Atoi(v); err == nil && n >= 1 && n <= most {
		*to = n
		return
	}
	h.note(server.place(key), key+" "+v, "it must be 1 to %d", most)
}

const haproxyInterval = 2 * time.Second

func timeOf(p *proxy, name string) time.Duration {
	if l, ok := p.last("timeout", name); ok {
		d, _ := haproxyTime(l.arg(1))
		return d
	}
	return 0
}
