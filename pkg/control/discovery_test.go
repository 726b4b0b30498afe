package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/discovery"
	"github.com/xlb-io/xlb/pkg/model"
)

// finders are sources that tests feed, by the path of their definition.
type finders struct {
	mu   sync.Mutex
	feed map[string]chan any // []model.Backend or error
	runs map[string]int
}

func newFinders() *finders { return &finders{feed: map[string]chan any{}, runs: map[string]int{}} }

func (f *finders) of(path string) chan any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.feed[path] == nil {
		f.feed[path] = make(chan any, 1)
	}
	return f.feed[path]
}

func (f *finders) started(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.runs[path]
}

// found has a source answer; a backend is an address or address=weight.
func (f *finders) found(path string, backends ...string) {
	list := []model.Backend{}
	for _, b := range backends {
		list = append(list, model.Backend{Address: ap(b), Weight: 1})
	}
	f.of(path) <- list
}

func (f *finders) failed(path, text string) { f.of(path) <- errors.New(text) }

func (f *finders) New(s model.Source) discovery.Source { return finder{f, s.File.Path} }

func (f *finders) use(p *parts) { p.source = f.New }

type finder struct {
	*finders
	path string
}

func (f finder) String() string { return "test " + f.path }

func (f finder) Run(ctx context.Context, emit discovery.Emit) error {
	f.mu.Lock()
	f.runs[f.path]++
	f.mu.Unlock()
	for {
		select {
		case said := <-f.of(f.path):
			if err, failed := said.(error); failed {
				return err
			}
			emit(said.([]model.Backend))
		case <-ctx.Done():
			return nil
		}
	}
}

// from is a service with sources at these paths, and static backends.
func from(name string, vip int, backends string, paths ...string) string {
	text := fmt.Sprintf("  %s: {frontends: 'tcp://203.0.113.%d:80', probe: none, backends: [%s], discover: [", name, vip, backends)
	for _, p := range paths {
		text += fmt.Sprintf("{type: file, source: %s, path: /%s, debounce: 0s, stale_for: 1h}, ", p, p)
	}
	return text + "]}\n"
}

