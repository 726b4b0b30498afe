package probe

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// TestRunnerShares: who asks the same is told the same, and the backend is asked
// once.
func TestRunnerShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rec := newNetwork(map[string]string{a: "...xx.", "10.0.0.1:81": "."}), new(recorder)
		r := start(n, rec, 0)
		defer r.Close()
		one, two, other, elsewhere := target("one", a), target("two", a), target("other", a), target("elsewhere", a)
		for _, tg := range []*Target{&one, &two} {
			tg.Probe.Rise, tg.Probe.Fall = 1, 2
		}
		other.Probe.Timeout /= 2
		elsewhere.Probe.Port = 81
		r.Apply([]Target{one, two})
		time.Sleep(1500 * time.Millisecond)
		rec.want(t, "both are told", "one "+a+" healthy", "two "+a+" healthy")
		if got := len(n.dialed(a)); got != 2 {
			t.Errorf("%d checks in 1.5 s of two that share one, want 2", got)
		}
		if s := r.Stats(); s.Targets != 2 || s.Checks != 1 || r.Snapshot()[one.Key()].Sharers != 2 {
			t.Errorf("stats %+v", s)
		}

		// One that comes later is told at once what is known.
		three := target("three", a)
		three.Probe.Fall = 2
		r.Apply([]Target{one, two, three, other, elsewhere})
		synctest.Wait()
		rec.want(t, "the third", "three "+a+" healthy")
		time.Sleep(250 * time.Millisecond) // before the third check of the three
		if got := slices.Sorted(slices.Values(rec.take())); !slices.Equal(got, []string{"elsewhere " + a + " healthy", "other " + a + " healthy"}) {
			t.Errorf("those that ask otherwise: %q", got)
		}
		if s := r.Stats(); s.Targets != 5 || s.Checks != 3 {
			t.Errorf("stats %+v", s)
		}

		// The others go on when one goes, or asks otherwise.
		two.Probe.Timeout /= 4
		r.Apply([]Target{one, two, three})
		if s := r.Snapshot()[two.Key()]; s.State != model.Healthy || s.Sharers != 1 {
			t.Errorf("one that asks otherwise now: %+v", s)
		}
		r.Apply([]Target{three})
		if s := r.Snapshot(); len(s) != 1 || s[three.Key()].Sharers != 1 || s[three.Key()].Streak == 0 {
			t.Errorf("the last sharer: %+v", s)
		}
		dials := len(n.dialed(a))
		r.Apply(nil)
		time.Sleep(time.Minute)
		if s := r.Stats(); s.Checks != 0 || len(n.dialed(a)) != dials {
			t.Errorf("%d checks more without a target, stats %+v", len(n.dialed(a))-dials, s)
		}
	})
}

// TestRunnerSharersChangeTheirProbe: both keep their state until the new probe has
// its first result.
func TestRunnerSharersChangeTheirProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rec := newNetwork(map[string]string{a: "x."}), new(recorder)
		r := start(n, rec, 0)
		defer r.Close()
		both := []Target{target("one", a), target("two", a)}
		both[0].Probe.Interval, both[1].Probe.Interval = time.Hour, time.Hour
		r.Apply(both)
		time.Sleep(time.Second)
		rec.want(t, "start", "one "+a+" unhealthy x", "two "+a+" unhealthy x")
		both[0].Probe.Rise, both[1].Probe.Rise = 5, 5
		r.Apply(both)
		for _, tg := range both {
			if s := r.Snapshot()[tg.Key()]; s.State != model.Unhealthy || s.Reason != "connect: x" || s.Sharers != 2 {
				t.Errorf("%s: %+v", tg.Service, s)
			}
		}
		time.Sleep(time.Second)
		rec.want(t, "the first result decides for both", "one "+a+" healthy", "two "+a+" healthy")
	})
}

// What is told which backend it asks for is no other's.
func TestWayOfIndividuals(t *testing.T) {
	one, two := target("one", a), target("one", b)
	for _, c := range []struct {
		name   string
		change func(*model.Probe)
		shared bool
	}{
		{"one address", func(*model.Probe) {}, true},
		{"a path", func(p *model.Probe) { p.HTTP.Path = "/up" }, true},
		{"a path with the backend's address", func(p *model.Probe) { p.HTTP.Path = "/up/{address}" }, false},
		{"a text with the backend's port", func(p *model.Probe) { p.Talk.Send = "{port}" }, false},
		{"a program", func(p *model.Probe) { p.Type = model.ProbeExec }, false},
	} {
		x, y := one, two
		for _, tg := range []*Target{&x, &y} {
			tg.Probe.Address = netip.MustParseAddr("10.0.0.9")
			c.change(&tg.Probe)
		}
		if got := wayOf(x) == wayOf(y); got != c.shared {
			t.Errorf("%s: shared %v", c.name, got)
		}
	}
}

// TestExecIsNotShared: a program is told whom it checks.
func TestExecIsNotShared(t *testing.T) {
	one, two := target("one", a), target("two", a)
	one.Probe.Type, one.Probe.Command = model.ProbeExec, []string{"/bin/true"}
	two.Probe = one.Probe
	r := NewRunner(Options{Log: quiet})
	defer r.Close()
	r.Apply([]Target{one, two})
	if s := r.Stats(); s.Checks != 2 {
		t.Errorf("%d checks of two services", s.Checks)
	}
}
