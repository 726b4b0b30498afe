package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

func TestChangesBetween(t *testing.T) {
	state := func(change func(*BackendState)) BackendState {
		b := BackendState{Address: ap("10.0.0.1:80"), State: api.StateHealthy, Weight: 1}
		change(&b)
		return b
	}
	set := func(s string) func(*BackendState) { return func(b *BackendState) { b.State = s } }
	healthy := state(func(*BackendState) {})
	for _, c := range []struct {
		was  []BackendState
		now  BackendState
		want string
	}{
		{[]BackendState{healthy}, healthy, ""},
		{nil, healthy, "configuration  healthy added"},
		{[]BackendState{healthy}, state(func(b *BackendState) { b.State, b.Reason = api.StateUnhealthy, "refused" }), "health healthy unhealthy refused"},
		{[]BackendState{state(set(api.StateUnknown))}, healthy, "health unknown healthy "},
		{[]BackendState{state(set(api.StateUnhealthy))}, state(set(api.StateEjected)), "health unhealthy ejected "},
		{[]BackendState{healthy}, state(set(api.StateEjected)), "ejection healthy ejected "},
		{[]BackendState{state(set(api.StateEjected))}, healthy, "ejection ejected healthy "},
		{[]BackendState{healthy}, state(set(api.StateRetired)), "configuration healthy retired "},
		{[]BackendState{healthy}, state(func(b *BackendState) { b.State, b.Override = api.StateDraining, true }), "operator healthy draining "},
		{[]BackendState{healthy}, state(func(b *BackendState) { b.State, b.drain = api.StateDraining, true }), "configuration healthy draining "},
		{[]BackendState{state(func(b *BackendState) { b.State, b.drain = api.StateDraining, true })}, healthy, "configuration draining healthy "},
		{[]BackendState{healthy}, state(set(api.StateDraining)), "operator healthy draining "}, // its zone
		{[]BackendState{healthy}, state(set(api.StateDisabled)), "operator healthy disabled "},
		{nil, state(func(b *BackendState) { b.Added = true }), "operator  healthy added"},
		{[]BackendState{state(func(b *BackendState) { b.State, b.Override = api.StateDraining, true })}, healthy, "operator draining healthy "},
		{[]BackendState{healthy}, state(func(b *BackendState) { b.Role = "replica" }), "role  replica "},
		{[]BackendState{state(func(b *BackendState) { b.Role = "replica" })}, state(func(b *BackendState) { b.Role, b.State = "primary", api.StateUnhealthy }),
			"health healthy unhealthy ; role replica primary "},
		{[]BackendState{healthy}, state(func(b *BackendState) { b.Weight, b.Override = 7, true }), "operator weight 1 weight 7 "},
		{[]BackendState{healthy}, state(func(b *BackendState) { b.Weight = 7 }), ""}, // a policy may say so every second
	} {
		var got []string
		for _, one := range changesBetween(&ServiceState{Backends: c.was}, &ServiceState{Backends: []BackendState{c.now}}, time.Now()) {
			got = append(got, fmt.Sprintf("%s %s %s %s", one.Kind, one.From, one.To, one.Reason))
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("from %+v to %+v: %q, want %q", c.was, c.now, text, c.want)
		}
	}
	if got := changesBetween(nil, &ServiceState{Backends: []BackendState{healthy}}, time.Now()); got != nil {
		t.Errorf("of a new service: %v", got)
	}
}

// TestPastsAreBounded: the last changes stay, and what is gone is forgotten.
func TestPastsAreBounded(t *testing.T) {
	var p pasts
	s := &ServiceState{Name: "web"}
	of := func(address string, to int) change {
		return change{Change: api.Change{To: fmt.Sprint(to)}, service: s, backend: BackendState{Address: ap(address)}}
	}
	for i := range 3 * keptChanges {
		p.add([]change{of("10.0.0.1:80", i), of("10.0.0.2:80", i)})
	}
	key := probe.Key{Service: "web", Backend: ap("10.0.0.1:80")}
	got := p.last(key)
	if len(got) != keptChanges || got[0].To != fmt.Sprint(3*keptChanges-1) || got[keptChanges-1].To != fmt.Sprint(2*keptChanges) {
		t.Errorf("%d changes, from %v to %v", len(got), got[0], got[len(got)-1])
	}
	p.keep(&Plan{Services: []ServiceState{{Name: "web", Backends: []BackendState{{Address: ap("10.0.0.2:80")}}}}})
	if got := p.last(key); len(got) != 0 || got == nil {
		t.Errorf("of a backend that is gone: %v", got)
	}
	if got := p.last(probe.Key{Service: "web", Backend: ap("10.0.0.2:80")}); len(got) != keptChanges {
		t.Errorf("of one that is there: %v", got)
	}
}

// TestBackendIsShown: all that is known of one backend, from the daemon.
func TestBackendIsShown(t *testing.T) {
	d := start(t, newMemory(), strings.Replace(web, "probe: none", "probe: "+strings.TrimSuffix(unprobed, "}")+", timeout: 1s, interval_failing: 30m, backoff_max: 2h}", 1))
	at := ap("10.0.0.1:80")
	say := func(h model.BackendHealth) {
		d.post(func() { d.probed(probe.Result{Target: probe.Target{Service: "web", Backend: at}, Health: h}) })
	}
	show := func() api.BackendDetail {
		t.Helper()
		b, err := d.Client.Backend(t.Context(), "web", at)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	say(model.BackendHealth{State: model.Healthy, Role: "replica"})
	eventually(t, func() string { b := show(); return unless(b.State == api.StateHealthy, "%+v", b) })
	say(model.BackendHealth{State: model.Unhealthy, Role: "primary", Reason: "refused"})
	eventually(t, func() string { b := show(); return unless(b.State == api.StateUnhealthy, "%+v", b) })
	if err := d.Client.SetWeight(t.Context(), "web", at, 9); err != nil {
		t.Fatal(err)
	}
	b := show()
	if b.Service != "web" || b.Role != "primary" || b.Weight != 9 || b.ConfiguredWeight != 1 || b.WeightFrom != "operator" || b.Serves || b.TableSize != testSizes.Table {
		t.Errorf("backend %+v", b)
	}
	if b.Said == nil || b.Said.Weight == nil || *b.Said.Weight != 9 || b.Traffic.Reply.Packets != uint64(b.ID) {
		t.Errorf("said %+v, traffic %+v", b.Said, b.Traffic)
	}
	p := b.Probe
	if p.Type != "exec" || p.To != "10.0.0.1:80" || p.JitterPercent != 10 || p.FailingSeconds != 1800 || p.BackoffSeconds != 7200 || p.Sharers != 1 || p.Next == nil {
		t.Errorf("probe %+v", p)
	}
	var got []string
	for _, c := range b.History {
		got = append(got, fmt.Sprintf("%s %s→%s %s", c.Kind, c.From, c.To, c.Reason))
	}
	if text := strings.Join(got, "; "); !strings.HasPrefix(text, "operator weight 1→weight 9 ; ") ||
		!strings.Contains(text, "health healthy→unhealthy refused; role replica→primary ; ") && !strings.Contains(text, "role replica→primary ; health healthy→unhealthy refused; ") {
		t.Errorf("history %q", text)
	}
	for _, wrong := range []func() error{
		func() error { _, err := d.Client.Backend(t.Context(), "nothing", at); return err },
		func() error { _, err := d.Client.Backend(t.Context(), "web", ap("10.0.0.9:80")); return err },
	} {
		if err := wrong(); err == nil || !strings.Contains(err.Error(), "no ") {
			t.Errorf("what is not there: %v", err)
		}
	}
}