func (d *daemon) sources(t *testing.T, service string) string {
	t.Helper()
	s, err := d.Client.Service(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, one := range s.Sources {
		words = append(words, strings.TrimSpace(fmt.Sprintf("%s %s %d %s", one.Name, one.State, one.Backends, one.Error)))
	}
	return strings.Join(words, ", ")
}

func (d *daemon) await(t *testing.T, service string, backends ...string) {
	t.Helper()
	eventually(t, func() string {
		got := d.states(t, service)
		for _, b := range backends {
			if got[b] != api.StateHealthy {
				return fmt.Sprintf("%v, want %v", got, backends)
			}
		}
		return unless(len(got) == len(backends), "%v, want %v", got, backends)
	})
}

func TestDiscoveryDecides(t *testing.T) {
	f := newFinders()
	f.found("/a", "10.0.0.7:80")
	f.found("/b")
	d := start(t, newMemory(), from("web", 1, "'10.0.0.1:80'", "a", "b"), f.use)
	if got := d.states(t, "web"); len(got) != 2 || got["10.0.0.7:80"] != api.StateHealthy || got["10.0.0.1:80"] != api.StateHealthy {
		t.Errorf("the first plan did not wait for discovery: %v", got)
	}
	if got := d.sources(t, "web"); got != "a ok 1, b ok 0" {
		t.Errorf("sources %s", got)
	}
	f.failed("/a", "no answer")
	eventually(t, func() string {
		r := strings.Join(d.status(t).Reasons, " ")
		return unless(r == "discovery_failed:web", "reasons %s", r)
	})
	if got := d.sources(t, "web"); got != "a failing 1 no answer, b ok 0" {
		t.Errorf("sources %s", got)
	}
	d.await(t, "web", "10.0.0.1:80", "10.0.0.7:80")
	f.found("/b", "10.0.0.8:80", "10.0.0.1:80", "10.0.0.1:0", "[2001:db8::1]:80")
	d.await(t, "web", "10.0.0.1:80", "10.0.0.7:80", "10.0.0.8:80")
	warnings := strings.Join(d.status(t).Warnings, "\n")
	for _, want := range []string{
		`service "web": backend 10.0.0.1:80 of source "b" is left out: source "static" has it already, and counts`,
		`service "web": backend [2001:db8::1]:80 of source "b" is left out: it is of another family than frontend 203.0.113.1:80/tcp, and nat cannot translate between them`,
	} {
		if !strings.Contains(warnings, want) {
			t.Errorf("warnings lack %s:\n%s", want, warnings)
		}
	}
	f.found("/a", "10.0.0.9:80") // it is run again after a pause
	d.await(t, "web", "10.0.0.1:80", "10.0.0.8:80", "10.0.0.9:80")
	if got := d.status(t).Reasons; len(got) != 0 {
		t.Errorf("reasons %v", got)
	}
}

// TestDiscoveryReload: a reload leaves sources alone that did not change, and
// what they found; those that are new or gone come and go.
func TestDiscoveryReload(t *testing.T) {
	f := newFinders()
	f.found("/a", "10.0.0.7:80")
	f.found("/b", "10.0.0.8:80")
	d := start(t, newMemory(), from("web", 1, "", "a", "b"), f.use)
	d.await(t, "web", "10.0.0.7:80", "10.0.0.8:80")
	reload := func(services string) {
		t.Helper()
		d.write(t, services)
		if err := d.Client.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reload(from("web", 1, "'10.0.0.1:80'", "a", "b") + from("other", 2, "", "c"))
	d.await(t, "web", "10.0.0.1:80", "10.0.0.7:80", "10.0.0.8:80")
	if n := f.started("/a"); n != 1 {
		t.Errorf("the reload ran an unchanged source again: %d runs", n)
	}
	if got := d.sources(t, "other"); got != "c waiting 0" {
		t.Errorf("sources of other: %s", got)
	}
	f.found("/c", "10.0.0.3:80")
	d.await(t, "other", "10.0.0.3:80")

	for services, changes := range map[string]bool{
		from("web", 1, "'10.0.0.1:80'", "a", "b") + from("other", 2, "", "c"): false,
		from("web", 1, "'10.0.0.1:80'", "a") + from("other", 2, "", "c"):      true,
	} {
		plan, err := d.Client.Plan(t.Context(), api.PlanRequest{Content: document(services)})
		if err != nil {
			t.Fatal(err)
		}
		if (len(plan.Changes) > 0) != changes {
			t.Errorf("a plan of\n%schanges %+v", services, plan.Changes)
		}
	}
	plan, err := d.Client.Plan(t.Context(), api.PlanRequest{Content: document(from("web", 1, "", "a", "z"))})
	if err != nil {
		t.Fatal(err)
	}
	if want := `service "web": source "z" has not answered yet; the plan is without its backends`; len(plan.Warnings) != 1 || plan.Warnings[0] != want {
		t.Errorf("warnings %q, want %q", plan.Warnings, want)
	}
	reload(from("web", 1, "'10.0.0.1:80'", "a"))
	d.await(t, "web", "10.0.0.1:80", "10.0.0.7:80")
	if n := f.started("/a"); n != 1 {
		t.Errorf("%d runs of source a", n)
	}
}

// TestDiscoveryWaits: the first round waits for a source that says nothing, but
// not for ever, and then has what the others found; and a daemon that is
// started while its sources are away has what the one before it had found.
func TestDiscoveryWaits(t *testing.T) {
	f := newFinders()
	f.found("/a", "10.0.0.7:80")
	dir := t.TempDir()
	cached := func(p *parts) { p.discoveryCache = dir + "/discovered.json" }
	memory := newMemory()
	begin := time.Now()
	d := startIn(t, dir, memory, from("web", 1, "", "a", "silent"), f.use, cached)
	if waited := time.Since(begin); waited < quick.discovery {
		t.Errorf("the first round came after %s", waited)
	}
	d.await(t, "web", "10.0.0.7:80")
	d.stop()
	d = startIn(t, dir, memory, from("web", 1, "", "a", "silent"), newFinders().use, cached)
	if got := d.states(t, "web"); len(got) != 1 || got["10.0.0.7:80"] != api.StateHealthy {
		t.Errorf("the daemon's successor has %v", got)
	}
	if got := d.sources(t, "web"); got != "a waiting 1, silent waiting 0" {
		t.Errorf("sources %s", got)
	}
}
