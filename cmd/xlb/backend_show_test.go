package main

import (
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
)

func TestBackendShow(t *testing.T) {
	s := newSample()
	yes, weight := true, uint16(3)
	checked, next := testNow.Add(-time.Second), testNow.Add(1200*time.Millisecond)
	s.detail = api.BackendDetail{
		ConfiguredWeight: 5, WeightFrom: "operator", Serves: true,
		Said: &api.Override{Drain: &yes, Weight: &weight},
		Probe: api.BackendProbe{
			ServiceProbe: api.ServiceProbe{Type: "http", IntervalSeconds: 2, TimeoutSeconds: 0.5, Rise: 2, Fall: 3, JitterPercent: 10, FailingSeconds: 1.5, BackoffSeconds: 120},
			To:           "10.0.0.12:8081", Result: "passed", Streak: 4, Failures: 17, LatencySeconds: 0.00023, SmoothedSeconds: 0.0015, Checked: &checked, Next: &next, Sharers: 2,
		},
		Traffic: api.Traffic{Request: api.Count{Packets: 12, Bytes: 1200}, FlowsCreated: 3},
		History: []api.Change{
			{At: testNow.Add(-time.Minute), Kind: api.ChangeOperator, From: "healthy", To: "draining", Reason: "drained by the operator"},
			{At: testNow.Add(-time.Hour), Kind: api.ChangeRole, From: "replica", To: "primary"},
			{At: testNow.Add(-2 * time.Hour), Kind: api.ChangeHealth, From: "healthy", To: "unhealthy", Reason: "connect: \x1b[2Jrefused"},
		},
	}
	s.start(t)
	same(t, xlb(t, "backend", "show", "web", "10.0.0.12").ok(t), `
backend    10.0.0.12:8080 of web (number 3)
state      draining
reason     drained by the operator
weight     3 by the operator (configured 5); not in the table
flows      7 now, 3 created
placement  tier 0
probe      http to 10.0.0.12:8081 every 2s ±10%, when failing 1.5s, back-off to 2m, timeout 500ms, rise 2, fall 3
           the same check is for 2 backends of services
result     passed 4 in a row, 1s ago, next in 1s; 17 failed in all
latency    230µs, smoothed 1.5ms
operator   drained, weight 3
requests   12 packets, 1.17 KiB
dropped    none

CHANGED  BY        FROM     TO         REASON
 1m ago  operator  healthy  draining   drained by the operator
 1h ago  role      replica  primary
 2h ago  health    healthy  unhealthy  connect:  [2Jrefused
`)
	got := decode[api.BackendDetail](t, xlb(t, "backend", "show", "--json", "web", "10.0.0.12:8080").ok(t))
	if got.Service != "web" || got.Address != web2 || len(got.History) != 3 || got.Probe.Sharers != 2 || got.Said == nil {
		t.Errorf("JSON: %+v", got)
	}
	if text := xlb(t, completing("backend", "show", "web", "10.0.0.12")...).ok(t); text != "10.0.0.12:8080\n" {
		t.Errorf("completes to %q", text)
	}
}

// A backend that nothing is known of yet.
func TestBackendShowOfNothing(t *testing.T) {
	s := newSample()
	s.detail = api.BackendDetail{ConfiguredWeight: 1, WeightFrom: "configuration", History: []api.Change{}, Probe: api.BackendProbe{ServiceProbe: api.ServiceProbe{Type: "none"}}}
	s.start(t)
	text := xlb(t, "backend", "show", "web", "10.0.0.11:8080").ok(t)
	for _, want := range []string{
		"state      healthy since 1h15m\n", "weight     1 by the configuration; 1 in the table, 16384 of 65537 slots (25.0%)\n", "placement  zone rack-1, tier 0\n",
		"flows      12.3k now, 0 created; those that it has move to others\n", "probe      none\n", "\nno changes since the daemon started\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	s.detail.Probe.Type, s.detail.Probe.IntervalSeconds = "tcp", 1
	if text := xlb(t, "backend", "show", "web", "10.0.0.11:8080").ok(t); !strings.Contains(text, "result     none yet\n") {
		t.Errorf("no result yet, but\n%s", text)
	}
	if r := xlb(t, "backend", "show", "web", "10.0.0.99:80"); r.status != 1 || !strings.Contains(r.stderr, "10.0.0.11:8080") {
		t.Errorf("unknown backend: %+v", r)
	}
}

// completing are the words of a line that is to be completed.
func completing(words ...string) []string { return append(words, completionFlag) }
