package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// said is what a scripted source does at a time after its first run: it answers
// or fails.
type said struct {
	at       time.Duration
	backends []model.Backend
	err      error
}

// script is a source that says what it is told, over all its runs.
type script struct {
	name string
	mu   sync.Mutex
	runs []time.Time
	// says is what is left to say; begin is when the first run began.
	says  []said
	begin time.Time
}

func (s *script) String() string { return "script " + s.name }

func (s *script) Run(ctx context.Context, emit Emit) error {
	s.mu.Lock()
	if s.begin.IsZero() {
		s.begin = time.Now()
	}
	s.runs = append(s.runs, time.Now())
	s.mu.Unlock()
	for len(s.says) > 0 {
		next := s.says[0]
		select {
		case <-time.After(time.Until(s.begin.Add(next.at))):
		case <-ctx.Done():
			return nil
		}
		s.says = s.says[1:]
		if next.err != nil {
			return next.err
		}
		emit(next.backends)
	}
	<-ctx.Done()
	return nil
}

func backends(addresses ...string) (list []model.Backend) {
	for _, a := range addresses {
		list = append(list, model.Backend{Address: netip.MustParseAddrPort(a), Weight: 1})
	}
	return list
}

func tells(at time.Duration, addresses ...string) said {
	return said{at: at, backends: backends(addresses...)}
}
func failure(at time.Duration, text string) said { return said{at: at, err: errors.New(text)} }

// service is one with static backends and sources of these names.
func service(name string, static []model.Backend, sources ...string) model.Service {
	s := model.Service{
		Name: name, Forward: model.NAT, Backends: static,
		Frontends: []model.Frontend{{VIP: netip.MustParseAddr("203.0.113.1"), Port: 80, Protocol: model.TCP}},
	}
	for _, n := range sources {
		s.Sources = append(s.Sources, model.Source{Name: n, Type: "script", OnEmpty: model.EmptyKeep, Backend: model.Backend{Weight: 1}})
	}
	return s
}

// stage is a manager of scripted sources.
type stage struct {
	*Manager
	t       *testing.T
	scripts map[string]*script
	log     *bytes.Buffer
	known   map[string]string
}

// newStage has a script for each source that says something; the others say
// nothing.
func newStage(t *testing.T, says map[string][]said) *stage {
	s := &stage{t: t, scripts: map[string]*script{}, log: &bytes.Buffer{}, known: map[string]string{}}
	s.Manager = NewManager(Options{
		MinBackoff: time.Second, MaxBackoff: 8 * time.Second, Log: slog.New(slog.NewTextHandler(s.log, nil)),
		New: func(m model.Source) Source {
			one := &script{name: m.Name, says: says[m.Name]}
			s.scripts[m.Name] = one
			return one
		},
	})
	return s
}

// after lets time pass and compares the backends of a service with addresses.
func (s *stage) after(d time.Duration, service, addresses string) {
	s.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	for _, u := range s.Take() {
		var words []string
		for _, b := range u.Backends {
			words = append(words, b.Address.String())
		}
		s.known[u.Service] = strings.Join(words, " ")
	}
	if got := s.known[service]; got != addresses {
		s.t.Errorf("after %s more %s has %q, want %q", d, service, got, addresses)
	}
}

// status compares the sources of a service with words: name, state, number of
// backends, age of the answer and error.
func (s *stage) status(service, want string) {
	s.t.Helper()
	var words []string
	for _, one := range s.Status(service) {
		age := "never"
		if !one.Answered.IsZero() {
			age = time.Since(one.Answered).Round(100 * time.Millisecond).String()
		}
		words = append(words, strings.TrimSpace(fmt.Sprintf("%s %s %d %s %s", one.Name, one.State, one.Backends, age, one.Error)))
	}
	if got := strings.Join(words, ", "); got != want {
		s.t.Errorf("sources of %s: %s\nwant: %s", service, got, want)
	}
}

func TestManagerJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, map[string][]said{
			"a": {tells(time.Second, "10.0.0.3:80", "10.0.0.2:80"), tells(2*time.Second, "10.0.0.2:80")},
			"b": {tells(0, "10.0.0.4:80", "10.0.0.1:80")},
		})
		defer s.Close()
		web := service("web", backends("10.0.0.1:80"), "a", "b")
		s.Apply([]model.Service{web, service("plain", backends("10.0.0.9:80"))})
		if s.Complete() {
			t.Error("complete before a source has spoken")
		}
		s.after(0, "plain", "10.0.0.9:80")
		s.after(0, "web", "10.0.0.1:80 10.0.0.4:80")
		s.after(time.Second, "web", "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80 10.0.0.4:80")
		if !s.Complete() {
			t.Error("not complete")
		}
		if got := s.Warnings("web"); len(got) != 1 || got[0] != `service "web": backend 10.0.0.1:80 of source "b" is left out: source "static" has it already, and counts` {
			t.Errorf("warnings %q", got)
		}
		s.after(time.Second, "web", "10.0.0.1:80 10.0.0.2:80 10.0.0.4:80")
		s.status("web", "a ok 1 0s, b ok 2 2s")
	})
}

