package bpf_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/model"
)

// checkPorts compares the two halves of every nat flow, the record and the
// cell of its port: each has the other, and no cell is left over.
func (p *plane) checkPorts(t *testing.T) {
	t.Helper()
	owners := map[uint32]uint32{}
	for i := range p.raw["ports"].MaxEntries() {
		var line bpf.PortLine
		if err := p.raw["ports"].Lookup(i, &line); err != nil {
			t.Fatal(err)
		}
		for c, owner := range line.Cell {
			if owner != 0 {
				owners[i*bpf.PortCells+uint32(c)] = owner
			}
		}
	}
	p.records(t, func(number uint32, f *bpf.Flow) {
		if f.Meta>>40&1 == 1 {
			t.Errorf("record %d is left half-written: %+v", number, *f)
		}
		if f.Tuple == 0 && f.NatPort != 0 {
			t.Errorf("free record %d holds a port: %+v", number, *f)
		}
		if f.Tuple == 0 || f.NatPort == 0 {
			return
		}
		if owners[f.Cell] != number+1 {
			t.Errorf("cell %d of record %d belongs to %d", f.Cell, number, owners[f.Cell])
		}
		delete(owners, f.Cell)
	})
	for cell, owner := range owners {
		t.Errorf("cell %d belongs to record %d, which does not have it", cell, owner-1)
	}
}

// fewPorts is a plane with a range of four source ports.
func fewPorts(t *testing.T, w world) *plane {
	t.Helper()
	s, z := settings(), sizes()
	s.NATPorts = model.PortRange{First: 2000, Last: 2003}
	// Ports of different backends share cells; among so many none of these do.
	z.Flows = 1 << 17
	return newPlane(t, s, z, w)
}

// natOnly are the ways of nat.
func natOnly() []way { return []way{wayTo(nat4), wayTo(nat6)} }

// expectNoPort sends a packet of a flow that gets no port.
func (p *plane) expectNoPort(t *testing.T, w way, m mold) {
	t.Helper()
	flows := p.flowCount()
	p.expect(t, w.request(m), want{reason: "drop_nat_ports", service: w.service, backend: w.number})
	if n := p.flowCount(); n != flows {
		t.Errorf("%d flows became %d", flows, n)
	}
	p.checkPorts(t)
}

// fill makes n connections that must get n different ports.
func (p *plane) fill(t *testing.T, w way, m mold, n int, taken map[netip.AddrPort]way) {
	t.Helper()
	for i := range n {
		x := w.fromPort(w.client.Port() + uint16(i))
		nat := p.expectRequest(t, x, m, "flow_created")
		if other, ok := taken[nat]; ok {
			t.Errorf("%v has %v, which %v has", x.client, nat, other.client)
		}
		taken[nat] = x
	}
}

// Who finds no free port is dropped and counted, and leaves nothing behind;
// towards another backend, or with another protocol, there are ports.
func TestPortsRunOut(t *testing.T) {
	p := fewPorts(t, standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range natOnly() {
			inside(t, w.name, func(t *testing.T) {
				p.hold(t, standard())
				p.forget(t)
				taken := map[netip.AddrPort]way{}
				p.fill(t, w, segment(syn), 4, taken)
				late := w.fromPort(50000)
				for range 20 {
					p.expectNoPort(t, late, segment(syn))
				}
				for nat, x := range taken {
					p.expectReply(t, x, segment(syn|ack), nat)
					p.expectRequest(t, x, segment(ack))
				}
				p.fill(t, w, datagram(), 4, map[netip.AddrPort]way{})
				p.expectNoPort(t, late, datagram())

				other := w.over(2)
				more := standard()
				more.add(other)
				more.table(w.service, other.number)
				p.hold(t, more)
				p.fill(t, other.fromPort(51000), segment(syn), 4, map[netip.AddrPort]way{})
				p.expectNoPort(t, other.fromPort(52000), segment(syn))
			})
		}
	})
}

