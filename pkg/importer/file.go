package importer

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Result is an xlb configuration.
type Result struct {
	// From is what it was made of: nginx, haproxy, keepalived or ipvs.
	From     string
	Services []*Service
	Notes    []Note

	interfaces []string
}

// Service is a service as the configuration file writes it; what is empty is
// left to xlb's default. See docs/CONFIGURATION.md for the keys.
type Service struct {
	Name           string            `yaml:"-"`
	Frontends      []string          `yaml:"frontends,flow"`
	Forward        string            `yaml:"forward,omitempty"`
	Schedule       string            `yaml:"schedule,omitempty"`
	Hash           string            `yaml:"hash,omitempty"`
	Affinity       *Affinity         `yaml:"affinity,flow,omitempty"`
	OPS            bool              `yaml:"ops,omitempty"`
	Backends       []Backend         `yaml:"backends,omitempty"`
	Discover       []Source          `yaml:"discover,omitempty"`
	Role           string            `yaml:"role,omitempty"`
	Probe          *Probe            `yaml:"probe,flow,omitempty"`
	Eject          *Eject            `yaml:"eject,flow,omitempty"`
	SynRetry       int               `yaml:"syn_retry,omitempty"`
	SlowStart      string            `yaml:"slow_start,omitempty"`
	MaxConnections int               `yaml:"max_connections,omitempty"`
	Allow          []string          `yaml:"allow,flow,omitempty"`
	Deny           []string          `yaml:"deny,flow,omitempty"`
	Timeouts       map[string]string `yaml:"timeouts,flow,omitempty"`
}

// Affinity keeps a client's connections at one backend.
type Affinity struct {
	Timeout string `yaml:"timeout"`
	IPv4    int    `yaml:"ipv4,omitempty"`
	IPv6    int    `yaml:"ipv6,omitempty"`
}

// Backend is a server.
type Backend struct {
	Address  string `yaml:"address"`
	Weight   *int   `yaml:"weight,omitempty"`
	Priority int    `yaml:"priority,omitempty"`
	Drain    bool   `yaml:"drain,omitempty"`
}

// Source is a name that the backends are asked of.
type Source struct {
	Type     string   `yaml:"type"`
	Name     string   `yaml:"name"`
	Port     int      `yaml:"port,omitempty"`
	Servers  []string `yaml:"servers,flow,omitempty"`
	Weight   int      `yaml:"weight,omitempty"`
	Priority int      `yaml:"priority,omitempty"`
}

// Eject takes a backend that refuses connections out for a time.
type Eject struct {
	Consecutive int    `yaml:"consecutive"`
	Time        string `yaml:"time"`

	// at and what are the setting, if it was given and is not a default.
	at   place
	what string
}

// YAML is the configuration file, with the notes as its first lines.
func (r *Result) YAML() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Made by `xlb import %s`.\n", r.From)
	slices.SortStableFunc(r.Notes, func(a, b Note) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "# no counterpart: %s\n", n)
	}
	services := yaml.MapSlice{}
	for _, s := range r.Services {
		services = append(services, yaml.MapItem{Key: s.Name, Value: s})
	}
	head, err := yaml.MarshalWithOptions(yaml.MapSlice{{Key: "interfaces", Value: r.interfaces}}, yaml.Flow(true))
	if err != nil {
		return nil, err
	}
	b.WriteString(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(head)), "{"), "}") + "\n")
	body, err := yaml.MarshalWithOptions(yaml.MapSlice{{Key: "services", Value: services}}, yaml.IndentSequence(true))
	if err != nil {
		return nil, err
	}
	b.Write(bytes.TrimRight(body, "\n"))
	b.WriteByte('\n')
	return b.Bytes(), nil
}

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
	srv      bool
	weight   int
	priority int
	drain    bool
}

// add makes services of a template: one for each protocol and, as nat does not
// translate, family. Every member of the other family is noted.
func (w *work) add(at place, name string, listeners []listener, members []member, template Service) {
	groups := map[string][]listener{}
	for _, l := range listeners {
		key := l.protocol
		if template.Forward == "" || template.Forward == "dnat" {
			key += familyOf(l.address.Addr())
		}
		if template.keepsPorts() {
			key += fmt.Sprint(l.address.Port())
		}
		groups[key] = append(groups[key], l)
	}
	keys := make([]string, 0, len(groups))
	for k := range groups {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
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
		w.result.Services = append(w.result.Services, &s)
	}
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
		switch {
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
	if m.srv {
		out.Type, out.Port = "srv", 0
	}
	if m.weight != 1 {
		out.Weight = m.weight
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
		w.note(at, what, "a timeout is whole seconds from 1s to 168h; it became %s", short(rounded))
	}
	return short(rounded)
}

// short writes a duration without zero parts.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
