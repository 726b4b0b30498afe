package importer

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/shlex"
)

// IPVS reads what ipvsadm-save (or ipvsadm --save -n) prints: of each virtual
// service it makes a service. The name is for errors.
func IPVS(name string, in io.Reader, o Options) (*Result, error) {
	v := &ipvs{work: newWork(o), byKey: map[string]*virtual{}}
	v.result.From, v.result.interfaces = "ipvs", o.Interfaces
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, 1<<20)
	for n := 1; scanner.Scan(); n++ {
		at := place{name, n}
		text, err := shlex.Split(scanner.Text())
		if err != nil {
			return nil, at.errorf("%v", err)
		}
		if len(text) > 0 && text[0] == "ipvsadm" {
			text = text[1:]
		}
		if len(text) == 0 {
			continue
		}
		if err := v.line(words{at, text}); err != nil {
			return nil, err
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(v.order) == 0 {
		return nil, &Error{name, 1, "there is no virtual service (-A …): give the output of `ipvsadm-save -n`"}
	}
	for _, s := range v.order {
		v.service(s)
	}
	return &v.result, nil
}

type ipvs struct {
	*work
	byKey map[string]*virtual
	order []*virtual
}

// virtual is a virtual service with its real servers.
type virtual struct {
	words
	listener listener
	members  []member
	forward  string
	left     bool
}

func (v *ipvs) line(l words) error {
	key := ""
	for _, flag := range []string{"-t", "--tcp-service", "-u", "--udp-service", "-f", "--fwmark-service", "--sctp-service"} {
		if a, ok := l.after(flag); ok {
			key = flag[:2] + a
			if strings.HasPrefix(flag, "--") {
				key = "-" + flag[2:3] + a
			}
		}
	}
	switch l.first() {
	case "-A", "--add-service", "-a", "--add-server":
	case "-C", "--clear", "-Z", "--zero": // what scripts begin with
		return nil
	case "--set":
		v.note(l.at, l.String(), "see timeouts: of services")
		return nil
	case "--start-daemon", "--stop-daemon":
		v.note(l.at, l.String(), "%s", whyNoPeers)
		return nil
	default:
		return onlyAdds(l)
	}
	if key == "" {
		return l.at.errorf("%s: it names no virtual service (-t, -u or -f)", l)
	}
	s := v.byKey[key]
	if l.first() == "-a" || l.first() == "--add-server" {
		if s == nil {
			return l.at.errorf("%s: its virtual service was not added before", l)
		}
		return v.server(s, l)
	}
	if s != nil {
		return l.at.errorf("%s: it was added before, in line %d", l, s.at.line)
	}
	s = &virtual{words: l}
	v.byKey[key] = s
	v.order = append(v.order, s)
	return v.begin(s, key)
}

func onlyAdds(l words) error {
	return l.at.errorf("%s: only -A and -a are expected, as ipvsadm-save prints them", visible(l.String()))
}

func (v *ipvs) begin(s *virtual, key string) error {
	kind, where := key[:2], key[2:]
	if kind == "-f" || kind == "-s" {
		s.left = true
		v.leaveOut(s.at, s.String(), "a service is known by address and port of TCP or UDP")
		return nil
	}
	ap, err := netip.ParseAddrPort(where)
	if err != nil {
		if strings.Contains(where, ":") {
			return s.at.errorf("%q is not an address and port in numbers (save with ipvsadm-save -n)", where)
		}
		return s.at.errorf("%q is not an address and port", where)
	}
	if ap.Port() == 0 {
		s.left = true
		v.leaveOut(s.at, s.String(), "a frontend is one port, and port 0 is all of them")
		return nil
	}
	s.listener = listener{map[string]string{"-t": "tcp", "-u": "udp"}[kind], ap}
	return nil
}

// server adds a real server. LVS chooses the mode for each; xlb for a service.
func (v *ipvs) server(s *virtual, l words) error {
	if s.left {
		return nil
	}
	where, ok := l.after("-r")
	if !ok {
		where, _ = l.after("--real-server")
	}
	m := member{at: l.at, weight: 1}
	ap, err := netip.ParseAddrPort(where)
	if err != nil {
		a, err := netip.ParseAddr(strings.Trim(where, "[]"))
		if err != nil {
			return l.at.errorf("%q is not an address and port in numbers (save with ipvsadm-save -n)", where)
		}
		ap = netip.AddrPortFrom(a, 0)
	}
	m.address = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	for _, flag := range []string{"-w", "--weight"} {
		if w, ok := l.after(flag); ok {
			if m.weight, err = strconv.Atoi(w); err != nil || m.weight < 0 || m.weight > 65535 {
				return l.at.errorf("%s %s: a weight is 0 to 65535", flag, w)
			}
		}
	}
	forward := forwardOf(l)
	if forward == "" {
		v.note(l.at, l.String(), "xlb wraps packets by ipip or gue")
		return nil
	}
	if p, ok := l.after("--tun-port"); ok && forward == "gue" && p != "6080" {
		v.note(l.at, "--tun-port "+p, "the port is one for all: set gue_port: %s at the top of the file", p)
	}
	for _, flag := range []string{"-x", "--u-threshold", "-y", "--l-threshold"} {
		if n, ok := l.after(flag); ok && n != "0" {
			v.note(l.at, flag+" "+n, "the cap is of a service (max_connections), not of a backend")
		}
	}
	if s.forward == "" {
		s.forward = forward
	}
	if s.forward != forward {
		v.note(l.at, l.String(), "its mode is %s, and the service's is %s, of its first server", forward, s.forward)
		return nil
	}
	s.members = append(s.members, m)
	return nil
}

// forwardOf is the mode of a real server; empty if xlb has none like it.
func forwardOf(l words) string {
	tunnel, typed := l.after("--tun-type")
	switch {
	case l.has("-m") || l.has("--masquerading"):
		return "dnat"
	case !l.has("-i") && !l.has("--ipip"):
		return "l2dsr" // -g, the default
	case tunnel == "gue":
		return "gue"
	case !typed || tunnel == "ipip":
		return "ipip"
	}
	return ""
}

func (v *ipvs) service(s *virtual) {
	if s.left {
		return
	}
	out := Service{Forward: s.forward, Probe: &Probe{Type: "none"}}
	if out.Forward == "" {
		out.Forward = "l2dsr"
	}
	name, ok := s.after("-s")
	if !ok {
		if name, ok = s.after("--scheduler"); !ok {
			name = "wlc"
		}
	}
	var flags []string
	if b, ok := s.after("-b"); ok {
		flags = strings.Split(b, ",")
	} else if b, ok := s.after("--sched-flags"); ok {
		flags = strings.Split(b, ",")
	}
	v.scheduler(s.at, "-s "+name, name, flags, &out)
	for _, flag := range []string{"-p", "--persistent"} {
		if !s.has(flag) {
			continue
		}
		seconds := 300 // ipvsadm's own
		if t, ok := s.after(flag); ok {
			if n, err := strconv.Atoi(t); err == nil {
				seconds = n
			}
		}
		mask, ok := s.after("-M")
		if !ok {
			mask, _ = s.after("--netmask")
		}
		out.Affinity = v.affinity(s.at, flag, seconds, mask)
	}
	if s.has("-o") || s.has("--ops") {
		if out.OPS = out.Forward != "dnat"; !out.OPS {
			v.note(s.at, "-o", "dnat needs the flow's record for the way back")
		}
	}
	if pe, ok := s.after("--pe"); ok {
		v.note(s.at, "--pe "+pe, "xlb does not look into packets")
	}
	if name == "fo" {
		failover(s.members)
	}
	l := s.listener
	v.add(s.at, fmt.Sprintf("vs-%s-%d", l.address.Addr(), l.address.Port()), []listener{l}, s.members, out)
}
