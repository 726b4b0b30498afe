package control

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// checkPlan checks what must hold of every plan.
func checkPlan(t *testing.T, in Input, p *Plan) {
	t.Helper()
	c := p.Contents
	for id, b := range c.Backends {
		if old, ok := in.Present.Backends[id]; ok && (old.Address != b.Address || old.Service != b.Service) {
			t.Errorf("backend number %d went from %v to %v", id, old, b)
		}
		if _, ok := c.Services[b.Service]; !ok {
			t.Errorf("backend number %d belongs to service %d, which is not there", id, b.Service)
		}
		if id == 0 || int(id) >= in.Sizes.Backends {
			t.Errorf("backend number %d is out of range", id)
		}
	}
	for id, old := range in.Present.Backends {
		if _, ok := c.Backends[id]; !ok && !in.Idle[id] {
			t.Errorf("backend number %d (%v) is gone and may have flows", id, old)
		}
	}
	for id, s := range c.Services {
		if old, ok := in.Present.Services[id]; ok && old.Forward != s.Forward {
			t.Errorf("service number %d forwards by %s, before by %s", id, s.Forward, old.Forward)
		}
	}
	for i, a := range c.Sources {
		if old, ok := in.Present.Sources[i]; ok && old != a {
			t.Errorf("source %d went from %s to %s", i, old, a)
		}
		if v := c.VIPs[maps.VIPKey{Address: a}]; v.Source != uint16(i)+1 || v.Service != 0 {
			t.Errorf("source %s at %d is known as %+v", a, i, v)
		}
	}
	for k, v := range c.VIPs {
		if k.Protocol == 0 || v.Service == 0 && v.DNATBackend {
			continue
		}
		if _, ok := c.Tables[v.Service]; !ok {
			t.Errorf("frontend %v leads to service %d, which has no table", k, v.Service)
		}
	}
	for q, id := range c.QUICServers {
		if b, ok := c.Backends[id]; !ok || b.Service != q.Service {
			t.Errorf("%v is backend number %d, which is %v", q, id, b)
		}
	}
	checkForwarding(t, p)
	for _, s := range p.Services {
		checkTable(t, in, s, c)
		checkRules(t, in, s, c)
		checkRoles(t, s)
	}
}

// checkRoles checks that nobody gets a connection who is known to be something else
// than the service wants, and that of a role of which there is one only one does.
func checkRoles(t *testing.T, s ServiceState) {
	t.Helper()
	if s.Role.Role == "" {
		return
	}
	have := 0
	for _, b := range s.Backends {
		stranger := b.Role != "" && b.Role != s.Role.Role && !s.Role.StandsIn(b.Role) && b.State != "retired"
		if stranger && (b.Effective > 0 || b.Serves) || b.Effective > 0 && b.Role == "" && s.Role.Fallback != model.FallbackAny {
			t.Errorf("service %s wants %+v: backend %+v", s.Name, s.Role, b)
		}
		if b.Effective > 0 && b.Role == s.Role.Exclusive && b.Role != "" {
			have++
		}
	}
	if have > 1 {
		t.Errorf("service %s has %d backends of a role of which there is one", s.Name, have)
	}
}

// checkTable checks that every slot is of a backend of the service and that
// shares follow the weights.
func checkTable(t *testing.T, in Input, s ServiceState, c maps.Contents) {
	t.Helper()
	table := c.Tables[s.ID].Present
	if len(table) != in.Sizes.Table {
		t.Fatalf("service %s has a table of %d slots", s.Name, len(table))
	}
	slots := map[uint32]int{}
	for _, id := range table {
		slots[id]++
	}
	total := 0
	for _, b := range s.Backends {
		total += int(b.Effective)
		if c.Backends[b.ID].Serves != b.Serves || b.Effective > 0 && !b.Serves {
			t.Errorf("backend %+v: the maps say serves %v", b, c.Backends[b.ID].Serves)
		}
	}
	for _, b := range s.Backends {
		if b.State == "disabled" && (b.Serves || b.Effective > 0) || b.Effective > 0 && !slices.Contains(s.Serving, b.Tier) {
			t.Errorf("backend %+v takes flows; tiers %v serve", b, s.Serving)
		}
		if slots[b.ID] != b.Slots {
			t.Errorf("backend %s has %d slots, said %d", b.Address, slots[b.ID], b.Slots)
		}
		if total > 0 {
			exact := float64(len(table)) * float64(b.Effective) / float64(total)
			if d := float64(b.Slots) - exact; d > 1 || d < -1 {
				t.Errorf("backend %s has %d slots, weight %d of %d asks for %.2f", b.Address, b.Slots, b.Effective, total, exact)
			}
		}
		delete(slots, b.ID)
	}
	if total == 0 {
		delete(slots, 0)
	}
	if len(slots) != 0 {
		t.Errorf("service %s sends flows to %v, which are not its backends", s.Name, slots)
	}
}

