package test

import (
	"context"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestProbeVia: a probe via the VIP knows of a backend what a client would find
// out, and a direct one does not: whether it holds the VIP, and takes tunnels.
func TestProbeVia(t *testing.T) {
	for _, forward := range []string{"l2dsr", "ipip", "gue"} {
		t.Run(forward, func(t *testing.T) {
			n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 2, BackendsHoldVIPs: forward == "l2dsr"})
			if forward != "l2dsr" {
				for i := range n.Backends {
					n.prepare(i, forward)
				}
			}
			var services []service
			for _, via := range []string{"vip", "direct"} {
				for _, ipv6 := range []bool{false, true} {
					services = append(services, n.probed(forward, via, ipv6))
				}
			}
			n.run(n.config("gue_port: 6081", services...))
			for _, s := range services {
				n.expectStates(s, api.StateUp, api.StateUp)
			}

			// The second backend loses the VIPs; its own addresses still answer.
			for _, vip := range []string{n.VIP4.String() + "/32", n.VIP6.String() + "/128"} {
				must(n.Backends[1].Command(context.Background(), "ip", "address", "del", vip, "dev", "lo").Output())(t)
			}
			for _, s := range services[:2] {
				n.expectStates(s, api.StateUp, api.StateDown)
			}
			for _, s := range services[2:] {
				n.expectStates(s, api.StateUp, api.StateUp)
			}
			for _, vip := range []string{n.VIP4.String() + "/32", n.VIP6.String() + "/128"} {
				must(n.Backends[1].Command(context.Background(), "ip", "address", "add", vip, "dev", "lo").Output())(t)
			}
			for _, s := range services {
				n.expectStates(s, api.StateUp, api.StateUp)
			}
		})
	}
}

// probed is a service whose probes go one way; each has a port of its own.
func (n *network) probed(forward, via string, ipv6 bool) service {
	name, port := via+"4", uint16(echoPort)
	if ipv6 {
		name = via + "6"
	}
	if via == "direct" {
		port++
	}
	if !ipv6 {
		for _, b := range n.Backends {
			must(b.StartTCPEcho(port))(n.t)
		}
	}
	return service{name: name, port: port, ipv6: ipv6, weights: []int{1, 1},
		more: "forward: " + forward + "\nprobe: {type: tcp, via: " + via + ", interval: 200ms, timeout: 150ms, rise: 1, fall: 2}"}
}

func (n *network) expectStates(s service, want ...string) {
	n.t.Helper()
	n.eventually(s.name+" has the right states", func() string {
		status, err := n.poll()
		if err != nil {
			return err.Error()
		}
		for i, b := range n.backends(status, s) {
			if b == nil || b.State != want[i] {
				if b == nil {
					return "a backend is missing"
				}
				return b.Address.String() + " is " + b.State + ": " + b.Reason
			}
		}
		return ""
	})
}