// The port of a closed flow is free again when the flow has expired and nobody
// can be using it any more.
func TestPortIsFreeAgain(t *testing.T) {
	p := fewPorts(t, standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range natOnly() {
			inside(t, w.name, func(t *testing.T) {
				p.forget(t)
				taken := map[netip.AddrPort]way{}
				for i := range uint16(4) {
					x := w.fromPort(w.client.Port() + i)
					taken[p.connect(t, x)] = x
				}
				late := w.fromPort(50000)
				p.expectNoPort(t, late, segment(syn))
				first := p.flow(t, w.client, w.vip, model.TCP).NAT
				p.expectRequest(t, w, segment(rst))
				p.expectNoPort(t, late, segment(syn))
				p.age(t, timeouts.TCPClosed+time.Second/10)
				p.expectNoPort(t, late, segment(syn))
				p.age(t, 3*time.Second)
				if nat := p.expectRequest(t, late, segment(syn), "flow_created"); nat != first {
					t.Errorf("port %v, want %v", nat, first)
				}
				p.expectReply(t, late, segment(syn|ack), first)
				// The old owner is a stranger now.
				p.expect(t, w.request(segment(rst)), want{reason: "drop_no_flow", service: w.service})
				p.expect(t, w.request(segment(ack)), want{reason: "drop_nat_ports", service: w.service, backend: w.number})
				for nat, x := range taken {
					if nat != first {
						p.expectRequest(t, x, segment(ack))
						p.expectReply(t, x, segment(ack), nat)
					}
				}
			})
		}
	})
}

// Every source address brings its ports.
func TestSeveralSources(t *testing.T) {
	world := standard()
	for i, a := range []string{"10.20.0.201", "10.20.0.202", "10.20.0.203"} {
		world.source(uint32(2+i), a)
	}
	for i, a := range []string{"fd10:20::201", "fd10:20::202", "fd10:20::203"} {
		world.source(uint32(5+i), a)
	}
	for id, first := range map[uint32]uint16{nat4: 2, nat6: 5} {
		s := world.Services[id]
		s.FirstSource, s.Sources = first, 3
		world.Services[id] = s
	}
	p := fewPorts(t, world)
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range natOnly() {
			inside(t, w.name, func(t *testing.T) {
				taken := map[netip.AddrPort]way{}
				p.fill(t, w, segment(syn), 12, taken)
				p.expectNoPort(t, w.fromPort(50000), segment(syn))
				sources := map[netip.Addr]int{}
				for nat, x := range taken {
					sources[nat.Addr()]++
					p.expectReply(t, x, segment(syn|ack), nat)
				}
				for a, n := range sources {
					if n != 4 || len(sources) != 3 {
						t.Errorf("%d flows from %v, of %d sources", n, a, len(sources))
					}
				}
			})
		}
	})
}

// A backend that two services have is one to whom no port goes twice.
func TestBackendOfTwoServices(t *testing.T) {
	world := standard()
	for service, like := range map[uint32]uint32{5: nat4, 6: nat6} {
		w := wayTo(like)
		world.service(service, model.NAT, uint16(like-1), 1, map[uint32]string{5: "192.0.2.50", 6: "2001:db8::50"}[service])
		world.backend(service*10-20, service, w.backend.String())
		world.table(service, service*10-20)
	}
	p := fewPorts(t, world)
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range natOnly() {
			inside(t, w.name, func(t *testing.T) {
				second := w
				second.vip = either(w.vip, "192.0.2.50:80", "[2001:db8::50]:80")
				second.service = w.service + 4
				second.number = second.service*10 - 20
				taken := map[netip.AddrPort]way{}
				p.fill(t, w, segment(syn), 2, taken)
				p.fill(t, second, segment(syn), 2, taken)
				p.expectNoPort(t, w.fromPort(50000), segment(syn))
				p.expectNoPort(t, second.fromPort(50000), segment(syn))
				for nat, x := range taken {
					p.expectReply(t, x, segment(syn|ack), nat)
				}
			})
		}
	})
}

// Without a source address there is nothing to translate to.
func TestNoSource(t *testing.T) {
	world := standard()
	for _, id := range []uint32{nat4, nat6} {
		s := world.Services[id]
		s.Sources = 0
		world.Services[id] = s
	}
	p := newPlane(t, settings(), sizes(), world)
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range natOnly() {
			p.expectNoPort(t, w, segment(syn))
		}
	})
}
