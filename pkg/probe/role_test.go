package probe

import (
	"context"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// TestRunnerRole: a role holds with the very check that found it, whatever rise and
// fall are, and is not forgotten by a check that cannot ask.
func TestRunnerRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []PolicyAnswer{
			{Healthy: true, Role: "replica"}, {Healthy: true, Role: "replica"}, {Healthy: true, Role: "primary"},
			{Reason: "full", Role: "primary"}, {Reason: "gone"}, {Reason: "starts", Role: "replica"}, {Healthy: true}, {Healthy: true, Role: "primary"},
		}
		var results []Result
		n, next := newNetwork(map[string]string{a: "."}), 0
		r := NewRunner(Options{Log: quiet, Dial: n.dial, OnChange: func(r Result) { results = append(results, r) },
			Policy: func(context.Context, string, net.Conn) (PolicyAnswer, error) {
				answer := answers[min(next, len(answers)-1)]
				next++
				return answer, nil
			}})
		tg := target("db", a)
		tg.Probe.Type, tg.Probe.Policy, tg.Probe.Rise, tg.Probe.Fall = model.ProbePolicy, "roles", 9, 9
		r.Apply([]Target{tg})
		time.Sleep(9500 * time.Millisecond)
		r.Close()
		type told struct {
			role, reason  string
			state, change bool
		}
		var got []told
		for _, x := range results {
			got = append(got, told{x.Health.Role, x.Health.Reason, x.Changed, x.RoleChanged})
			if x.Health.State != model.Healthy {
				t.Errorf("%+v", x)
			}
		}
		want := []told{
			{"replica", "", true, true}, {"primary", "", false, true}, {"primary", "full", false, false}, {"primary", "gone", false, false},
			{"replica", "starts", false, true}, {"", "", false, true}, {"primary", "", false, true},
		}
		if !slices.Equal(got, want) {
			t.Errorf("told\n%+v, want\n%+v", got, want)
		}
		for i, zero := range []bool{true, false, false, false, false, false, true} {
			if results[i].Health.RoleSince.IsZero() != zero {
				t.Errorf("result %d: role since %s", i, results[i].Health.RoleSince)
			}
		}
	})
}
