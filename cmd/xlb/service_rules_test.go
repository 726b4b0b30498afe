package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/api"
)

func TestPrintRules(t *testing.T) {
	lines := func(r *api.Rules) (out []string) {
		(&env{}).printRules(api.ServiceDetail{Rules: r}, func(name, format string, args ...any) {
			out = append(out, name+": "+fmt.Sprintf(format, args...))
		})
		return out
	}
	if got := lines(nil); len(got) != 0 {
		t.Errorf("a service without rules shows %q", got)
	}
	got := lines(&api.Rules{
		Allow: 3, Steer: 120_000, Prefixes: 100_002,
		Subsets: []api.RuleSubset{{Tag: "ssd", Zone: "eu", Backends: 3, Usable: 2}, {Zone: "us", Backends: 1, FallsBack: true}},
		Files: []api.RuleFile{{
			Path: "/etc/xlb/geo.mmdb", Prefixes: 1_000_000, Modified: time.Date(2026, 6, 17, 8, 0, 0, 0, time.Local), Error: "geo.mmdb: no such file",
		}},
		Rate: &api.RuleRate{PerSecond: 10, Burst: 20}, RatePerSource: &api.RuleRate{PerSecond: 1, Burst: 2, IPv4: 24, IPv6: 64},
		MaxConnections: 7, Connections: 5,
	})
	want := []string{
		"rules: 3 allowed, 120k steered; 100k prefixes in the kernel",
		"steers to: tag ssd, zone eu: 2 of 3 backends usable",
		"steers to: zone us: 0 of 1 backend usable; the whole service takes its flows",
		"file: /etc/xlb/geo.mmdb: 1.00M prefixes of 2026-06-17 08:00:00; now wrong: geo.mmdb: no such file",
		"limits: 10 new flows a second, 20 at once; 1 a second, 2 at once, of an IPv4 /24 or IPv6 /64; 5 of 7 open",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := lines(&api.Rules{Prefixes: 2}); !slices.Equal(got, []string{"rules: none; 2 prefixes in the kernel"}) {
		t.Errorf("an empty allow list shows %q", got)
	}
}

func TestRefusedText(t *testing.T) {
	if got := refusedText(api.Refused{}); got != "" {
		t.Errorf("nothing refused is %q", got)
	}
	r := api.Refused{Denied: 1, NotAllowed: 2, Rate: 3, RatePerSource: 4, MaxConnections: 5}
	if got, want := refusedText(r), "1 denied, 2 not allowed, 3 rate, 4 rate per source, 5 max connections"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
