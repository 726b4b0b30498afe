package probe

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// The tests of this file and of loop_test.go run in bubbles of synctest: time
// moves on when all goroutines wait, so they take no time and know exactly when
// a check starts.

func TestRunnerRiseAndFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rec := newNetwork(map[string]string{a: ".xyx.x..xx."}), new(recorder)
		r := start(n, rec, 0)
		tg := target("web", a)
		tg.Probe.Rise, tg.Probe.Fall = 2, 3
		r.Apply([]Target{tg})
		if s := r.Snapshot()[tg.Key()]; s.State != model.HealthUnknown || !s.Checked.IsZero() {
			t.Errorf("before the first check: %+v", s)
		}
		began := time.Now()
		time.Sleep(15 * time.Second)
		r.Close()
		rec.want(t, "fall 3, rise 2",
			"web "+a+" healthy", "="+"web "+a+" healthy x", "="+"web "+a+" healthy y", "web "+a+" unhealthy x",
			"="+"web "+a+" unhealthy", "="+"web "+a+" unhealthy x", "="+"web "+a+" unhealthy", "web "+a+" healthy",
			"="+"web "+a+" healthy x", "="+"web "+a+" healthy")

		dials := n.dialed(a)
		if first := dials[0].Sub(began); first > 200*time.Millisecond {
			t.Errorf("the first check came after %s, want at once", first)
		}
		different := false
		for i := 1; i < len(dials); i++ {
			gap := dials[i].Sub(dials[i-1])
			if gap < 900*time.Millisecond || gap > 1100*time.Millisecond {
				t.Errorf("check %d came %s after the one before, want 1 s ±10 %%", i, gap)
			}
			different = different || gap != dials[1].Sub(dials[0])
		}
		if !different {
			t.Error("the interval has no jitter")
		}
		s := r.Snapshot()[tg.Key()]
		if s.State != model.Healthy || !s.Passed || s.Streak != len(dials)-10 || s.Checked.IsZero() {
			t.Errorf("at the end: %+v after %d checks", s, len(dials))
		}
	})
}

func TestRunnerApplyKeepsUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rec := newNetwork(map[string]string{a: ".", b: "."}), new(recorder)
		r := start(n, rec, 0)
		defer r.Close()
		one, two := target("web", a), target("web", b)
		one.Probe.Interval = time.Minute
		r.Apply([]Target{one})
		time.Sleep(10 * time.Second)
		before := r.Snapshot()[one.Key()]
		for range 5 {
			r.Apply([]Target{two, one})
			time.Sleep(5 * time.Second)
		}
		if got := len(n.dialed(a)); got != 1 {
			t.Errorf("an unchanged target was checked %d times within its first interval, want once", got)
		}
		if after := r.Snapshot()[one.Key()]; after != before {
			t.Errorf("its status went from %+v to %+v", before, after)
		}
		time.Sleep(time.Minute)
		if got := len(n.dialed(a)); got != 2 {
			t.Errorf("checked %d times after its interval, want twice", got)
		}
		rec.want(t, "both healthy once", "web "+a+" healthy", "web "+b+" healthy")
	})
}

func TestRunnerApplyRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rec := newNetwork(map[string]string{a: "h", b: "."}), new(recorder)
		r := start(n, rec, 0)
		defer r.Close()
		one, two := target("web", a), target("web", b)
		one.Probe.Timeout = time.Hour
		r.Apply([]Target{one, two})
		time.Sleep(5 * time.Second)
		rec.want(t, "one hangs", "web "+b+" healthy")
		r.Apply(nil)
		synctest.Wait()
		if hanging, _ := n.hung(); hanging != 0 {
			t.Error("the check of a removed target still runs")
		}
		if got := r.Snapshot(); len(got) != 0 {
			t.Errorf("removed targets are still known: %v", got)
		}
		dials := len(n.dialed(b))
		time.Sleep(time.Minute)
		if got := len(n.dialed(b)); got != dials {
			t.Errorf("a removed target was checked %d times more", got-dials)
		}
		rec.want(t, "a cancelled check is no failure")
	})
}

