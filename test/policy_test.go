package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/policy"
)

// bundle is the path of a ready policy.
func bundle(t *testing.T, name string) string {
	t.Helper()
	return must(filepath.Abs(filepath.Join("../policies", name)))(t)
}

// policies is the part of a configuration that defines some, each given as its name
// and its further keys.
func policies(t *testing.T, pairs ...string) string {
	t.Helper()
	var b strings.Builder
	// The one client of these tests begins more flows than one usually may.
	b.WriteString("policy_rate: 100000\npolicy_rate_per_source: 100000\npolicies:\n")
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i]
		fmt.Fprintf(&b, "  %s: {path: %s", name, bundle(t, strings.TrimSuffix(name, "-2")))
		if pairs[i+1] != "" {
			b.WriteString(", " + pairs[i+1])
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// everywhere are the ways in which a packet can come and go.
var everywhere = []struct {
	forward, attach string
	shape           testlab.Shape
}{
	{"nat", "native", testlab.Routed}, {"nat", "generic", testlab.Routed}, {"nat", "tc", testlab.Routed},
	{"l2dsr", "native", testlab.OneArm}, {"l2dsr", "tc", testlab.OneArm},
}

// TestPolicyUpcall: the first packet of each flow goes to the policy and on to where
// it says, and the client notices nothing: it sends one SYN, and one datagram.
func TestPolicyUpcall(t *testing.T) {
	t.Parallel()
	for _, c := range everywhere {
		t.Run(c.forward+"/"+c.attach, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, testlab.TopologyOptions{Shape: c.shape, Backends: 3, BackendsHoldVIPs: c.forward == "l2dsr"})
			var services []service
			for _, f := range families {
				for _, p := range []string{"tcp", "udp"} {
					services = append(services, service{
						name: p + f.name, protocol: p, ipv6: f.ipv6, weights: []int{1, 1, 1}, tags: []string{"", "canary", ""},
						more: "probe: none\npolicies: canary\nforward: " + c.forward,
					})
				}
			}
			n.run(n.config("attach: "+c.attach+"\n"+policies(t, "canary", "config: {percent: 100}, subsets: {canary: {tag: canary}}"), services...))
			wire := must(n.Client.SentWire("eth0"))(t)
			defer wire.Close()
			const count = 60
			for _, s := range services {
				answers := n.sendAll(s, count)
				if want := map[string]int{n.Backends[1].Name: count}; fmt.Sprint(answers) != fmt.Sprint(want) {
					t.Errorf("%s: answers by %v, want %v", s.name, answers, want)
				}
			}
			n.checkSentOnce(wire, services, count)
			n.checkDecided(uint64(len(services) * count))
		})
	}
}

// checkSentOnce looks at all that the client sent: per flow one SYN, or one datagram.
func (n *network) checkSentOnce(wire *testlab.Wire, services []service, count int) {
	n.t.Helper()
	first := map[string]int{} // by frontend and client port
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	last := netip.AddrPortFrom(n.VIP4, 1)
	mark := must(n.Client.UDPFlow(ctx, last))(n.t) // what it sends ends the reading
	defer mark.Close()
	if _, err := mark.Write([]byte("end")); err != nil {
		n.t.Fatal(err)
	}
	for {
		frame, err := wire.Next(ctx, nil)
		if err != nil {
			n.t.Fatal(err)
		}
		if testlab.ToPort(last)(frame) {
			break
		}
		for _, s := range services {
			if !testlab.ToPort(s.frontend(n))(frame) {
				continue
			}
			port, tcp := 34, 47
			if s.ipv6 {
				port, tcp = 54, 67
			}
			if frame[port-11] == 6 && !s.ipv6 || s.ipv6 && frame[20] == 6 {
				if s.protocol == "tcp" && frame[tcp]&0x12 == 2 {
					first[fmt.Sprint(s.name, frame[port:port+2])]++
				}
			} else if s.protocol == "udp" {
				first[fmt.Sprint(s.name, frame[port:port+2])]++
			}
		}
	}
	if len(first) != len(services)*count {
		n.t.Errorf("saw the beginnings of %d flows, want %d", len(first), len(services)*count)
	}
	for flow, times := range first {
		if times != 1 {
			n.t.Errorf("the client sent the first packet of %s %d times", flow, times)
		}
	}
}

