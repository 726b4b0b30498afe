package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
)

func TestSources(t *testing.T) {
	s := newSample()
	answered := testNow.Add(-3 * time.Minute)
	web := &s.status.Services[1]
	web.Sources = []api.Source{
		{Name: "site", Type: "consul", Where: "web at http://127.0.0.1:8500", State: api.SourceFailing, Since: testNow.Add(-time.Minute), Answered: &answered, Backends: 3, Error: "connection refused"},
		{Name: "exec", Type: "exec", Where: "/bin/list", State: api.SourceOK, Since: answered, Answered: &answered, Backends: 1, Warnings: []string{"line 2 is no address"}},
		{Name: "more", Type: "dns", Where: "web.example.com", State: api.SourceWaiting, Since: testNow},
	}
	s.start(t)
	const table = `
SOURCE  TYPE    STATE    SINCE  BACKENDS  ANSWERED  WHERE                         NOTE
site    consul  failing     1m         3    3m ago  web at http://127.0.0.1:8500  connection refused
exec    exec    ok          3m         1    3m ago  /bin/list                     line 2 is no address
more    dns     waiting     0s         0     never  web.example.com
`
	if text := xlb(t, "service", "show", "web").ok(t); !strings.Contains(text, table) {
		t.Errorf("service show lacks\n%s:\n%s", table, text)
	}
	if text := xlb(t, "status").ok(t); !strings.Contains(text, strings.ReplaceAll(strings.TrimSuffix(table, "\n"), "\n", "\n  ")+"\n") {
		t.Errorf("status lacks\n%s:\n%s", table, text)
	}
	got := decode[api.ServiceDetail](t, xlb(t, "service", "show", "web", "--json").ok(t))
	if len(got.Sources) != 3 || got.Sources[0].Error != "connection refused" || got.Sources[2].Answered != nil {
		t.Errorf("JSON: %+v", got.Sources)
	}
}

const discoverConfig = "interfaces: eth0\nsources: 192.0.2.1\nservices:\n  web:\n    frontends: tcp://203.0.113.10:80\n    backends: 10.0.0.11\n" +
	"    discover: [{type: file, path: web.yaml}, {type: dns, name: web.example.com}]\n"

func TestCheckSources(t *testing.T) {
	same(t, xlb(t, "check", writeFile(t, discoverConfig)).ok(t), "ok: 1 service, 1 backend, 2 sources\n")
}

// TestPlanSources: without a daemon a plan has what a daemon would begin with.
func TestPlanSources(t *testing.T) {
	noDaemon(t)
	state := t.TempDir()
	t.Setenv("XLB_STATE_DIR", state)
	file := writeFile(t, discoverConfig)
	plan := func(found bool, notes ...string) {
		t.Helper()
		got := xlb(t, "plan", "-c", file).ok(t)
		if !strings.Contains(got, "+ backend  web 10.0.0.11:80") || strings.Contains(got, "+ backend  web 10.0.0.12:81") != found || strings.Count(got, "has not answered yet") != len(notes) {
			t.Errorf("the plan is\n%s", got)
		}
		for _, n := range notes {
			if note := `! service "web": source "` + n + `" has not answered yet; the plan is without its backends`; !strings.Contains(got, note) {
				t.Errorf("the plan lacks %s:\n%s", note, got)
			}
		}
	}
	plan(false, "file", "dns")
	cache := `[{"service": "web", "source": "file", "at": "2026-01-02T03:04:05Z", "backends": [{"Address": "10.0.0.12:81", "Weight": 1}]}]`
	if err := os.WriteFile(filepath.Join(state, "discovered.json"), []byte(cache), 0o600); err != nil {
		t.Fatal(err)
	}
	plan(true, "dns")
}
