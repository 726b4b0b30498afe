package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// broken lets a backend of the stage be in a phase.
func (s *stage) broken(n int, p phase, why string) *stage {
	all := breakers{}
	for address, b := range s.in.Breakers["web"] {
		all[address] = b
	}
	all[s.key(n).Backend] = breaker{phase: p, ejections: 2, why: why, until: time.Unix(1_000_000, 0).UTC()}
	s.in.Breakers = map[string]breakers{"web": all}
	return s
}

func TestEjectedBackendTakesNoFlows(t *testing.T) {
	s := onStage(t, model.Placement{}, "0 - 1", "0 - 3", "0 - 2")
	s.in.Services[0].Outcomes = model.Outcomes{Count: true, Eject: ejecting}
	s.broken(2, ejected, "9 failed").after(0).wants("1 0 2").reason(2, "9 failed; ejection 2, half open at 13:46:40")
	if b := s.web().Backends[1]; b.State != "ejected" || !b.Serves || b.Ejections != 2 || b.EjectedUntil.IsZero() {
		t.Errorf("%+v", b)
	}
	s.broken(2, halfOpen, "9 failed").after(0).wants("10 3 20").reason(2, "half open after ejection 2: 3 connections must succeed")
	s.broken(2, trusted, "9 failed").after(0).wants("1 3 2").reason(2, "over its limits, but max_ejected of 50% lets no more be ejected: 9 failed")
	s.broken(2, trusted, "").after(0).wants("1 3 2").reason(2, "")
	// Its probe has the first word, and the configuration the last.
	s.broken(2, ejected, "9 failed").down(2).after(0).wants("1 0- 2")
	s.up(2).in.Services[0].Outcomes = model.Outcomes{}
	s.after(0).wants("1 3 2")
}

// To the panic threshold, to tiers and to a service that fails open an ejected
// backend is one that does not serve.
func TestEjectedIsNotHealthy(t *testing.T) {
	s := onStage(t, model.Placement{PanicThreshold: 60}, "0 - 1", "0 - 1", "0 - 1")
	s.in.Services[0].Outcomes = model.Outcomes{Count: true, Eject: ejecting}
	s.broken(1, ejected, "x").after(0).wants("0 1 1")
	s.down(2).after(0).wants("1 1 1")
	if !s.web().Panic {
		t.Error("no panic")
	}
	s.broken(1, halfOpen, "x").after(0).wants("1 0- 10")
	s.broken(3, ejected, "x").broken(1, ejected, "x").after(0).wants("1 1 1")
	if !s.web().FailOpen {
		t.Error("it does not fail open")
	}
}

// fails makes a backend's connections fail, by its number.
func (m *memory) fails(id uint32, o maps.Outcomes) {
	m.set(func() {
		if m.outcomes == nil {
			m.outcomes = map[uint32]maps.Outcomes{}
		}
		m.outcomes[id] = o
	})
}

// The whole way: what the data plane counts takes a backend out of the table, shown
// with its figures; a reload leaves it so; it returns, half open first.
func TestBreaker(t *testing.T) {
	data := newMemory()
	text := "  web: {frontends: 'tcp://203.0.113.1:80', probe: none, backends: ['10.0.0.1:80', '10.0.0.2:80'], eject: {time: %s, trials: 2}}\n"
	now := time.Now()
	var offset time.Duration
	d := start(t, data, fmt.Sprintf(text, "1m"), func(p *parts) {
		p.now = func() time.Time { data.mu.Lock(); defer data.mu.Unlock(); return now.Add(offset) }
	})
	first := func() (state, reason string, half, counted bool) {
		list, err := d.Client.Backends(t.Context(), "web")
		if err != nil || len(list) != 2 {
			t.Fatal(list, err)
		}
		return list[0].State, list[0].Reason, list[0].HalfOpen, list[0].Outcomes != nil
	}
	eventually(t, func() string {
		seen := false
		_ = d.ask(t.Context(), func() { _, seen = d.breakers["web"][ap("10.0.0.1:80")] })
		return unless(seen, "nobody looks")
	})
	data.fails(1, maps.Outcomes{Attempts: 9, Refused: 8, Unanswered: 1})
	eventually(t, func() string {
		state, reason, _, counted := first()
		return unless(state == "ejected" && counted && strings.HasPrefix(reason, "9 failed in a row: 9 of 9 connections failed, 8 refused, 1 not answered; ejection 1, half open at "), "%s: %s", state, reason)
	})
	if got := d.status(t).Services[0].Backends[0]; got.EffectiveWeight != 0 || got.EjectedUntil == nil || got.Ejections != 1 {
		t.Errorf("status %+v", got)
	}
	d.write(t, fmt.Sprintf(text, "2m"))
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state, reason, _, _ := first(); state != "ejected" {
		t.Errorf("after a reload %s: %s", state, reason)
	}
	stats, err := d.Client.Stats(t.Context(), api.StatsFilter{})
	if err != nil || stats.Services[0].Ejected != 1 || stats.Services[0].Ejections != 1 || stats.Backends[0].Outcomes.Refused != 8 {
		t.Errorf("stats %+v, error %v", stats, err)
	}
	data.set(func() { offset = time.Minute })
	eventually(t, func() string {
		state, reason, half, _ := first()
		return unless(state == "healthy" && half, "%s: %s", state, reason)
	})
	if got := d.status(t).Services[0].Backends[0]; got.Since == nil || !got.Since.Equal(now.Add(time.Minute)) {
		t.Errorf("half open since %v, want %v", got.Since, now.Add(time.Minute))
	}
	data.fails(1, maps.Outcomes{Attempts: 11, Refused: 8, Unanswered: 1, Answered: 2})
	eventually(t, func() string {
		state, reason, half, _ := first()
		return unless(state == "healthy" && !half && reason == "", "%s: %s", state, reason)
	})
	if problem := d.problem(); problem != "" {
		t.Error(problem)
	}
	// The second one is ejected as well, and forgotten when the service ejects no more.
	data.fails(2, maps.Outcomes{Attempts: 90, Refused: 90})
	eventually(t, func() string { return unless(d.states(t, "web")["10.0.0.2:80"] == "ejected", "%v", d.states(t, "web")) })
	d.write(t, web)
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := d.states(t, "web")["10.0.0.2:80"]; s != "healthy" {
		t.Errorf("without eject the backend is %s", s)
	}
}
