package control

import (
	"fmt"
	gomaps "maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// nudge changes what an update may have to do with, of some services.
func (w *world) nudge(p *Plan) map[string]bool {
	touched := map[string]bool{}
	w.in.Health, w.in.Overrides = gomaps.Clone(w.in.Health), gomaps.Clone(w.in.Overrides)
	w.in.Discovered, w.in.Idle = gomaps.Clone(w.in.Discovered), map[uint32]bool{}
	if w.in.Discovered == nil {
		w.in.Discovered = map[string][]model.Backend{}
	}
	for i := range p.Services {
		s := &p.Services[i]
		if w.IntN(3) > 0 {
			continue
		}
		touched[s.Name] = true
		for _, b := range s.Backends {
			key := probe.Key{Service: s.Name, Backend: b.Address}
			switch w.IntN(8) {
			case 0:
				h := w.health()
				h.Since = time.Unix(int64(w.IntN(9)), 0)
				w.in.Health[key] = h
			case 1:
				drain := w.IntN(2) == 0
				w.in.Overrides[key] = model.Override{Drain: &drain}
				if drain {
					w.in.Overrides[key] = w.steering()
				}
			case 2:
				if b.State == "retired" {
					w.in.Idle[b.ID] = true
				}
			case 3:
				w.breaks(s.Name, b.Address)
			}
		}
		if w.IntN(4) == 0 {
			w.rewrite(w.in.Services, s.Name, touched)
		}
		if w.IntN(3) == 0 {
			var found []model.Backend
			for k := range w.IntN(9) {
				found = append(found, model.Backend{Address: ap(fmt.Sprintf("10.0.%c.%d:80", s.Name[1], 1+w.IntN(9))), Weight: uint16(1 + k%3)})
			}
			w.in.Discovered[s.Name] = found
		}
	}
	w.pass()
	w.in.Survey = nil
	if w.IntN(2) == 0 {
		w.in.Survey = &survey{began: w.in.Now, strays: map[uint32]maps.Slots{}}
		for id, t := range w.in.Present.Tables {
			slots := maps.NewSlots(len(t.Present))
			for range w.IntN(2) * w.IntN(40) {
				slots.Add(uint32(w.IntN(len(t.Present))))
			}
			w.in.Survey.strays[id] = slots
		}
	}
	for i := range p.Services {
		s := &p.Services[i]
		if s.next != 0 && s.next <= w.in.Now {
			touched[s.Name] = true
		}
		for _, id := range s.tables() {
			if times := p.transitions[id]; len(times) > 0 && w.in.merging(s).due(w.in.Present.Tables[id], times) {
				touched[s.Name] = true
			}
		}
	}
	return touched
}

// breaks changes what is known of the connections to a backend.
func (w *world) breaks(service string, backend netip.AddrPort) {
	of := gomaps.Clone(w.in.Breakers[service])
	if of == nil {
		of = breakers{}
	}
	of[backend] = breaker{phase: phase(w.IntN(3)), ejections: w.IntN(3), why: []string{"", "x"}[w.IntN(2)], until: time.Unix(int64(w.IntN(9)), 0)}
	w.in.Breakers = gomaps.Clone(w.in.Breakers)
	if w.in.Breakers == nil {
		w.in.Breakers = map[string]breakers{}
	}
	w.in.Breakers[service] = of
}

// TestUpdateIsPlan: what an update says is what a plan says, and it is only
// refused where backends of dnat or of tunnels change.
func TestUpdateIsPlan(t *testing.T) {
	updates, refused := 0, 0
	for seed := range uint64(60) {
		w := &world{Rand: rand.New(rand.NewPCG(seed, 3)), in: input(maps.Contents{})}
		planner := NewPlanner()
		var last *Plan
		for step := range 30 {
			if last == nil || w.IntN(6) == 0 {
				w.change()
				w.in.Discovered = nil
				p, err := planner.Plan(w.in)
				if err != nil {
					t.Fatal(err)
				}
				last = p
				w.written(last)
				continue
			}
			touched := w.nudge(last)
			want, wantErr := NewPlanner().Plan(w.in)
			u, ok, err := planner.Update(last, w.in, touched)
			if (err == nil) != (wantErr == nil) && (ok || err != nil) {
				t.Fatalf("seed %d, step %d: update fails with %v, plan with %v", seed, step, err, wantErr)
			}
			if err != nil {
				last = nil
				continue
			}
			if !ok {
				refused++
				last = want
				w.written(last)
				continue
			}
			updates++
			if d := cmp.Diff(maps.Diff(w.in.Present, want.Contents), u.changes, compare...); d != "" {
				t.Fatalf("seed %d, step %d: changes (-plan +update):\n%s", seed, step, d)
			}
			w.in.Present.Make(u.changes)
			if n := maps.Diff(w.in.Present, want.Contents).Len(); n != 0 {
				t.Fatalf("seed %d, step %d: %d entries differ after the changes", seed, step, n)
			}
			got := *u.plan
			got.Contents = want.Contents
			if !reflect.DeepEqual(normal(want), normal(&got)) {
				t.Fatalf("seed %d, step %d: plans (-plan +update):\n%s", seed, step,
					cmp.Diff(normal(want), normal(&got), append(compare, cmp.AllowUnexported(Plan{}, ServiceState{}, BackendState{}, markTime{}, standing{}, SubsetState{}, tableEntry{}))...))
			}
			last = u.plan
			w.written(last)
		}
	}
	if updates < 500 || refused == 0 || refused > updates {
		t.Errorf("%d updates, %d refused", updates, refused)
	}
}

// normal takes nil and empty as the same.
func normal(p *Plan) *Plan {
	out := *p
	if len(out.Warnings) == 0 {
		out.Warnings = nil
	}
	if len(out.Retired) == 0 {
		out.Retired = nil
	}
	out.Services = nil
	for _, s := range p.Services {
		s.Settles = 0 // set when it is written
		if len(s.Backends) == 0 {
			s.Backends = nil
		}
		out.Services = append(out.Services, s)
	}
	return &out
}

// written makes a plan what the maps hold.
func (w *world) written(p *Plan) {
	w.in.Present, w.in.Transitions, w.in.Standings = p.Contents, p.transitions, p.standings
	for _, t := range p.transitions {
		t.stamp(w.in.Now)
	}
	w.in.Idle, w.in.IdleSources, w.in.Survey = nil, nil, nil
}
