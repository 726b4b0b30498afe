package probe

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// gaps are the times between the checks of an address, in tenths of a second.
func gaps(n *network, address string) (all []int) {
	dials := n.dialed(address)
	for i := 1; i < len(dials); i++ {
		all = append(all, int(dials[i].Sub(dials[i-1]).Round(100*time.Millisecond)/(100*time.Millisecond)))
	}
	return all
}

func TestRunnerPace(t *testing.T) {
	for _, c := range []struct {
		name             string
		outcomes         string
		failing, backoff time.Duration
		rise, fall       int
		want             []int // tenths of a second
	}{
		{"healthy", "....", time.Hour, time.Hour, 1, 1, []int{10, 10, 10}},
		{"as usual when failing", ".xx..", 0, 0, 1, 3, []int{10, 10, 10, 10}},
		{"faster while it is not sure", ".xx..", 200 * time.Millisecond, 0, 1, 5, []int{10, 2, 2, 10}},
		{"slower when it is down", ".xx...", 5 * time.Second, 0, 2, 1, []int{10, 50, 50, 50, 10}},
		{"back-off from the interval", ".xxxxxx..", 0, 8 * time.Second, 1, 2, []int{10, 10, 10, 20, 40, 80, 80, 10}},
		{"back-off from the failing interval", ".xxxxx...", 300 * time.Millisecond, time.Second, 2, 1, []int{10, 3, 6, 10, 10, 10, 3, 10}},
		{"back-off starts anew", ".xxx.xx.", 0, 4 * time.Second, 9, 1, []int{10, 10, 20, 40, 10, 20, 40}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(map[string]string{a: c.outcomes})
				r := start(n, new(recorder), 0)
				defer r.Close()
				tg := target("web", a)
				tg.Probe.Jitter, tg.Probe.Rise, tg.Probe.Fall = 0, c.rise, c.fall
				tg.Probe.IntervalFailing, tg.Probe.BackoffMax = c.failing, c.backoff
				r.Apply([]Target{tg})
				for len(n.dialed(a)) <= len(c.want) {
					time.Sleep(100 * time.Millisecond)
				}
				if got := gaps(n, a)[:len(c.want)]; !slices.Equal(got, c.want) {
					t.Errorf("pauses %v tenths of a second, want %v", got, c.want)
				}
			})
		})
	}
}

func TestRunnerJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(map[string]string{a: "."})
		r := start(n, new(recorder), 0)
		defer r.Close()
		tg := target("web", a)
		tg.Probe.Jitter = 50
		r.Apply([]Target{tg})
		time.Sleep(200 * time.Second)
		got := gaps(n, a)
		if lo, hi := slices.Min(got), slices.Max(got); lo < 5 || lo > 6 || hi < 14 || hi > 15 {
			t.Errorf("with 50 %% of jitter pauses are from %d to %d tenths of a second", lo, hi)
		}
	})
}

// TestRunnerSpreads: first checks come evenly, and no more than 10,000 a second.
func TestRunnerSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outcomes := map[string]string{}
		var targets []Target
		for i := range 5000 {
			address := fmt.Sprintf("10.1.%d.%d:80", i>>8, i&255)
			outcomes[address] = "."
			targets = append(targets, target("web", address))
		}
		n := newNetwork(outcomes)
		r := start(n, new(recorder), 0)
		defer r.Close()
		began := time.Now()
		r.Apply(targets)
		time.Sleep(700 * time.Millisecond)
		var tenths [10]int
		for address := range outcomes {
			tenths[n.dialed(address)[0].Sub(began)*10/time.Second]++
		}
		for i, k := range tenths {
			if want := []int{1000, 0}[min(i/5, 1)]; k < want-1 || k > want+1 {
				t.Errorf("%d first checks in tenth of a second %d, want %d", k, i, want)
			}
		}
	})
}

// TestRunnerStrategies: how many checks hang at the same time.
func TestRunnerStrategies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outcomes := map[string]string{}
		var targets []Target
		for i := range 2000 {
			address := fmt.Sprintf("10.1.%d.%d:80", i>>8, i&255)
			outcomes[address] = "h"
			tg := target("web", address)
			tg.Probe.Timeout = time.Hour
			targets = append(targets, tg)
		}
		n := newNetwork(outcomes)
		r := NewRunner(Options{Log: quiet, Dial: n.dial, Probing: model.Probing{Strategy: model.ProbeSerial, Workers: 9}})
		defer r.Close()
		r.Apply(targets)
		for _, c := range []struct {
			probing model.Probing
			want    int
		}{
			{model.Probing{Strategy: model.ProbeSerial, Workers: 9}, 1},
			{model.Probing{Strategy: model.ProbePool, Workers: 9}, 9},
			{model.Probing{}, model.DefaultProbeWorkers},
			{model.Probing{Strategy: model.ProbeUnlimited, Workers: 9}, 2000},
		} {
			r.SetProbing(c.probing)
			time.Sleep(10 * time.Second)
			if now, _ := n.hung(); now != c.want || r.Stats().Running != c.want {
				t.Errorf("%s of %d: %d checks run, stats %+v, want %d", c.probing.Strategy, c.probing.Workers, now, r.Stats(), c.want)
			}
		}
	})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(map[string]string{a: ".", b: "x"})
		r := start(n, new(recorder), 0)
		defer r.Close()
		broken := target("web", "10.0.0.3:80")
		broken.Probe.Type, broken.Probe.Policy = model.ProbePolicy, "none is loaded"
		r.Apply([]Target{target("web", a), target("web", b), broken})
		time.Sleep(10 * time.Second)
		s := r.Stats()
		var started uint64
		for _, k := range s.LateBy {
			started += k
		}
		if s.Passed < 9 || s.Failed < 9 || s.Skipped < 9 || started != s.Passed+s.Failed+s.Skipped || s.LateBy[0] != started {
			t.Errorf("stats %+v", s)
		}
	})
}
