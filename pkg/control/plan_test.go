package control

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

var compare = []cmp.Option{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmpopts.EquateEmpty()}

func input(present maps.Contents, services ...model.Service) Input {
	return Input{
		Services: services, Present: present, Sizes: testSizes, Time: time.Unix(1e9, 0),
		AutoSources:       []netip.Addr{addr("192.0.2.250"), addr("2001:db8::250")},
		AutoTunnelSources: []netip.Addr{addr("192.0.2.251"), addr("2001:db8::251")},
		Health:            map[probe.Key]model.BackendHealth{}, Overrides: map[probe.Key]model.Override{},
	}
}

func mustPlan(t *testing.T, in Input) *Plan {
	t.Helper()
	p, err := NewPlanner().Plan(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// show tells of every backend of a service its state, its weight in the table
// and whether it serves.
func show(s ServiceState) (out []string) {
	for _, b := range s.Backends {
		out = append(out, fmt.Sprintf("%s %s %d %v", b.Address.Addr(), b.State, b.Effective, b.Serves))
	}
	return out
}

func TestBackendStates(t *testing.T) {
	down := model.BackendHealth{State: model.Unhealthy, Reason: "connect: refused"}
	up := model.BackendHealth{State: model.Healthy}
	yes, no, three := true, false, uint16(3)
	for _, tt := range []struct {
		name     string
		change   func(*model.Service, *Input)
		want     []string
		failOpen bool
		usable   int
	}{
		{"plain", func(*model.Service, *Input) {}, []string{"10.0.0.1 healthy 1 true", "10.0.0.2 healthy 1 true"}, false, 2},
		{"not probed yet", func(s *model.Service, _ *Input) { s.Probe.Type = model.ProbeTCP },
			[]string{"10.0.0.1 unknown 1 true", "10.0.0.2 unknown 1 true"}, false, 2},
		{"one down", func(s *model.Service, in *Input) {
			in.Health[probe.Key{Service: "web", Backend: ap("10.0.0.1:80")}] = down
		},
			[]string{"10.0.0.1 unhealthy 0 false", "10.0.0.2 healthy 1 true"}, false, 1},
		{"probed up", func(s *model.Service, in *Input) {
			s.Probe.Type = model.ProbeTCP
			in.Health[probe.Key{Service: "web", Backend: ap("10.0.0.1:80")}] = up
		}, []string{"10.0.0.1 healthy 1 true", "10.0.0.2 unknown 1 true"}, false, 2},
		{"all down, open", func(s *model.Service, in *Input) {
			for _, b := range s.Backends {
				in.Health[probe.Key{Service: "web", Backend: b.Address}] = down
			}
		}, []string{"10.0.0.1 unhealthy 1 true", "10.0.0.2 unhealthy 1 true"}, true, 0},
		{"all down, closed", func(s *model.Service, in *Input) {
			s.Fail = model.FailClosed
			for _, b := range s.Backends {
				in.Health[probe.Key{Service: "web", Backend: b.Address}] = down
			}
		}, []string{"10.0.0.1 unhealthy 0 false", "10.0.0.2 unhealthy 0 false"}, false, 0},
		{"down and drained, open", func(s *model.Service, in *Input) {
			s.Backends[1].Drain = true
			in.Health[probe.Key{Service: "web", Backend: ap("10.0.0.1:80")}] = down
		}, []string{"10.0.0.1 unhealthy 1 true", "10.0.0.2 draining 0 true"}, true, 0},
		{"all drained, open", func(s *model.Service, in *Input) { s.Backends[0].Drain, s.Backends[1].Drain = true, true },
			[]string{"10.0.0.1 draining 1 true", "10.0.0.2 draining 1 true"}, true, 0},
		{"weight 0", func(s *model.Service, _ *Input) { s.Backends[0].Weight = 0 },
			[]string{"10.0.0.1 healthy 0 true", "10.0.0.2 healthy 1 true"}, false, 1},
		{"operator drains", func(s *model.Service, in *Input) {
			in.Overrides[probe.Key{Service: "web", Backend: ap("10.0.0.1:80")}] = model.Override{Drain: &yes}
		}, []string{"10.0.0.1 draining 0 true", "10.0.0.2 healthy 1 true"}, false, 1},
		{"operator undrains and weighs", func(s *model.Service, in *Input) {
			s.Backends[0].Drain = true
			in.Overrides[probe.Key{Service: "web", Backend: ap("10.0.0.1:80")}] = model.Override{Drain: &no, Weight: &three}
		}, []string{"10.0.0.1 healthy 3 true", "10.0.0.2 healthy 1 true"}, false, 2},
		{"discovered", func(s *model.Service, in *Input) {
			in.Discovered = map[string][]model.Backend{"web": {{Address: ap("10.0.0.9:80"), Weight: 2}}}
		}, []string{"10.0.0.9 healthy 2 true"}, false, 1},
		{"none", func(s *model.Service, in *Input) { s.Backends = nil }, nil, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := service("web", "203.0.113.1:80", "10.0.0.1:80", "10.0.0.2:80")
			in := input(maps.Contents{})
			tt.change(&s, &in)
			in.Services = []model.Service{s}
			got := mustPlan(t, in)
			state := got.Services[0]
			if d := cmp.Diff(tt.want, show(state), compare...); d != "" {
				t.Errorf("backends (-want +got):\n%s", d)
			}
			if state.FailOpen != tt.failOpen || state.Usable != tt.usable {
				t.Errorf("fail open %v, usable %d, want %v and %d", state.FailOpen, state.Usable, tt.failOpen, tt.usable)
			}
			checkPlan(t, in, got)
		})
	}
}

func TestRemovedBackendStaysUntilFlowless(t *testing.T) {
	two := service("web", "203.0.113.1:80", "10.0.0.1:80", "10.0.0.2:80")
	first := mustPlan(t, input(maps.Contents{}, two))
	gone := first.Services[0].Backends[0].ID

	one := service("web", "203.0.113.1:80", "10.0.0.2:80", "10.0.0.3:80")
	in := input(first.Contents, one)
	second := mustPlan(t, in)
	checkPlan(t, in, second)
	want := []string{"10.0.0.1 retired 0 true", "10.0.0.2 healthy 1 true", "10.0.0.3 healthy 1 true"}
	if d := cmp.Diff(want, show(second.Services[0])); d != "" {
		t.Errorf("backends (-want +got):\n%s", d)
	}

	in = input(second.Contents, one)
	in.Idle = map[uint32]bool{gone: true}
	third := mustPlan(t, in)
	if _, still := third.Contents.Backends[gone]; still {
		t.Error("the backend without flows is still there")
	}

	// Back before its flows ended: it has its number again.
	back := mustPlan(t, input(second.Contents, two))
	if id := back.Services[0].Backends[0].ID; id != gone {
		t.Errorf("a backend that came back has number %d, had %d", id, gone)
	}
}

func TestRemovedServiceLeavesReplies(t *testing.T) {
	a, b := service("a", "203.0.113.1:80", "10.0.0.1:80"), service("b", "203.0.113.2:80", "10.0.0.2:80")
	first := mustPlan(t, input(maps.Contents{}, a, b))
	id := first.Services[0].ID
	in := input(first.Contents, b)
	second := mustPlan(t, in)
	checkPlan(t, in, second)
	if _, ok := second.Contents.VIPs[maps.VIPKey{Address: addr("203.0.113.1"), Port: 80, Protocol: model.TCP}]; ok {
		t.Error("the frontend is still there")
	}
	if _, ok := second.Contents.Tables[id]; ok {
		t.Error("the table is still there")
	}
	if second.Contents.Services[id] != first.Contents.Services[id] || len(second.Retired) != 1 || second.Retired[0].Backends[0].State != api.StateRetired {
		t.Errorf("replies to the removed service cannot pass: %+v", second.Retired)
	}
	in = input(second.Contents, b)
	in.Idle = map[uint32]bool{first.Services[0].Backends[0].ID: true}
	third := mustPlan(t, in)
	if _, ok := third.Contents.Services[id]; ok || len(third.Retired) != 0 {
		t.Error("the service without flows is still there")
	}
}

func TestServiceNumbers(t *testing.T) {
	a := service("a", "203.0.113.1:80", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
	b := service("b", "203.0.113.2:80", "10.0.0.4:80")
	first := mustPlan(t, input(maps.Contents{}, a, b))
	idA, idB := first.Services[0].ID, first.Services[1].ID

	renamed := a
	renamed.Name = "z"
	moved := service("moved", "203.0.113.9:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.7:80")
	other := service("other", "203.0.113.9:80", "10.0.0.2:80", "10.0.0.7:80", "10.0.0.8:80")
	l2 := a
	l2.Forward = model.L2DSR
	for _, tt := range []struct {
		name     string
		services []model.Service
		want     map[string]uint32 // 0: a number that was not there
	}{
		{"same", []model.Service{b, a}, map[string]uint32{"a": idA, "b": idB}},
		{"renamed", []model.Service{renamed, b}, map[string]uint32{"z": idA, "b": idB}},
		{"new frontend, most backends the same", []model.Service{moved, b}, map[string]uint32{"moved": idA, "b": idB}},
		{"new frontend, few backends the same", []model.Service{other, b}, map[string]uint32{"other": 0, "b": idB}},
		{"other forwarding", []model.Service{l2, b}, map[string]uint32{"a": 0, "b": idB}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := input(first.Contents, tt.services...)
			got := mustPlan(t, in)
			checkPlan(t, in, got)
			for _, s := range got.Services {
				want := tt.want[s.Name]
				if want == 0 && (s.ID == idA || s.ID == idB) || want != 0 && s.ID != want {
					t.Errorf("service %s has number %d, want %d", s.Name, s.ID, want)
				}
			}
		})
	}

	in := input(first.Contents, l2, b)
	for _, s := range mustPlan(t, in).Retired {
		for _, one := range s.Backends {
			if one.Serves {
				t.Errorf("a flow made for nat may go on as l2dsr: %+v", one)
			}
		}
	}
}

func TestSources(t *testing.T) {
	a := service("a", "203.0.113.1:80", "10.0.0.1:80")
	six := service("six", "[2001:db8:1::1]:80", "[2001:db8:2::1]:80")
	plan := func(present maps.Contents, idle []string, sources ...string) *Plan {
		t.Helper()
		in := input(present, a, six)
		in.AutoSources = nil
		for _, s := range sources {
			in.Settings.Sources = append(in.Settings.Sources, addr(s))
		}
		in.IdleSources = map[netip.Addr]bool{}
		for _, s := range idle {
			in.IdleSources[addr(s)] = true
		}
		p := mustPlan(t, in)
		checkPlan(t, in, p)
		return p
	}
	sources := func(p *Plan) map[uint32]string {
		out := map[uint32]string{}
		for i, a := range p.Contents.Sources {
			out[i] = a.String()
		}
		return out
	}
	check := func(p *Plan, want map[uint32]string, first, n uint16) {
		t.Helper()
		if d := cmp.Diff(want, sources(p)); d != "" {
			t.Errorf("sources (-want +got):\n%s", d)
		}
		if s := p.Contents.Services[p.Services[0].ID]; s.FirstSource != first || s.Sources != n {
			t.Errorf("ipv4 draws from %d sources at %d, want %d at %d", s.Sources, s.FirstSource, n, first)
		}
	}
	p := plan(maps.Contents{}, nil, "192.0.2.1", "2001:db8::1", "192.0.2.3")
	check(p, map[uint32]string{0: "192.0.2.1", 1: "192.0.2.3", 7: "2001:db8::1"}, 0, 2)
	p = plan(p.Contents, nil, "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2")
	check(p, map[uint32]string{0: "192.0.2.1", 1: "192.0.2.3", 2: "192.0.2.2", 6: "2001:db8::2", 7: "2001:db8::1"}, 0, 3)
	// The middle one goes: it stays for its flows, the one behind it waits.
	p = plan(p.Contents, nil, "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")
	check(p, map[uint32]string{0: "192.0.2.1", 1: "192.0.2.3", 2: "192.0.2.2", 6: "2001:db8::2", 7: "2001:db8::1"}, 0, 1)
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "192.0.2.2") {
		t.Errorf("warnings %q, want one on 192.0.2.2", p.Warnings)
	}
	p = plan(p.Contents, []string{"192.0.2.3"}, "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")
	check(p, map[uint32]string{0: "192.0.2.1", 2: "192.0.2.2", 6: "2001:db8::2", 7: "2001:db8::1"}, 0, 1)
	p = plan(p.Contents, []string{"192.0.2.2"}, "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")
	check(p, map[uint32]string{0: "192.0.2.1", 1: "192.0.2.2", 6: "2001:db8::2", 7: "2001:db8::1"}, 0, 2)
	if len(p.Warnings) != 0 {
		t.Errorf("warnings %q, want none", p.Warnings)
	}
	// A frontend at a source's address carries it.
	a.Frontends = []model.Frontend{front("192.0.2.1:80")}
	p = plan(p.Contents, nil, "192.0.2.1", "192.0.2.2", "2001:db8::1")
	if v := p.Contents.VIPs[maps.VIPKey{Address: addr("192.0.2.1"), Port: 80, Protocol: model.TCP}]; v.Source != 1 || v.Service == 0 {
		t.Errorf("frontend at a source's address: %+v", v)
	}
	p = plan(maps.Contents{}, nil)
	if !p.Services[0].NoSource || len(p.Warnings) != 2 {
		t.Errorf("nat without a source: %+v, warnings %q", p.Services[0], p.Warnings)
	}
}

