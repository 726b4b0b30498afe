package bpf_test

import (
	"net/netip"
	"testing"

	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// What is not hashed does not matter, and what is does.
func TestHashInputs(t *testing.T) {
	for _, c := range []struct {
		input                     model.HashInput
		port, client, vipPort, at bool // whether another one may have another backend
	}{
		{model.HashFiveTuple, true, true, true, true},
		{model.HashSource, false, true, false, false},
		{model.HashSourceDestination, false, true, false, true},
		{model.HashDestinationPort, false, false, true, false},
	} {
		t.Run(c.input.String(), func(t *testing.T) {
			w := choosing(xlb.Selection{Hash: c.input})
			for id, s := range w.Services {
				s.Track = model.TrackAuto
				w.Services[id] = s
			}
			second := map[uint32]string{nat4: "192.0.2.11", nat6: "2001:db8::11", dsr4: "192.0.2.21", dsr6: "2001:db8::21"}
			for _, x := range throughWays() {
				w.frontend(x.service, second[x.service], 80, model.TCP)
				for port := uint16(81); port < 90; port++ {
					w.frontend(x.service, x.vip.Addr().String(), port, model.TCP)
				}
			}
			p := newPlane(t, settings(), sizes(), w)
			p.bothHooks(t, func(t *testing.T) {
				for _, x := range throughWays() {
					p.varies(t, x, "another port", c.port, func(i int, v *way) { *v = v.fromPort(uint16(1000 + i)) })
					p.varies(t, x, "another client", c.client, func(i int, v *way) {
						a := v.client.Addr().AsSlice()
						a[len(a)-1] = byte(10 + i)
						other, _ := netip.AddrFromSlice(a)
						v.client = netip.AddrPortFrom(other, v.client.Port())
					})
					p.varies(t, x, "another port of the VIP", c.vipPort, func(i int, v *way) {
						v.vip = netip.AddrPortFrom(v.vip.Addr(), uint16(80+i%10))
					})
				}
			})
			p.bothHooks(t, func(t *testing.T) {
				differ := false
				for _, x := range throughWays() {
					for i := range uint16(10) {
						p.forget(t)
						y := x.fromPort(100 + i)
						first := p.chosen(t, y.request(segment(syn)))
						y.vip = netip.AddrPortFrom(netip.MustParseAddr(second[x.service]), 80)
						differ = differ || p.chosen(t, y.request(segment(syn))) != first
					}
				}
				if differ != c.at {
					t.Errorf("another VIP may have another backend: %t, want %t", differ, c.at)
				}
			})
		})
	}
}

// varies checks whether flows that differ in one thing may have different backends.
func (p *plane) varies(t *testing.T, w way, what string, want bool, change func(int, *way)) {
	t.Helper()
	seen := map[uint32]bool{}
	for i := range 20 {
		p.forget(t)
		x := w
		change(i, &x)
		seen[p.chosen(t, x.request(segment(syn)))] = true
	}
	if got := len(seen) > 1; got != want {
		t.Errorf("%s: %s may have another backend: %t, want %t", w.name, what, got, want)
	}
}

// Clients of both families meet at one backend by the frontend's port alone.
func TestHashOfPortHasNoFamily(t *testing.T) {
	p := newPlane(t, settings(), sizes(), choosing(xlb.Selection{Hash: model.HashDestinationPort}))
	p.bothHooks(t, func(t *testing.T) {
		a, b := wayTo(dsr4), wayTo(dsr6)
		for _, port := range []uint16{80, 443} {
			a.vip, b.vip = netip.AddrPortFrom(a.vip.Addr(), port), netip.AddrPortFrom(b.vip.Addr(), port)
			if x, y := p.chosen(t, a.request(segment(syn)))-a.number, p.chosen(t, b.request(segment(syn)))-b.number; x != y {
				t.Errorf("port %d: backend %d for IPv4, %d for IPv6", port, x+1, y+1)
			}
		}
	})
}
