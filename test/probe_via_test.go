package test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestProbeVia: a probe via the VIP knows of a backend what a client would find
// out, and a direct one does not: whether it holds the VIP, and takes tunnels.
func TestProbeVia(t *testing.T) {
	t.Parallel()
	for _, forward := range []string{"l2dsr", "ipip", "gue"} {
		t.Run(forward, func(t *testing.T) {
			t.Parallel()
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
				n.expectStates(s, api.StateHealthy, api.StateHealthy)
			}

			// The second backend loses the VIPs; its own addresses still answer.
			for _, vip := range []string{n.VIP4.String() + "/32", n.VIP6.String() + "/128"} {
				must(n.Backends[1].Command(context.Background(), "ip", "address", "del", vip, "dev", "lo").Output())(t)
			}
			for _, s := range services[:2] {
				n.expectStates(s, api.StateHealthy, api.StateUnhealthy)
			}
			for _, s := range services[2:] {
				n.expectStates(s, api.StateHealthy, api.StateHealthy)
			}
			for _, vip := range []string{n.VIP4.String() + "/32", n.VIP6.String() + "/128"} {
				must(n.Backends[1].Command(context.Background(), "ip", "address", "add", vip, "dev", "lo").Output())(t)
			}
			for _, s := range services {
				n.expectStates(s, api.StateHealthy, api.StateHealthy)
			}
		})
	}
}

// TestProbeViaAlone: what only a probe via the VIP finds out is found out where
// the balancer has the VIP itself and looks strictly at where packets come from,
// by each type of probe; and nothing of it is left.
func TestProbeViaAlone(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 2, BackendsHoldVIPs: true})
	for _, i := range append([]string{"all"}, n.Interfaces...) {
		if err := n.Balancer.Sysctl("net/ipv4/conf/"+i+"/rp_filter", "1"); err != nil {
			t.Fatal(err)
		}
	}
	// As hosts have one: what came from nowhere is forged for any filter.
	if _, err := n.inBalancer("ip", "route", "add", "default", "via", n.Backends[0].IP4.String()); err != nil {
		t.Fatal(err)
	}
	// Only the first takes the headers off; the second holds the VIP, no more.
	n.prepare(0, "ipip")
	hold := func(verb string) {
		t.Helper()
		for _, vip := range []string{n.VIP4.String() + "/32", n.VIP6.String() + "/128"} {
			if _, err := n.inBalancer("ip", "address", verb, vip, "dev", "lo"); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := n.probeWay()
	var dsr, tunnelled []service
	for _, f := range families {
		dsr = append(dsr, service{name: "web" + f.name, ipv6: f.ipv6, weights: []int{1, 1},
			more: "forward: l2dsr\nprobe: {type: http, path: /health, via: vip, interval: 200ms, timeout: 150ms, rise: 1, fall: 2}"})
		tunnelled = append(tunnelled, n.probed("ipip", "vip", f.ipv6))
	}
	d := n.run(n.config("", append(dsr, tunnelled...)...))
	check := func() {
		t.Helper()
		for _, s := range dsr {
			n.expectStates(s, api.StateHealthy, api.StateHealthy)
		}
		for _, s := range tunnelled {
			n.expectStates(s, api.StateHealthy, api.StateUnhealthy)
		}
	}
	check()
	if text := n.xlb("status"); strings.Count(text, "probed via the VIP") != 4 {
		t.Errorf("status:\n%s", text)
	}
	if text := n.xlb("service", "show", dsr[0].name); !strings.Contains(text, "http via the VIP every") {
		t.Errorf("service:\n%s", text)
	}
	requests := n.xlb("stats", "--json")

	// The VIP becomes the balancer's own; the answers are still the backends'.
	hold("add")
	for _, one := range n.http {
		one.SetHealthy(false)
	}
	for _, s := range dsr {
		n.expectStates(s, api.StateUnhealthy, api.StateUnhealthy)
	}
	for _, one := range n.http {
		one.SetHealthy(true)
	}
	check()

	// The next owner goes on, and probes are nobody's traffic.
	d.crash()
	n.start()
	check()
	if text := n.xlb("stats", "--json"); counted(t, text) != counted(t, requests) {
		t.Errorf("probes were counted as traffic:\n%s\n%s", requests, text)
	}

	// Without such a probe nothing of it is left; with one, detach removes it.
	n.write(n.config("", service{name: "web4", weights: []int{1, 1}, more: "forward: l2dsr"}))
	n.xlb("reload")
	n.eventually("the way of probes is gone", func() string { return n.differs(before) })
	n.write(n.config("", dsr...))
	n.xlb("reload")
	n.expectStates(dsr[0], api.StateHealthy, api.StateHealthy)
	if n.differs(before) == "" {
		t.Error("the way of probes is not there, so that nothing shows whether it goes")
	}
	n.daemons[len(n.daemons)-1].stop()
	n.xlb("detach")
	if now := n.differs(before); now != "" {
		t.Error(now)
	}
}

// counted are the packets and flows of all services.
func counted(t *testing.T, stats string) (sum uint64) {
	t.Helper()
	var s api.Stats
	if err := json.Unmarshal([]byte(stats), &s); err != nil {
		t.Fatal(err)
	}
	for _, one := range s.Services {
		sum += one.Traffic.Request.Packets + one.Traffic.Reply.Packets + one.Traffic.Dropped.Packets + one.Traffic.FlowsCreated
	}
	return sum
}

// probeWay is what leads probes and lets their answers in.
func (n *network) probeWay() string {
	n.t.Helper()
	var b strings.Builder
	for _, c := range [][]string{
		{"ip", "-4", "rule"}, {"ip", "-6", "rule"}, {"ip", "-4", "route", "show", "type", "unicast", "table", "all"},
		{"sh", "-c", "grep . /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/accept_local"},
	} {
		out, err := n.inBalancer(c[0], c[1:]...)
		if err != nil {
			n.t.Fatal(err)
		}
		b.WriteString(out)
	}
	return b.String()
}

func (n *network) differs(before string) string {
	if now := n.probeWay(); now != before {
		return "before\n" + before + "now\n" + now
	}
	return ""
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
