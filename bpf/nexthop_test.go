package bpf_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/model"
)

// Where the routing table sends a backend's packets.
func TestNextHop(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	for name, c := range map[string]struct {
		backend string
		l2dsr   bool
		reason  string
		via     byte   // the next hop's number on its segment
		far     string // its segment; servers if empty
		tc      string // the reason on TC, if another
	}{
		"on link":                  {backend: "10.20.0.12:80", reason: "redirect", via: 12},
		"on link 6":                {backend: "[fd10:20::c]:80", reason: "redirect", via: 12},
		"gateway":                  {backend: "10.30.0.5:80", reason: "redirect", via: 254},
		"gateway 6":                {backend: "[fd10:30::5]:80", reason: "redirect", via: 254},
		"gateway of other family":  {backend: "10.51.0.5:80", reason: "redirect", via: 254},
		"narrow":                   {backend: "10.40.0.11:80", reason: "redirect", via: 11, far: narrow},
		"narrow 6":                 {backend: "[fd10:40::b]:80", reason: "redirect", via: 11, far: narrow},
		"no route":                 {backend: "203.0.113.5:80", reason: "pass_no_route"},
		"no route 6":               {backend: "[2001:db8:dead::5]:80", reason: "pass_no_route"},
		"blackhole":                {backend: "10.61.0.5:80", reason: "pass_unreachable"},
		"blackhole 6":              {backend: "[fd10:61::5]:80", reason: "pass_unreachable"},
		"unreachable":              {backend: "10.62.0.5:80", reason: "pass_unreachable"},
		"unreachable 6":            {backend: "[fd10:62::5]:80", reason: "pass_unreachable"},
		"prohibited":               {backend: "10.63.0.5:80", reason: "pass_unreachable"},
		"prohibited 6":             {backend: "[fd10:63::5]:80", reason: "pass_unreachable"},
		"this host":                {backend: "10.20.0.1:80", reason: "pass_no_route"},
		"this host 6":              {backend: "[fd10:20::1]:80", reason: "pass_no_route"},
		"unknown":                  {backend: "10.20.0.99:80", reason: "pass_neighbour", tc: "redirect"},
		"unknown 6":                {backend: "[fd10:20::63]:80", reason: "pass_neighbour", tc: "redirect"},
		"unknown gateway":          {backend: "10.31.0.5:80", reason: "pass_neighbour", tc: "redirect"},
		"unknown gateway 6":        {backend: "[fd10:31::5]:80", reason: "pass_neighbour", tc: "redirect"},
		"unknown, other family":    {backend: "10.52.0.5:80", reason: "pass_neighbour", tc: "redirect"},
		"dsr on link":              {backend: "10.20.0.12:80", l2dsr: true, reason: "redirect", via: 12},
		"dsr gateway":              {backend: "10.30.0.5:80", l2dsr: true, reason: "drop_not_on_link"},
		"dsr gateway 6":            {backend: "[fd10:30::5]:80", l2dsr: true, reason: "drop_not_on_link"},
		"dsr unknown":              {backend: "10.20.0.99:80", l2dsr: true, reason: "pass_neighbour", tc: "redirect"},
		"dsr unknown 6":            {backend: "[fd10:20::63]:80", l2dsr: true, reason: "pass_neighbour", tc: "redirect"},
		"dsr unknown gateway":      {backend: "10.31.0.5:80", l2dsr: true, reason: "pass_neighbour", tc: "drop_not_on_link"},
		"dsr to other family":      {backend: "[fd10:20::c]:80", l2dsr: true, reason: "redirect", via: 12},
		"dsr unknown other family": {backend: "[fd10:20::63]:80", l2dsr: true, reason: "pass_neighbour", tc: "redirect"},
	} {
		w := wayTo(nat4)
		if c.l2dsr {
			w = wayTo(dsr4)
		}
		if to := at(c.backend); to.Addr().Is6() && name != "dsr to other family" && name != "dsr unknown other family" {
			w = wayTo(w.service + 1)
		}
		w.backend = at(c.backend)
		if c.far != "" {
			w.far = c.far
		}
		for _, s := range segments {
			if s.name == w.far {
				w.backendMAC = mac(s.number, c.via)
			}
		}
		world := standard()
		world.backend(w.number, w.service, c.backend)
		t.Run(name, func(t *testing.T) {
			p.hold(t, world)
			p.bothHooks(t, func(t *testing.T) {
				for _, m := range []mold{segment(testlab.SYN), datagram()} {
					reason := c.reason
					if c.tc != "" && p.hook.name == tcHook.name {
						reason = c.tc
					}
					if reason == "redirect" && c.via == 0 {
						// The kernel writes the MACs when it knows them.
						m = keepingMACs(m, w.requestEnds().link)
					}
					p.expectTo(t, w, m, reason, m.created()...)
					p.expectTo(t, w, m, reason)
				}
			})
		})
	}
}

// expectTo sends a request that leaves for this reason, rewritten or not.
func (p *plane) expectTo(t *testing.T, w way, m mold, reason string, events ...string) {
	t.Helper()
	if reason == "redirect" || reason == "tx" {
		p.expectRequest(t, w, m, events...)
		return
	}
	p.expect(t, w.request(m), want{reason: reason, service: w.service, backend: w.number, events: events})
}

// keepingMACs is the mold with the same link header on arrival and departure.
func keepingMACs(m mold, link testlab.Ethernet) mold {
	pour := m.pour
	m.pour = func(e ends) []byte {
		e.link = link
		return pour(e)
	}
	return m
}