// TestManagerKeeps: a source that fails keeps its answer until stale_for ends.
func TestManagerKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, map[string][]said{
			"a": {tells(0, "10.0.0.1:80"), failure(5*time.Second, "gone"), failure(7*time.Second, "still gone"), tells(40*time.Second, "10.0.0.1:80")},
		})
		defer s.Close()
		web := service("web", nil, "a", "never")
		web.Sources[0].StaleFor = 20 * time.Second
		s.Apply([]model.Service{web})
		s.after(4*time.Second, "web", "10.0.0.1:80")
		s.after(2*time.Second, "web", "10.0.0.1:80")
		s.status("web", "a failing 1 6s gone, never waiting 0 never")
		s.after(18900*time.Millisecond, "web", "10.0.0.1:80")
		s.after(200*time.Millisecond, "web", "")
		s.status("web", "a stale 0 25.1s still gone, never waiting 0 never")
		s.after(20*time.Second, "web", "10.0.0.1:80")
		s.status("web", "a ok 1 5.1s, never waiting 0 never")
		for _, want := range []string{"source fails", `error="still gone"`, "longer than stale_for", "answers again", "failed_for=35s"} {
			if !strings.Contains(s.log.String(), want) {
				t.Errorf("log lacks %s:\n%s", want, s.log.String())
			}
		}
	})
}

func TestManagerEmpty(t *testing.T) {
	says := map[string][]said{"a": {tells(0), tells(time.Second, "10.0.0.1:80"), tells(2 * time.Second), tells(4*time.Second, "10.0.0.2:80")}}
	for mode, want := range map[model.OnEmpty]string{
		model.EmptyKeep:   "a failing 1 1s answered that there are no backends, which is not believed (on_empty: keep); the last 1 stay",
		model.EmptyAccept: "a ok 0 0s",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, says)
			defer s.Close()
			web := service("web", nil, "a")
			web.Sources[0].OnEmpty = mode
			s.Apply([]model.Service{web})
			s.after(0, "web", "")
			s.status("web", "a ok 0 0s") // there was none before
			s.after(time.Second, "web", "10.0.0.1:80")
			s.after(time.Second, "web", map[model.OnEmpty]string{model.EmptyKeep: "10.0.0.1:80"}[mode])
			s.status("web", want)
			s.after(2*time.Second, "web", "10.0.0.2:80")
			s.status("web", "a ok 1 0s")
		})
	}
}

// TestManagerDistrustsWhatCannotBeUsed: an answer of backends that the service
// cannot have is like an empty one.
func TestManagerDistrustsWhatCannotBeUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, map[string][]said{"a": {tells(0, "10.0.0.1:80"), tells(time.Second, "[2001:db8::1]:80", "203.0.113.1:80")}})
		defer s.Close()
		s.Apply([]model.Service{service("web", nil, "a")})
		s.after(2*time.Second, "web", "10.0.0.1:80")
		if got := s.Status("web")[0].Error; got != "none of the 2 backends it answered can be used (203.0.113.1:80: it is a frontend of the same service: packets would go in circles); the last 1 stay (on_empty: keep)" {
			t.Errorf("error %s", got)
		}
	})
}

func TestManagerDebounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, map[string][]said{"a": {
			tells(0, "10.0.0.1:80"), tells(time.Second, "10.0.0.2:80"), tells(2*time.Second, "10.0.0.3:80"),
			tells(10*time.Second, "10.0.0.4:80"), tells(11*time.Second, "10.0.0.3:80"),
		}})
		defer s.Close()
		web := service("web", nil, "a")
		web.Sources[0].Debounce = 3 * time.Second
		s.Apply([]model.Service{web})
		s.after(0, "web", "10.0.0.1:80")
		s.after(3900*time.Millisecond, "web", "10.0.0.1:80")
		s.after(200*time.Millisecond, "web", "10.0.0.3:80")
		s.after(7*time.Second, "web", "10.0.0.3:80")
		s.after(time.Minute, "web", "10.0.0.3:80") // it changed back in time
	})
}

// TestManagerReload: what did not change is not disturbed, what changed keeps
// its answer until the new one comes, what is gone is gone.
func TestManagerReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, map[string][]said{
			"a": {tells(0, "10.0.0.1:80")}, "b": {tells(time.Second, "10.0.0.2:80")}, "c": {tells(0, "10.0.0.3:80")},
		})
		defer s.Close()
		web := service("web", nil, "a", "b", "c")
		s.Apply([]model.Service{web})
		s.after(time.Second, "web", "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80")
		a, b := s.scripts["a"], s.scripts["b"]

		next := service("web", backends("10.0.0.9:80"), "a", "b")
		next.Sources[1].Debounce = time.Minute
		preview := s.Preview([]model.Service{next})["web"]
		s.Apply([]model.Service{next})
		s.after(0, "web", "10.0.0.9:80 10.0.0.1:80 10.0.0.2:80")
		if len(preview) != 3 {
			t.Errorf("preview %v", preview)
		}
		s.status("web", "a ok 1 1s, b waiting 1 0s")
		if s.scripts["a"] != a || len(a.runs) != 1 {
			t.Error("an unchanged source was disturbed")
		}
		if s.scripts["b"] == b {
			t.Error("a changed source was not replaced")
		}
		s.after(2*time.Second, "web", "10.0.0.9:80 10.0.0.1:80 10.0.0.2:80")
		s.status("web", "a ok 1 3s, b ok 1 1s")

		s.Apply(nil)
		if got := s.Take(); len(got) != 0 || s.Status("web") != nil {
			t.Errorf("updates of a service that is gone: %v", got)
		}
	})
}

