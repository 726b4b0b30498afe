package probe

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

func TestRunnerSlowBackendDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outcomes := map[string]string{a: "h"}
		targets := []Target{target("web", a)}
		targets[0].Probe.Timeout = 10 * time.Minute
		for i := range 50 {
			address := fmt.Sprintf("10.0.1.%d:80", i)
			outcomes[address] = "."
			targets = append(targets, target("web", address))
		}
		n := newNetwork(outcomes)
		r := start(n, new(recorder), 2)
		defer r.Close()
		r.Apply(targets)
		time.Sleep(100 * time.Second)
		for _, tg := range targets[1:] {
			if got := len(n.dialed(tg.Backend.String())); got < 90 || got > 112 {
				t.Errorf("%s was checked %d times in 100 s, want about 100", tg.Backend, got)
			}
		}
	})
}

func TestRunnerIsBoundedAndSaysWhenLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outcomes := make(map[string]string)
		var targets []Target
		for i := range 2000 {
			address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80)
			outcomes[address.String()] = "h"
			targets = append(targets, target("web", address.String()))
		}
		n, rec := newNetwork(outcomes), new(recorder)
		var log bytes.Buffer
		r := NewRunner(Options{Probing: model.Probing{Workers: 100}, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
			Dial: n.dial, OnChange: rec.add})
		r.Apply(targets)
		// 2,000 timeouts of 0.5 s in 100 places take 10 s a turn.
		time.Sleep(50 * time.Second)
		r.Close()
		if _, most := n.hung(); most != 100 {
			t.Errorf("up to %d checks ran at the same time, want 100", most)
		}
		if got := len(rec.take()); got != 2000 {
			t.Errorf("%d changes, want each of 2000 targets down once", got)
		}
		for _, tg := range targets {
			if got := len(n.dialed(tg.Backend.String())); got < 4 || got > 6 {
				t.Fatalf("%s was checked %d times, want all about 5 times", tg.Backend, got)
			}
		}
		if got := strings.Count(log.String(), "probes start late"); got != 1 {
			t.Errorf("%d warnings about late checks within a minute, want 1", got)
		}
		if !strings.Contains(log.String(), `msg="backend is unhealthy" service=web backend=10.1.0.0:80 probe=tcp reason="timeout after 500ms while connecting"`) {
			t.Error("the log does not say why the first backend is down")
		}
	})
}

func TestRunnerTimeoutLongerThanInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rec := newNetwork(map[string]string{a: "h"}), new(recorder)
		var log bytes.Buffer
		r := NewRunner(Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Dial: n.dial, OnChange: rec.add})
		tg := target("web", a)
		tg.Probe.Timeout = 5 * time.Second
		r.Apply([]Target{tg})
		time.Sleep(51 * time.Second)
		if _, most := n.hung(); most != 1 {
			t.Errorf("%d checks of one target at the same time", most)
		}
		if got := len(n.dialed(a)); got < 10 || got > 11 {
			t.Errorf("%d checks in 51 s, want one after the other, 5 s each", got)
		}
		r.Close()
		if strings.Contains(log.String(), "start late") {
			t.Errorf("a slow check is called late:\n%s", log.String())
		}
	})
}

func TestRunnerCloseCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rec := newNetwork(map[string]string{a: "h", b: "h"}), new(recorder)
		r := start(n, rec, 0)
		targets := []Target{target("web", a), target("web", b)}
		for i := range targets {
			targets[i].Probe.Timeout = time.Hour
		}
		r.Apply(targets)
		time.Sleep(time.Second)
		began := time.Now()
		r.Close()
		if hanging, _ := n.hung(); hanging != 0 || time.Since(began) != 0 {
			t.Errorf("Close took %s and left %d checks", time.Since(began), hanging)
		}
		r.Apply([]Target{target("web", a)})
		r.Close()
		time.Sleep(time.Minute)
		rec.want(t, "a cancelled check is no failure")
	})
}
