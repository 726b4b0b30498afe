package main

import (
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/api"
)

func TestStatus(t *testing.T) {
	newSample().start(t)
	same(t, xlb(t, "status").ok(t), `
ready, but: no usable backend for dns
xlb v1.2.3, process 4711, up 1d2h, took over the maps of an earlier run
configuration /etc/xlb/xlb.yaml, read 1m30s ago

INTERFACE  MODE    HOOK      WHY
eth0       native  xdp link  the driver of eth0 runs XDP

dns  203.0.113.53:53/udp  l2dsr, maglev, fail open
  all down: fail open, all are used
  BACKEND       WEIGHT  STATE      SINCE  FLOWS  REASON
  10.0.0.53:53       1  unhealthy     2m      0  connect: connection refused

web  203.0.113.10:80/tcp [2001:db8:1::10]:80/tcp  nat, maglev, fail closed
  BACKEND              WEIGHT  STATE     SINCE  FLOWS  ZONE    REASON
  10.0.0.11:8080            1  healthy   1h15m  12.3k  rack-1
  10.0.0.12:8080           3*  draining             7          drained by the operator
  [2001:db8::11]:8080       3  healthy              0

* steered by an operator, not by the configuration alone
`)
	got := decode[map[string]any](t, xlb(t, "status", "--json").ok(t))
	for _, key := range []string{"version", "since", "interfaces", "services", "ready", "reasons"} {
		if _, ok := got[key]; !ok {
			t.Errorf("status --json has no %q", key)
		}
	}
}

func TestStatusOfTroubles(t *testing.T) {
	s := newSample()
	s.status.Ready = false
	s.status.Reasons = []string{"apply_failed", "config_invalid", "no_source:web", "no_tunnel_source:dns", "of_tomorrow:x"}
	s.status.Warnings = []string{"VIP 203.0.113.10 is \x1b[2Jhere"}
	s.status.Problem = "write map backends\x1b[2J: no room"
	s.status.LastReload = api.Reload{At: testNow, Error: "xlb.yaml:3:1: unknown key\nxlb.yaml:4:1: another"}
	s.status.Interfaces, s.status.Services = nil, nil
	s.start(t)
	same(t, xlb(t, "status").ok(t), `
not ready: the maps cannot be written, the last configuration was refused, no source address for web, no outer source address for dns, of_tomorrow:x
xlb v1.2.3, process 4711, up 1d2h, took over the maps of an earlier run
configuration /etc/xlb/xlb.yaml refused 0s ago, the one before holds:
  xlb.yaml:3:1: unknown key
  xlb.yaml:4:1: another
problem:
  write map backends [2J: no room
note: VIP 203.0.113.10 is  [2Jhere

no interfaces are attached

no services are configured
`)
}

// TestStatusOfStart: no backends are listed before the first plan, and that does not
// mean that there are none.
func TestStatusOfStart(t *testing.T) {
	s := newSample()
	for i := range s.status.Services {
		s.status.Services[i].Starting, s.status.Services[i].Backends, s.status.Services[i].FailOpen = true, nil, false
	}
	s.start(t)
	for _, args := range [][]string{{"status"}, {"service", "ls"}, {"service", "show", "web"}} {
		text := xlb(t, args...).ok(t)
		if !strings.Contains(text, "flows go where they went before") || strings.Contains(text, "dropped\n") {
			t.Errorf("%v says\n%s", args, text)
		}
	}
}

