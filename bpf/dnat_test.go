package bpf_test

import (
	"net/netip"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

const (
	dnat4 = 1
	dnat6 = 2
	twin4 = 3 // another service with dnat4's backend
)

// gateway is a world of dnat services.
func gateway() world {
	w := emptyWorld()
	w.Features[0] = xlb.Features{DNAT: true}
	w.service(dnat4, model.DNAT, 0, 0, "192.0.2.40")
	w.service(dnat6, model.DNAT, 0, 0, "2001:db8::40")
	w.service(twin4, model.DNAT, 0, 0, "192.0.2.41")
	for id, address := range map[uint32]string{dnat4: "10.20.0.11:8080", dnat6: "[fd10:20::b]:8080", twin4: "10.20.0.11:8080"} {
		w.backend(id*10+1, id, address)
		w.table(id, id*10+1)
		a := netip.MustParseAddrPort(address)
		for _, protocol := range []model.Protocol{model.TCP, model.UDP} {
			w.VIPs[xlb.VIPKey{Address: a.Addr(), Port: a.Port(), Protocol: protocol}] = xlb.VIP{DNATBackend: true}
		}
	}
	return w
}

func dnatWays() []way {
	var out []way
	for _, w := range []way{
		{name: "dnat4", vip: at("192.0.2.40:80"), backend: at("10.20.0.11:8080"), service: dnat4},
		{name: "dnat6", vip: at("[2001:db8::40]:80"), backend: at("[fd10:20::b]:8080"), service: dnat6},
	} {
		out = append(out, w.throughAndOnOneArm()[0])
	}
	return out
}

// twins are ways of one client, from one port, to one backend through two
// frontends.
func twins() (first, second way) {
	first = dnatWays()[0]
	second = first
	second.vip, second.service, second.number = at("192.0.2.41:80"), twin4, twin4*10+1
	return first, second
}

// Every form of packet there and back: the client's address and port stay, the
// exact bytes that leave.
func TestDNAT(t *testing.T) {
	p := newPlane(t, settings(), sizes(), gateway())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range dnatWays() {
			for _, m := range molds() {
				if m.only != 0 && m.only != w.family() {
					continue
				}
				inside(t, w.name+"/"+m.name, func(t *testing.T) {
					p.forget(t)
					nat := p.expectRequest(t, w, m, m.created()...)
					if nat != w.client {
						t.Errorf("the backend sees %v, not %v", nat, w.client)
					}
					p.expectReply(t, w, m, nat)
					p.expectRequest(t, w, m)
				})
			}
		}
	})
}

// A client that reaches one backend through two frontends, from one port, is two
// flows to that backend: the second gets another port.
func TestDNATPortTaken(t *testing.T) {
	p := newPlane(t, settings(), sizes(), gateway())
	p.bothHooks(t, func(t *testing.T) {
		first, second := twins()
		for _, m := range []mold{segment(testlab.SYN), datagram()} {
			p.forget(t) // a cell may be two ports'
			a, b := p.expectRequest(t, first, m, "flow_created"), p.expectRequest(t, second, m, "flow_created")
			if a != first.client || b.Addr() != first.client.Addr() || b.Port() == a.Port() {
				t.Errorf("the backend sees %v and %v of client %v", a, b, first.client)
			}
			p.expectReply(t, first, m, a)
			p.expectReply(t, second, m, b)
		}
	})
}

// What a backend sends that is no flow's reply is the stack's, which routes it.
func TestDNATForeign(t *testing.T) {
	p := newPlane(t, settings(), sizes(), gateway())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range dnatWays() {
			p.expect(t, w.reply(segment(testlab.ACK), w.client), want{reason: "pass_not_vip"})
			p.forget(t)
			nat := p.expectRequest(t, w, segment(testlab.SYN), "flow_created")
			for name, x := range map[string]way{
				"another port of the client":   w,
				"another port of the backend":  {near: w.near, far: w.far, backendMAC: w.backendMAC, backend: netip.AddrPortFrom(w.backend.Addr(), 9)},
				"another address of a backend": {near: w.near, far: w.far, backendMAC: w.backendMAC, backend: netip.AddrPortFrom(w.vip.Addr(), w.backend.Port())},
			} {
				to := nat
				if x.client.IsValid() {
					to = netip.AddrPortFrom(nat.Addr(), nat.Port()+1)
				}
				inside(t, w.name+"/"+name, func(t *testing.T) {
					p.expect(t, x.reply(segment(testlab.SYN|testlab.ACK), to), want{reason: "pass_not_vip"})
				})
			}
			p.expectReply(t, w, segment(testlab.SYN|testlab.ACK), nat)
		}
	})
}

// While no service needs it, nobody asks whether a packet is a dnat reply.
func TestDNATFeatureOff(t *testing.T) {
	w := gateway()
	p := newPlane(t, settings(), sizes(), w)
	p.bothHooks(t, func(t *testing.T) {
		way := dnatWays()[0]
		nat := p.expectRequest(t, way, segment(testlab.SYN), "flow_created")
		off := world{p.held}.clone()
		delete(off.Features, 0)
		p.hold(t, off)
		p.expect(t, way.reply(segment(testlab.SYN|testlab.ACK), nat), want{reason: "pass_not_vip"})
	})
}

// A port whose flow expired is the next flow's that wants it.
func TestDNATPortAgain(t *testing.T) {
	p := newPlane(t, settings(), sizes(), gateway())
	p.bothHooks(t, func(t *testing.T) {
		first, second := twins()
		p.expectRequest(t, first, datagram(), "flow_created")
		p.age(t, timeouts.UDP+4e9)
		if nat := p.expectRequest(t, second, datagram(), "flow_created"); nat != first.client {
			t.Errorf("the backend sees %v, not %v", nat, first.client)
		}
		p.expectReply(t, second, datagram(), first.client)
	})
}
