package telemetry

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

type sample struct{ err error }

func (s sample) Stats(context.Context, api.StatsFilter) (api.Stats, error) {
	return api.Stats{
		Reasons: []api.Counter{{Name: "tx", Count: api.Count{Packets: 3, Bytes: 300}}},
		Events:  []api.Counter{{Name: "flow_created", Count: api.Count{Packets: 2}}},
		Upcalls: api.Upcalls{Asked: 4},
		Probes: api.ProbeStats{Checks: 3, Running: 1, Passed: 10, Failed: 4, Skipped: 2, LateSeconds: 1.5,
			Late: []api.LateStats{{UpToSeconds: 0.001, Checks: 12}, {UpToSeconds: 1, Checks: 3}, {Checks: 1}}},
		Hooks: []api.HookStats{{Hook: "/bin/notify", Told: 5, Failed: 1, Dropped: 2, Retried: 3, Waiting: 4}},
		Services: []api.ServiceStats{
			{Service: "web", Flows: 5, MarkedSlots: 7, Refused: api.Refused{Denied: 13}, Usable: 2, Critical: true, CriticalDown: true, Traffic: api.Traffic{Request: api.Count{Packets: 11, Bytes: 1100}, FlowsCreated: 9}, Outcomes: &api.Outcomes{Attempts: 21, Refused: 6}, Ejected: 1, Ejections: 3, Sources: []api.Source{
				{Name: "site", Type: "dns", State: api.SourceFailing, Answered: new(time.UnixMilli(1_700_000_000_250)), Backends: 3}, {Name: "more", Type: "exec", State: api.SourceWaiting},
			}},
			{ID: 4}, // retired, and its name not known
		},
		Backends: []api.BackendStats{
			{Service: "web", Address: netip.MustParseAddrPort("10.0.0.1:80"), Outcomes: &api.Outcomes{Answered: 15, HandshakeSeconds: 0.002}},
			{Service: "", Address: netip.MustParseAddrPort("10.0.0.2:80"), Outcomes: &api.Outcomes{Answered: 1}},
		},
	}, s.err
}

func (s sample) Policies() []api.Policy {
	return []api.Policy{{
		Name: "canary", HookNames: []policy.Hook{policy.HookFlow},
		Stats: policy.Stats{
			Hooks:    map[policy.Hook]policy.HookStats{policy.HookFlow: {Calls: 8, Errors: 1, Ejected: true, P50: 20 * time.Nanosecond, P99: time.Microsecond}},
			Verdicts: []policy.VerdictStats{{Mode: model.PolicyShadow, Action: policy.ActionDrop, Reason: 2, Count: 6}},
			Counters: map[string]uint64{"seen": 12}, Memory: 65536,
		},
	}}
}

func get(t *testing.T, s source) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(s).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Code, w.Body.String()
}

func TestMetrics(t *testing.T) {
	code, text := get(t, sample{})
	if code != http.StatusOK {
		t.Fatalf("status %d: %s", code, text)
	}
	for _, want := range []string{
		`xlb_packets_total{reason="tx"} 3`,
		`xlb_bytes_total{reason="tx"} 300`,
		`xlb_events_total{event="flow_created"} 2`,
		`xlb_upcalls_total{outcome="asked"} 4`,
		`xlb_service_flows{service="web"} 5`,
		`xlb_service_packets_total{direction="request",service="web"} 11`,
		`xlb_service_flows_created_total{service="web"} 9`,
		`xlb_service_marked_slots{service="web"} 7`,
		`xlb_service_refused_total{cause="denied",service="web"} 13`,
		`xlb_service_refused_total{cause="max_connections",service="web"} 0`,
		`xlb_service_connections_total{outcome="attempt",service="web"} 21`,
		`xlb_service_connections_total{outcome="refused",service="web"} 6`,
		`xlb_service_ejected_backends{service="web"} 1`,
		`xlb_service_ejections_total{service="web"} 3`,
		`xlb_backend_connections_total{backend="10.0.0.1:80",outcome="answered",service="web"} 15`,
		`xlb_backend_handshake_seconds{backend="10.0.0.1:80",service="web"} 0.002`,
		`xlb_service_usable_backends{service="web"} 2`,
		`xlb_service_critical_down{service="web"} 1`,
		`xlb_probes_total{outcome="failed"} 4`,
		`xlb_probe_checks 3`,
		`xlb_probes_running 1`,
		`xlb_probe_late_seconds_bucket{le="0.001"} 12`,
		`xlb_probe_late_seconds_bucket{le="1"} 15`,
		`xlb_probe_late_seconds_bucket{le="+Inf"} 16`,
		`xlb_probe_late_seconds_sum 1.5`,
		`xlb_hook_changes_total{hook="/bin/notify",outcome="dropped"} 2`,
		`xlb_hook_retries_total{hook="/bin/notify"} 3`,
		`xlb_hook_waiting{hook="/bin/notify"} 4`,
		`xlb_source_backends{service="web",source="site",type="dns"} 3`,
		`xlb_source_state{service="web",source="site",state="failing",type="dns"} 1`,
		`xlb_source_state{service="web",source="site",state="ok",type="dns"} 0`,
		`xlb_source_state{service="web",source="more",state="waiting",type="exec"} 1`,
		`xlb_source_last_answer_timestamp_seconds{service="web",source="site",type="dns"} 1.70000000025e+09`,
		`xlb_policy_calls_total{hook="flow",policy="canary"} 8`,
		`xlb_policy_errors_total{hook="flow",policy="canary"} 1`,
		`xlb_policy_ejected{hook="flow",policy="canary"} 1`,
		`xlb_policy_call_p99_seconds{hook="flow",policy="canary"} 1e-06`,
		`xlb_policy_verdicts_total{action="drop",mode="shadow",policy="canary",reason="2"} 6`,
		`xlb_policy_own_total{counter="seen",policy="canary"} 12`,
		`xlb_policy_memory_bytes{policy="canary"} 65536`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, `service=""`) {
		t.Error("a service without a name is there")
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}

func TestMetricsUnreadable(t *testing.T) {
	code, text := get(t, sample{errors.New("the maps are gone")})
	if code != http.StatusInternalServerError || !strings.Contains(text, "the maps are gone") {
		t.Errorf("status %d: %s", code, text)
	}
}
