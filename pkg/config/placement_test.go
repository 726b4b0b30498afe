package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/model"
)

func TestPlacement(t *testing.T) {
	cfg := parse(t, `
interfaces: eth0
zone: eu-1a
defaults:
  subset: {tag: ssd}
  tiers: {min_healthy: 50%, return_after: 30s}
  zones: {prefer: own}
  slow_start: 1m
services:
  inherits: {frontends: tcp://192.0.2.1:80, backends: []}
  own:
    frontends: tcp://192.0.2.1:81
    backends: []
    subset: {zone: a}
    tiers: {min_healthy: 100%, when_low: add}
    zones: {prefer: none, share: equal, min_healthy: 70%}
    panic_threshold: 30%
    slow_start: 10s
    drain_timeout: 5m
  plain: {frontends: tcp://192.0.2.1:82, backends: [], zones: {prefer: none}}
`)
	if cfg.Settings.Zone != "eu-1a" {
		t.Errorf("zone %q", cfg.Settings.Zone)
	}
	inherited := model.Placement{
		Subset: model.Subset{Tag: "ssd"}, SlowStart: time.Minute,
		Tiers: model.Tiers{MinHealthy: 50, ReturnAfter: 30 * time.Second},
		Zones: model.Zones{PreferOwn: true, MinHealthy: 50},
	}
	plain := inherited
	plain.Zones = model.Zones{}
	want := []model.Placement{
		inherited,
		{
			Subset: model.Subset{Zone: "a"}, PanicThreshold: 30, SlowStart: 10 * time.Second, DrainTimeout: 5 * time.Minute,
			Tiers: model.Tiers{MinHealthy: 100, WhenLow: model.LowAdd, ReturnAfter: 30 * time.Second},
			Zones: model.Zones{EqualShare: true, MinHealthy: 70},
		},
		plain,
	}
	for i, s := range cfg.Services {
		equal(t, want[i], s.Placement)
	}
}

func TestPlacementErrors(t *testing.T) {
	web := "interfaces: eth0\nservices:\n  web:\n    frontends: tcp://192.0.2.1:80\n    backends: []\n"
	for _, c := range []struct{ name, text, want string }{
		{"percentages", web + "    panic_threshold: 30\n    tiers: {min_healthy: 0%}\n    zones: {share: equal, min_healthy: half}\n", lines(
			`x.yaml:6:22: panic_threshold: 30 has no percent sign (write 30%)`,
			`x.yaml:7:26: min_healthy: 0% is out of range (1% to 100%)`,
			`x.yaml:8:40: min_healthy: "half" is not a percentage (for example 50%)`)},
		{"subset of nothing", "defaults: {subset: {}}\n" + web + "    subset: {}\n", lines(
			`x.yaml:1:20: subset names neither a tag nor a zone (for example {tag: ssd})`,
			`x.yaml:7:13: subset names neither a tag nor a zone (for example {tag: ssd})`)},
		{"panic, closed", web + "    panic_threshold: 30%\n    fail: closed\n",
			`x.yaml:6:22: service "web" has panic_threshold, which uses unhealthy backends, and fail: closed, which never does (remove one of them)`},
		{"inherited panic, closed", "defaults: {panic_threshold: 30%}\n" + web + "    fail: closed\n",
			`x.yaml:7:11: service "web" has panic_threshold, which uses unhealthy backends, and fail: closed, which never does (set fail: open; defaults: has panic_threshold)`},
		{"own zone", web + "    zones: {prefer: own}\n",
			`x.yaml:6:21: service "web" prefers the balancer's own zone, but which one that is is not said (add zone: to the file, for example zone: eu-1a)`},
		{"a wrong zone causes no other mistake", web + "    zones: {prefer: own}\nzone: ''\n",
			"x.yaml:7:7: zone: \"\" is not a valid zone (1 to 63 bytes, no control characters)"},
		{"zones without effect", web + "    zones: {min_healthy: 40%}\n",
			`x.yaml:6:13: zones: min_healthy has no effect without prefer: own or share: equal (add one of them or remove min_healthy)`},
		{"when_low without effect", web + "    tiers: {when_low: add}\n",
			`x.yaml:6:13: tiers: when_low: add has no effect without min_healthy: a tier with one usable backend is good (add min_healthy, for example 50%)`},
		{"times", web + "    slow_start: 500ms\n    drain_timeout: 200h\n    tiers: {return_after: 30}\n", lines(
			`x.yaml:6:17: slow_start: 500ms is finer than its resolution of 1s`,
			`x.yaml:7:20: drain_timeout: 200h is out of range (0s to 168h, whole seconds)`,
			`x.yaml:8:27: return_after: 30 has no unit (for seconds write 30s)`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, refused(t, c.text)); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}