// checkDecided compares the data plane's and the policy's counts.
func (n *network) checkDecided(flows uint64) {
	n.t.Helper()
	stats := decode[api.Stats](n, "stats")
	if got := n.counter(stats.Events, "decided"); got != flows {
		n.t.Errorf("%d flows were recorded by a decision, want %d: %+v", got, flows, stats.Events)
	}
	if up := n.counter(stats.Reasons, "upcall"); up != flows {
		n.t.Errorf("%d packets went to the daemon, want %d", up, flows)
	}
	for _, e := range []string{"upcall_rate", "upcall_source", "upcall_ring", "upcall_away", "upcall_size"} {
		if got := n.counter(stats.Events, e); got != 0 {
			n.t.Errorf("%s: %d", e, got)
		}
	}
	p := decode[api.Policy](n, "policy", "show", "canary")
	if h := p.Stats.Hooks[policy.HookFlow]; h.Calls != flows || h.Errors != 0 {
		n.t.Errorf("the policy was asked %+v, want %d times without an error", h, flows)
	}
}

// TestPolicyRefuses: a policy's drop is silence, and its reject an answer.
func TestPolicyRefuses(t *testing.T) {
	for _, c := range everywhere {
		if c.forward != "nat" {
			continue
		}
		t.Run(c.attach, func(t *testing.T) {
			n := newNetwork(t, testlab.TopologyOptions{Shape: c.shape, Backends: 2})
			all := []int{1, 1}
			drop4 := service{name: "drop4", weights: all, more: "policies: cidr-filter"}
			reject4 := service{name: "reject4", weights: all, more: "policies: cidr-filter-2", port: echoPort}
			reject6 := service{name: "reject6", ipv6: true, weights: all, more: "policies: cidr-filter-2"}
			rejectUDP := service{name: "reject-udp", protocol: "udp", weights: all, more: "policies: cidr-filter-2"}
			shadow6 := service{name: "shadow6", ipv6: true, protocol: "udp", weights: all, more: "policies: {policy: cidr-filter, mode: shadow}"}
			for _, b := range n.Backends {
				must(b.StartTCPEcho(echoPort))(t)
			}
			n.run(n.config("attach: "+c.attach+"\ndefaults: {probe: none}\n"+policies(t,
				"cidr-filter", "config: {unlisted: deny}", "cidr-filter-2", "config: {unlisted: deny, refuse: reject}"),
				drop4, reject4, reject6, rejectUDP, shadow6))

			dial := func(s service, network string) error {
				ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
				defer cancel()
				conn, err := n.Client.Dial(ctx, network, s.frontend(n).String())
				if err == nil {
					defer conn.Close()
				}
				if err == nil && network == "udp" {
					conn.SetDeadline(time.Now().Add(1500 * time.Millisecond))
					conn.Write([]byte("ask"))
					_, err = conn.Read(make([]byte, 100))
				}
				return err
			}
			if err := dial(drop4, "tcp"); !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(fmt.Sprint(err), "timeout") {
				t.Errorf("a dropped connection ended with %v", err)
			}
			for _, s := range []service{reject4, reject6} {
				if err := dial(s, "tcp"); !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%s: a rejected connection ended with %v", s.name, err)
				}
			}
			if err := dial(rejectUDP, "udp"); !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EACCES) {
				t.Errorf("a rejected datagram ended with %v", err)
			}
			if _, err := n.ask(shadow6.frontend(n), 1); err != nil {
				t.Errorf("a policy in shadow mode stopped a flow: %v", err)
			}
			stats := decode[api.Stats](n, "stats")
			if n.counter(stats.Reasons, "drop_policy") == 0 {
				t.Errorf("no drop is counted: %+v", stats.Reasons)
			}
			p := decode[api.Policy](n, "policy", "show", "cidr-filter")
			for _, mode := range []string{"enforce", "shadow"} {
				if !slices.ContainsFunc(p.Verdicts, func(v policy.VerdictStats) bool {
					return v.Mode.String() == mode && v.Action == policy.ActionDrop && v.Count > 0 && v.Text != ""
				}) {
					t.Errorf("no drop in mode %s: %+v", mode, p.Verdicts)
				}
			}
		})
	}
}

