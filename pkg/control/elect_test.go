package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// stage is a service whose plans follow each other. Its backends are 10.0.0.1 and so
// on, known by their last number.
type stage struct {
	*testing.T
	in   Input
	plan *Plan
}

// onStage begins with backends that are healthy, each "TIER ZONE WEIGHT".
func onStage(t *testing.T, placement model.Placement, backends ...string) *stage {
	t.Helper()
	s := service("web", "203.0.113.1:80")
	s.Placement, s.Probe.Type = placement, model.ProbeTCP
	for i, text := range backends {
		var b model.Backend
		if _, err := fmt.Sscan(text, &b.Priority, &b.Zone, &b.Weight); err != nil {
			t.Fatal(err)
		}
		b.Address = ap(fmt.Sprintf("10.0.0.%d:80", i+1))
		s.Backends = append(s.Backends, b)
	}
	st := &stage{T: t, in: input(maps.Contents{}, s)}
	st.after(0)
	return st
}

func (s *stage) key(n int) probe.Key {
	return probe.Key{Service: "web", Backend: ap(fmt.Sprintf("10.0.0.%d:80", n))}
}

// after plans again when some time has passed.
func (s *stage) after(d time.Duration) *stage {
	s.Helper()
	s.in.Now += d
	s.in.Time = s.in.Time.Add(d)
	s.plan = mustPlan(s.T, s.in)
	checkPlan(s.T, s.in, s.plan)
	if next := s.web().next; next != 0 && next <= s.in.Now {
		s.Fatalf("at %s the plan is due again at %s", s.in.Now, next)
	}
	s.in.Present, s.in.Standings = s.plan.Contents, s.plan.standings
	return s
}

// restart is another daemon that finds the maps.
func (s *stage) restart() *stage {
	s.in.Standings, s.in.Now = nil, 0
	return s
}

func (s *stage) web() *ServiceState { return &s.plan.Services[0] }

func (s *stage) health(state model.Health, backends ...int) *stage {
	for _, n := range backends {
		s.in.Health[s.key(n)] = model.BackendHealth{State: state}
	}
	return s
}

func (s *stage) down(backends ...int) *stage { return s.health(model.Unhealthy, backends...) }
func (s *stage) up(backends ...int) *stage   { return s.health(model.Healthy, backends...) }

// wants compares the weights in the table, in the order of the backends; a minus
// behind one says that the backend does not serve.
func (s *stage) wants(weights string) *stage {
	s.Helper()
	var got []string
	for _, b := range s.web().Backends {
		text := fmt.Sprint(b.Effective)
		if !b.Serves {
			text += "-"
		}
		got = append(got, text)
	}
	if g := strings.Join(got, " "); g != weights {
		s.Errorf("at %s the weights are %s, want %s", s.in.Now, g, weights)
	}
	return s
}

// reason compares what is said of a backend.
func (s *stage) reason(n int, want string) *stage {
	s.Helper()
	if got := s.web().Backends[n-1].Reason; got != want {
		s.Errorf("backend %d: %q, want %q", n, got, want)
	}
	return s
}

// wakes compares when the election comes out differently by itself.
func (s *stage) wakes(in time.Duration) *stage {
	s.Helper()
	want := s.in.Now + in
	if in == 0 {
		want = 0
	}
	if got := s.web().next; got != want {
		s.Errorf("at %s: next at %s, want %s", s.in.Now, got, want)
	}
	return s
}

var pair = []string{"0 - 1", "0 - 1", "0 - 1", "0 - 1", "1 - 1", "1 - 1"}

func TestTierServesWhileOneIsUsable(t *testing.T) {
	s := onStage(t, model.Placement{}, pair...).wants("1 1 1 1 0 0").reason(5, "stands by: tier 0 serves")
	s.down(1, 2, 3).after(0).wants("0- 0- 0- 1 0 0")
	s.down(4).after(0).wants("0- 0- 0- 0- 1 1")
	s.up(1).after(0).wants("1 0- 0- 0- 0 0").wakes(0)
}

