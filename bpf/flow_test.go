package bpf_test

import (
	"net/netip"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

const (
	syn = testlab.SYN
	ack = testlab.ACK
	fin = testlab.FIN
	rst = testlab.RST
)

// over is the way over another backend of its service: 12 to 14 on the
// servers' segment are numbers 12 to 14, 22 to 24 and so on.
func (w way) over(n uint32) way {
	w.number = w.service*10 + n
	w.backendMAC = mac(20, byte(10+n))
	segment := segments[1].v4
	if w.family() == 6 {
		segment = segments[1].v6
	}
	w.backend = netip.AddrPortFrom(host(segment, byte(10+n)), w.backend.Port())
	return w
}

// add puts the way's backend into the world.
func (w world) add(x way) { w.backend(x.number, x.service, x.backend.String()) }

func throughWays() []way { return []way{wayTo(nat4), wayTo(nat6), wayTo(dsr4), wayTo(dsr6)} }

// eachWay runs a test for every service, on each hook, in the standard world.
func eachWay(t *testing.T, f func(t *testing.T, p *plane, w way)) {
	t.Helper()
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range throughWays() {
			inside(t, w.name, func(t *testing.T) {
				p.hold(t, standard())
				p.forget(t)
				f(t, p, w)
			})
		}
	})
}

// A SYN that comes again finds its flow: same backend, same port, nothing new.
func TestRetransmittedSYN(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		nat := p.expectRequest(t, w, segment(syn), "flow_created")
		for range 5 {
			if again := p.expectRequest(t, w, segment(syn)); again != nat {
				t.Errorf("again from %v, not %v", again, nat)
			}
		}
		p.checkPorts(t)
	})
}

// A flow keeps its backend while that serves, whatever the table says.
func TestFlowKeepsItsBackend(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		nat := p.connect(t, w)
		other := w.over(2)
		changed := standard()
		changed.add(other)
		for _, table := range [][]uint32{{w.number, other.number}, {other.number, w.number}, {other.number}, {}} {
			changed.table(w.service, table...)
			p.hold(t, changed)
			if again := p.expectRequest(t, w, segment(ack)); again != nat {
				t.Errorf("again from %v, not %v", again, nat)
			}
			if w.nat() {
				p.expectReply(t, w, segment(ack), nat)
			}
		}
		changed.table(w.service, other.number)
		p.hold(t, changed)
		p.expectRequest(t, other.fromPort(40001), segment(syn), "flow_created")
	})
}

// A flow whose backend no longer serves gets another at its next packet, and
// the old record is gone with its port.
func TestFlowMoves(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		nat := p.connect(t, w)
		other := w.over(2)
		changed := standard()
		changed.add(other)
		changed.serves(w.number, false)
		changed.table(w.service, other.number)
		p.hold(t, changed)
		moved := p.expectRequest(t, other, segment(ack), "flow_created", "flow_midstream", "flow_moved")
		p.expectRequest(t, other, segment(ack))
		if n := p.flowCount(); n != 1 {
			t.Errorf("%d flows", n)
		}
		p.checkPorts(t)
		if w.nat() {
			// Nobody waits for the old backend's words any more.
			p.expect(t, w.reply(segment(ack), nat), want{reason: "pass_not_vip"})
			p.expectReply(t, other, segment(ack), moved)
		}
		// A removed backend is one that does not serve.
		third := w.over(3)
		gone := standard()
		delete(gone.Backends, w.number)
		gone.add(third)
		gone.table(w.service, third.number)
		p.hold(t, gone)
		p.expectRequest(t, third, segment(ack), "flow_created", "flow_midstream", "flow_moved")
		p.checkPorts(t)
	})
}

// Without a backend to offer the service drops; a flow that lost its backend
// has not moved then.
func TestNoBackend(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		p.connect(t, w)
		empty := standard()
		empty.serves(w.number, false)
		empty.table(w.service)
		p.hold(t, empty)
		for range 3 {
			p.expect(t, w.request(segment(ack)), want{reason: "drop_no_backend", service: w.service})
		}
		for _, m := range []mold{segment(syn), datagram(), segment(ack)} {
			p.expect(t, w.fromPort(40001).request(m), want{reason: "drop_no_backend", service: w.service})
		}
		noTable := standard()
		delete(noTable.Tables, w.service)
		p.hold(t, noTable)
		p.expect(t, w.fromPort(40001).request(segment(syn)), want{reason: "drop_no_backend", service: w.service})
		// What is back serves the flow as before.
		p.hold(t, standard())
		p.expectRequest(t, w, segment(ack))
	})
}

// A removed service is not ours any more, in neither direction.
func TestServiceRemoved(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		nat := p.connect(t, w)
		gone := standard()
		gone.without(w.service)
		p.hold(t, gone)
		p.expect(t, w.request(segment(ack)), want{reason: "pass_not_vip"})
		p.expect(t, w.fromPort(40001).request(segment(syn)), want{reason: "pass_not_vip"})
		if w.nat() {
			p.expect(t, w.reply(segment(ack), nat), want{reason: "pass_not_vip"})
		}
	})
}

