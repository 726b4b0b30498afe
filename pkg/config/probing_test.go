package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/model"
)

func TestProbing(t *testing.T) {
	for _, c := range []struct {
		own  string
		want model.Probing
	}{
		{"", model.Probing{Strategy: model.ProbePool, Workers: 1024}},
		{"probes: serial\n", model.Probing{Strategy: model.ProbeSerial, Workers: 1024}},
		{"probes: {strategy: unlimited}\n", model.Probing{Strategy: model.ProbeUnlimited, Workers: 1024}},
		{"probes: {workers: 65536}\n", model.Probing{Strategy: model.ProbePool, Workers: 65536}},
	} {
		equal(t, c.want, parse(t, "interfaces: eth0\nservices: {}\n"+c.own).Settings.Probing)
	}
}

// TestProbePace: the keys are inherited one by one, and a timeout that nobody gave
// yields to the shorter interval.
func TestProbePace(t *testing.T) {
	cfg := parse(t, `
interfaces: eth0
defaults: {probe: {jitter: 0%, interval: 5s, interval_failing: 500ms}}
services:
  a: {frontends: tcp://192.0.2.1:80, backends: []}
  b: {frontends: tcp://192.0.2.2:80, backends: [], probe: {jitter: 50%, backoff_max: 1m}}
  c: {frontends: tcp://192.0.2.3:80, backends: [], probe: {interval_failing: 20s, timeout: 5s}}
`)
	pace := func(p model.Probe) []any {
		return []any{p.Jitter, p.Interval, p.IntervalFailing, p.BackoffMax, p.Timeout}
	}
	const s = time.Second
	equal(t, []any{0, 5 * s, s / 2, time.Duration(0), s / 2}, pace(cfg.Services[0].Probe))
	equal(t, []any{50, 5 * s, s / 2, time.Minute, s / 2}, pace(cfg.Services[1].Probe))
	equal(t, []any{0, 5 * s, 20 * s, time.Duration(0), 5 * s}, pace(cfg.Services[2].Probe))
}

func TestProbingErrors(t *testing.T) {
	const web = "services:\n  web:\n    frontends: tcp://192.0.2.1:80\n    backends: []\n    probe: "
	for _, c := range []struct{ name, text, want string }{
		{"strategy", "probes: {strategy: poll, workers: 0}\nservices: {}\n", lines(
			`x.yaml:2:20: strategy: unknown value "poll" (did you mean "pool"? known: pool, serial, unlimited)`,
			"x.yaml:2:35: workers: 0 is out of range (1 to 65536)")},
		{"workers without a pool", "probes: {strategy: serial, workers: 3}\nservices: {}\n",
			"x.yaml:2:28: probes: workers has no effect with strategy serial (use strategy: pool or remove workers)"},
		{"jitter", web + "{jitter: 10}\n",
			`x.yaml:6:21: jitter: must be a text (percentage), not 10 (if it is meant so, quote it: "10")`},
		{"jitter that is none", web + "{jitter: ten%}\n",
			`x.yaml:6:21: jitter: "ten%" is not a percentage (for example 10%)`},
		{"much jitter", web + "{jitter: 51%}\n",
			`x.yaml:6:21: jitter: 51% is out of range (0% to 50%)`},
		{"failing interval", web + "{interval: 5s, timeout: 1s, interval_failing: 500ms}\n",
			"x.yaml:6:36: probe: timeout 1s is longer than interval_failing 500ms (set timeout to at most 500ms, or a longer interval)"},
		{"inherited timeout", "defaults: {probe: {timeout: 2s}}\n" + web + "{interval_failing: 1s}\n",
			"x.yaml:7:31: probe: timeout 2s is longer than interval_failing 1s (set timeout to at most 1s, or a longer interval)"},
		{"back-off", web + "{interval: 5s, backoff_max: 4s}\n",
			"x.yaml:6:40: probe: backoff_max 4s is shorter than the interval that it begins with, 5s (set backoff_max to at least 5s)"},
		{"inherited back-off", "defaults: {probe: {backoff_max: 4s}}\n" + web + "{interval_failing: 10s}\n",
			"x.yaml:7:31: probe: backoff_max 4s is shorter than the interval that it begins with, 10s (set backoff_max to at least 10s)"},
		{"without effect", web + "{type: none, jitter: 1%, backoff_max: 1m}\n", lines(
			"x.yaml:6:25: probe: jitter has no effect with type none (give another type or remove jitter)",
			"x.yaml:6:37: probe: backoff_max has no effect with type none (give another type or remove backoff_max)")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, refused(t, "interfaces: eth0\n"+c.text)); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}
