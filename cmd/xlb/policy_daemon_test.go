package main

import (
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// withPolicies adds two policies to the sample.
func withPolicies(s *sample) *sample {
	s.policies = []api.Policy{
		{
			Name: "canary", Path: "/etc/xlb/policies/canary", Version: "1.0.0", Description: "Sends a share to those on trial",
			HookNames: []policy.Hook{policy.HookFlow}, OnError: "continue",
			Uses: []api.PolicyUse{{Service: "web", As: "policy", Mode: "enforce"}, {Service: "dns", As: "policy", Mode: "shadow"}},
			Stats: policy.Stats{
				SHA256: "abc123", Loaded: testNow.Add(-time.Hour), Instances: 2, Memory: 262144, MemoryLimit: 16 << 20, Fuel: 100000, FuelMost: 12,
				Hooks: map[policy.Hook]policy.HookStats{policy.HookFlow: {
					Calls: 12345, Errors: 5, Skipped: 7, Ejected: true, EjectedUntil: testNow.Add(4 * time.Second),
					LastError: `policy "canary": flow: out of fuel`, LastErrorAt: testNow.Add(-time.Minute),
					P50: 40 * time.Nanosecond, P99: 900 * time.Nanosecond, Max: 3 * time.Microsecond,
				}},
				Verdicts: []policy.VerdictStats{
					{Mode: model.PolicyEnforce, Action: policy.ActionSubset, Reason: 1, Text: "on trial", Count: 600},
					{Mode: model.PolicyShadow, Action: policy.ActionDrop, Reason: 2, Count: 3},
				},
				Counters: map[string]uint64{"seen": 9},
				Tables:   []policy.TableStats{{TableSpec: policy.TableSpec{Name: "testers", Kind: policy.TableCIDR}, Source: "/etc/testers", Entries: 4}},
			},
		},
		{Name: "line", HookNames: []policy.Hook{policy.HookProbe}, Uses: []api.PolicyUse{{Service: "web", As: "probe"}}},
	}
	return s
}

func TestPolicyLs(t *testing.T) {
	withPolicies(newSample()).start(t)
	same(t, xlb(t, "policy", "ls").ok(t), `
POLICY  HOOKS  SERVICES          CALLS  ERRORS    P99  STATE    LAST ERROR
canary  flow   web dns (shadow)  12.3k       5  900ns  ejected  policy "canary": flow: out of fuel
line    probe  web (probe)           0       0         ok
`)
	if got := decode[[]api.Policy](t, xlb(t, "policy", "ls", "--json").ok(t)); len(got) != 2 || got[0].Stats.Hooks[policy.HookFlow].Calls != 12345 {
		t.Errorf("JSON: %+v", got)
	}
	newSample().start(t)
	if out := xlb(t, "policy", "ls").ok(t); out != "no policies are configured\n" {
		t.Errorf("without policies: %s", out)
	}
}

func TestPolicyShow(t *testing.T) {
	withPolicies(newSample()).start(t)
	same(t, xlb(t, "policy", "show", "canary").ok(t), `
policy      canary 1.0.0
            Sends a share to those on trial
path        /etc/xlb/policies/canary
sha256      abc123
loaded      1h ago
used by     web dns (shadow)
on error    continue
memory      256 KiB in 2 instances, 16.0 MiB each at most
flow        12.3k calls, 5 failed, 7 skipped; p50 40ns, p99 900ns, at most 3µs; fuel 12 of 100000
            last error, 1m ago: policy "canary": flow: out of fuel
            ejected for another 4s

VERDICT  MODE     REASON  FLOWS  MEANING
subset   enforce       1    600  on trial
drop     shadow        2      3

COUNTER  COUNT
seen         9

TABLE    KIND  ENTRIES  FROM
testers  cidr        4  /etc/testers
`)
	xlb(t, "policy", "show", "geo").fails(t, 1, `xlb: no policy "geo" (there are canary, line)`)
	if r := xlb(t, "policy", "show"); r.status != exitUsage {
		t.Errorf("without a name: %+v", r)
	}
}

func TestPolicyReload(t *testing.T) {
	s := withPolicies(newSample()).start(t)
	if out := xlb(t, "policy", "reload", "canary").ok(t); out != "reloaded canary: abc123\n" {
		t.Errorf("got %s", out)
	}
	s.refuse = api.Errorf(422, "xlb.yaml: policy %q: it traps", "canary")
	if r := xlb(t, "policy", "reload", "canary"); r.status != exitUsage || !strings.Contains(r.stderr, "it traps") {
		t.Errorf("a refusal: %+v", r)
	}
}

func TestPolicyTable(t *testing.T) {
	s := withPolicies(newSample()).start(t)
	in := env{stdin: strings.NewReader("# who is on trial\n192.0.2.0/24\n2001:db8::/32 7 # seven\n\n")}
	if out := xlbIn(t, t.Context(), in, "policy", "table", "canary", "testers", "-").ok(t); out != "testers of canary holds 2 lines\n" {
		t.Errorf("got %s", out)
	}
	if want := "canary testers [{192.0.2.0/24 } {2001:db8::/32 7}]"; s.table != want {
		t.Errorf("the daemon was told %q, want %q", s.table, want)
	}
	in = env{stdin: strings.NewReader("a b c\n")}
	xlbIn(t, t.Context(), in, "policy", "table", "canary", "testers", "-").fails(t, exitUsage, `xlb: -: "a b c" is not a key and a value`)
	xlb(t, "policy", "table", "canary", "testers", "/nowhere").fails(t, exitUsage, "xlb: open /nowhere: no such file or directory")
}
