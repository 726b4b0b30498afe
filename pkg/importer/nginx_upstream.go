package importer

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	crossplane "github.com/nginxinc/nginx-go-crossplane"
)

// nginx takes a server out for 10 s after one failure, if nothing is said.
const (
	nginxMaxFails    = 1
	nginxFailTimeout = 10 * time.Second
)

// upstream is the servers of an upstream block, and what it says of the choice
// between them; nil if none can be a backend.
func (n *nginx) upstream(d *crossplane.Directive, s *Service) []member {
	var members []member
	fails, failTime, said := 0, time.Duration(0), Eject{}
	for _, d := range d.Block {
		at := n.at(d)
		switch d.Directive {
		case "server":
			if len(d.Args) == 0 {
				continue
			}
			m, ok := n.member(at, d.Args[0])
			if !ok {
				continue
			}
			f, t := n.parameters(d, &m, s)
			fails, failTime = max(fails, f), max(failTime, t)
			if strings.Contains(text(d), " max_fails=") {
				said = Eject{at: at, what: text(d)}
			}
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
		case "zone", "state", "resolver", "resolver_timeout", "keepalive":
			// nginx's own memory and sockets.
		default:
			n.note(at, text(d), "is not known")
		}
	}
	if len(members) == 0 {
		n.leaveOut(n.at(d), text(d), "it has no server that xlb can send to")
		return nil
	}
	if fails > 0 {
		s.Eject = &Eject{Consecutive: fails, Time: short(max(failTime, time.Second)), at: said.at, what: said.what}
	}
	return members
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

func (n *nginx) member(at place, where string) (member, bool) {
	m := member{at: at, weight: 1, servers: n.resolvers}
	if strings.HasPrefix(where, "unix:") {
		n.note(at, "server "+where, "xlb sends packets, and a Unix socket takes none")
		return m, false
	}
	if ap, err := netip.ParseAddrPort(where); err == nil {
		m.address = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		return m, true
	}
	host, port, ok := strings.Cut(where, ":")
	p, err := strconv.Atoi(port)
	if !ok || err != nil || p < 1 || p > 65535 || strings.Contains(host, "$") {
		n.note(at, "server "+where, "is no address or name with a port")
		return m, false
	}
	m.name, m.port = host, p
	return m, true
}

// parameters reads those of a server: its failures before it is taken out, and
// for how long.
func (n *nginx) parameters(d *crossplane.Directive, m *member, s *Service) (fails int, failTime time.Duration) {
	fails, failTime = nginxMaxFails, nginxFailTimeout
	for _, a := range d.Args[1:] {
		name, value, _ := strings.Cut(a, "=")
		number, err := strconv.Atoi(value)
		switch name {
		case "weight":
			if err == nil {
				m.weight = min(max(number, 0), 65535)
			}
		case "max_fails":
			fails = number
		case "fail_timeout":
			if t, ok := nginxTime(value); ok {
				failTime = t
			}
		case "backup":
			m.priority = 1
		case "down":
			m.drain = true
		case "slow_start":
			if t, ok := nginxTime(value); ok {
				s.SlowStart = short(t)
			}
		case "resolve":
			// Names are always asked again.
		case "service":
			m.name, m.srv = "_"+strings.TrimPrefix(value, "_")+"._tcp."+m.name, true
			if strings.Contains(value, ".") {
				m.name = value
			}
		case "max_conns":
			n.note(n.at(d), a, "the cap is of a service (max_connections), not of a backend; schedule: least-connections spreads them")
		default:
			n.note(n.at(d), a, "is not known")
		}
	}
	return fails, failTime
}
