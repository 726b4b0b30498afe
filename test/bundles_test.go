package test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/policy"
)

// TestPolicyBundles runs those ready policies, on real connections, that no other
// test here does, and a module that picks backends by their place.
func TestPolicyBundles(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	n.patience = 2 * time.Minute // the race detector makes the compilation of a Go module long
	countries := filepath.Join(n.dir, "countries.txt")
	if err := os.WriteFile(countries, []byte(n.Client4.String()+"/32 DE\n"+n.Client6.String()+"/128 KP\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, tags := []int{1, 1, 1}, []string{"", "near", ""}
	steered := service{name: "steered", weights: all, tags: tags, more: "policies: geo"}
	fenced := service{name: "fenced", ipv6: true, weights: all, more: "policies: geo"}
	sticky := service{name: "sticky", port: echoPort, weights: all, more: "policies: sticky-subnet"}
	timed := service{name: "timed", protocol: "udp", weights: all, tags: tags, more: "policies: time-window"}
	picked := service{name: "picked", protocol: "udp", ipv6: true, weights: all, more: "policies: pick"}
	for _, b := range n.Backends {
		must(b.StartTCPEcho(echoPort))(t)
	}
	n.run(n.config("defaults: {probe: none}\n"+policies(t,
		"geo", fmt.Sprintf("config: {group-1: [DE], deny: [KP], refuse: reject}, subsets: {group-1: {tag: near}}, tables: {countries: %s}", countries),
		"sticky-subnet", "",
		"time-window", "config: {windows: [{do: group-1}]}, subsets: {group-1: {tag: near}}",
	)+fmt.Sprintf("  pick: {path: %s}\n", must(filepath.Abs("../pkg/policy/testdata/pick"))(t)),
		steered, fenced, sticky, timed, picked))

	const count = 30
	only := func(s service, backend int) {
		t.Helper()
		if got, want := n.sendAll(s, count), map[string]int{n.Backends[backend].Name: count}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: answers by %v, want %v", s.name, got, want)
		}
	}
	only(steered, 1)
	only(timed, 1)
	if _, err := n.get(fenced.frontend(n), time.Second); err == nil {
		t.Error("a client from a denied country is let in")
	}
	held := must(n.Client.HoldTCP(t.Context(), sticky.frontend(n), count, 4))(t)
	defer held.Close()
	if got := held.Backends(); len(got) != 1 {
		t.Errorf("the connections of one subnet are with %v", got)
	}
	if got := n.sendAll(picked, 3*count); len(got) != 3 {
		t.Errorf("flows picked by their hash are with %v", got)
	}
	for name, action := range map[string]policy.Action{
		"geo": policy.ActionSubset, "sticky-subnet": policy.ActionHash, "time-window": policy.ActionSubset, "pick": policy.ActionBackend,
	} {
		p := decode[api.Policy](n, "policy", "show", name)
		if len(p.Verdicts) == 0 || p.Verdicts[0].Action != action || p.Stats.Hooks[policy.HookFlow].Errors != 0 {
			t.Errorf("%s: verdicts %+v, calls %+v", name, p.Verdicts, p.Stats.Hooks)
		}
	}
}

// TestPolicyLatency: a backend whose probes take longer gets less.
func TestPolicyLatency(t *testing.T) {
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
	n.http[1].SetDelay(30 * time.Millisecond)
	web := service{name: "web", weights: []int{100, 100}, more: "probe: {type: http, path: /health, interval: 200ms}\npolicies: least-latency"}
	n.run(n.config(policies(t, "least-latency", "config: {interval_s: 0.1, damping: 100, step: 100, floor: 10}"), web))
	n.awaitBackend(web, 1, "the slow one has less", func(b *api.Backend) bool { return b != nil && b.EffectiveWeight > 0 && b.EffectiveWeight <= 5000 })
	n.awaitBackend(web, 0, "the fast one has its weight", func(b *api.Backend) bool { return b != nil && b.EffectiveWeight == 10000 })
}

// TestPolicyRate: beyond its rate a client is refused, and what the policy counts is
// seen.
func TestPolicyRate(t *testing.T) {
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 1})
	web := service{name: "web", weights: []int{1}, more: "probe: none\npolicies: rate-guard"}
	n.run(n.config(policies(t, "rate-guard", "config: {rate: 0.01, burst: 5, refuse: reject}"), web))
	in, out := 0, 0
	for range 12 {
		if _, err := n.get(web.frontend(n), 2*time.Second); err == nil {
			in++
		} else {
			out++
		}
	}
	if in != 5 || out != 7 {
		t.Errorf("%d were let in and %d refused, want 5 and 7", in, out)
	}
}