// world is a random history of configurations.
type world struct {
	*rand.Rand
	in Input
}

// selection is any that the configuration can ask for, more or less.
func (w *world) selection() (s model.Selection) {
	switch w.IntN(4) {
	case 0:
		s.Schedule = model.Schedule(w.IntN(6))
	case 1:
		s.Hash = model.HashInput(w.IntN(4))
	}
	if w.IntN(4) == 0 {
		s.Affinity = model.Affinity{Timeout: time.Minute, IPv4: 24, IPv6: 56}
	}
	if w.IntN(3) == 0 {
		// One octet: some have the same, and have to share it.
		s.QUIC = model.QUIC{ServerIDLength: 1 + 3*w.IntN(2), ConfigRotation: w.IntN(7)}
	}
	return s
}

func (w *world) change() {
	w.in.Services = nil
	for i := range w.IntN(6) {
		s := service(fmt.Sprintf("s%d", i), fmt.Sprintf("203.0.113.%d:80", 1+(i+w.IntN(2)*6)))
		if w.IntN(4) == 0 {
			s.Forward = model.L2DSR + model.Forward(w.IntN(4))
		}
		s.Track = model.TrackAuto + model.Track(w.IntN(3))
		s.Fail = []model.FailMode{model.FailOpen, model.FailClosed}[w.IntN(2)]
		s.Probe.Type = model.ProbeTCP
		s.Selection = w.selection()
		for b := range 8 {
			if w.IntN(3) > 0 {
				s.Backends = append(s.Backends, model.Backend{
					Address: ap(fmt.Sprintf("10.0.%d.%d:80", i, b+1)), Weight: uint16(w.IntN(4)), Drain: w.IntN(6) == 0,
					Zone: []string{"", "a", "b"}[w.IntN(3)], Tags: model.TagsOf([]string{"x", "y"}[w.IntN(2)]), Priority: uint8(w.IntN(4) / 2),
				})
			}
		}
		s.Placement, s.Role, s.Rules = w.placement(), w.role(), w.rules()
		if w.IntN(2) == 0 {
			s.Outcomes = model.Outcomes{Count: true, Eject: ejecting}
		}
		w.Shuffle(len(s.Backends), func(i, j int) { s.Backends[i], s.Backends[j] = s.Backends[j], s.Backends[i] })
		w.in.Services = append(w.in.Services, s)
	}
	w.in.Added = map[string][]model.Backend{}
	if len(w.in.Services) > 0 && w.IntN(3) == 0 {
		s := w.in.Services[0]
		w.in.Added[s.Name] = []model.Backend{
			{Address: ap("10.0.0.3:80"), Weight: 2}, {Address: ap("10.0.0.77:80"), Weight: 1}, {Address: ap("[2001:db8::7]:80"), Weight: 1},
		}
	}
	w.in.Health = map[probe.Key]model.BackendHealth{}
	w.in.Overrides = map[probe.Key]model.Override{}
	for _, s := range w.in.Services {
		for _, b := range s.Backends {
			key := probe.Key{Service: s.Name, Backend: b.Address}
			w.in.Health[key] = w.health()
			if w.IntN(10) == 0 {
				weight := uint16(w.IntN(5))
				w.in.Overrides[key] = model.Override{Weight: &weight}
			}
			if w.IntN(20) == 0 {
				w.in.Overrides[key] = w.steering()
			}
		}
	}
	w.in.Settings.Zone = []string{"a", "c"}[w.IntN(2)]
	w.in.DisabledZones = nil
	if w.IntN(4) == 0 {
		w.in.DisabledZones = map[model.DisabledZone]bool{{Zone: "b", Service: []string{"", "s1"}[w.IntN(2)]}: true}
	}
	w.in.Settings.Sources = nil
	for i := range 4 {
		if i == 0 || w.IntN(2) == 0 {
			w.in.Settings.Sources = append(w.in.Settings.Sources, addr(fmt.Sprintf("192.0.2.%d", 1+i)))
		}
	}
	w.in.Settings.Sources = append(w.in.Settings.Sources, addr("2001:db8::1"))
}