func TestTierSwitchesBelowItsShare(t *testing.T) {
	s := onStage(t, model.Placement{Tiers: model.Tiers{MinHealthy: 50}}, pair...)
	s.down(1, 2).after(0).wants("0- 0- 1 1 0 0")
	s.down(3).after(0).wants("0- 0- 0- 0 1 1").reason(4, "tier 1 serves: only 25% of tier 0 is usable")
	// Where no tier is good, what is left of all of them serves.
	s.down(5, 6).after(0).wants("0- 0- 0- 1 0- 0-")
	s.in.Services[0].Backends[4].Priority = 2
	s.up(5).after(0).wants("0- 0- 0- 0 1 0-")
	s.in.Services[0].Placement.Tiers.MinHealthy = 100
	s.in.Services[0].Backends[5].Priority = 2
	s.after(0).wants("0- 0- 0- 1 1 0-")
}

func TestTierIsAddedBelowItsShare(t *testing.T) {
	s := onStage(t, model.Placement{Tiers: model.Tiers{MinHealthy: 50, WhenLow: model.LowAdd}}, pair...).wants("1 1 1 1 0 0")
	s.down(1, 2, 3).after(0).wants("0- 0- 0- 1 1 1")
	if got := fmt.Sprint(s.web().Serving); got != "[0 1]" {
		t.Errorf("tiers that serve: %s", got)
	}
	s.up(1).after(0).wants("1 0- 0- 1 0 0")
}

// A weight of 0 and a drain are the operator's will and make no tier low.
func TestTierDoesNotCountWhatIsNotMeantToServe(t *testing.T) {
	s := onStage(t, model.Placement{Tiers: model.Tiers{MinHealthy: 100}}, "0 - 0", "0 - 3", "0 - 1", "1 - 1")
	yes := true
	s.in.Overrides[s.key(2)] = model.Override{Drain: &yes}
	s.after(0).wants("0 0 1 0")
}

func TestTierReturnsCalmly(t *testing.T) {
	const calm = 30 * time.Second
	s := onStage(t, model.Placement{Tiers: model.Tiers{ReturnAfter: calm}}, "0 - 1", "1 - 1", "2 - 1").wants("1 0 0").wakes(0)
	s.down(1).after(time.Hour).wants("0- 1 0")
	s.up(1).after(time.Second).wants("0 1 0").wakes(calm).reason(1, "tier 1 serves until tier 0 was good for 30s")
	s.after(20 * time.Second).wants("0 1 0").wakes(10 * time.Second)
	s.down(1).after(0).wants("0- 1 0").wakes(0)
	s.up(1).after(time.Second).wants("0 1 0").wakes(calm)
	s.after(calm - 1).wants("0 1 0").wakes(1)
	s.after(1).wants("1 0 0").wakes(0)

	// Nobody waits where there is nothing to wait for.
	s.down(1, 2, 3).after(time.Second)
	s.up(2).after(time.Second).wants("0- 1 0-")
	// With another tier that is older, the better one waits.
	s.up(3).after(calm).wants("0- 1 0")
	s.up(1).after(0).wants("0 1 0").wakes(calm)
}

func TestTierReturnsCalmlyAfterARestart(t *testing.T) {
	const calm = 30 * time.Second
	s := onStage(t, model.Placement{Tiers: model.Tiers{ReturnAfter: calm}}, "0 - 1", "1 - 1")
	s.restart().after(0).wants("1 0").wakes(0)
	s.down(1).after(0).wants("0- 1")
	s.restart().after(0).wants("0- 1")
	s.up(1).restart().after(0).wants("0 1").wakes(calm)
	s.after(calm).wants("1 0")
}

