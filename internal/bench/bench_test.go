package bench

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/model"
)

// Every scenario is what it says, on each hook and in each forwarding mode.
func TestRun(t *testing.T) {
	o := Quick()
	told := 0
	o.Done = func(Result) { told++ }
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	common := []string{
		"no-vip", "tcp4-hit-1", "tcp4-hit-1k", "tcp4-hit-100k", "tcp4-hit-1m", "tcp4-syn-new", "tcp4-syn-flood",
		"udp4-hit-100k", "udp4-new", "tcp6-hit-1", "tcp6-hit-100k", "tcp6-syn-new",
	}
	outcomes := []string{"outcomes-hit-100k", "outcomes-syn-new"}
	both := slices.Concat(common, []string{"tcp4-reply-1", "tcp4-reply-100k"}, outcomes, []string{"outcomes-reply-100k"})
	drawn := []string{
		"random-syn-new", "round-robin-syn-new", "least-connections-syn-new", "least-latency-syn-new", "affinity-syn-new",
	}
	nat := slices.Concat(both, drawn)
	direct := slices.Concat(common, []string{"marked-hit-100k", "marked-unknown-100k", "always-hit-100k", "policy-hit-100k", "policy-upcall"},
		outcomes, []string{"rules-10-hit-100k", "rules-100k-hit-1", "rules-100k-hit-100k", "rules-100k-tcp6-hit-100k", "rules-100k-denied-100k", "rate-syn-new", "always-syn-new"},
		drawn, []string{"source-hit-100k", "ops-udp4", "quic-100k"})
	var want, got []string
	for _, c := range []struct {
		mode      string
		scenarios []string
	}{
		{"xdp l2dsr", direct}, {"xdp ipip", direct}, {"xdp gue", direct}, {"xdp nat", nat}, {"xdp dnat", both},
		{"tc l2dsr", direct}, {"tc nat", nat}, {"tc dnat", both},
	} {
		for _, s := range c.scenarios {
			want = append(want, c.mode+" "+s)
		}
	}
	for _, x := range r.Results {
		got = append(got, x.Hook+" "+x.Forward.String()+" "+x.Scenario)
		if x.FloorNS <= 0 || x.MinNS > x.MedianNS || x.MedianNS > x.MaxNS || x.Ratio <= 1 || x.BareNS <= 0 || x.BareRatio <= 0 {
			t.Errorf("%+v", x)
		}
		if flows := flowsOf(x.Scenario, o.Repeat); x.Flows != flows {
			t.Errorf("%s: %d flows, want %d", x.Scenario, x.Flows, flows)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if told != len(want) {
		t.Errorf("told of %d results, want %d", told, len(want))
	}
}

// flowsOf are the flows that a scenario's name tells.
func flowsOf(name string, repeat int) int {
	counts := map[string]int{"1": 1, "1k": 1000, "100k": 100_000, "1m": 1_000_000, "vip": 100_000}
	if n, ok := counts[name[strings.LastIndexByte(name, '-')+1:]]; ok {
		return n
	}
	return repeat
}

// The bare table look-up is measured at each hook, whatever is compared with it.
func TestBare(t *testing.T) {
	o := Quick()
	o.Rounds = 5
	o.Forwards, o.Scenarios = []model.Forward{model.L2DSR}, []string{"no-vip"}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, hook := range Hooks() {
		for _, flows := range []string{"1", "100k"} {
			l2, ipip := r.BareNS[hook][flows], r.BareIPIPNS[hook][flows]
			if l2 <= 0 || ipip <= 0 {
				t.Errorf("%s, %s flows: %v ns, with an outer header %v", hook, flows, l2, ipip)
			}
		}
	}
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(Report{FloorNS: 29.5, Results: []Result{{
		Hook: "xdp", Forward: model.L2DSR, Scenario: "tcp4-hit-1", Flows: 1, MedianNS: 41, MinNS: 40.2, MaxNS: 48.9,
		BareNS: 20.5, BareRatio: 2,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		FloorNS float64          `json:"floor_ns"`
		Results []map[string]any `json:"results"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"hook": "xdp", "forward": "l2dsr", "scenario": "tcp4-hit-1", "flows": 1.0,
		"median_ns": 41.0, "min_ns": 40.2, "max_ns": 48.9, "floor_ns": 0.0, "ratio": 0.0,
		"bare_ns": 20.5, "bare_ratio": 2.0,
	}
	if diff := cmp.Diff(want, got.Results[0]); diff != "" || got.FloorNS != 29.5 {
		t.Errorf("floor %v, result (-want +got):\n%s", got.FloorNS, diff)
	}
}

// A scenario that is not what it says is an error, not a figure.
func TestCheck(t *testing.T) {
	m := &measurement{hook: "xdp", forward: model.NAT, scenario: scenario{name: "tcp4-hit-1", kind: hit}}
	right := counters{"tx": 10, "requests": 10, "flow_created": 0, "drop_nat_ports": 0, "flow_evicted": 0}
	with := func(name string, n uint64) counters {
		c := counters{}
		for k, v := range right {
			c[k] = v
		}
		c[name] = n
		return c
	}
	if err := m.check(counters{}, right, 10, 3); err != nil {
		t.Error(err)
	}
	for name, moved := range map[string]uint64{"tx": 9, "requests": 11, "flow_created": 1, "drop_nat_ports": 1, "flow_evicted": 1} {
		if m.check(counters{}, with(name, moved), 10, 3) == nil {
			t.Errorf("accepted although %s moved by %d", name, moved)
		}
	}
	if m.check(counters{}, right, 10, 2) == nil {
		t.Error("accepted although the last packet was passed")
	}
	full := &measurement{hook: "xdp", forward: model.NAT, scenario: scenario{kind: flood, protocol: model.TCP}}
	c := counters{"tx": 1000, "requests": 1000, "service_flows": 1000, "flow_created": 1000, "flow_evicted": 990}
	if err := full.check(counters{}, c, 1000, 3); err != nil {
		t.Error(err)
	}
	c["flow_evicted"] = 500
	if full.check(counters{}, c, 1000, 3) == nil {
		t.Error("accepted a flood of which half found room")
	}
	direct := &measurement{hook: "xdp", forward: model.L2DSR, scenario: scenario{kind: flood, protocol: model.TCP}}
	c = counters{"tx": 1000, "requests": 1000, "service_flows": 1000, "flow_created": 0, "flow_evicted": 0}
	if err := direct.check(counters{}, c, 1000, 3); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"flow_created", "flow_evicted"} {
		c[name] = 1
		if direct.check(counters{}, c, 1000, 3) == nil {
			t.Errorf("accepted a flood of l2dsr although %s moved", name)
		}
		c[name] = 0
	}
}

// Interrupted, it removes what it made; the test main looks for what is left.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := Quick()
	o.Scenarios = []string{"no-vip"}
	o.Done = func(Result) { cancel() }
	r, err := Run(ctx, o)
	if !errors.Is(err, context.Canceled) || len(r.Results) != 1 {
		t.Errorf("%d results and %v", len(r.Results), err)
	}
}