// placement is often that of nobody who wants anything.
func (w *world) placement() (p model.Placement) {
	often := func() bool { return w.IntN(3) == 0 }
	if often() {
		p.Subset = []model.Subset{{Tag: "x"}, {Zone: "a"}, {Tag: "y", Zone: "b"}}[w.IntN(3)]
	}
	if often() {
		p.Tiers = model.Tiers{MinHealthy: w.IntN(101), WhenLow: model.WhenLow(w.IntN(2)), ReturnAfter: time.Duration(w.IntN(2)) * flowTimeout}
	}
	if often() {
		p.Zones = model.Zones{PreferOwn: w.IntN(2) == 0, EqualShare: w.IntN(2) == 0, MinHealthy: 1 + w.IntN(100)}
	}
	if often() {
		p.PanicThreshold = 1 + w.IntN(100)
	}
	if often() {
		p.SlowStart = time.Duration(1+w.IntN(3)) * flowTimeout
	}
	if often() {
		p.DrainTimeout = time.Duration(1+w.IntN(2)) * flowTimeout
	}
	return p
}

// role is none for two services of three.
func (w *world) role() model.RoleChoice {
	if w.IntN(3) > 0 {
		return model.RoleChoice{}
	}
	c := model.RoleChoice{
		Role: "primary", Fallback: model.RoleFallback(w.IntN(3)), FallbackRole: "replica", Exclusive: []string{"", "primary"}[w.IntN(2)],
	}
	if w.IntN(2) == 0 {
		c.Role, c.FallbackRole = c.FallbackRole, c.Role
	}
	return c
}

// health is any that probes could tell.
func (w *world) health() model.BackendHealth {
	h := model.BackendHealth{State: model.Health(w.IntN(3)), Role: []string{"", "primary", "replica", "witness"}[w.IntN(4)]}
	if w.IntN(2) == 0 {
		h.RoleSince = time.Unix(int64(w.IntN(3)), 0)
	}
	return h
}

// steering is something that the operator said.
func (w *world) steering() model.Override {
	yes := true
	o := model.Override{Drain: &yes}
	switch w.IntN(3) {
	case 0:
		o.Disabled = true
	case 1:
		at := w.in.Time.Add(time.Duration(w.IntN(int(2 * flowTimeout))))
		o.Deadline = &at
	}
	return o
}

// pass lets time pass.
func (w *world) pass() {
	w.in.Now += time.Duration(w.IntN(int(2 * flowTimeout)))
	w.in.Time = time.Unix(1e9, 0).Add(w.in.Now)
}

// rest makes some of what is out of use idle.
func (w *world) rest(p *Plan) {
	w.in.Idle, w.in.IdleSources = map[uint32]bool{}, map[netip.Addr]bool{}
	for _, list := range [][]ServiceState{p.Services, p.Retired} {
		for _, s := range list {
			for _, b := range s.Backends {
				if b.State == "retired" && w.IntN(2) == 0 {
					w.in.Idle[b.ID] = true
				}
			}
		}
	}
	drawn := map[netip.Addr]bool{}
	for _, a := range p.DrawnFrom {
		drawn[a] = true
	}
	for _, a := range p.Contents.Sources {
		if !drawn[a] && w.IntN(2) == 0 {
			w.in.IdleSources[a] = true
		}
	}
}