// A service that is tunnelled says where from, and what is recorded of it.
func TestTunnelledService(t *testing.T) {
	s := newSample()
	dns := &s.status.Services[0]
	dns.Forward, dns.Track, dns.TunnelSources, dns.GUEPort = "gue", "auto", []string{"192.0.2.1", "fd00:1::/96"}, 6080
	s.start(t)
	if text := xlb(t, "status").ok(t); !strings.Contains(text, "dns  203.0.113.53:53/udp  gue, track auto, maglev, fail open\n") {
		t.Errorf("status says\n%s", text)
	}
	text := xlb(t, "service", "show", "dns").ok(t)
	for _, line := range []string{"forward     gue, track auto\n", "tunnel      from 192.0.2.1, fd00:1::/96 to UDP port 6080\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
}

func TestColour(t *testing.T) {
	newSample().start(t)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	coloured := func(e env) bool {
		return strings.Contains(xlbIn(t, t.Context(), e, "status").ok(t), "\x1b[31m")
	}
	if !coloured(env{isTerminal: true, width: 80}) {
		t.Error("no colour on a terminal")
	}
	if coloured(env{}) {
		t.Error("colour in a pipe")
	}
	t.Setenv("NO_COLOR", "1")
	if coloured(env{isTerminal: true, width: 80}) {
		t.Error("colour despite NO_COLOR")
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if coloured(env{isTerminal: true, width: 80}) {
		t.Error("colour on a dumb terminal")
	}
}

func TestServices(t *testing.T) {
	s := newSample().start(t)
	same(t, xlb(t, "service", "ls").ok(t), `
SERVICE  FRONTENDS                                    FORWARD  SCHEDULE  SERVING  FLOWS  NOTE
dns      203.0.113.53:53/udp                          l2dsr    maglev        0/1      0  all down: fail open, all are used
web      203.0.113.10:80/tcp [2001:db8:1::10]:80/tcp  nat      maglev        2/3  12.4k
`)
	if n := len(decode[[]api.Service](t, xlb(t, "services", "list", "--json").ok(t))); n != 2 {
		t.Errorf("%d services in JSON, want 2", n)
	}
	same(t, xlb(t, "service", "show", "web").ok(t), `
service     web (number 2)
frontends   203.0.113.10:80/tcp
            [2001:db8:1::10]:80/tcp
forward     nat
schedule    maglev, 65537 slots
fail        closed
probe       http every 2s, timeout 500ms, rise 2, fall 3
timeouts    tcp_syn 30s, tcp_established 1h, tcp_fin 2m, tcp_closed 10s, udp 1m
requests    700k packets, 1.00 GiB
replies     800k packets, 2.00 GiB
dropped     12 packets, 720 B
flows       99 created

BACKEND              WEIGHT  STATE     SINCE  FLOWS  SHARE  ZONE    REASON
10.0.0.11:8080            1  healthy   1h15m  12.3k  25.0%  rack-1
10.0.0.12:8080           3*  draining             7   0.0%          drained by the operator
[2001:db8::11]:8080       3  healthy              0  75.0%
`)
	if got := decode[api.ServiceDetail](t, xlb(t, "service", "show", "--json", "web").ok(t)); got.TableSize != 65537 {
		t.Errorf("JSON has table size %d", got.TableSize)
	}
	xlb(t, "service", "show", "wbe").fails(t, 1, `xlb: there is no service "wbe" (did you mean web?)`)
	xlb(t, "service", "show", "mail").fails(t, 1, `xlb: there is no service "mail" (known: dns, web)`)

	s.mu.Lock()
	s.status.Services = nil
	s.mu.Unlock()
	same(t, xlb(t, "service", "ls").ok(t), "no services are configured")
	same(t, xlb(t, "service", "ls", "--json").ok(t), "[]")
	same(t, xlb(t, "backend", "ls").ok(t), "no backends are configured")
	same(t, xlb(t, "backend", "ls", "--json").ok(t), "[]")
	xlb(t, "service", "show", "mail").fails(t, 1, `xlb: there is no service "mail" (there is none at all)`)
}

func TestBackends(t *testing.T) {
	s := newSample().start(t)
	same(t, xlb(t, "backend", "ls").ok(t), `
SERVICE  BACKEND              WEIGHT  STATE      SINCE  FLOWS  ZONE    REASON
dns      10.0.0.53:53              1  unhealthy     2m      0          connect: connection refused
web      10.0.0.11:8080            1  healthy    1h15m  12.3k  rack-1
web      10.0.0.12:8080           3*  draining              7          drained by the operator
web      [2001:db8::11]:8080       3  healthy               0
`)
	if n := len(lines(xlb(t, "backend", "ls", "web").ok(t))); n != 4 {
		t.Errorf("backend ls web prints %d lines, want 4", n)
	}
	xlb(t, "backend", "ls", "wen").fails(t, 1, `xlb: there is no service "wen" (did you mean web?)`)

	same(t, xlb(t, "backend", "drain", "web", "10.0.0.11:8080").ok(t), "web 10.0.0.11:8080: draining: no new flows, old ones stay")
	if got := decode[api.ServiceBackend](t, xlb(t, "backend", "undrain", "web", "10.0.0.12", "--json").ok(t)); got.State != api.StateHealthy || got.Address != web2 {
		t.Errorf("after undrain: %+v", got)
	}
	s.status.Services[1].Backends[1].Reason = "zone rack-2 is disabled by the operator"
	same(t, xlb(t, "backend", "undrain", "web", "10.0.0.12").ok(t), "web 10.0.0.12:8080: drained no longer, but healthy: zone rack-2 is disabled by the operator")
	same(t, xlb(t, "backend", "weight", "web", "[2001:db8::11]:8080", "50").ok(t), "web [2001:db8::11]:8080: weight 50")
	got := decode[[]api.ServiceBackend](t, xlb(t, "backend", "ls", "web", "--json").ok(t))
	if got[0].State != api.StateDraining || got[2].Weight != 50 {
		t.Errorf("the daemon did not hear of it: %+v", got)
	}
	same(t, xlb(t, "backend", "weight", "web", "2001:db8::11", "reset").ok(t), "web [2001:db8::11]:8080: weight as configured")

	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"drain web 10.0.0.99:8080", 1, `xlb: service web has no backend 10.0.0.99:8080 (known: 10.0.0.11:8080, 10.0.0.12:8080, [2001:db8::11]:8080)`},
		{"drain web 1.1.1.1", 1, `xlb: service web has no backend 1.1.1.1 (known: 10.0.0.11:8080, 10.0.0.12:8080, [2001:db8::11]:8080)`},
		{"drain web web-1", 2, `xlb: "web-1" is not a backend address (for example 10.0.0.11:8080 or [2001:db8::11]:8080)`},
		{"drain wbe 10.0.0.11", 1, `xlb: there is no service "wbe" (did you mean web?)`},
		{"drain web", 2, `xlb: ADDRESS is missing (usage: xlb backend drain [OPTIONS] SERVICE ADDRESS)`},
		{"weight web 10.0.0.11 -1", 2, `xlb: weight "-1": give a whole number from 0 to 65535, or reset`},
		{"weight web 10.0.0.11 65536", 2, `xlb: weight "65536": give a whole number from 0 to 65535, or reset`},
		{"weight web 10.0.0.11", 2, `xlb: WEIGHT is missing (usage: xlb backend weight [OPTIONS] SERVICE ADDRESS WEIGHT)`},
	} {
		xlb(t, append([]string{"backend"}, strings.Fields(c.args)...)...).fails(t, c.status, c.want)
	}
}

