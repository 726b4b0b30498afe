package main

import (
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/api"
)

// A service whose backends count by their role, and that is critical.
func TestRoleIsShown(t *testing.T) {
	s := newSample()
	web := &s.status.Services[1]
	web.Role, web.RoleFallback, web.Critical = "replica", "primary", true
	web.Backends[0].Role = "replica"
	s.status.Ready, s.status.Reasons = false, []string{"critical_down:web", "critical_down:dns/10.0.0.53:53", "hook_failing:/bin/notify"}
	s.start(t)
	check := func(text string, want ...string) {
		t.Helper()
		for _, line := range want {
			if !strings.Contains(text, line) {
				t.Errorf("no %q in\n%s", line, text)
			}
		}
	}
	check(xlb(t, "status").ok(t),
		"not ready: critical, and down: web, critical, and down: dns/10.0.0.53:53, changes of backends could not be told to /bin/notify\n",
		"nat, maglev, fail closed, critical\n  role replica, else primary\n", "1  healthy replica  1h15m")
	check(xlb(t, "service", "show", "web").ok(t), "critical    without a usable backend xlb is not ready\n", "role        replica, else primary\n")
	web.StandsIn = true
	check(xlb(t, "status").ok(t), "  role replica, else primary: none is usable, the others stand in\n")
	web.RoleFallback, web.StandsIn = "none", false
	check(xlb(t, "status").ok(t), "  role replica\n")
}

// Health checks and hooks are among the counters.
func TestStatsOfProbesAndHooks(t *testing.T) {
	s := newSample()
	s.stats.Probes = api.ProbeStats{Passed: 1200, Failed: 3, Late: []api.LateStats{{UpToSeconds: 0.256, Checks: 100}, {UpToSeconds: 1, Checks: 5}, {Checks: 2}}}
	s.stats.Hooks = []api.HookStats{{Hook: "/bin/notify", Told: 5, Failed: 1, Retried: 3, Dropped: 2, Waiting: 4, Error: "exit status 3"}}
	s.start(t)
	text := xlb(t, "stats", "--no-backends").ok(t)
	for _, want := range []string{
		"probe_passed   1200\n", "probe_failed      3\n", "probe_late        7\n",
		"\nHOOK         TOLD  FAILED  RETRIED  DROPPED  WAITING  ERROR\n/bin/notify     5       1        3        2        4  exit status 3\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "probe_skipped") {
		t.Errorf("what never happened is shown:\n%s", text)
	}
}