func TestRandomHistories(t *testing.T) {
	for seed := range uint64(40) {
		w := &world{Rand: rand.New(rand.NewPCG(seed, 1)), in: input(maps.Contents{})}
		planner := NewPlanner()
		for step := range 25 {
			w.change()
			w.pass()
			p, err := planner.Plan(w.in)
			if err != nil {
				t.Fatal(err)
			}
			checkPlan(t, w.in, p)

			// Whatever a planner has seen before, and in whatever order
			// services come, the plan is the same.
			again := w.in
			again.Services = append([]model.Service(nil), w.in.Services...)
			w.Shuffle(len(again.Services), func(i, j int) {
				again.Services[i], again.Services[j] = again.Services[j], again.Services[i]
			})
			if q := mustPlan(t, again); !reflect.DeepEqual(p, q) {
				t.Fatalf("the same input gave another plan (-first +second):\n%s", cmp.Diff(p, q, compare...))
			}

			// Written, it is its own successor, but for marks that go once
			// the data plane looks up all flows, or none.
			w.in.Idle, w.in.IdleSources = nil, nil
			for range 2 {
				w.in.Present, w.in.Standings = p.Contents, p.standings
				p = mustPlan(t, w.in)
				changes := maps.Diff(w.in.Present, p.Contents)
				for _, c := range changes.Tables {
					if p.Contents.Services[c.Key].Track == model.TrackAuto || !slices.Equal(c.Old.Present, c.New.Present) {
						t.Fatalf("seed %d, step %d: planning again changes the table of service %d", seed, step, c.Key)
					}
				}
				if n := changes.Len() - len(changes.Tables); n != 0 {
					t.Fatalf("seed %d, step %d: planning again changes %d entries", seed, step, n)
				}
			}
			if n := maps.Diff(w.in.Present, p.Contents).Len(); n != 0 {
				t.Fatalf("seed %d, step %d: planning a third time changes %d entries", seed, step, n)
			}
			w.in.Standings = p.standings
			w.rest(p)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
	}
}

func TestOneChangeBuildsOneTable(t *testing.T) {
	in := input(maps.Contents{}, service("a", "203.0.113.1:80", "10.0.0.1:80", "10.0.0.2:80"), service("b", "203.0.113.2:80", "10.0.0.1:80"))
	planner := NewPlanner()
	first, err := planner.Plan(in)
	if err != nil {
		t.Fatal(err)
	}
	in.Present = first.Contents
	in.Health[probe.Key{Service: "a", Backend: ap("10.0.0.1:80")}] = model.BackendHealth{State: model.Unhealthy}
	second, err := planner.Plan(in)
	if err != nil {
		t.Fatal(err)
	}
	if a := first.Services[0].ID; sameMemory(first.Contents.Tables[a], second.Contents.Tables[a]) {
		t.Error("the table of the service that changed was not built again")
	}
	if b := first.Services[1].ID; !sameMemory(first.Contents.Tables[b], second.Contents.Tables[b]) {
		t.Error("the table of the service that did not change was built again")
	}
	if c := maps.Diff(first.Contents, second.Contents); len(c.Tables) != 1 || len(c.Backends) != 1 || c.Len() != 2 {
		t.Errorf("one backend down changes %d entries", c.Len())
	}
}

// sameMemory says whether two tables are the same memory.
func sameMemory(a, b maps.Table) bool { return &a.Present[0] == &b.Present[0] }

// BenchmarkPlan plans 1,000 services of 100 backends each.
func BenchmarkPlan(b *testing.B) {
	in := input(maps.Contents{})
	in.Sizes = maps.Sizes{Services: 2001, Backends: 200001, Frontends: 2008, Sources: 8, Table: 65537, Flows: 1024}
	for i := range 1000 {
		s := service(fmt.Sprintf("s%04d", i), fmt.Sprintf("203.0.%d.%d:80", i/250, 1+i%250))
		for k := range 100 {
			s.Backends = append(s.Backends, model.Backend{Address: ap(fmt.Sprintf("10.%d.%d.%d:80", i/250, i%250, k+1)), Weight: 1})
		}
		in.Services = append(in.Services, s)
	}
	b.Run("full", func(b *testing.B) {
		for b.Loop() {
			if _, err := NewPlanner().Plan(in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one-change", func(b *testing.B) {
		planner := NewPlanner()
		p, err := planner.Plan(in)
		if err != nil {
			b.Fatal(err)
		}
		key := probe.Key{Service: "s0500", Backend: ap("10.2.0.7:80")}
		in := in
		for b.Loop() {
			in.Present = p.Contents
			in.Health = map[probe.Key]model.BackendHealth{key: {State: model.Unhealthy - in.Health[key].State}}
			if p, err = planner.Plan(in); err != nil {
				b.Fatal(err)
			}
			if n := maps.Diff(in.Present, p.Contents).Len(); n != 2 {
				b.Fatalf("%d entries change", n)
			}
		}
	})
}
