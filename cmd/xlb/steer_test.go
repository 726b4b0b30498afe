package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
)

func TestAddAndRemoveBackend(t *testing.T) {
	s := newSample().start(t)
	same(t, xlb(t, "backend", "add", "--weight", "3", "--zone", "rack 2", "--tag", "ssd", "--tag", "canary", "--priority", "1", "--server-id", "00C0FFEE", "web", "10.0.0.14").ok(t),
		"web 10.0.0.14:80: added")
	got := s.status.Services[1].Backends[3]
	if got.Weight != 3 || got.Zone != "rack 2" || strings.Join(got.Tags, " ") != "canary ssd" || got.Tier != 1 || got.ServerID != "00c0ffee" {
		t.Errorf("the daemon was asked for %+v", got)
	}
	if b := decode[api.ServiceBackend](t, xlb(t, "backend", "add", "--json", "web", "10.0.0.15:8080").ok(t)); b.Weight != 1 || !b.Added {
		t.Errorf("JSON: %+v", b)
	}
	same(t, xlb(t, "backend", "rm", "web", "10.0.0.12").ok(t), "web 10.0.0.12:8080: removed")
	// One that is left out is in no list.
	same(t, xlb(t, "backend", "rm", "web", "10.0.0.99:80").ok(t), "web 10.0.0.99:80: removed")
	if s.said != "rm web 10.0.0.99:80" {
		t.Errorf("the daemon was asked: %s", s.said)
	}
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"add web web-1", 2, `xlb: "web-1" is not a backend address (for example 10.0.0.11:8080 or [2001:db8::11]:8080)`},
		{"add wbe 10.0.0.1", 1, `xlb: there is no service "wbe" (did you mean web?)`},
		{"add web 10.0.0.1:0", 2, `xlb: "10.0.0.1:0" has port 0 (without a port it is the frontends')`},
		{"add --weight 65536 web 10.0.0.1", 2, `xlb: weight 65536 is not 0 to 65535`},
		{"add --tag a,b web 10.0.0.1", 2, `xlb: tag "a,b" is not 1 to 63 bytes without commas, spaces and control characters`},
		{"rm web 10.0.0.77", 1, `xlb: service web has no backend 10.0.0.77 (known: 10.0.0.11:8080, 10.0.0.12:8080, 10.0.0.14:80, 10.0.0.15:8080, [2001:db8::11]:8080)`},
	} {
		xlb(t, append([]string{"backend"}, strings.Fields(c.args)...)...).fails(t, c.status, c.want)
	}
	s.status.Services[1].Frontends = append(s.status.Services[1].Frontends, "203.0.113.10:81/tcp")
	xlb(t, "backend", "add", "web", "10.0.0.16").fails(t, 2, `xlb: 10.0.0.16 has no port, and the frontends of web have several (write 10.0.0.16:80)`)
}

func TestDrainWithDeadline(t *testing.T) {
	s := newSample().start(t)
	same(t, xlb(t, "backend", "drain", "--deadline", "90s", "web", "10.0.0.11").ok(t), "web 10.0.0.11:8080: draining: no new flows, old ones stay for 1m30s")
	out := xlb(t, "backend", "ls", "web").ok(t)
	if !strings.Contains(out, "for another 1m30s") {
		t.Errorf("the time that is left is not shown:\n%s", out)
	}
	same(t, xlb(t, "backend", "drain", "--deadline", "0", "web", "10.0.0.11").ok(t), "web 10.0.0.11:8080: draining: no new flows, old ones stay until they end")
	s.placement.DrainTimeoutSeconds = 600
	same(t, xlb(t, "backend", "drain", "web", "10.0.0.11").ok(t), "web 10.0.0.11:8080: draining: no new flows, old ones stay for 10m")
	xlb(t, "backend", "drain", "--deadline=-5s", "web", "10.0.0.11").fails(t, 2, "xlb: --deadline -5s is in the past")
	xlb(t, "backend", "drain", "--deadline=9000h", "web", "10.0.0.11").fails(t, 2, "xlb: --deadline 9000h0m0s is more than a year (0 for never)")
	xlb(t, "backend", "drain", "--deadline", "soon", "web", "10.0.0.11").fails(t, 2, `xlb: "soon" is not a valid value for --deadline (move the flows that are left after a TIME, 0 for never)`)
}