func TestPanic(t *testing.T) {
	s := onStage(t, model.Placement{PanicThreshold: 40}, "0 - 1", "0 - 1", "0 - 1", "0 - 1", "0 - 1", "1 - 1")
	s.down(1, 2, 3).after(0).wants("0- 0- 0- 1 1 0")
	// Failing over comes first.
	s.down(4).after(0).wants("0- 0- 0- 0- 0 1")
	s.down(6).after(0).wants("1 1 1 1 1 0-")
	if !s.web().Panic || s.web().FailOpen || s.web().Usable != 1 {
		t.Errorf("panic %v, fail open %v, usable %d", s.web().Panic, s.web().FailOpen, s.web().Usable)
	}
	yes := true
	s.in.Overrides[s.key(1)] = model.Override{Drain: &yes}
	s.in.Overrides[s.key(2)] = model.Override{Disabled: true}
	s.down(4).after(0).wants("0- 0- 1 1 1 0-")
	s.down(5).after(0)
	if s.web().Panic || !s.web().FailOpen {
		t.Error("with nothing usable it is not fail: open that holds")
	}
	s.up(3, 4).after(0).wants("0- 0- 1 1 0- 0-")
}

func TestSubset(t *testing.T) {
	s := onStage(t, model.Placement{Subset: model.Subset{Zone: "a"}}, "0 a 1", "0 b 1", "1 a 1").wants("1 0 0").reason(2, "not in the subset: zone a")
	s.down(1, 3).after(0).wants("1 0 0")
	if !s.web().FailOpen {
		t.Error("backends outside the subset count as usable")
	}
	s.in.Services[0].Placement.Subset = model.Subset{Tag: "x", Zone: "a"}
	s.after(0).wants("0- 0 0-")
	if got := strings.Join(s.plan.Warnings, "\n"); !strings.Contains(got, `service "web" has no backend in its subset (tag x, zone a)`) {
		t.Errorf("warnings %q", got)
	}
}

func TestOwnZone(t *testing.T) {
	p := model.Placement{Zones: model.Zones{PreferOwn: true, MinHealthy: 50}}
	s := onStage(t, p, "0 a 1", "0 a 1", "0 a 1", "0 a 1", "0 b 1", "0 c 3")
	s.in.Settings.Zone = "a"
	s.after(0).wants("1 1 1 1 0 0").reason(6, "stands by: zone a serves")
	s.down(1, 2).after(0).wants("0- 0- 1 1 0 0")
	// A quarter is half of what it must be: it keeps half, and the others have
	// theirs by weight.
	s.down(3).after(0).wants("0- 0- 0- 4 1 3")
	s.down(4).after(0).wants("0- 0- 0- 0- 1 3")
	s.up(1, 2, 3, 4).down(5, 6).after(0).wants("1 1 1 1 0- 0-")
	s.down(1, 2, 3).after(0).wants("0- 0- 0- 1 0- 0-")
	s.in.Settings.Zone = "nowhere"
	s.up(5).after(0).wants("0- 0- 0- 1 1 0-")
	s.in.Services[0].Placement.Zones.EqualShare = true
	s.in.Settings.Zone = "a"
	s.up(6).after(0).wants("0- 0- 0- 2 1 1")
}

func TestEqualZones(t *testing.T) {
	p := model.Placement{Zones: model.Zones{EqualShare: true, MinHealthy: 50}}
	s := onStage(t, p, "0 a 1", "0 a 1", "0 a 2", "0 b 7", "0 c 1", "0 c 1").wants("1 1 2 4 2 2")
	s.down(1, 2).after(0).wants("0- 0- 2 2 1 1")
	// Of zone a a quarter is left, which is half of what it must be.
	s.up(1).down(3).after(0).wants("1 0- 0- 2 1 1")
	s.down(1).after(0).wants("0- 0- 0- 2 1 1")
	s.down(5, 6).after(0).wants("0- 0- 0- 7 0- 0-")
}

// TestManyZones: numbers that do not fit together still give the shares.
func TestManyZones(t *testing.T) {
	var backends []string
	for i, w := range []int{65535, 65521, 65519, 7, 1, 64811} {
		backends = append(backends, fmt.Sprintf("0 z%d %d", i/2, w))
	}
	s := onStage(t, model.Placement{Zones: model.Zones{EqualShare: true, MinHealthy: 50}}, backends...)
	b := s.web().Backends
	for z := range 3 {
		if n := int(b[2*z].Effective) + int(b[2*z+1].Effective); n < 65530 || n > 65537 {
			t.Errorf("zone %d has %d", z, n)
		}
	}
	if b[3].Effective != 7 || b[4].Effective != 1 {
		t.Errorf("small ones have %d and %d", b[3].Effective, b[4].Effective)
	}
}