// TestManagerReplaces: a source begins when the one before it has ended, also
// if its service was away in between.
func TestManagerReplaces(t *testing.T) {
	for name, between := range map[string][][]model.Service{"replaced": {}, "removed and added": {nil}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var order []string
				m := NewManager(Options{New: func(s model.Source) Source {
					return slow{func() { order = append(order, "begin "+s.Backend.Zone) }, func() { order = append(order, "end "+s.Backend.Zone) }}
				}})
				first, second := service("web", nil, "a"), service("web", nil, "a")
				first.Sources[0].Backend.Zone, second.Sources[0].Backend.Zone = "1", "2"
				m.Apply([]model.Service{first})
				synctest.Wait()
				for _, services := range between {
					m.Apply(services)
				}
				m.Apply([]model.Service{second})
				time.Sleep(time.Minute)
				m.Close()
				if got := strings.Join(order, ", "); got != "begin 1, end 1, begin 2, end 2" {
					t.Error(got)
				}
			})
		})
	}
}

// slow is a source that takes long to end.
type slow struct{ begin, end func() }

func (slow) String() string { return "slow" }
func (s slow) Run(ctx context.Context, _ Emit) error {
	s.begin()
	<-ctx.Done()
	time.Sleep(5 * time.Second)
	s.end()
	return nil
}

func TestManagerBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says := []said{}
		for range 6 {
			says = append(says, failure(0, "no route"))
		}
		says = append(says, tells(0, "10.0.0.1:80"), failure(100*time.Second, "no route"), failure(0, "no route"))
		s := newStage(t, map[string][]said{"a": says})
		s.Apply([]model.Service{service("web", nil, "a")})
		time.Sleep(10 * time.Minute)
		s.Close()
		runs := s.scripts["a"].runs
		for i, want := range []time.Duration{1, 2, 4, 8, 8, 8, 0, 2} {
			want *= time.Second
			if i == 6 { // healthy for long
				want = 100*time.Second - runs[6].Sub(runs[0]) + time.Second
			}
			got := runs[i+1].Sub(runs[i])
			if got < want*9/10 || got > want*11/10 {
				t.Errorf("run %d came %s after the one before, want %s ±10 %%", i+2, got, want)
			}
		}
	})
}

func TestManagerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, map[string][]said{"a": {failure(0, "broken")}, "b": {tells(0, "10.0.0.1:80"), tells(1, "10.0.0.2:80")}})
		web := service("web", nil, "a", "b")
		web.Sources[1].Debounce = time.Hour
		s.Apply([]model.Service{web})
		time.Sleep(100 * time.Millisecond) // one pauses, one debounces
		begin := time.Now()
		s.Close()
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("Close took %s", waited)
		}
		s.Apply([]model.Service{service("late", backends("10.0.0.1:80"))})
		s.Close()
		if s.Status("late") != nil {
			t.Error("Apply after Close")
		}
	})
}

// TestManagerConcurrent lets the race detector look at all of it at once.
func TestManagerConcurrent(t *testing.T) {
	m := NewManager(Options{MinBackoff: time.Millisecond, Log: slog.New(slog.DiscardHandler), New: func(s model.Source) Source {
		return restless{}
	}})
	stop := make(chan struct{})
	var receiver, appliers sync.WaitGroup
	receiver.Go(func() {
		for {
			select {
			case <-m.Changed():
				m.Take()
				m.Status("web")
				m.Complete()
			case <-stop:
				return
			}
		}
	})
	for i := range 4 {
		appliers.Go(func() {
			for j := range 100 {
				web := service("web", backends("10.0.0.9:80"), []string{"a", "b", "c"}[:1+(i+j)%3]...)
				web.Sources[0].Backend.Weight = uint16(j % 2)
				m.Apply([]model.Service{web, service("dns", nil, "a")})
				m.Preview([]model.Service{web})
			}
		})
	}
	appliers.Wait()
	m.Close()
	close(stop)
	receiver.Wait()
}

// restless answers and fails by turns.
type restless struct{}

func (restless) String() string { return "restless" }
func (restless) Run(ctx context.Context, emit Emit) error {
	for i := range 3 {
		emit(backends("10.0.0.1:80", "10.0.0.2:80")[:1+i%2])
	}
	return errors.New("restless")
}