// TestRunnerApplyChangesProbe: an edit of the probe must not make a backend
// that is unhealthy look healthy for a moment.
func TestRunnerApplyChangesProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rec := newNetwork(map[string]string{a: "xx.", b: "..x"}), new(recorder)
		r := start(n, rec, 0)
		defer r.Close()
		targets := []Target{target("web", a), target("web", b)}
		for i := range targets {
			targets[i].Probe.Rise, targets[i].Probe.Fall = 5, 5
			targets[i].Probe.Interval = time.Hour
		}
		r.Apply(targets)
		time.Sleep(time.Second)
		if got := slices.Sorted(slices.Values(rec.take())); !slices.Equal(got, []string{"web " + a + " unhealthy x", "web " + b + " healthy"}) {
			t.Errorf("first results: %q", got)
		}

		targets[0].Probe.Timeout /= 2
		r.Apply(targets)
		if s := r.Snapshot()[targets[0].Key()]; s.State != model.Unhealthy || s.Reason != "connect: x" || s.Streak != 0 {
			t.Errorf("right after the change: %+v, want the old state and a new count", s)
		}
		time.Sleep(time.Second)
		if got := len(n.dialed(a)); got != 2 {
			t.Errorf("checked %d times, want once more, at once", got)
		}
		rec.want(t, "the new probe finds the same")

		targets[0].Probe.Timeout, targets[1].Probe.Timeout = 7*time.Second, 7*time.Second
		r.Apply(targets)
		time.Sleep(time.Second)
		rec.want(t, "its first result decides alone", "web "+a+" healthy")
		targets[1].Probe.Timeout = 8 * time.Second
		r.Apply(targets)
		time.Sleep(time.Second)
		rec.want(t, "also downwards", "web "+b+" unhealthy x")
	})
}

func TestRunnerNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rec := newNetwork(map[string]string{a: "x", b: "x"}), new(recorder)
		r := start(n, rec, 0)
		defer r.Close()
		tcp, none := target("web", a), target("web", b)
		none.Probe = model.Probe{Type: model.ProbeNone}
		r.Apply([]Target{tcp, none})
		if s := r.Snapshot()[none.Key()]; s.State != model.Healthy || s.Since.IsZero() {
			t.Errorf("right after Apply: %+v, want healthy", s)
		}
		time.Sleep(time.Second)
		rec.want(t, "start", "web "+b+" healthy", "web "+a+" unhealthy x")
		r.Apply([]Target{none})
		tcp.Probe = model.Probe{Type: model.ProbeNone}
		r.Apply([]Target{tcp, none})
		synctest.Wait()
		rec.want(t, "added again without a probe", "web "+a+" healthy")

		tcp.Probe = target("web", a).Probe
		r.Apply([]Target{tcp, none})
		time.Sleep(500 * time.Millisecond)
		rec.want(t, "probed", "web "+a+" unhealthy x")
		tcp.Probe = model.Probe{Type: model.ProbeNone}
		r.Apply([]Target{tcp, none})
		synctest.Wait()
		rec.want(t, "down, then not probed any more", "web "+a+" healthy")
		if s := r.Snapshot()[tcp.Key()]; s.State != model.Healthy || s.Reason != "" {
			t.Errorf("status is %+v, want healthy without a reason", s)
		}
		time.Sleep(time.Minute)
		if n.dialed(b) != nil {
			t.Error("a target of type none was dialled")
		}
	})
}

func TestRunnerOnChangeMayCallBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(map[string]string{a: ".", b: "x"})
		both := []Target{target("web", a), target("web", b)}
		var r *Runner
		var seen []model.Health
		ready := make(chan struct{})
		r = NewRunner(Options{Log: quiet, Dial: n.dial, OnChange: func(res Result) {
			<-ready
			seen = append(seen, r.Snapshot()[res.Target.Key()].State)
			r.Apply(both)
		}})
		close(ready)
		r.Apply(both[:1])
		time.Sleep(5 * time.Second)
		r.Close()
		if want := []model.Health{model.Healthy, model.Unhealthy}; !slices.Equal(seen, want) {
			t.Errorf("states seen from OnChange: %v, want %v", seen, want)
		}
	})
}

func TestRunnerServicesAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rec := newNetwork(map[string]string{a: ".", "10.0.0.1:81": "x"}), new(recorder)
		r := start(n, rec, 0)
		defer r.Close()
		one, two := target("one", a), target("two", a)
		two.Probe.Port = 81
		r.Apply([]Target{one, two, one})
		time.Sleep(500 * time.Millisecond)
		got := r.Snapshot()
		if len(got) != 2 || got[one.Key()].State != model.Healthy || got[two.Key()].State != model.Unhealthy {
			t.Errorf("one backend in two services: %v", got)
		}
	})
}