func TestDisabledZone(t *testing.T) {
	s := onStage(t, model.Placement{}, "0 a 1", "0 b 1", "0 - 1")
	s.in.DisabledZones = map[model.DisabledZone]bool{{Zone: "a", Service: "dns"}: true}
	s.after(0).wants("1 1 1")
	s.in.DisabledZones = map[model.DisabledZone]bool{{Zone: "a"}: true, {Zone: "b", Service: "web"}: true}
	s.after(0).wants("0 0 1").reason(1, "zone a is disabled by the operator")
}

func TestDisabledBackend(t *testing.T) {
	s := onStage(t, model.Placement{}, "0 - 1", "0 - 1")
	s.in.Overrides[s.key(1)] = model.Override{Disabled: true}
	s.after(0).wants("0- 1").reason(1, "disabled by the operator")
	s.down(2).after(0).wants("0- 1")
	s.in.Overrides[s.key(2)] = model.Override{Disabled: true}
	s.after(0).wants("0- 0-")
	if s.web().FailOpen {
		t.Error("fail: open with nothing but disabled backends")
	}
}

func TestSlowStart(t *testing.T) {
	const length = 100 * time.Second
	s := onStage(t, model.Placement{SlowStart: length}, "0 - 1", "0 - 2").wants("1 2").wakes(0)
	s.down(2).after(time.Hour).wants("1 0-")
	s.up(2).after(time.Second).wants("5 1").wakes(10*time.Second).reason(2, "slow start: 10% of its weight")
	s.after(10*time.Second - 1).wants("5 1").wakes(1)
	s.after(1).wants("5 2").wakes(10*time.Second).reason(2, "slow start: 20% of its weight")
	s.after(75 * time.Second).wants("5 9").wakes(5 * time.Second)
	s.after(5*time.Second).wants("1 2").wakes(0).reason(2, "")

	// One that is new starts slowly, too; all together are as they are.
	s.in.Services[0].Backends = append(s.in.Services[0].Backends, model.Backend{Address: ap("10.0.0.3:80"), Weight: 10})
	s.after(time.Second).wants("1 2 1")
	s.down(1, 2, 3).after(time.Second).wants("1 2 10")
	s.up(1, 2, 3).after(time.Second).wants("1 2 10").wakes(10 * time.Second)

	// A daemon that starts does not disturb who served.
	s.down(2).after(time.Second)
	s.restart().after(0).wants("1 0- 10").wakes(0)
	s.up(2).restart().after(0).wants("5 1 50").wakes(10 * time.Second)
}

func TestDrainEnds(t *testing.T) {
	s := onStage(t, model.Placement{DrainTimeout: time.Minute}, "0 - 1", "0 - 1", "0 - 1")
	s.in.Services[0].Backends[0].Drain = true
	s.after(time.Hour).wants("0 1 1").wakes(time.Minute)
	s.restart().after(0).wants("0 1 1").wakes(time.Minute)
	s.after(time.Minute).wants("0- 1 1").wakes(0).reason(1, "drained by the configuration; its time is over, and its flows moved")
	s.restart().after(0).wants("0- 1 1").wakes(0)
	// The operator says for how long, or that it has no end.
	yes, at := true, s.in.Time.Add(10*time.Second)
	s.in.Overrides[s.key(1)] = model.Override{Drain: &yes}
	s.in.Overrides[s.key(2)] = model.Override{Drain: &yes, Deadline: &at}
	s.after(time.Second).wants("0 0 1").wakes(9 * time.Second)
	s.restart().after(time.Second).wakes(8 * time.Second)
	s.after(time.Hour).wants("0 0- 1").wakes(0)
	// If nothing else is left, it serves again.
	s.in.Overrides[s.key(3)] = model.Override{Disabled: true}
	s.after(0).wants("1 1 0-")
}
