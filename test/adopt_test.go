package test

import (
	"context"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestModeChange starts the daemon in one mode after the other under load.
func TestModeChange(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
	for _, b := range n.Backends {
		must(b.StartTCPEcho(echoPort))(t)
	}
	web := service{name: "web", weights: []int{1, 1}, more: "probe: none"}
	echo := service{name: "echo", port: echoPort, weights: []int{1, 1}, more: "probe: none"}
	d := n.run(n.config("attach: native", web, echo))
	load := n.startLoad(web.frontend(n))
	connections := n.hold(echo, 20)
	for _, mode := range []string{"generic", "tc", "native", "tc", "generic", "auto"} {
		d.stop()
		d = n.run(n.config("attach: "+mode, web, echo))
		load.progress(30)
		connections.alive(mode)
		s := decode[api.Status](n, "status")
		if mode == "auto" {
			mode = "tc" // best on veth
		}
		for _, i := range s.Interfaces {
			if i.Mode != mode || !s.Adopted {
				t.Errorf("adopted %v, interface %+v, want mode %s", s.Adopted, i, mode)
			}
		}
		if xdp, tc := n.hooked(); (len(xdp) == 0) != (mode == "tc") || len(tc) != 2 {
			t.Errorf("mode %s: XDP on %v, TC on %v", mode, xdp, tc)
		}
	}
	connections.check("at the end")
	load.finish()
}

// TestRestartChanged changes the configuration while no daemon runs. What the
// next one finds has no names; the flows must stay with their services.
func TestRestartChanged(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	for _, b := range n.Backends {
		must(b.StartTCPEcho(echoPort))(t)
	}
	named := func(name string, s service, w ...int) service {
		s.name, s.weights = name, w
		return s
	}
	web, udp := service{more: "probe: none"}, service{protocol: "udp", more: "probe: none"}
	echo := service{port: echoPort, more: "probe: none"}
	other := service{ipv6: true, more: "probe: none"}
	n.run(n.config("attach: native", named("echo", echo, 1, 1, 1), named("gone", other, 1, 1, 1),
		named("udp", udp, 1, 1, 1), named("web", web, 1, 1, 1))).crash()
	load := n.startLoad(web.frontend(n))
	connections := n.hold(named("echo", echo), 60)
	type asked struct {
		*testlab.UDPFlow
		backend string
	}
	var flows []asked
	for range 30 {
		f := must(n.Client.UDPFlow(t.Context(), udp.frontend(n)))(t)
		defer f.Close()
		backend, _, err := f.Ask(t.Context(), []byte("first"), 3, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		flows = append(flows, asked{f, backend})
	}
	check := func(when string) {
		t.Helper()
		connections.alive(when)
		for _, f := range flows {
			backend, _, err := f.Ask(context.Background(), []byte(when), 3, time.Second)
			if err != nil || backend != f.backend {
				t.Errorf("%s: a UDP flow of %s was answered by %q, %v", when, f.backend, backend, err)
			}
		}
	}
	check("without a daemon")

	// New names, another order, fewer backends, a service more and one less.
	n.write(n.config("attach: native", named("aaa", service{port: 9000, more: "probe: none"}, 1, 1, 1),
		named("datagrams", udp, 1, 5, -1), named("old-echo", echo, -1, 1, 0), named("site", web, 0, 1, 3)))
	n.start()
	check("after the change")
	status := decode[api.Status](n, "status")
	if !status.Adopted || len(status.Services) != 4 {
		t.Errorf("adopted %v, services %+v", status.Adopted, status.Services)
	}
	n.spread("after the change", load.since(120), []int{0, 1, 3})
	connections.s.name = "old-echo"
	connections.check("after the change")
	if name, err := n.get(other.frontend(n), 300*time.Millisecond); err == nil {
		t.Errorf("a removed service: %s answered", name)
	}
	// A backend that is no longer configured is shown while it has flows.
	n.awaitBackend(named("old-echo", echo), 0, "retired backend", func(b *api.Backend) bool {
		return b != nil && b.State == api.StateRetired && b.Flows == connections.Backends()[n.Backends[0].Name]
	})
	connections.Close()
	load.finish()
}

// TestOwnAddress balances an address of the balancer that is nat's source too,
// and leaves its other ports to the host.
func TestOwnAddress(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"native", "tc"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
			must(n.Balancer.StartHTTP(8081))(t)
			n.VIP4 = n.Source4
			web := service{name: "web", weights: []int{1, 1}, more: "probe: {type: tcp, interval: 200ms}"}
			n.run(n.config("attach: "+mode, web))
			load := n.startLoad(web.frontend(n))
			n.spread("own address", load.since(60), web.weights)
			host := service{port: 8081}
			if name, err := n.get(host.frontend(n), 5*time.Second); err != nil || name != n.Balancer.Name {
				t.Errorf("the host's own server: %q, %v", name, err)
			}
			load.finish()
			if s := decode[api.Status](n, "status"); len(s.Reasons) > 0 {
				t.Errorf("reasons %v", s.Reasons)
			}
		})
	}
}
