package control

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// checkForwarding checks that what the forwarding modes need is there, and no
// more.
func checkForwarding(t *testing.T, p *Plan) {
	t.Helper()
	c := p.Contents
	tunnels, listens := map[uint32]bool{}, map[netip.AddrPort]bool{}
	for id, b := range c.Backends {
		switch c.Services[b.Service].Forward {
		case model.IPIP, model.GUE:
			tunnels[tunnelIndex(b.Address.Addr())] = true
		case model.DNAT:
			listens[b.Address] = true
			if !slices.ContainsFunc([]model.Protocol{model.TCP, model.UDP}, func(p model.Protocol) bool {
				return c.VIPs[maps.VIPKey{Address: b.Address.Addr(), Port: b.Address.Port(), Protocol: p}].DNATBackend
			}) {
				t.Errorf("the replies of dnat backend %d (%s) are not known", id, b.Address)
			}
		}
	}
	for i := range c.Tunnels {
		if !tunnels[i] {
			t.Errorf("tunnel %d is for nobody", i)
		}
		delete(tunnels, i)
	}
	if len(tunnels) > 0 {
		t.Errorf("there are backends without a tunnel: %v", tunnels)
	}
	for k, v := range c.VIPs {
		if v.DNATBackend && !listens[netip.AddrPortFrom(k.Address, k.Port)] {
			t.Errorf("%s is marked as dnat backend and is none", k)
		}
	}
	if c.Features[0].DNAT != (len(listens) > 0) {
		t.Errorf("features are %+v with %d dnat backends", c.Features, len(listens))
	}
}

func forwarding(f model.Forward, s model.Service) model.Service {
	s.Forward = f
	return s
}

func TestTrack(t *testing.T) {
	for _, c := range []struct {
		forward   model.Forward
		ask, want model.Track
	}{
		{model.NAT, model.TrackAuto, model.TrackAlways},
		{model.DNAT, model.TrackAuto, model.TrackAlways},
		{model.L2DSR, 0, model.TrackAuto},
		{model.IPIP, model.TrackAuto, model.TrackAuto},
		{model.GUE, model.TrackNever, model.TrackNever},
		{model.IPIP, model.TrackAlways, model.TrackAlways},
	} {
		s := forwarding(c.forward, service("web", "203.0.113.1:80", "10.0.0.1:80"))
		s.Track = c.ask
		p := mustPlan(t, input(maps.Contents{}, s))
		if got := p.Contents.Services[1].Track; got != c.want || p.Services[0].Track != c.want {
			t.Errorf("%s, track %s gave %s in the maps, %s in the state; want %s", c.forward, c.ask, got, p.Services[0].Track, c.want)
		}
	}
}

func TestTunnels(t *testing.T) {
	four, six := service("four", "[2001:db8:1::1]:80", "10.0.0.1:80"), service("six", "203.0.113.1:80", "[2001:db8::1]:80")
	both := service("both", "203.0.113.2:80", "10.0.0.1:80", "[2001:db8::1]:80")
	auto4 := maps.Tunnel{Source: addr("192.0.2.251"), GUEPort: 6080}
	auto6 := maps.Tunnel{Source: addr("2001:db8::251"), GUEPort: 6080}
	for _, c := range []struct {
		name     string
		change   func(*Input)
		want     map[uint32]maps.Tunnel
		warnings int
	}{
		{"nobody tunnels", func(in *Input) { in.Services = []model.Service{service("web", "203.0.113.1:80", "10.0.0.1:80")} }, nil, 0},
		{"no backends", func(in *Input) {
			in.Services = []model.Service{forwarding(model.GUE, service("web", "203.0.113.1:80"))}
		}, nil, 0},
		{"of the backend's family", func(in *Input) { in.Services = []model.Service{forwarding(model.IPIP, four)} }, map[uint32]maps.Tunnel{0: auto4}, 0},
		{"of each family", func(in *Input) {
			in.Services = []model.Service{forwarding(model.IPIP, four), forwarding(model.GUE, six)}
		}, map[uint32]maps.Tunnel{0: auto4, 1: auto6}, 0},
		{"configured", func(in *Input) {
			in.Services = []model.Service{forwarding(model.GUE, both)}
			in.Settings.TunnelSources = []netip.Prefix{netip.MustParsePrefix("fd00:1::/64"), netip.MustParsePrefix("10.9.0.0/24")}
			in.Settings.GUEPort = 7777
		}, map[uint32]maps.Tunnel{
			0: {Source: addr("10.9.0.0"), EntropyBits: 8, GUEPort: 7777}, 1: {Source: addr("fd00:1::"), EntropyBits: 32, GUEPort: 7777},
		}, 0},
		{"missing", func(in *Input) {
			in.Services = []model.Service{forwarding(model.IPIP, both), forwarding(model.GUE, six)}
			in.AutoTunnelSources = []netip.Addr{addr("192.0.2.251")}
		}, map[uint32]maps.Tunnel{0: auto4}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input(maps.Contents{})
			in.Settings.GUEPort = 6080
			c.change(&in)
			p := mustPlan(t, in)
			if d := cmp.Diff(c.want, p.Contents.Tunnels, compare...); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			missing := 0
			for _, s := range p.Services {
				if s.NoTunnel {
					missing++
				}
			}
			if len(p.Warnings) != c.warnings || missing != c.warnings || missing > 0 && !strings.Contains(p.Warnings[0], "tunnel_sources") {
				t.Errorf("%d services lack a tunnel, warnings %q; want %d", missing, p.Warnings, c.warnings)
			}
		})
	}
}