func TestDisableBackend(t *testing.T) {
	s := newSample().start(t)
	same(t, xlb(t, "backend", "disable", "web", "10.0.0.11").ok(t), "web 10.0.0.11:8080: disabled: no flows, old ones move")
	if got := s.status.Services[1].Backends[0].State; got != api.StateDisabled {
		t.Errorf("state %s", got)
	}
	same(t, xlb(t, "backend", "enable", "web", "10.0.0.11").ok(t), "web 10.0.0.11:8080: enabled")
}

func TestAddService(t *testing.T) {
	s := newSample().start(t)
	same(t, xlb(t, "service", "add", "--frontend", "tcp://203.0.113.11:80", "--frontend", "tcp://[2001:db8::1]:80", "--backend", "10.0.0.1:80",
		"--backend", "{address: 10.0.0.2, weight: 3}", "--forward", "l2dsr", "--set", "fail=closed", "--set", "tiers={min_healthy: 50%}", "www").ok(t), "www: added")
	want := `www 
frontends:
  - "tcp://203.0.113.11:80"
  - "tcp://[2001:db8::1]:80"
forward: l2dsr
fail: closed
tiers: {min_healthy: 50%}
backends:
  - "10.0.0.1:80"
  - {address: 10.0.0.2, weight: 3}
`
	if s.said != want {
		t.Errorf("the daemon was asked for\n%swant\n%s", s.said, want)
	}
	file := filepath.Join(t.TempDir(), "www.yaml")
	if err := os.WriteFile(file, []byte("frontends: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	xlb(t, "service", "add", "-f", file, "www").ok(t)
	if s.said != "www "+file+"\nfrontends: x\n" {
		t.Errorf("the daemon was asked for %q", s.said)
	}
	same(t, xlb(t, "service", "rm", "www").ok(t), "www: removed")
	if s.said != "rm www" {
		t.Errorf("the daemon was asked: %s", s.said)
	}
	xlb(t, "service", "add", "www").fails(t, 2, "xlb: a service needs a --frontend (for example --frontend tcp://203.0.113.10:80) or a --file")
	xlb(t, "service", "add", "-f", file, "--forward", "nat", "www").fails(t, 2, "xlb: --forward and --file exclude each other (write it into the file)")
	xlb(t, "service", "add", "-f", file+"x", "www").fails(t, 2, "xlb: there is no file "+file+"x")
	xlb(t, "service", "add", "--frontend", "a", "--set", "fail", "www").fails(t, 2, `xlb: --set "fail" is not KEY=VALUE (for example --set fail=closed)`)
	s.refuse = api.Errorf(422, "service www:2:5: frontends: wrong")
	xlb(t, "service", "add", "--frontend", "a", "www").fails(t, 2, "service www:2:5: frontends: wrong")
	s.refuse = api.Errorf(409, `service "web" is in the configuration file x.yaml (remove it there)`)
	xlb(t, "service", "rm", "web").fails(t, 1, `xlb: service "web" is in the configuration file x.yaml (remove it there)`)
}

func TestZones(t *testing.T) {
	s := newSample().start(t)
	same(t, xlb(t, "zone", "ls").ok(t), `
ZONE    SERVICE  USABLE  SHARE  FLOWS  NOTE
rack-1  web         1/2  25.0%  12.3k  this balancer's own
rack-2  web         0/1   0.0%      0  disabled by an operator
`)
	same(t, xlb(t, "zones", "list", "dns").ok(t), "no backend is in a zone")
	if got := decode[[]api.Zone](t, xlb(t, "zone", "ls", "--json").ok(t)); len(got) != 2 || got[0].Share != 0.25 {
		t.Errorf("JSON: %+v", got)
	}
	same(t, xlb(t, "zone", "disable", "rack-1", "web").ok(t), "rack-1 of web: disabled: no new flows, old ones stay")
	if s.said != "rack-1 web true" {
		t.Errorf("the daemon was asked: %s", s.said)
	}
	same(t, xlb(t, "zone", "enable", "rack-1").ok(t), "rack-1 of all services: enabled")
	if s.said != "rack-1  false" {
		t.Errorf("the daemon was asked: %s", s.said)
	}
}

func TestOverrides(t *testing.T) {
	s := newSample().start(t)
	same(t, xlb(t, "overrides", "ls").ok(t), "nothing was said: the configuration alone holds")
	same(t, xlb(t, "overrides", "clear").ok(t), "nothing was said")
	yes, no, weight, at := true, false, uint16(7), testNow.Add(5*time.Minute)
	three := 3
	s.overrides = []api.Override{
		{Zone: "rack-1", Known: true},
		{Zone: "rack-2", Service: "web"},
		{Service: "www", Added: true, Text: "x", Problem: "added service www:1:1: one\nadded service www:2:1: two"},
		{Service: "web", Backend: web1, Drain: &yes, Deadline: &at, Weight: &weight, Known: true},
		{Service: "web", Backend: web2, Drain: &no, Known: true},
		{Service: "web", Backend: web6, Added: true, As: &api.BackendRequest{Weight: &three, Zone: "z", Tags: []string{"a", "b"}, Priority: 1, ServerID: "0a"}, Disabled: true, Known: true},
	}
	same(t, xlb(t, "overrides", "ls").ok(t), `
SERVICE  OF                   SAID                                                                NOTE
all      zone rack-1          disabled
web      zone rack-2          disabled                                                            not there now
www      the service          added                                                               added service www:1:1: one (and 1 more)
web      10.0.0.11:8080       drained for another 5m, weight 7
web      10.0.0.12:8080       not drained
web      [2001:db8::11]:8080  added (weight 3, tier 1, zone z, tags a b, server ID 0a), disabled
`)
	if got := decode[[]api.Override](t, xlb(t, "overrides", "ls", "--json").ok(t)); len(got) != 6 || !got[3].Deadline.Equal(at) {
		t.Errorf("JSON: %+v", got)
	}
	same(t, xlb(t, "overrides", "clear", "web", "10.0.0.12").ok(t), `
taken back:
SERVICE  OF              SAID
web      10.0.0.12:8080  not drained
`)
	if got := decode[[]api.Override](t, xlb(t, "overrides", "clear", "web", "--json").ok(t)); len(got) != 4 {
		t.Errorf("JSON: %+v", got)
	}
}

func TestPlacementIsShown(t *testing.T) {
	s := api.ServiceDetail{Service: api.Service{ServingTiers: []int{0, 1}}, Placement: api.Placement{
		Subset: "tag ssd", TierMinHealthy: 50, TierWhenLow: "add", TierReturnAfterSeconds: 30, PreferZone: "eu-1a", EqualZones: true,
		ZoneMinHealthy: 70, PanicThreshold: 30, SlowStartSeconds: 60, DrainTimeoutSeconds: 600,
	}}
	var got []string
	for _, l := range placementLines(s) {
		got = append(got, l[0]+": "+l[1])
	}
	want := []string{
		"subset: tag ssd", "tiers: 0 and 1 serve, below 50% usable the next one is added, return after 30s",
		"zones: prefer eu-1a, equal shares, less below 70% usable", "panic: below 30% usable", "slow start: 1m", "drain: flows move after 10m",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	if lines := placementLines(api.ServiceDetail{}); len(lines) != 0 {
		t.Errorf("of a plain service: %v", lines)
	}
}
