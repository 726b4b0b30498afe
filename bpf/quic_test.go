package bpf_test

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// routing is a world whose services' servers have IDs of four octets, in
// configuration 2.
func routing() world {
	w := choosing(xlb.Selection{QUICServerID: 4})
	w.QUICServers = map[xlb.QUICServer]uint32{}
	for _, x := range throughWays() {
		w.tracks(x.service, model.TrackAuto)
		for n, id := range []string{"0a0b0c01", "0a0b0c02", "0a0b0c03"} {
			w.QUICServers[xlb.QUICServer{Service: x.service, Config: 2, ID: id}] = x.number + uint32(n)
		}
	}
	return w
}

// connectionID is one of configuration config that names server n of three.
func connectionID(config, n byte) []byte {
	return []byte{config<<5 | 7, 0x0a, 0x0b, 0x0c, n, 0xde, 0xad, 0xbe}
}

// short and long are packets with a destination's connection ID.
func short(id []byte) mold { return quicMold("short", slices.Concat([]byte{0x41}, id, []byte("rest"))) }
func long(id []byte) mold {
	return quicMold("long", slices.Concat([]byte{0xc3, 0, 0, 0, 1, byte(len(id))}, id, []byte{0}, make([]byte, 30)))
}

func quicMold(name string, payload []byte) mold {
	m := mold{name: name, protocol: model.UDP}
	m.pour = func(e ends) []byte {
		layers := []testlab.Layer{e.link}
		if e.src.Addr().Is4() {
			layers = append(layers, testlab.IPv4{Src: e.src.Addr(), Dst: e.dst.Addr(), TTL: e.ttl, DontFragment: true})
		} else {
			layers = append(layers, testlab.IPv6{Src: e.src.Addr(), Dst: e.dst.Addr(), HopLimit: e.ttl})
		}
		return testlab.Build(append(layers, testlab.UDP{SrcPort: e.src.Port(), DstPort: e.dst.Port()}, testlab.Payload(payload))...)
	}
	m.bare = m.pour
	return m
}

func eachRouting(t *testing.T, f func(t *testing.T, p *plane, w way)) {
	t.Helper()
	p := newPlane(t, settings(), sizes(), routing())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range throughWays() {
			inside(t, w.name, func(t *testing.T) {
				p.hold(t, routing())
				p.forget(t)
				f(t, p, w)
			})
		}
	})
}

// Wherever a client sends from, its packets go to the server that its connection ID
// names.
func TestQUICFollowsConnectionID(t *testing.T) {
	eachRouting(t, func(t *testing.T, p *plane, w way) {
		for n := range byte(3) {
			for i := range uint16(10) {
				for _, m := range []mold{short(connectionID(2, n+1)), long(connectionID(2, n+1))} {
					x := w.fromPort(3000 + 10*uint16(n) + i)
					if id := p.chosen(t, x.request(m)); id != w.number+uint32(n) {
						t.Fatalf("%s header with server %d went to %d", m.name, n+1, id-w.number+1)
					}
				}
			}
		}
	})
}

// An ID that names nobody changes nothing: the flow's backend is the table's.
func TestQUICUnroutable(t *testing.T) {
	eachRouting(t, func(t *testing.T, p *plane, w way) {
		for i := range uint16(12) {
			x := w.fromPort(3000 + i)
			p.forget(t)
			home := p.chosen(t, x.request(udpMold("udp", shape{payload: 0})))
			for what, m := range map[string]mold{
				"another server":          short(connectionID(2, 9)),
				"another configuration":   short(connectionID(1, 1)),
				"no configuration":        short(connectionID(7, 1)),
				"short and too short":     quicMold("", slices.Concat([]byte{0x41}, connectionID(2, 1)[:4])),
				"long and too short":      quicMold("", slices.Concat([]byte{0xc3, 0, 0, 0, 1, 4}, connectionID(2, 1))),
				"long and cut off":        quicMold("", slices.Concat([]byte{0xc3, 0, 0, 0, 1, 8}, connectionID(2, 1)[:4])),
				"long without an ID":      quicMold("", []byte{0xc3, 0, 0, 0, 1, 0, 0x47, 0xa, 0xb, 0xc, 1, 0}),
				"a long header's version": quicMold("", []byte{0xc3, 0, 0}),
				"an octet":                quicMold("", []byte{0x41}),
			} {
				if id := p.chosen(t, x.request(m)); id != home {
					t.Errorf("%s: went to %d, not %d", what, id, home)
				}
			}
		}
	})
}

// A server that does not serve is not asked for, and no other service's is.
func TestQUICServerAway(t *testing.T) {
	eachRouting(t, func(t *testing.T, p *plane, w way) {
		changed := routing()
		changed.serves(w.number, false)
		changed.table(w.service, w.number+1)
		delete(changed.QUICServers, xlb.QUICServer{Service: w.service, Config: 2, ID: "0a0b0c03"})
		p.hold(t, changed)
		for _, n := range []byte{1, 3} {
			if id := p.chosen(t, w.fromPort(3000+uint16(n)).request(short(connectionID(2, n)))); id != w.number+1 {
				t.Errorf("server %d: went to %d", n, id-w.number+1)
			}
		}
	})
}

