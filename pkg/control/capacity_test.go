package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// TestDiscoveredBeyondRoom: more backends than there is room for are left out
// with a warning, those of the configuration never, and the plan does not fail.
func TestDiscoveredBeyondRoom(t *testing.T) {
	flood := func(static string, n int, forward model.Forward) (Input, model.Service) {
		a := service("a", "203.0.113.1:80", static)
		a.Forward, a.Sources = forward, []model.Source{{Name: "dns"}}
		in := input(maps.Contents{}, a, service("z", "203.0.113.2:80", "10.0.9.1:80", "10.0.9.2:80"))
		found := a.Backends
		for i := range n {
			found = append(found, model.Backend{Address: ap(fmt.Sprintf("10.0.1.%d:80", i+1)), Weight: 1})
		}
		in.Discovered = map[string][]model.Backend{"a": found}
		return in, a
	}
	for _, c := range []struct {
		setting string
		forward model.Forward
		size    func(*maps.Sizes)
		fit     int // of a
	}{
		{"max_backends", model.NAT, func(s *maps.Sizes) { s.Backends = 1 + 8 }, 6},
		{"table_size", model.NAT, func(s *maps.Sizes) { s.Table = 5 }, 5},
		{"max_frontends", model.DNAT, func(s *maps.Sizes) { s.Frontends = s.Sources + 2 + 4 }, 4},
	} {
		t.Run(c.setting, func(t *testing.T) {
			in, _ := flood("10.0.2.1:80", 20, c.forward) // sorts behind those found
			c.size(&in.Sizes)
			for range 3 { // again over what was written
				p := mustPlan(t, in)
				a := p.Services[0]
				if len(a.Backends) != c.fit || len(p.Services[1].Backends) != 2 || a.Backends[c.fit-1].Address != ap("10.0.2.1:80") {
					t.Errorf("%d backends fit, want %d; the others have %d: %v", len(a.Backends), c.fit, len(p.Services[1].Backends), a.Backends)
				}
				want := fmt.Sprintf("service \"a\": there is no room for %d of the backends that its sources found, the first of them 10.0.1.%d:80 (raise %s and restart)", 21-c.fit, c.fit, c.setting)
				if !strings.Contains(strings.Join(p.Warnings, "\n"), want) {
					t.Errorf("warnings %q, want %s", p.Warnings, want)
				}
				if _, enough, err := NewPlanner().Update(p, in, map[string]bool{"z": true}); enough || err != nil {
					t.Errorf("an update is enough while backends have no place: %v", err)
				}
				in.Present, in.Transitions = p.Contents, p.transitions
			}
		})
	}
}