func TestReload(t *testing.T) {
	s := newSample().start(t)
	same(t, xlb(t, "reload").ok(t), "reloaded /etc/xlb/xlb.yaml: 2 services, 4 backends")
	s.status.Warnings, s.status.Services[1].Backends[2].State = []string{"a service is left out"}, api.StateRetired
	same(t, xlb(t, "reload").ok(t), "reloaded /etc/xlb/xlb.yaml: 2 services, 3 backends\nnote: a service is left out")
	if got := decode[api.Reload](t, xlb(t, "reload", "--json").ok(t)); !got.OK {
		t.Errorf("JSON: %+v", got)
	}
	s.refuse = api.Errorf(422, "xlb.yaml:3:1: one\nxlb.yaml:4:1: two")
	xlb(t, "reload").fails(t, 2, "xlb.yaml:3:1: one\nxlb.yaml:4:1: two")
	s.refuse = api.Errorf(500, "the maps\nare full")
	xlb(t, "reload").fails(t, 1, "xlb: the maps; are full")
	socket := noDaemon(t)
	xlb(t, "reload").fails(t, 1, "xlb: no daemon answers at "+socket+" (is `xlb run` running?)")
}

func TestMarkedText(t *testing.T) {
	for _, c := range []struct {
		marked  int
		settles float64
		want    string
	}{
		{655, 872, "655 slots, whose flows are recorded; older ones are all known in 14m32s"},
		{1, 0, "1 slot, whose flows are recorded until those with former backends end"},
	} {
		if got := markedText(api.Service{MarkedSlots: c.marked, SettlesSeconds: c.settles}); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}