// TestPolicyReload: policies come, change and go under load, and neither a
// connection nor a decision is lost.
func TestPolicyReload(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	web := service{name: "web", weights: []int{1, 1, 1}, tags: []string{"canary", "", ""}, more: "probe: none\npolicies: canary"}
	with := func(percent int) string {
		return n.config("attach: tc\n"+policies(t, "canary", fmt.Sprintf("config: {percent: %d, rest: stable}, subsets: {canary: {tag: canary}, stable: {tag: nobody}}", percent)), web)
	}
	n.run(with(100))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var group errgroup.Group
	var mu sync.Mutex
	answers := map[string]int{}
	failures := []error{}
	busy, stop := context.WithCancel(ctx)
	for range 3 {
		group.Go(func() error {
			for busy.Err() == nil {
				name, err := n.get(web.frontend(n), 5*time.Second)
				mu.Lock()
				answers[name]++
				if err != nil {
					failures = append(failures, err)
				}
				mu.Unlock()
			}
			return nil
		})
	}
	for range 5 {
		n.xlb("policy", "reload", "canary")
	}
	stop()
	group.Wait()
	if len(failures) > 0 || len(answers) != 1 || answers[n.Backends[0].Name] < 20 {
		t.Errorf("answers by %v, failures %v", answers, failures)
	}
	before := decode[api.Policy](n, "policy", "show", "canary")
	n.write(with(0))
	n.xlb("reload")
	spread := n.sendAll(web, 60)
	if len(spread) != 3 {
		t.Errorf("with nobody on trial the answers are by %v", spread)
	}
	after := decode[api.Policy](n, "policy", "show", "canary")
	if !after.Loaded.Equal(before.Loaded) || after.Hooks[policy.HookFlow].Calls < before.Hooks[policy.HookFlow].Calls+60 {
		t.Errorf("a change of the configuration loaded the module anew: %+v, before %+v", after.Stats, before.Stats)
	}
	bad := strings.Replace(with(0), "percent: 0", "percent: 1000", 1)
	n.write(bad)
	if _, stderr, code := n.try("reload"); code != 2 || !strings.Contains(stderr, "canary") || !strings.Contains(stderr, "percent") {
		t.Errorf("a wrong configuration: status %d, %s", code, stderr)
	}
	web.more = "probe: none"
	n.write(n.config("attach: tc", web))
	n.xlb("reload")
	n.sendAll(web, 10)
	if all := decode[[]api.Policy](n, "policy", "ls"); len(all) != 0 {
		t.Errorf("policies are left: %+v", all)
	}
}

