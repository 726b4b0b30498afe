package discovery

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// receive returns the updates that come until everything is idle.
func receive(m *Manager) map[string][]Update {
	got := make(map[string][]Update)
	for {
		synctest.Wait()
		select {
		case u := <-m.Updates():
			got[u.Service] = append(got[u.Service], u)
		default:
			return got
		}
	}
}

func TestManagerApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewManager(Options{})
		defer m.Close()

		type step struct {
			name     string
			services []model.Service
			want     map[string]int // number of backends in the one update of each service
		}
		probed := service("web", "10.0.0.1:80")
		probed.Probe.Type = model.ProbeTCP
		heavier := service("web", "10.0.0.1:80")
		heavier.Backends[0].Weight = 7
		for _, s := range []step{
			{"start", []model.Service{service("web", "10.0.0.1:80"), service("dns", "10.0.0.2:53", "10.0.0.3:53"), service("empty")},
				map[string]int{"web": 1, "dns": 2, "empty": 0}},
			{"same again", []model.Service{service("empty"), service("dns", "10.0.0.2:53", "10.0.0.3:53"), service("web", "10.0.0.1:80")}, nil},
			{"one changed", []model.Service{service("web", "10.0.0.1:80"), service("dns", "10.0.0.2:53")}, map[string]int{"dns": 1}},
			{"probe changed, dns gone", []model.Service{probed}, nil},
			{"dns is back", []model.Service{probed, service("dns", "10.0.0.2:53")}, map[string]int{"dns": 1}},
			{"weight changed", []model.Service{heavier, service("dns", "10.0.0.2:53")}, map[string]int{"web": 1}},
			{"the last of a name counts", []model.Service{service("x"), service("x", "10.0.0.9:9")}, map[string]int{"x": 1}},
			{"none", nil, nil},
		} {
			m.Apply(s.services)
			got := receive(m)
			if len(got) != len(s.want) {
				t.Errorf("%s: updates of %d services, want %d: %+v", s.name, len(got), len(s.want), got)
			}
			for name, n := range s.want {
				if len(got[name]) != 1 || len(got[name][0].Backends) != n {
					t.Errorf("%s: updates of %s are %+v, want one with %d backends", s.name, name, got[name], n)
				}
			}
		}
	})
}

func TestManagerKeepsItsOwnCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewManager(Options{})
		defer m.Close()
		s := service("web", "10.0.0.1:80")
		m.Apply([]model.Service{s})
		receive(m)
		s.Backends[0].Weight = 42
		m.Apply([]model.Service{s})
		if got := receive(m)["web"]; len(got) != 1 || got[0].Backends[0].Weight != 42 {
			t.Errorf("updates after a change in place: %+v, want one with the new weight", got)
		}
	})
}

// scripted is a source that does what its function says.
type scripted func(ctx context.Context, updates chan<- Update) error

func (scripted) String() string                                         { return "scripted" }
func (s scripted) Run(ctx context.Context, updates chan<- Update) error { return s(ctx, updates) }

func TestManagerRestartsWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs []time.Time
		var log bytes.Buffer
		m := NewManager(Options{
			MinBackoff: time.Second, MaxBackoff: 8 * time.Second,
			Log: slog.New(slog.NewTextHandler(&log, nil)),
			New: func(model.Service) ServiceSource {
				return scripted(func(ctx context.Context, updates chan<- Update) error {
					runs = append(runs, time.Now())
					if len(runs) == 7 {
						time.Sleep(10 * time.Second) // long enough to be taken for healthy
					}
					if len(runs) == 8 {
						return nil
					}
					return errors.New("no route to the registry")
				})
			},
		})
		m.Apply([]model.Service{service("web")})
		for i := range 9 {
			u := <-m.Updates()
			want := "no route to the registry"
			if i == 7 {
				want = "ended without an error"
			}
			if u.Service != "web" || u.Source != "scripted" || u.Err == nil || u.Err.Error() != want || u.Backends != nil || u.At.IsZero() {
				t.Errorf("update %d is %+v, want the error %q", i, u, want)
			}
		}
		m.Close()

		for i, want := range []time.Duration{1, 2, 4, 8, 8, 8, 10 + 1, 2} {
			want *= time.Second
			got := runs[i+1].Sub(runs[i])
			if got < want*9/10 || got > want*11/10 {
				t.Errorf("run %d came %s after the one before, want %s ±10 %%", i+1, got, want)
			}
		}
		for _, want := range []string{"level=WARN", "service=web", "source=scripted", `error="no route to the registry"`} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("log lacks %s:\n%s", want, log.String())
			}
		}
	})
}

func TestManagerCloseDuringBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewManager(Options{MinBackoff: time.Hour, Log: slog.New(slog.DiscardHandler), New: func(model.Service) ServiceSource {
			return scripted(func(context.Context, chan<- Update) error { return errors.New("broken") })
		}})
		m.Apply([]model.Service{service("web"), service("dns")})
		<-m.Updates() // one waits for its turn, the other for a receiver
		start := time.Now()
		m.Close()
		if waited := time.Since(start); waited != 0 {
			t.Errorf("Close took %s", waited)
		}
	})
}

// TestManagerOrder: a source that is slow to stop must not overwrite what its
// successor found, not even when its service was gone in between.
func TestManagerOrder(t *testing.T) {
	for name, between := range map[string][][]model.Service{
		"replaced":          {},
		"removed and added": {nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewManager(Options{New: func(s model.Service) ServiceSource {
					return scripted(func(ctx context.Context, updates chan<- Update) error {
						<-ctx.Done()
						time.Sleep(5 * time.Second)
						updates <- Update{Service: s.Name, Backends: s.Backends}
						return nil
					})
				}})
				m.Apply([]model.Service{service("web", "10.0.0.1:80")})
				synctest.Wait()
				for _, services := range between {
					m.Apply(services)
				}
				m.opts.New = Static
				m.Apply([]model.Service{service("web", "10.0.0.2:80", "10.0.0.3:80")})
				if u := <-m.Updates(); len(u.Backends) != 1 {
					t.Errorf("the first update has %d backends, want the one of the first source", len(u.Backends))
				}
				if u := <-m.Updates(); len(u.Backends) != 2 {
					t.Errorf("the second update has %d backends, want the two of its successor", len(u.Backends))
				}
				m.Close()
			})
		})
	}
}

func TestManagerAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewManager(Options{})
		m.Close()
		m.Apply([]model.Service{service("web", "10.0.0.1:80")})
		if got := receive(m); len(got) != 0 {
			t.Errorf("updates after Close: %v", got)
		}
		m.Close()
	})
}

// TestManagerConcurrent lets the race detector look at Apply, Close and a
// receiver at the same time.
func TestManagerConcurrent(t *testing.T) {
	m := NewManager(Options{})
	stop := make(chan struct{})
	var receivers, appliers sync.WaitGroup
	receivers.Go(func() {
		for {
			select {
			case <-m.Updates():
			case <-stop:
				return
			}
		}
	})
	for i := range 4 {
		appliers.Go(func() {
			for j := range 200 {
				addresses := []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"}[:1+(i+j)%3]
				m.Apply([]model.Service{service("web", addresses...), service("dns", "10.0.0.1:53")})
			}
		})
	}
	appliers.Wait()
	m.Apply([]model.Service{service("last", "10.0.0.1:80")})
	m.Close()
	close(stop)
	receivers.Wait()
}