// The key is the whole five-tuple with the VIP and its port.
func TestFlowsAreDistinct(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		https := w
		https.vip = netip.AddrPortFrom(w.vip.Addr(), 443)
		second := w
		second.vip = at(map[int]string{4: "192.0.2.99:80", 6: "[2001:db8::99]:80"}[w.family()])
		neighbour := w
		neighbour.client = netip.AddrPortFrom(w.client.Addr().Next(), w.client.Port())
		neighbour.clientMAC = mac(10, 254)
		if w.nat() {
			// The reply to 10.10.0.3 would need its neighbour; a distant
			// client has a router.
			neighbour.client = at(map[int]string{4: "198.51.100.7:40000", 6: "[2001:db8:c::7]:40000"}[w.family()])
		}
		more := standard()
		for _, protocol := range []model.Protocol{model.TCP, model.UDP} {
			more.frontend(w.service, second.vip.Addr().String(), 80, protocol)
		}
		p.hold(t, more)
		ports := map[netip.AddrPort]way{}
		ways := []way{w, https, second, neighbour, w.fromPort(40001), w.fromPort(80), w.fromPort(0)}
		for _, x := range ways {
			nat := p.expectRequest(t, x, segment(syn), "flow_created")
			if other, taken := ports[nat]; taken && w.nat() {
				t.Errorf("%v shares %v with %v", x.client, nat, other.client)
			}
			ports[nat] = x
			p.expectRequest(t, x, datagram(), "flow_created")
		}
		if n := p.flowCount(); n != 2*len(ways) {
			t.Errorf("%d flows, want %d", n, 2*len(ways))
		}
		if w.nat() {
			for nat, x := range ports {
				p.expectReply(t, x, segment(syn|ack), nat)
			}
		}
		p.checkPorts(t)
	})
}

// A packet amid a connection that nobody knows makes a flow and says so; a
// SYN with ACK is such a packet.
func TestMidstream(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		for i, flags := range []testlab.TCPFlags{ack, syn | ack, fin | ack, ack | testlab.PSH, 0} {
			p.expectRequest(t, w.fromPort(uint16(50000+i)), segment(flags), "flow_created", "flow_midstream")
		}
	})
}

// A RST of a connection that nobody knows makes no flow. Under nat there is
// nowhere to send it; under l2dsr the table knows.
func TestRSTOfUnknownFlow(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		for _, flags := range []testlab.TCPFlags{rst, rst | ack} {
			m := segment(flags)
			if w.nat() {
				p.expect(t, w.request(m), want{reason: "drop_no_flow", service: w.service})
			} else {
				p.expect(t, w.request(m), want{
					reason: "redirect", service: w.service, backend: w.number,
					out: func() []byte { return w.forwarded(m, netip.AddrPort{}) },
				})
			}
			if n := p.flowCount(); n != 0 {
				t.Errorf("%d flows", n)
			}
		}
	})
}

// A backend's packet to a port that no flow took towards it is the host's own.
func TestReplyOfStranger(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		if !w.nat() {
			return
		}
		nat := p.connect(t, w)
		untouched := func(x way, m mold, to netip.AddrPort) {
			t.Helper()
			p.expect(t, x.reply(m, to), want{reason: "pass_not_vip"})
		}
		otherHost, otherPort := w.over(2), w
		otherPort.backend = netip.AddrPortFrom(w.backend.Addr(), 8081)
		untouched(otherHost, segment(ack), nat)
		untouched(otherPort, segment(ack), nat)
		untouched(w, datagram(), nat)
		for _, port := range []uint16{0, 22, 1023, 1024, 32767, 32768, 65535, nat.Port() + 1, nat.Port() - 1} {
			untouched(w, segment(ack), netip.AddrPortFrom(nat.Addr(), port))
		}
		p.expectReply(t, w, segment(ack), nat)
	})
}

// An address may be VIP and source at once, and a frontend's port one that nat
// may take: replies are told from requests by who sends them.
func TestSourceIsVIP(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		if !w.nat() {
			return
		}
		both := standard()
		source := either(w.vip, "10.20.0.1:2048", "[fd10:20::1]:2048")
		for _, protocol := range []model.Protocol{model.TCP, model.UDP} {
			both.frontend(w.service, source.Addr().String(), source.Port(), protocol)
			both.frontend(w.service, source.Addr().String(), 80, protocol)
		}
		p.hold(t, both)
		low, high := w, w
		low.vip, high.vip = netip.AddrPortFrom(source.Addr(), 80), source
		for _, x := range []way{low, high, w} {
			nat := p.connect(t, x)
			p.expectReply(t, x, segment(ack), nat)
		}
		// The backend as a client of the frontend whose port nat could take.
		backend := high
		backend.near, backend.clientMAC, backend.client = servers, w.backendMAC, netip.AddrPortFrom(w.backend.Addr(), 8080)
		p.expectRequest(t, backend, segment(syn), "flow_created")
	})
}
