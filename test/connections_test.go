package test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestConnections holds 10,000 connections through nat at once. Every one is a
// flow with a source port of its own, and nothing of them stays.
func TestConnections(t *testing.T) {
	const count = 10000
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	for _, b := range n.Backends {
		must(b.StartTCPEchoProcess(context.Background(), echoPort))(t)
	}
	echo := service{name: "echo", port: echoPort, weights: []int{1, 1, 2},
		more: "probe: none\ntimeouts: {tcp_syn: 2s, tcp_fin: 2s, tcp_closed: 1s}"}
	// Larger than needed: flows that meet in one set of four would evict each other.
	n.run(n.config("flow_table_size: 2097152", echo))

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connections := must(n.Client.HoldTCP(ctx, echo.frontend(n), count, 64))(t)
	defer connections.Close()
	n.spread("connections", connections.Backends(), echo.weights)
	if failed, err := connections.Echo(ctx); failed > 0 {
		t.Errorf("%d of %d connections do not echo: %v", failed, count, err)
	}

	flows := n.flows()
	type port struct{ nat, backend netip.AddrPort }
	ports, byBackend := map[port]bool{}, map[string]int{}
	for _, f := range flows {
		if f.NAT == nil || f.State != "established" {
			t.Fatalf("flow %+v, want an established one of nat", f)
		}
		ports[port{*f.NAT, f.Backend}] = true
		for i, b := range n.Backends {
			if f.Backend == echo.backend(n, i) {
				byBackend[b.Name]++
			}
		}
	}
	if len(flows) != count || len(ports) != count {
		t.Errorf("%d flows with %d source ports, want %d", len(flows), len(ports), count)
	}
	if want := connections.Backends(); fmt.Sprint(byBackend) != fmt.Sprint(want) {
		t.Errorf("flows by backend %v, connections %v", byBackend, want)
	}
	n.eventually("count of flows in the status", func() string {
		s, err := n.poll()
		if err != nil {
			return err.Error()
		}
		sum := 0
		for _, b := range n.backends(s, echo) {
			sum += b.Flows
		}
		if sum != count {
			return fmt.Sprint(sum)
		}
		return ""
	})

	connections.Close()
	n.eventually("end of all flows", func() string {
		if left := n.flows("--limit", "2"); len(left) > 0 {
			return fmt.Sprintf("%+v", left)
		}
		return ""
	})
	stats := decode[api.Stats](n, "stats")
	for _, e := range []string{"flow_evicted", "flow_midstream", "flow_moved"} {
		if got := n.counter(stats.Events, e); got != 0 {
			t.Errorf("%d × %s", got, e)
		}
	}
	if got := n.counter(stats.Events, "flow_created"); got != count {
		t.Errorf("%d flows were created, want %d", got, count)
	}
}
