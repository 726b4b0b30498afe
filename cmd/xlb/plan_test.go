package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/api"
)

func TestPlan(t *testing.T) {
	s := newSample().start(t)
	same(t, xlb(t, "plan").ok(t), `
+ backend  web 10.0.0.13:8080: unknown
- frontend web 203.0.113.99:80/tcp
~ table    web: 21845 of 65537 slots move (33.3%), 2 backends in 65537 slots → 3 backends in 65537 slots
! attach takes effect when the daemon starts; a reload is refused until then
! service dns is down
3 changes
`)
	if s.planned != (api.PlanRequest{}) {
		t.Errorf("without --config the daemon was sent %+v", s.planned)
	}
	file := writeFile(t, goodConfig)
	got := decode[planResult](t, xlb(t, "plan", "-c", file, "--json").ok(t))
	if got.Against != againstDaemon || got.Count != 3 || len(got.Changes) != 3 {
		t.Errorf("JSON: %+v", got)
	}
	if s.planned != (api.PlanRequest{Path: file, Content: goodConfig}) {
		t.Errorf("the daemon was sent %+v", s.planned)
	}
	if xlbIn(t, t.Context(), env{stdin: strings.NewReader(goodConfig)}, "plan", "-c", "-").ok(t); s.planned.Content != goodConfig {
		t.Errorf("standard input: the daemon was sent %+v", s.planned)
	}
	s.refuse = api.Errorf(422, "a.yaml:1:1: one\na.yaml:2:1: two")
	xlb(t, "plan").fails(t, exitUsage, "a.yaml:1:1: one\na.yaml:2:1: two")
	s.refuse = nil
	s.plan = api.Plan{}
	same(t, xlb(t, "plan").ok(t), "nothing would change")
	xlb(t, "plan", "-c", "/nowhere").fails(t, exitUsage, "xlb: cannot read the configuration: open /nowhere: no such file or directory")
}

func TestPlanAgainstNothing(t *testing.T) {
	noDaemon(t)
	file := writeFile(t, goodConfig)
	same(t, xlb(t, "plan", "-c", file).ok(t), `
no daemon runs and no maps are pinned: compared with an empty load balancer
+ source   192.0.2.1
+ service  web: forward nat, source number 0, timeouts syn 30s, established 15m, fin 2m, closed 10s, udp 1m
+ frontend web 203.0.113.10:80/tcp
+ backend  web 10.0.0.11:80: not probed yet
+ backend  web 10.0.0.12:80: not probed yet
+ table    web: 2 backends in 65537 slots
6 changes
`)
	got := decode[planResult](t, xlb(t, "plan", "-c", file, "--json").ok(t))
	if got.Against != againstNothing || got.Count != 6 || got.Warnings == nil || got.Restart == nil {
		t.Errorf("JSON: %+v", got)
	}
	if err := os.WriteFile(file, []byte(wrongConfigText), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := xlb(t, "plan", "-c", file); r.status != exitUsage || !strings.HasPrefix(r.stderr, file+":4:5: ") {
		t.Errorf("%+v", r)
	}
}

func TestPlanWithOverrides(t *testing.T) {
	noDaemon(t)
	state := t.TempDir()
	t.Setenv("XLB_STATE_DIR", state)
	overrides := filepath.Join(state, "overrides.json")
	write := func(text string) {
		if err := os.WriteFile(overrides, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := writeFile(t, goodConfig)
	write(`{"version": 1, "overrides": [{"service": "web", "backend": "10.0.0.12:80", "drain": true}]}`)
	out := xlb(t, "plan", "-c", file).ok(t)
	for _, want := range []string{
		"+ backend  web 10.0.0.11:80: not probed yet\n", "+ backend  web 10.0.0.12:80: draining\n", "+ table    web: 1 backend in 65537 slots\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the plan lacks %q:\n%s", want, out)
		}
	}
	write(`{"version": 2, "services": [{"name": "web", "text": "{frontends: 'tcp://203.0.113.99:80', backends: []}"}]}`)
	if out := xlb(t, "plan", "-c", file).ok(t); !strings.Contains(out, `! service "web", which the operator added, is left out: added service web:1:1: there is a service "web" already`) {
		t.Errorf("the plan does not say that a service is left out:\n%s", out)
	}
	write("no JSON")
	if r := xlb(t, "plan", "-c", file); r.status != exitFailed || !strings.HasPrefix(r.stderr, "xlb: "+overrides+": ") {
		t.Errorf("overrides that cannot be read: %+v", r)
	}
}
