package importer

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// listener is one address and port that a service is reached at.
type listener struct {
	protocol string // tcp or udp
	address  netip.AddrPort
}

func (l listener) text() string { return l.protocol + "://" + l.address.String() }

// member is a backend or, of a name, a source.
type member struct {
	at       place
	name     string // of a host; empty if address is given
	address  netip.AddrPort
	port     int // of a name
	servers  []string
	ttl      time.Duration // of a name, whatever its records say; 0: what they say
	srv      bool
	weight   int
	priority int
	drain    bool
}

// add makes services of a template: one for each protocol, for each family, as nat
// does not translate, and, where ports are kept, for each port. Every member of the other family is noted.
func (w *work) add(at place, name string, listeners []listener, members []member, template Service) {
	groups, order := w.groups(at, listeners, members, template)
	if len(groups) == 0 {
		w.leaveOut(at, name, "there is no address left that it could be reached at")
		return
	}
	for _, k := range order {
		group := groups[k]
		s := template
		s.Frontends = nil
		for _, l := range group {
			if text := l.text(); !slices.Contains(s.Frontends, text) {
				s.Frontends = append(s.Frontends, text)
			}
		}
		w.fill(&s, group[0], members)
		if len(s.Backends)+len(s.Discover) == 0 {
			w.leaveOut(at, name, "no server of it can be a backend of %s", group[0].text())
			continue
		}
		s.Timeouts = timeoutsOf(template.Timeouts, group[0].protocol)
		if group[0].protocol == "udp" {
			if s.Eject != nil && s.Eject.at.line > 0 {
				w.note(s.Eject.at, s.Eject.what, "of UDP the data plane knows no failures; probes find them")
			}
			s.SynRetry, s.Eject = 0, nil
			if s.Probe != nil && s.Probe.Type == "tcp" && s.Probe.Port == 0 {
				s.Probe = nil // a UDP server need not listen on TCP
			}
		} else {
			s.OPS = false
		}
		s.Name = w.unique(name, group[0])
		for _, text := range s.Frontends {
			w.fronts[text] = fmt.Sprintf("%s (%s:%d)", s.Name, filepath.Base(at.file), at.line)
		}
		w.result.Services = append(w.result.Services, &s)
	}
}

// groups are the listeners that can be of one service, in the order of their first.
func (w *work) groups(at place, listeners []listener, members []member, template Service) (groups map[string][]listener, order []string) {
	// A server without a port gets the one that the client asked for.
	perPort := template.keepsPorts() || slices.ContainsFunc(members, func(m member) bool { return !m.srv && m.port == 0 && m.address.Port() == 0 })
	groups = map[string][]listener{}
	for _, l := range listeners {
		if !w.free(at, l) {
			continue
		}
		key := l.protocol
		if template.Forward == "" || template.Forward == "dnat" {
			key += familyOf(l.address.Addr())
		}
		if perPort {
			key += fmt.Sprint(l.address.Port())
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], l)
	}
	return groups, order
}

// free says whether packets can come to a listener, and no service has it yet.
func (w *work) free(at place, l listener) bool {
	text := l.text()
	if why := unreachable(l.address.Addr()); why != "" {
		w.note(at, text, "%s, and xlb takes packets of other hosts", why)
		return false
	}
	if whose, taken := w.fronts[text]; taken {
		w.note(at, text, "it is a frontend of %s already", whose)
		return false
	}
	return true
}

// timeoutsOf are those that hold for a protocol.
func timeoutsOf(all map[string]string, protocol string) map[string]string {
	var out map[string]string
	for name, v := range all {
		if (name == "udp") == (protocol == "udp") {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = v
		}
	}
	return out
}