// A flow of the same ports that is recorded with another server gives way to an ID
// that names one; the answers of the new server come through then.
func TestQUICNamedBeatsRecord(t *testing.T) {
	eachRouting(t, func(t *testing.T, p *plane, w way) {
		if !w.nat() {
			return
		}
		first, second := short(connectionID(2, 1)), short(connectionID(2, 2))
		routed := p.event(t, "quic")
		a := p.expectRequest(t, w, first, "flow_created", "quic")
		p.expectRequest(t, w, first)
		moved := w.over(2)
		b := p.expectRequest(t, moved, second, "flow_created", "quic")
		p.expectRequest(t, moved, second)
		p.expectReply(t, moved, datagram(), b)
		p.expect(t, w.reply(datagram(), a), want{reason: "pass_not_vip"})
		// Without a name the record holds.
		p.expectRequest(t, moved, datagram())
		if n := p.event(t, "quic") - routed; n != 2 {
			t.Errorf("%d are counted, want 2", n)
		}
		p.checkPorts(t)
	})
}

// Where answers pass us by nothing is recorded of a connection whose server is the
// slot's, and of one whose server is another, what keeps it when that is removed.
func TestQUICRecordsStrays(t *testing.T) {
	eachRouting(t, func(t *testing.T, p *plane, w way) {
		if w.nat() {
			return
		}
		for n := range byte(3) {
			x := w.over(uint32(n) + 1)
			all := routing()
			all.table(w.service, x.number)
			p.hold(t, all)
			p.forget(t)
			m := short(connectionID(2, n+1))
			p.expectSent(t, x, m, false)
			if n := p.flowCount(); n != 0 {
				t.Errorf("%d flows are recorded", n)
			}
			all.table(w.service, w.number+uint32(n+1)%3)
			p.hold(t, all)
			p.expectSent(t, x, m, false, "flow_created", "quic")
			p.expectSent(t, x, m, false)
			if f := p.flow(t, x.client, x.vip, model.UDP); f.Backend != x.number {
				t.Errorf("recorded with %d", f.Backend)
			}
		}
	})
}

// The answers pass by whoever is named, with records and without.
func TestQUICTrackNever(t *testing.T) {
	eachRouting(t, func(t *testing.T, p *plane, w way) {
		if w.nat() {
			return
		}
		never := routing()
		never.tracks(w.service, model.TrackNever)
		p.hold(t, never)
		for n := range byte(3) {
			p.expectSent(t, w.over(uint32(n)+1), long(connectionID(2, n+1)), false)
		}
		if n := p.flowCount(); n != 0 {
			t.Errorf("%d flows are recorded", n)
		}
	})
}

// Names of one, eight and fifteen octets.
func TestQUICServerIDLengths(t *testing.T) {
	for _, length := range []uint8{1, 8, 15} {
		x := routing()
		id := slices.Repeat([]byte{0xa7}, int(length))
		x.QUICServers = map[xlb.QUICServer]uint32{}
		for _, w := range throughWays() {
			s := x.Services[w.service]
			s.Selection.QUICServerID = length
			x.Services[w.service] = s
			x.QUICServers[xlb.QUICServer{Service: w.service, Config: 6, ID: hex.EncodeToString(id)}] = w.number + 2
		}
		p := newPlane(t, settings(), sizes(), x)
		p.bothHooks(t, func(t *testing.T) {
			for _, w := range throughWays() {
				full := slices.Concat([]byte{6 << 5}, id, make([]byte, 4))
				for _, m := range []mold{short(full), long(full)} {
					if got := p.chosen(t, w.request(m)); got != w.number+2 {
						t.Errorf("%d octets, %s: went to %d", length, m.name, got-w.number+1)
					}
				}
			}
		})
	}
}

// In a slot that has just changed, what opens a connection goes to the present
// backend, as a SYN does, and what nobody can tell to the one before.
func TestQUICOpensInMarkedSlot(t *testing.T) {
	eachRouting(t, func(t *testing.T, p *plane, w way) {
		if w.nat() {
			return
		}
		changed := routing()
		changed.table(w.service, w.number+1)
		changed.mark(w.service, w.number)
		p.hold(t, changed)
		random := connectionID(5, 77)
		p.expectSent(t, w.over(2).fromPort(3001), long(random), false, "flow_created")
		p.expectSent(t, w.over(2).fromPort(3001), short(random), false)
		p.expectSent(t, w.fromPort(3002), short(random), false, "flow_created", "flow_inherited")
		p.expectSent(t, w.fromPort(3003), long(connectionID(2, 1)), false, "flow_created", "quic")
	})
}
