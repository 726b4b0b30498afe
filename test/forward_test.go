package test

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
)

// prepare makes a backend ready for a tunnel from the balancer.
func (n *network) prepare(i int, forward string) {
	n.t.Helper()
	h := &host{n.t, n.Backends[i], []string{"--state-dir", filepath.Join(n.dir, fmt.Sprint("backend", i)), "--pin-dir", fmt.Sprint(n.pins, "-backend", i)}}
	n.t.Cleanup(func() { h.must(0, "--undo") })
	args := []string{"--vip", n.VIP4.String(), "--vip", n.VIP6.String(), "--forward", forward, "--interface", "eth0",
		"--from", n.Source4.String(), "--from", n.Source6.String()}
	if forward == "gue" {
		args = append(args, "--gue-port", "6081")
	}
	h.must(0, args...)
}

// across is a service whose backends are of the other family than its VIP.
func (s service) across(n *network) string {
	other := s
	other.ipv6 = !s.ipv6
	backends := ""
	for i := range s.weights {
		backends += fmt.Sprintf("      - \"%s\"\n", other.backend(n, i))
	}
	return fmt.Sprintf("  %s:\n    frontends: \"tcp://%s\"\n    forward: %s\n    probe: none\n    backends:\n%s", s.name, s.frontend(n), s.more, backends)
}

// TestTunnels sends real connections through ipip and gue in all combinations of
// families; the backends are prepared by `xlb backend-host` and answer directly.
// Nothing is recorded while nothing changes.
func TestTunnels(t *testing.T) {
	t.Parallel()
	for _, forward := range []string{"ipip", "gue"} {
		for _, mode := range []string{"native", "auto"} {
			t.Run(forward+"/"+mode, func(t *testing.T) {
				t.Parallel()
				n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 2})
				for i := range n.Backends {
					n.prepare(i, forward)
					must(n.Backends[i].StartHTTP(httpPort + 1))(t)
				}
				services := []service{}
				for _, f := range []bool{false, true} {
					for _, p := range []string{"tcp", "udp"} {
						services = append(services, service{name: fmt.Sprint(p, "-", f), protocol: p, ipv6: f, weights: []int{1, 1}, more: "probe: none\nforward: " + forward})
					}
				}
				text := n.config("gue_port: 6081\nattach: "+mode, services...)
				for _, f := range []bool{false, true} {
					s := service{name: fmt.Sprint("across-", f), ipv6: f, port: httpPort + 1, weights: []int{1, 1}, more: forward}
					services, text = append(services, s), text+s.across(n)
				}
				n.run(text)
				for _, s := range services {
					if answers := n.sendAll(s, 40); len(answers) != 2 {
						t.Errorf("%s: answers by %v, want both backends", s.name, answers)
					}
				}
				if flows := decode[maps.Dump](n, "map", "dump", "flows"); len(flows.Entries) != 0 {
					t.Errorf("%d flows are recorded, though nothing changed", len(flows.Entries))
				}
				one := decode[api.ServiceDetail](n, "service", "show", "across-false")
				if want := n.Source6.String(); one.Forward != forward || one.Track != "auto" || len(one.TunnelSources) != 1 || one.TunnelSources[0] != want {
					t.Errorf("service %+v, want a tunnel from %s", one, want)
				}
			})
		}
	}
}

// TestDNAT: backends answer through the balancer, which is their gateway,
// also those that left the configuration while they have connections.
func TestDNAT(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"native", "tc"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
			for _, b := range n.Backends {
				must(b.StartTCPEcho(echoPort))(t)
				for _, via := range []netip.Addr{n.Source4, n.Source6} {
					must(b.Command(context.Background(), "ip", "route", "replace", "default", "via", via.String()).Output())(t)
				}
			}
			more := "probe: none\nforward: dnat"
			services := []service{
				{name: "tcp4", weights: []int{1, 1}, more: more}, {name: "tcp6", ipv6: true, weights: []int{1, 1}, more: more},
				{name: "udp4", protocol: "udp", weights: []int{1, 1}, more: more}, {name: "udp6", protocol: "udp", ipv6: true, weights: []int{1, 1}, more: more},
				{name: "echo", port: echoPort, weights: []int{1, 1}, more: more},
			}
			config := func(echo ...int) string {
				services[len(services)-1].weights = echo
				return n.config("attach: "+mode, services...)
			}
			n.run(config(1, 1))
			for _, s := range services[:4] {
				if answers := n.sendAll(s, 40); len(answers) != 2 {
					t.Errorf("%s: answers by %v, want both backends", s.name, answers)
				}
			}
			connections := n.hold(services[4], 10)
			n.write(config(-1, 1))
			n.eventually("the backend is retired", func() string {
				for _, b := range decode[[]api.ServiceBackend](n, "backend", "ls", "echo") {
					if b.State == api.StateRetired {
						return ""
					}
				}
				return "it is not"
			})
			connections.alive("with a backend retired")
			connections.check("at the end")
			if s := decode[api.ServiceDetail](n, "service", "show", "tcp4"); s.Forward != "dnat" || s.Traffic.Reply.Packets == 0 {
				t.Errorf("service %+v, want replies counted", s)
			}
		})
	}
}