// The flows of a removed tunnelled service go on, from the address they had.
func TestRetiredTunnelStays(t *testing.T) {
	in := input(maps.Contents{}, forwarding(model.GUE, service("web", "203.0.113.1:80", "10.0.0.1:80")))
	in.Settings.GUEPort = 6080
	first := mustPlan(t, in)
	gone := input(first.Contents)
	gone.Settings.GUEPort, gone.AutoTunnelSources = 6080, nil
	second := mustPlan(t, gone)
	if d := cmp.Diff(first.Contents.Tunnels, second.Contents.Tunnels, compare...); d != "" {
		t.Errorf("-before +after:\n%s", d)
	}
	gone.Present, gone.Idle = second.Contents, map[uint32]bool{1: true}
	if last := mustPlan(t, gone); len(last.Contents.Tunnels) != 0 {
		t.Errorf("without flows the tunnel stays: %v", last.Contents.Tunnels)
	}
}

func TestDNATBackends(t *testing.T) {
	key := func(a string, p model.Protocol) maps.VIPKey {
		return maps.VIPKey{Address: ap(a).Addr(), Port: ap(a).Port(), Protocol: p}
	}
	dns := forwarding(model.DNAT, service("dns", "203.0.113.1:53", "10.0.0.1:53", "10.0.0.2:53"))
	dns.Frontends[0].Protocol = model.UDP
	web := forwarding(model.DNAT, service("web", "203.0.113.1:80", "10.0.0.1:53"))
	nat := service("nat", "203.0.113.2:80", "10.0.0.2:53")
	in := input(maps.Contents{}, dns, web, nat)
	first := mustPlan(t, in)
	checkPlan(t, in, first)
	marked := func(p *Plan) (out []string) {
		for k, v := range p.Contents.VIPs {
			if v.DNATBackend {
				out = append(out, k.String())
			}
		}
		slices.Sort(out)
		return out
	}
	if d := cmp.Diff([]string{"10.0.0.1:53/tcp", "10.0.0.1:53/udp", "10.0.0.2:53/udp"}, marked(first)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}

	// What left the configuration replies until its last flow ended, even when
	// its place became a frontend.
	taken := service("taken", "203.0.113.3:80", "10.0.0.9:80")
	taken.Frontends[0] = model.Frontend{VIP: addr("10.0.0.2"), Port: 53, Protocol: model.UDP}
	later := input(first.Contents, nat, taken)
	second := mustPlan(t, later)
	checkPlan(t, later, second)
	if d := cmp.Diff(marked(first), marked(second)); d != "" {
		t.Errorf("-first +second:\n%s", d)
	}
	if v := second.Contents.VIPs[key("10.0.0.2:53", model.UDP)]; v.Service == 0 {
		t.Errorf("the frontend is lost: %+v", v)
	}
	later.Present, later.Idle = second.Contents, map[uint32]bool{}
	for id, b := range second.Contents.Backends {
		later.Idle[id] = second.Contents.Services[b.Service].Forward == model.DNAT
	}
	last := mustPlan(t, later)
	checkPlan(t, later, last)
	if got := marked(last); len(got) != 0 || len(last.Contents.Features) != 0 {
		t.Errorf("without flows %v stay marked, features %v", got, last.Contents.Features)
	}
}

func TestDNATBackendsNeedRoom(t *testing.T) {
	s := forwarding(model.DNAT, service("web", "203.0.113.1:80", "10.0.0.1:80", "10.0.0.2:80"))
	in := input(maps.Contents{}, s)
	in.Sizes.Frontends = in.Sizes.Sources + 3
	mustPlan(t, in)
	in.Sizes.Frontends--
	if _, err := NewPlanner().Plan(in); err == nil || !strings.Contains(err.Error(), "1 frontends and 2 backends of dnat services") || !strings.Contains(err.Error(), "max_frontends") {
		t.Errorf("error %v, want one that counts and names max_frontends", err)
	}
}

func TestDescribeForwarding(t *testing.T) {
	s := forwarding(model.DNAT, service("web", "203.0.113.1:80", "10.0.0.1:80"))
	g := forwarding(model.GUE, service("gue", "203.0.113.2:80", "[2001:db8::1]:80"))
	in := input(maps.Contents{}, s, g)
	in.Settings.GUEPort, in.Settings.TunnelSources = 6080, []netip.Prefix{netip.MustParsePrefix("fd00:1::/64")}
	p := mustPlan(t, in)
	var got []string
	for _, c := range Describe(maps.Diff(maps.Contents{}, p.Contents), p.Words()) {
		if c.Kind != "service" {
			got = append(got, c.Action+" "+c.Kind+" "+c.Key+": "+c.New)
		} else {
			got = append(got, c.Action+" service "+c.Key+": "+c.New[:strings.Index(c.New, ", timeouts")])
		}
	}
	want := []string{
		"add source 192.0.2.250: 192.0.2.250", "add source 2001:db8::250: 2001:db8::250",
		"add tunnel ipv6: from fd00:1::/96, 32 bits by flow, gue to port 6080",
		"add feature dnat: replies of dnat backends are looked for",
		"add service gue: forward gue, track auto", "add service web: forward dnat",
		"add frontend 203.0.113.1:80/tcp: service web", "add frontend 203.0.113.2:80/tcp: service gue",
		"add backend [2001:db8::1]:80: healthy", "add backend 10.0.0.1:80: healthy",
		"add table gue: 1 backend in 251 slots", "add table web: 1 backend in 251 slots",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	// A mark alone is told.
	had := p.Contents.Clone()
	delete(had.VIPs, maps.VIPKey{Address: addr("10.0.0.1"), Port: 80, Protocol: model.TCP})
	told := Describe(maps.Diff(had, p.Contents), p.Words())
	if len(told) != 1 || told[0].Kind != "dnat" || told[0].Key != "10.0.0.1:80/tcp" {
		t.Errorf("told %+v", told)
	}
}