func (s *Service) keepsPorts() bool { return s.Forward != "" && s.Forward != "dnat" }

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// fill adds the members that can be backends of a frontend.
func (w *work) fill(s *Service, front listener, members []member) {
	at := map[string]int{}
	for _, m := range members {
		if m.name != "" {
			s.Discover = append(s.Discover, m.source())
			continue
		}
		address := m.address
		if address.Port() == 0 {
			address = netip.AddrPortFrom(address.Addr(), front.address.Port())
		}
		why := unreachable(address.Addr())
		if slices.Contains(s.Frontends, listener{front.protocol, address}.text()) {
			why = "it is a frontend of the same service: packets would go in circles"
		}
		switch {
		case why != "":
			w.note(m.at, address.String(), "%s", why)
			continue
		case !s.keepsPorts() && address.Addr().Is4() != front.address.Addr().Is4():
			w.note(m.at, address.String(), "%s, but the frontend %s is %s, and %s does not translate between them", familyOf(address.Addr()), front.text(), familyOf(front.address.Addr()), cmp.Or(s.Forward, "nat"))
			continue
		case s.keepsPorts() && address.Port() != front.address.Port():
			w.note(m.at, address.String(), "%s keeps the port, which is %d at the frontend", s.Forward, front.address.Port())
			continue
		}
		b := Backend{Address: address.String(), Priority: m.priority, Drain: m.drain}
		if m.weight != 1 {
			weight := m.weight
			b.Weight = &weight
		}
		if i, double := at[b.Address]; double {
			w.note(m.at, b.Address, "stands here twice; the first counts (line of it: %d)", i)
			continue
		}
		at[b.Address] = m.at.line
		s.Backends = append(s.Backends, b)
	}
}

func (m member) source() Source {
	out := Source{Type: "dns", Name: m.name, Port: m.port, Servers: m.servers, Priority: m.priority}
	if m.ttl > 0 {
		out.MinTTL, out.MaxTTL = model.DurationText(m.ttl), model.DurationText(m.ttl)
	}
	if m.srv {
		out.Type, out.Port = "srv", 0
	}
	if m.weight != 1 {
		out.Weight = &m.weight
	}
	return out
}

// unique makes a service's name of what it was called.
func (w *work) unique(name string, l listener) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.', r == '_':
			return r
		}
		return '-'
	}, strings.ToLower(name))
	clean = strings.Trim(clean[:min(len(clean), 50)], "-")
	if clean == "" {
		clean = "service"
	}
	try := clean
	for first, taken := w.names[try]; taken; _, taken = w.names[try] {
		// What sets it apart from the one that has the name already.
		switch family := familyOf(l.address.Addr()); {
		case first.protocol != l.protocol && try == clean:
			try += "-" + l.protocol
		case familyOf(first.address.Addr()) != family && !strings.HasSuffix(try, family):
			try += "-" + strings.ToLower(family)
			first = l
		case first.address.Port() != l.address.Port():
			try += fmt.Sprintf("-%d", l.address.Port())
			first = l
		default:
			try += "-2"
		}
	}
	w.names[try] = l
	return try
}

// seconds is a duration of the file, in whole seconds from 1 s to 7 days.
func (w *work) seconds(at place, what string, d time.Duration) string {
	rounded := min(max((d+time.Second-1).Truncate(time.Second), time.Second), 168*time.Hour)
	if rounded != d {
		w.note(at, what, "a timeout is whole seconds from 1s to 168h; it became %s", model.DurationText(rounded))
	}
	return model.DurationText(rounded)
}

// slowStart sets that of a service, which has one.
func (w *work) slowStart(at place, what string, d time.Duration, s *Service) {
	switch v := w.seconds(at, what, d); {
	case s.SlowStart == "":
		s.SlowStart = v
	case s.SlowStart != v:
		w.note(at, what, "slow_start is of a service, and is %s", s.SlowStart)
	}
}

// listenersOf are those of some addresses and a range of ports.
func listenersOf(protocol string, addresses []netip.Addr, first, last int) []listener {
	var out []listener
	for _, a := range addresses {
		for port := first; port <= last; port++ {
			out = append(out, listener{protocol, netip.AddrPortFrom(a, uint16(port))})
		}
	}
	return out
}
