package control

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// An address of this host is no backend, whatever probes say, and not even when
// nothing else is left.
func TestLocalBackend(t *testing.T) {
	local := map[netip.Addr]string{addr("10.0.0.1"): "eth0"}
	two := service("web", "203.0.113.1:80", "10.0.0.1:80", "10.0.0.2:80")
	in := input(maps.Contents{}, two)
	in.Local = local
	p := mustPlan(t, in)
	checkPlan(t, in, p)
	if d := cmp.Diff([]string{"10.0.0.1 unhealthy 0 false", "10.0.0.2 healthy 1 true"}, show(p.Services[0])); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if b := p.Services[0].Backends[0]; !strings.HasPrefix(b.Reason, "address of this host: eth0") || p.Services[0].Usable != 1 {
		t.Errorf("reason %q, usable %d", b.Reason, p.Services[0].Usable)
	}

	in.Health[probe.Key{Service: "web", Backend: ap("10.0.0.2:80")}] = model.BackendHealth{State: model.Unhealthy}
	p = mustPlan(t, in)
	checkPlan(t, in, p)
	if d := cmp.Diff([]string{"10.0.0.1 unhealthy 0 false", "10.0.0.2 unhealthy 1 true"}, show(p.Services[0])); d != "" {
		t.Errorf("fail open (-want +got):\n%s", d)
	}

	in.Services = []model.Service{service("web", "203.0.113.1:80", "10.0.0.1:80")}
	p = mustPlan(t, in)
	checkPlan(t, in, p)
	if p.Services[0].FailOpen || p.Services[0].Usable != 0 {
		t.Errorf("alone it is used: %+v", p.Services[0])
	}
}

func TestLocalVIP(t *testing.T) {
	a, b := service("a", "203.0.113.1:80", "10.0.0.2:80"), service("b", "203.0.113.1:81", "10.0.0.2:80")
	in := input(maps.Contents{}, a, b, service("c", "203.0.113.2:80", "10.0.0.2:80"))
	in.Local = map[netip.Addr]string{addr("203.0.113.1"): "lo"}
	p := mustPlan(t, in)
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], `VIP 203.0.113.1 of service "a" is an address of this host (lo)`) {
		t.Errorf("warnings %q", p.Warnings)
	}
}

// A host that gets a backend's address takes the backend out, and back in when
// it loses it. A reload meanwhile is refused at the place in the file.
func TestHostMoves(t *testing.T) {
	d := start(t, newMemory(), "  web: {frontends: tcp://203.0.113.1:80, probe: none, backends: [10.0.0.1, 10.0.0.2]}\n")
	state := func(want string) {
		t.Helper()
		eventually(t, func() string {
			s := d.published.Load().plan.Services[0].Backends[0]
			return unless(s.State == want, "%s is %s: %s", s.Address, s.State, s.Reason)
		})
	}
	state(api.StateHealthy)
	d.host.move(map[netip.Addr]string{addr("10.0.0.1"): "eth0", addr("203.0.113.1"): "lo"})
	state(api.StateUnhealthy)
	if s := d.status(t); len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "VIP 203.0.113.1") {
		t.Errorf("the status warns of %q", s.Warnings)
	}
	if err := d.Client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "xlb.yaml:8:") || !strings.Contains(err.Error(), "backend 10.0.0.1:80 is an address of this host (eth0)") {
		t.Errorf("reload: %v", err)
	}
	d.host.move(nil)
	state(api.StateHealthy)
}
