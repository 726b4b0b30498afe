package control

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/notify"
	"github.com/xlb-io/xlb/pkg/probe"
)

// unprobed is a probe that says nothing of the backends.
const unprobed = "{type: exec, command: /nonexistent/program, interval: 1h}"

// hooked is a service whose hook writes down what it is told.
func hooked(out, more string) string {
	return "  web: {frontends: 'tcp://203.0.113.1:80', probe: " + unprobed + ", backends: ['10.0.0.1:80', '10.0.0.2:80'],\n" +
		"    on_change: {command: [/bin/sh, -c, 'cat >> " + out + "'], states: [healthy, unhealthy, ejected, draining, role]}" + more + "}\n"
}

// heard are the changes that the hook was told.
func heard(t *testing.T, out string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(out)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		var c notify.Change
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		list = append(list, fmt.Sprintf("%s %s %s→%s %s/%s %d/%d", c.Backend, c.Event, c.From, c.To, c.State, c.Role, c.Usable, c.Backends))
	}
	return list
}

// probes tells the daemon what a probe found.
func (d *daemon) probes(backend string, h model.BackendHealth) {
	d.post(func() {
		d.probed(probe.Result{Target: probe.Target{Service: "web", Backend: ap(backend)}, Health: h})
	})
}

func TestHooksAreTold(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	d := start(t, newMemory(), hooked(out, ""))
	eventually(t, func() string { return unless(len(d.states(t, "web")) == 2, "no plan yet") })
	await := func(want ...string) {
		t.Helper()
		eventually(t, func() string {
			got := heard(t, out)
			return unless(slices.Equal(got, want), "told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		})
	}
	// What the first probe finds out is told only if it is bad.
	d.probes("10.0.0.1:80", model.BackendHealth{State: model.Healthy, Role: "replica"})
	d.probes("10.0.0.2:80", model.BackendHealth{State: model.Unhealthy, Reason: "refused", Role: "replica"})
	want := []string{"10.0.0.2:80 unhealthy unknown→unhealthy unhealthy/replica 1/2"}
	await(want...)
	d.probes("10.0.0.2:80", model.BackendHealth{State: model.Healthy, Role: "primary"})
	want = append(want, "10.0.0.2:80 healthy unhealthy→healthy healthy/primary 2/2", "10.0.0.2:80 role replica→primary healthy/primary 2/2")
	await(want...)
	if err := d.Client.Drain(t.Context(), "web", ap("10.0.0.1:80")); err != nil {
		t.Fatal(err)
	}
	if err := d.Client.SetWeight(t.Context(), "web", ap("10.0.0.1:80"), 7); err != nil {
		t.Fatal(err)
	}
	want = append(want, "10.0.0.1:80 draining healthy→draining draining/replica 1/2")
	await(want...)
	var s api.Stats
	eventually(t, func() string { // the last run may not be over yet
		var err error
		s, err = d.Client.Stats(t.Context(), api.StatsFilter{})
		return unless(err == nil && len(s.Hooks) == 1 && s.Hooks[0].Hook == "/bin/sh" && s.Hooks[0].Told == 4 && s.Hooks[0].Failed == 0, "stats %+v, %v", s.Hooks, err)
	})
	if s.Probes.Backends != 2 || s.Probes.Checks != 2 || len(s.Probes.Late) != 8 {
		t.Errorf("probes %+v", s.Probes)
	}

	// A hook that fails is a reason, until it works again; it holds up nothing.
	d.write(t, strings.Replace(hooked(out, ""), "'cat >> "+out+"'", "'test -e "+out+".works'", 1))
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.probes("10.0.0.2:80", model.BackendHealth{State: model.Unhealthy, Role: "primary"})
	eventually(t, func() string {
		st := d.status(t)
		return unless(slices.Contains(st.Reasons, "hook_failing:/bin/sh") && st.Ready, "ready %v, reasons %v", st.Ready, st.Reasons)
	})
	if err := os.WriteFile(out+".works", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.probes("10.0.0.2:80", model.BackendHealth{State: model.Healthy, Role: "primary"})
	eventually(t, func() string { st := d.status(t); return unless(len(st.Reasons) == 0, "%v", st.Reasons) })
}

// TestCritical: what is marked so and down is a reason not to be ready.
func TestCritical(t *testing.T) {
	d := start(t, newMemory(), hooked(filepath.Join(t.TempDir(), "out"), ", critical: true")+
		"  dns: {frontends: 'tcp://203.0.113.2:80', probe: none, backends: [10.0.0.3]}\n")
	await := func(ready bool, reasons ...string) {
		t.Helper()
		eventually(t, func() string {
			st := d.status(t)
			return unless(st.Ready == ready && slices.Equal(st.Reasons, reasons), "ready %v, reasons %v", st.Ready, st.Reasons)
		})
	}
	down, up := model.BackendHealth{State: model.Unhealthy}, model.BackendHealth{State: model.Healthy}
	d.probes("10.0.0.1:80", up)
	d.probes("10.0.0.2:80", down)
	await(true)
	d.probes("10.0.0.1:80", down)
	await(false, "critical_down:web", "service_down:web")
	s, err := d.Client.Stats(t.Context(), api.StatsFilter{})
	if err != nil || s.Services[1].Usable != 0 || !s.Services[1].Critical || !s.Services[1].CriticalDown || s.Services[0].Usable != 1 || s.Services[0].Critical {
		t.Errorf("stats %+v, %v", s.Services, err)
	}
	if one := d.status(t).Services[1]; !one.Critical || one.Backends[0].Critical {
		t.Errorf("service %+v", one)
	}
	d.probes("10.0.0.2:80", up)
	await(true)

	d.write(t, strings.Replace(hooked("/dev/null", ""), "'10.0.0.1:80'", "{address: 10.0.0.1, critical: true}", 1))
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(false, "critical_down:web/10.0.0.1:80")
	if err := d.Client.Drain(t.Context(), "web", ap("10.0.0.2:80")); err != nil {
		t.Fatal(err)
	}
	d.probes("10.0.0.1:80", up)
	await(true)
	if err := d.Client.Drain(t.Context(), "web", ap("10.0.0.1:80")); err != nil { // on purpose
		t.Fatal(err)
	}
	await(true, "service_down:web")
}

// TestEvents: what hooks are told of changes.
func TestEvents(t *testing.T) {
	for _, c := range []struct {
		before string
		change api.Change
		want   model.HookEvent
	}{
		{api.StateHealthy, api.Change{Kind: api.ChangeHealth, From: "healthy", To: "unhealthy"}, model.HookUnhealthy},
		{api.StateUnknown, api.Change{Kind: api.ChangeHealth, From: "unknown", To: "unhealthy"}, model.HookUnhealthy},
		{api.StateUnknown, api.Change{Kind: api.ChangeHealth, From: "unknown", To: "healthy"}, ""},
		{api.StateDraining, api.Change{Kind: api.ChangeOperator, From: "draining", To: "healthy"}, model.HookHealthy},
		{api.StateHealthy, api.Change{Kind: api.ChangeEjection, From: "healthy", To: "ejected"}, model.HookEjected},
		{api.StateHealthy, api.Change{Kind: api.ChangeOperator, From: "healthy", To: "disabled"}, model.HookDisabled},
		{api.StateHealthy, api.Change{Kind: api.ChangeConfiguration, From: "healthy", To: "retired"}, ""},
		{"", api.Change{Kind: api.ChangeConfiguration, To: "unhealthy"}, ""},
		{api.StateHealthy, api.Change{Kind: api.ChangeOperator, From: "weight 1", To: "weight 2"}, ""},
		{api.StateHealthy, api.Change{Kind: api.ChangeRole, From: "replica", To: "primary"}, model.HookRole},
		{api.StateHealthy, api.Change{Kind: api.ChangeRole, To: "primary"}, ""},
		{api.StateUnknown, api.Change{Kind: api.ChangeRole, From: "primary", To: "replica"}, ""},
	} {
		event, wanted := change{Change: c.change, before: c.before}.event()
		if wanted != (c.want != "") || wanted && event != c.want {
			t.Errorf("%s, then %+v: %q, %v, want %q", c.before, c.change, event, wanted, c.want)
		}
	}
}