// A packet larger than the way out allows is the stack's to answer; but a
// super-packet is cut to its segments on the way out.
func TestMTU(t *testing.T) {
	world := standard()
	world.backend(11, nat4, "10.40.0.11:80")
	world.backend(21, nat6, "[fd10:40::b]:80")
	world.backend(31, dsr4, "10.40.0.11:80")
	world.backend(41, dsr6, "[fd10:40::b]:80")
	p := newPlane(t, settings(), sizes(), world)
	p.bothHooks(t, func(t *testing.T) {
		for service := uint32(nat4); service <= dsr6; service++ {
			w := wayTo(service)
			w.far, w.backendMAC = narrow, mac(40, 11)
			w.backend = netip.AddrPortFrom(host(segments[2].v4, 11), 80)
			if w.family() == 6 {
				w.backend = netip.AddrPortFrom(host(segments[2].v6, 11), 80)
			}
			inside(t, w.name, func(t *testing.T) {
				headers := len(w.request(udpMold("", shape{})).frame) - 14
				fits, over := udpMold("", shape{payload: 1280 - headers}), udpMold("", shape{payload: 1281 - headers})
				p.expectTo(t, w, over, "pass_mtu", "flow_created")
				p.expectTo(t, w, fits, w.sends())
				p.expectTo(t, w, over, "pass_mtu")
				if p.hook.name == xdpHook.name {
					return
				}
				super := w.request(udpMold("", shape{payload: 2400}))
				super.segment = 1200
				p.expect(t, super, want{
					reason: "redirect", service: w.service, backend: w.number,
					out: func() []byte {
						return w.forwarded(udpMold("", shape{payload: 2400}), p.flow(t, w.client, w.vip, model.UDP).NAT)
					},
				})
			})
		}
	})
}

// With a fixed gateway nothing asks for routes: everything leaves as it came,
// in the name of the address that it was sent to.
func TestGatewayMAC(t *testing.T) {
	gateway := mac(77, 254)
	s := settings()
	s.NextHop, s.GatewayMAC = model.NextHopGatewayMAC, model.HardwareAddr(gateway)
	world := standard()
	world.backend(11, nat4, "203.0.113.5:80")
	world.backend(21, nat6, "[2001:db8:dead::5]:80")
	p := newPlane(t, s, sizes(), world)
	p.bothHooks(t, func(t *testing.T) {
		for service := uint32(nat4); service <= dsr6; service++ {
			w := wayTo(service)
			w.far, w.backend = w.near, world.Backends[w.number].Address
			w.clientMAC, w.backendMAC = gateway, gateway
			for _, tags := range [][]testlab.Layer{nil, {testlab.VLAN{ID: 7}}} {
				for _, protocol := range []mold{tcpMold("tcp", testlab.SYN, shape{tags: tags}), udpMold("udp", shape{tags: tags, payload: 1800})} {
					inside(t, fmt.Sprint(w.name, " ", protocol.name, " ", len(tags), " tags"), func(t *testing.T) {
						p.forget(t)
						p.thereAndBack(t, w, protocol)
					})
				}
			}
		}
	})
}

// The daemon may come back with another next_hop: what a program with routes
// noted of a next hop does not bind the one with a fixed gateway, nor the other
// way round.
func TestNextHopChanges(t *testing.T) {
	world := standard()
	world.backend(31, dsr4, "10.30.0.6:80")
	routed := newPlane(t, settings(), sizes(), world)
	gateway := mac(77, 254)
	s := settings()
	s.NextHop, s.GatewayMAC = model.NextHopGatewayMAC, model.HardwareAddr(gateway)
	programs, err := loader.LoadPrograms(routed.set, s)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer programs.Close()
	routed.bothHooks(t, func(t *testing.T) {
		fixed := *routed
		fixed.programs = programs
		w := wayTo(dsr4)
		arm := w
		arm.far, arm.backendMAC = arm.near, gateway
		for i := range 3 {
			var created []string
			if i == 0 {
				created = []string{"flow_created"}
			}
			routed.expectTo(t, w, datagram(), "drop_not_on_link", created...)
			fixed.expectRequest(t, arm, datagram())
		}
	})
}

// The way out is asked for anew before a quarter of a second has passed: a
// neighbour that moves is followed.
func TestNextHopIsAskedAnew(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	addresses := map[string]string{xdpHook.name: "10.20.0.50:8080", tcHook.name: "10.20.0.51:8080"}
	p.bothHooks(t, func(t *testing.T) {
		w := wayTo(nat4)
		w.backend = at(addresses[p.hook.name])
		world := standard()
		world.backend(w.number, w.service, addresses[p.hook.name])
		p.hold(t, world)
		move := func(to testlab.MAC) {
			t.Helper()
			if err := balancer.AddNeighbour(servers, w.backend.Addr(), hardware(to)); err != nil {
				t.Fatal(err)
			}
			w.backendMAC = to
		}
		move(mac(20, 50))
		m := datagram()
		nat := p.expectRequest(t, w, m, "flow_created")
		move(mac(20, 51))
		deadline := time.Now().Add(2 * time.Second)
		for {
			_, out, err := p.run(w.request(m))
			if err != nil {
				t.Fatal(err)
			}
			diff := testlab.Diff(w.forwarded(m, nat), out)
			if diff == "" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("after two seconds still:\n%s", diff)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}