// TestPolicyOverload: when nobody can be asked, each service does what it says.
func TestPolicyOverload(t *testing.T) {
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	for _, b := range n.Backends {
		must(b.StartTCPEcho(echoPort))(t)
	}
	closed := service{name: "closed", weights: []int{1, 1, 1}, tags: []string{"canary"}, more: "probe: none\npolicies: canary\non_overload: drop"}
	open := service{name: "open", ipv6: true, weights: []int{1, 1, 1}, tags: []string{"canary"}, more: "probe: none\npolicies: canary"}
	plain := service{name: "plain", port: echoPort, weights: []int{1, 1, 1}, more: "probe: none"}
	config := strings.Replace(n.config(policies(t, "canary", "config: {percent: 100}, subsets: {canary: {tag: canary}}"), closed, open, plain),
		"policy_rate_per_source: 100000", "policy_rate_per_source: 1000", 1)
	config = strings.Replace(config, "policy_rate: 100000", "policy_rate: 2000", 1)
	d := n.run(config)

	// A flood of SYNs to one service, from everywhere.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	flooded := make(chan error, 1)
	go func() { flooded <- n.flood(closed.frontend(n), floodSize) }()
	for done := false; !done; {
		select {
		case err := <-flooded:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		for _, s := range []service{open} {
			if name, err := n.get(s.frontend(n), 2*time.Second); err != nil || name != n.Backends[0].Name {
				t.Fatalf("%s under a flood of another service: answer by %q, %v", s.name, name, err)
			}
		}
		if held, err := n.Client.HoldTCP(ctx, plain.frontend(n), 5, 5); err != nil {
			t.Fatalf("plain under the flood: %v", err)
		} else {
			held.Close()
		}
		if _, err := n.poll(); err != nil {
			t.Fatal(err)
		}
	}
	stats := decode[api.Stats](n, "stats")
	if n.counter(stats.Events, "upcall_rate") == 0 || n.counter(stats.Reasons, "drop_overload") == 0 {
		t.Errorf("the flood met no limit: %+v, %+v", stats.Events, stats.Reasons)
	}

	d.crash()
	n.eventually("the data plane notices that nobody answers", func() string {
		names := map[string]bool{}
		for range 20 {
			name, err := n.get(open.frontend(n), 500*time.Millisecond)
			if err != nil {
				return err.Error()
			}
			names[name] = true
		}
		if len(names) < 2 {
			return fmt.Sprintf("answers by %v alone", names)
		}
		return ""
	})
	if _, err := n.get(closed.frontend(n), 500*time.Millisecond); err == nil {
		t.Error("a service that drops on overload took a connection without a daemon")
	}
	n.start()
	if name, err := n.get(closed.frontend(n), 5*time.Second); err != nil || name != n.Backends[0].Name {
		t.Errorf("after the restart: answer by %q, %v", name, err)
	}
}

// TestPolicyWeighs: a policy moves traffic to another zone when the own one is
// loaded, and back.
func TestPolicyWeighs(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
	for _, b := range n.Backends {
		must(b.StartTCPEcho(echoPort))(t)
	}
	echo := service{name: "echo", port: echoPort, weights: []int{1, 1}, zones: []string{"here", "there"}, more: "probe: none\npolicies: spill"}
	n.run(n.config(policies(t, "spill", "config: {zone: here, limit: 4}"), echo))
	standsBy := func(b *api.Backend) bool { return b != nil && b.EffectiveWeight == 0 && b.Tier == 1 }
	n.awaitBackend(echo, 1, "the other zone stands by", standsBy)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	held := must(n.Client.HoldTCP(ctx, echo.frontend(n), 12, 4))(t)
	defer held.Close()
	if got := held.Backends(); len(got) != 1 {
		t.Errorf("connections of an idle service are with %v", got)
	}
	n.awaitBackend(echo, 1, "the other zone serves", func(b *api.Backend) bool { return b != nil && b.EffectiveWeight > 0 && b.Tier == 0 })
	if text := n.xlb("backend", "ls"); !strings.Contains(text, "there") {
		t.Errorf("backend ls: %s", text)
	}
	if failed, err := held.Echo(ctx); failed > 0 {
		t.Errorf("%d connections were lost by the change: %v", failed, err)
	}
	plan := decode[struct {
		Against string `json:"against"`
		Count   int    `json:"count"`
		api.Plan
	}](n, "plan")
	if len(plan.Weights) != 2 || plan.Weights[1].Effective == 0 || plan.Weights[1].Tier != 0 {
		t.Errorf("the plan does not tell what the policy says: %+v", plan.Weights)
	}
	p := decode[api.Policy](n, "policy", "show", "spill")
	if h := p.Stats.Hooks[policy.HookWeigh]; h.Calls == 0 || h.Errors != 0 {
		t.Errorf("weigh: %+v", h)
	}
}

// TestPolicyProbes: a policy reads what a server says, and its role from it.
func TestPolicyProbes(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
	for _, b := range n.Backends {
		must(b.StartTCPEcho(echoPort))(t)
	}
	echo := service{name: "echo", port: echoPort, weights: []int{1, 1}, more: "probe: {type: policy, policy: line-probe, interval: 200ms, rise: 1, fall: 1}"}
	n.patience = 2 * time.Minute // the race detector makes the compilation of a Go module long
	config := func(expect string) string {
		return n.config(policies(t, "line-probe", fmt.Sprintf("config: {steps: [{expect: '%s'}]}", expect)), echo)
	}
	n.run(config("^(?P<role>[a-z0-9]+)$"))
	for i, b := range n.Backends {
		n.awaitBackend(echo, i, "the role is known", func(one *api.Backend) bool { return one != nil && one.State == api.StateHealthy && one.Role == b.Name })
	}
	n.write(config("^" + n.Backends[0].Name + "$"))
	n.xlb("reload")
	n.awaitBackend(echo, 1, "the other one is down", func(b *api.Backend) bool { return b != nil && b.State == api.StateUnhealthy && b.Reason != "" })
	n.awaitBackend(echo, 0, "the named one is up", func(b *api.Backend) bool { return b != nil && b.State == api.StateHealthy })
}

// TestPolicyHostile: a module that does all the harm it can costs its own service
// its say, and nobody else anything.
func TestPolicyHostile(t *testing.T) {
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
	for _, b := range n.Backends {
		must(b.StartTCPEcho(echoPort))(t)
	}
	module := must(filepath.Abs("../pkg/policy/testdata/hostile"))(t)
	victim := service{name: "victim", weights: []int{1, 1}, more: "probe: none\npolicies: [hostile, canary]"}
	other := service{name: "other", port: echoPort, weights: []int{1, 1}, tags: []string{"canary"}, more: "probe: none\npolicies: canary"}
	config := func(hostile string) string {
		all := policies(t, "canary", "config: {percent: 100}, subsets: {canary: {tag: canary}}")
		return n.config(all+fmt.Sprintf("  hostile: {path: %s, timeout: 500ms%s}\n", module, hostile), victim, other)
	}
	d := n.run(config(""))
	wire := must(n.Client.Wire("eth0"))(t)
	defer wire.Close()
	near, mine := must(n.Balancer.MAC(n.Interfaces[0]))(t), must(n.Client.MAC("eth0"))(t)
	link := testlab.Ethernet{Dst: testlab.MAC(near), Src: testlab.MAC(mine)}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// What it does is told by the source port; see its source.
	for port := uint16(1); port <= 20; port++ {
		from := netip.AddrPortFrom(n.Client4, port)
		if err := wire.Send(testlab.TCPPacket(link, from, victim.frontend(n), testlab.SYN, "")); err != nil {
			t.Fatal(err)
		}
		held, err := n.Client.HoldTCP(ctx, other.frontend(n), 3, 3)
		if err != nil {
			t.Fatalf("another service beside harm %d: %v", port, err)
		}
		if got := held.Backends(); got[n.Backends[0].Name] != 3 {
			t.Errorf("another service's policy beside harm %d: %v", port, got)
		}
		held.Close()
	}
	n.eventually("the policy is ejected", func() string {
		p := decode[api.Policy](n, "policy", "show", "hostile")
		h := p.Stats.Hooks[policy.HookFlow]
		if h.Errors < 5 || h.Ejections == 0 || !strings.Contains(h.LastError, "hostile") {
			return fmt.Sprintf("%+v", h)
		}
		return ""
	})
	// It fails open: its own service goes on.
	for range 5 {
		if _, err := n.get(victim.frontend(n), 5*time.Second); err != nil {
			t.Errorf("its own service: %v", err)
		}
	}
	if text := n.xlb("policy", "ls"); !strings.Contains(text, "hostile") {
		t.Errorf("policy ls: %s", text)
	}
	if h := decode[api.Policy](n, "policy", "show", "hostile").Stats.Hooks[policy.HookFlow]; h.Ejected {
		if s := decode[api.Status](n, "status"); time.Until(h.EjectedUntil) > 100*time.Millisecond && !slices.Contains(s.Reasons, "policy_failing:hostile") {
			t.Errorf("the status does not tell that the policy fails: %v", s.Reasons)
		}
	}
	for _, c := range []struct{ config, want string }{
		{`, config: {"n": 10}`, "500ms"},   // validate never ends
		{`, config: {"n": 14}`, "500ms"},   // configure never ends
		{`, config: {"n": 15}`, "hostile"}, // configure traps
		{", sha256: " + strings.Repeat("a", 64), "sha256"},
	} {
		n.write(config(c.config))
		if _, stderr, code := n.try("reload"); code != 2 || !strings.Contains(stderr, "hostile") || !strings.Contains(stderr, c.want) {
			t.Errorf("reload with%s: status %d, %s", c.config, code, stderr)
		}
	}
	if _, err := n.get(victim.frontend(n), 5*time.Second); err != nil {
		t.Errorf("after refused reloads: %v", err)
	}
	select {
	case <-d.Done():
		t.Errorf("the daemon ended: %v", d.Wait())
	default:
	}
}

// TestPolicyMetrics: the module's own counters, and all others, are at /metrics.
func TestPolicyMetrics(t *testing.T) {
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 1})
	web := service{name: "web", weights: []int{1}, more: "probe: none\npolicies: rate-guard"}
	n.run(n.config(policies(t, "rate-guard", "config: {rate: 1000, burst: 1000}"), web))
	n.sendAll(web, 5)
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.socket())
	}}}
	defer client.CloseIdleConnections()
	text := must(testlab.Get(context.Background(), &client, "http://xlb/metrics"))(t)
	for _, want := range []string{
		`xlb_policy_calls_total{hook="flow",policy="rate-guard"} 5`, `xlb_events_total{event="decided"} 5`,
		`xlb_upcalls_total{outcome="asked"} 5`, `xlb_policy_own_total{counter="forgotten",policy="rate-guard"} 0`,
		`xlb_service_flows_created_total{service="web"} 5`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// TestPolicyTable: a table is filled while the daemon runs, and obeyed at once.
func TestPolicyTable(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 1})
	web := service{name: "web", weights: []int{1}, more: "probe: none\npolicies: cidr-filter"}
	n.run(n.config(policies(t, "cidr-filter", "config: {refuse: reject}"), web))
	if _, err := n.get(web.frontend(n), 5*time.Second); err != nil {
		t.Fatalf("with an empty table: %v", err)
	}
	fill := func(text string) {
		t.Helper()
		file := filepath.Join(n.dir, "deny.txt")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n.xlb("policy", "table", "cidr-filter", "deny", file)
	}
	fill("# who is out\n" + n.Client4.String() + "/32\n")
	if _, err := n.get(web.frontend(n), 5*time.Second); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a client of the table: %v", err)
	}
	// It outlives the module.
	n.xlb("policy", "reload", "cidr-filter")
	if _, err := n.get(web.frontend(n), 5*time.Second); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after a reload of the module: %v", err)
	}
	if _, stderr, code := n.try("policy", "table", "cidr-filter", "denied", "/dev/null"); code == 0 || !strings.Contains(stderr, "denied") {
		t.Errorf("a table that is none: status %d, %s", code, stderr)
	}
	fill("")
	if _, err := n.get(web.frontend(n), 5*time.Second); err != nil {
		t.Errorf("with an empty table again: %v", err)
	}
}