func TestPlanLimits(t *testing.T) {
	many := func(n int) (out []model.Service) {
		for i := range n {
			out = append(out, service(fmt.Sprintf("s%03d", i), fmt.Sprintf("203.0.113.1:%d", i+1), "10.0.0.1:80"))
		}
		return out
	}
	for _, tt := range []struct {
		name, want string
		change     func(*Input)
	}{
		{"services", "max_services", func(in *Input) { in.Services = many(5); in.Sizes.Services = 5 }},
		{"backends", "max_backends", func(in *Input) { in.Services = many(5); in.Sizes.Backends = 5 }},
		{"frontends", "max_frontends", func(in *Input) { in.Services = many(5); in.Sizes.Frontends = in.Sizes.Sources + 4 }},
		{"sources", "max_sources", func(in *Input) { in.Sizes.Sources = 1 }},
		{"table", "table_size", func(in *Input) {
			in.Sizes.Table = 2
			in.Services = []model.Service{service("a", "203.0.113.1:80", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")}
		}},
		{"double frontend", "203.0.113.1:80/tcp", func(in *Input) {
			in.Services = []model.Service{service("a", "203.0.113.1:80", "10.0.0.1:80"), service("b", "203.0.113.1:80", "10.0.0.2:80")}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := input(maps.Contents{}, many(1)...)
			tt.change(&in)
			if _, err := NewPlanner().Plan(in); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one on %s", err, tt.want)
			}
		})
	}
}

func TestHalfWrittenServiceIsTakenUp(t *testing.T) {
	a := service("a", "203.0.113.1:80", "10.0.0.1:80")
	whole := mustPlan(t, input(maps.Contents{}, a))
	half := maps.Contents{Backends: whole.Contents.Backends, Sources: whole.Contents.Sources}.Clone()
	again := mustPlan(t, input(half, a))
	if d := cmp.Diff(whole.Contents, again.Contents, compare...); d != "" {
		t.Errorf("numbers leak at every repetition (-first +second):\n%s", d)
	}
	if left := mustPlan(t, input(half)); len(left.Contents.Backends) != 0 {
		t.Errorf("backends without a service stay: %v", left.Contents.Backends)
	}
}
