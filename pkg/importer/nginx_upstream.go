package importer

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"github.com/xlb-io/xlb/pkg/model"
)

// nginx takes a server out for 10 s after one failure, if nothing is said.
const (
	nginxMaxFails    = 1
	nginxFailTimeout = 10 * time.Second
)

// server of an upstream: the failures before it is taken out, and for how long.
type nginxFails struct {
	at    place
	what  string // the line
	said  bool   // max_fails stands there
	fails int
	time  time.Duration
}

// upstream is the servers of an upstream block, and what it says of the choice
// between them; nil if none can be a backend.
func (n *nginx) upstream(block *crossplane.Directive, s *Service) []member {
	var members []member
	var fails []nginxFails
	for _, d := range block.Block {
		at := n.at(d)
		switch d.Directive {
		case "server":
			if len(d.Args) == 0 {
				continue
			}
			record := slices.ContainsFunc(d.Args, func(a string) bool { return strings.HasPrefix(a, "service=") })
			m, why := n.member(block, at, d.Args[0], record)
			if why != "" {
				n.note(at, text(d), "%s", why)
				continue
			}
			fails = append(fails, n.parameters(d, &m, s))
			members = append(members, m)
		case "least_conn":
			s.Schedule = "least-connections"
		case "least_time":
			s.Schedule = "least-latency"
			n.note(at, text(d), "xlb measures the time of the handshake, not that of the first or last byte")
		case "random":
			s.Schedule = "random"
			if len(d.Args) > 0 && d.Args[0] == "two" {
				s.Schedule = "least-connections"
			}
		case "hash":
			n.hash(d, s)
		case "zone", "resolver", "resolver_timeout", "keepalive":
			// nginx's own memory and sockets.
		default:
			n.note(at, text(d), "is not known")
		}
	}
	if len(members) == 0 {
		n.leaveOut(n.at(block), text(block), "it has no server that xlb can send to")
		return nil
	}
	n.eject(fails, s)
	return members
}

// eject is of a service: the most that one of its servers may do counts.
func (n *nginx) eject(of []nginxFails, s *Service) {
	most := nginxFails{}
	for _, f := range of {
		most.fails, most.time = max(most.fails, f.fails), max(most.time, f.time)
		if f.said {
			most.at, most.what = f.at, f.what
		}
	}
	if most.fails == 0 {
		return
	}
	took := min(max(most.time.Truncate(time.Second), time.Second), time.Hour)
	s.Eject = &Eject{Consecutive: min(most.fails, 1000000), Time: model.DurationText(took), at: most.at, what: most.what}
	for _, f := range of {
		if f.fails != s.Eject.Consecutive || f.time != took {
			n.note(f.at, f.what, "eject is of a service: consecutive: %d and time: %s, where this server has %d and %s", s.Eject.Consecutive, s.Eject.Time, f.fails, model.DurationText(f.time))
		}
	}
}

// hash turns the key of a hash. Only what stands in the packets' headers can be
// one.
func (n *nginx) hash(d *crossplane.Directive, s *Service) {
	if len(d.Args) == 0 {
		return
	}
	parts := map[string]bool{}
	for _, v := range strings.FieldsFunc(d.Args[0], func(r rune) bool { return strings.ContainsRune("${}:- ,", r) }) {
		parts[v] = true
	}
	client := parts["remote_addr"] || parts["binary_remote_addr"]
	switch {
	case client && parts["remote_port"]:
		s.Schedule = "maglev"
	case client && (parts["server_addr"] || parts["server_port"]):
		s.Schedule, s.Hash = "maglev", "source-destination"
	case client:
		s.Schedule = "source-hash"
	default:
		s.Schedule = "maglev"
		n.note(n.at(d), text(d), "xlb hashes addresses and ports (hash:); it became the hash of all of them")
	}
}

// member is a server of a block, or why it cannot be one. Of a service record no
// port is given.
func (n *nginx) member(block *crossplane.Directive, at place, where string, record bool) (m member, why string) {
	m = member{at: at, weight: 1}
	if strings.HasPrefix(where, "unix:") {
		return m, "xlb sends packets, and a Unix socket takes none"
	}
	if ap, err := netip.ParseAddrPort(where); err == nil {
		m.address = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		return m, ""
	}
	host, port, _ := strings.Cut(where, ":")
	p := portOf(port)
	if service := port == "" && record; !service && p == 0 || !isName(host) {
		return m, "it is no address or name with a port"
	}
	m.name, m.port = host, p
	m.servers, m.ttl = n.resolver(block)
	return m, ""
}

// parameters reads those of a server.
func (n *nginx) parameters(d *crossplane.Directive, m *member, s *Service) nginxFails {
	at := n.at(d)
	f := nginxFails{at: at, what: text(d), fails: nginxMaxFails, time: nginxFailTimeout}
	for _, a := range d.Args[1:] {
		name, value, _ := strings.Cut(a, "=")
		number, err := strconv.Atoi(value)
		t, timed := nginxTime(value)
		switch {
		case name == "weight" && err == nil:
			m.weight = min(max(number, 0), 65535)
		case name == "max_fails" && err == nil:
			f.fails, f.said = max(number, 0), true
		case name == "fail_timeout" && timed:
			f.time = t
		case name == "backup":
			m.priority = 1
		case name == "down":
			m.drain = true
		case name == "slow_start" && timed:
			n.slowStart(at, a, t, s)
		case name == "resolve":
			// Names are always asked again.
		case name == "service" && m.name != "":
			if !strings.Contains(value, ".") {
				value = "_" + strings.TrimPrefix(value, "_") + "._tcp"
			}
			m.name, m.srv = value+"."+m.name, true
		case name == "max_conns":
			n.note(at, a, "the cap is of a service (max_connections), not of a backend; schedule: least-connections spreads them")
		default:
			n.note(at, a, "is not known")
		}
	}
	return f
}
