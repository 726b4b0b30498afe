package bpf_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// counts lets every service of a world count what becomes of its connections, of
// which each may try so many other backends where replies are seen.
func (w world) counts(retries int) world {
	for id, s := range w.Services {
		s.Outcomes = true
		if s.Forward.RewritesPorts() {
			s.Retries = retries
		}
		w.Services[id] = s
	}
	return w
}

// route is a way with its world.
type route struct {
	way
	world func() world
}

// answering are the ways on which replies are seen.
func answering() []route {
	return []route{
		{wayTo(nat4), standard}, {wayTo(nat6), standard}, {dnatWays()[0], gateway}, {dnatWays()[1], gateway},
	}
}

// eachOutcome runs a test for each of the routes, on each hook, in its world after a
// change.
func eachOutcome(t *testing.T, routes []route, change func(world, way) world, f func(t *testing.T, p *plane, w way)) {
	t.Helper()
	p := newPlane(t, settings(), sizes(), emptyWorld())
	p.bothHooks(t, func(t *testing.T) {
		for _, r := range routes {
			inside(t, r.name, func(t *testing.T) {
				p.hold(t, emptyWorld())
				p.hold(t, change(r.world(), r.way))
				p.forget(t)
				f(t, p, r.way)
			})
		}
	})
}

func counted(w world, _ way) world { return w.counts(0) }

// asks sends a client's packet and expects it at the backend.
func (p *plane) asks(t *testing.T, w way, flags testlab.TCPFlags, events []string, outcomes ...string) netip.AddrPort {
	t.Helper()
	return p.says(t, w, segment(flags), events, outcomes...)
}

// soon makes a SYN that comes now a copy of the last one, however slow the test is: by
// their clock that one is still to come.
func (p *plane) soon(t *testing.T) {
	t.Helper()
	p.age(t, -10*time.Second)
}

// copies sends a copy of the SYN, of which nothing comes.
func (p *plane) copies(t *testing.T, w way) {
	t.Helper()
	p.soon(t)
	p.asks(t, w, syn, nil)
}

func (p *plane) says(t *testing.T, w way, m mold, events []string, outcomes ...string) netip.AddrPort {
	t.Helper()
	var nat netip.AddrPort
	p.expect(t, w.request(m), want{
		reason: w.sends(), service: w.service, backend: w.number, events: events, outcomes: outcomes,
		out: func() []byte {
			nat = p.flow(t, w.client, w.vip, model.TCP).NAT
			return w.forwarded(m, nat)
		},
	})
	return nat
}

// answers sends the backend's packet and expects it at the client.
func (p *plane) answers(t *testing.T, w way, flags testlab.TCPFlags, nat netip.AddrPort, outcomes ...string) {
	t.Helper()
	m := segment(flags)
	p.expect(t, w.reply(m, nat), want{
		reason: w.sends(), service: w.service, backend: w.number, reply: true, outcomes: outcomes,
		out: func() []byte { return w.returned(m) },
	})
}

// synWith is a SYN with a sequence number of its own.
func synWith(sequence uint32) mold {
	m := segment(syn)
	m.pour = shape{payload: 5, transport: func(src, dst uint16) testlab.Layer {
		return testlab.TCP{SrcPort: src, DstPort: dst, Seq: sequence, Flags: syn}
	}}.pour
	return m
}

var created = []string{"flow_created"}

// A connection is one attempt with one answer, however often its packets come; what
// ends it after a FIN, or by the client, is no reset.
func TestOutcomes(t *testing.T) {
	eachOutcome(t, answering(), counted, func(t *testing.T, p *plane, w way) {
		nat := p.asks(t, w, syn, created, "attempts")
		p.answers(t, w, syn|ack, nat, "answered")
		p.answers(t, w, syn|ack, nat)
		p.asks(t, w, syn, nil)
		p.asks(t, w, ack, nil)
		p.answers(t, w, ack, nat)
		p.answers(t, w, rst, nat, "reset")
		p.answers(t, w, rst, nat)
		for name, end := range map[string]func(x way, nat netip.AddrPort){
			"client's FIN": func(x way, nat netip.AddrPort) { p.asks(t, x, fin|ack, nil) },
			"its own FIN":  func(x way, nat netip.AddrPort) { p.answers(t, x, fin|ack, nat) },
			"client's RST": func(x way, nat netip.AddrPort) { p.asks(t, x, rst, nil) },
		} {
			inside(t, name, func(t *testing.T) {
				x := w.fromPort(40100)
				p.forget(t)
				nat := p.asks(t, x, syn, created, "attempts")
				p.answers(t, x, syn|ack, nat, "answered")
				p.asks(t, x, ack, nil)
				end(x, nat)
				p.answers(t, x, rst|ack, nat)
			})
		}
	})
}

// A RST that acknowledges the SYN refuses it. Others are strangers' words, or about
// connections that the backend does not know.
func TestOutcomeRefused(t *testing.T) {
	eachOutcome(t, answering(), counted, func(t *testing.T, p *plane, w way) {
		nat := p.asks(t, w, syn, created, "attempts")
		p.answers(t, w, rst|ack, nat, "refused")
		p.answers(t, w, rst|ack, nat)
		nat = p.asks(t, w, syn, created, "attempts")
		p.answers(t, w, rst, nat)
		x := w.fromPort(40001)
		nat = p.asks(t, x, ack, []string{"flow_created", "flow_midstream"})
		p.answers(t, x, rst, nat)
	})
}

// A silence is counted once, when the SYN comes again; not for a copy.
func TestOutcomeUnanswered(t *testing.T) {
	routes := answering()
	for _, s := range []uint32{dsr4, dsr6} {
		routes = append(routes, route{wayTo(s), standard})
	}
	eachOutcome(t, routes, counted, func(t *testing.T, p *plane, w way) {
		nat := p.asks(t, w, syn, created, "attempts")
		p.copies(t, w)
		p.age(t, time.Second)
		p.asks(t, w, syn, nil, "unanswered")
		p.age(t, 2*time.Second)
		p.asks(t, w, syn, nil)
		if w.nat() {
			p.answers(t, w, syn|ack, nat, "answered")
			p.asks(t, w, ack, nil)
		} else {
			p.asks(t, w, ack, nil, "answered")
		}
		p.age(t, time.Second)
		p.asks(t, w, syn, nil)
	})
}

// From the ports of a connection that was given up another may come before the first
// is forgotten: its sequence number tells, and the table chooses for it.
func TestOutcomeOfPortsAgain(t *testing.T) {
	routes := answering()
	for _, s := range []uint32{dsr4, dsr6} {
		routes = append(routes, route{wayTo(s), standard})
	}
	eachOutcome(t, routes, counted, func(t *testing.T, p *plane, w way) {
		p.asks(t, w, syn, created, "attempts")
		p.age(t, 3*time.Second)
		other := w.over(2)
		changed := world{p.held}.clone()
		changed.add(other)
		if changed.Features[0].DNAT {
			changed.VIPs[xlb.VIPKey{Address: other.backend.Addr(), Port: other.backend.Port(), Protocol: model.TCP}] = xlb.VIP{DNATBackend: true}
		}
		changed.table(w.service, other.number)
		p.hold(t, changed)
		nat := p.says(t, other, synWith(0x99999999), created, "attempts")
		p.soon(t)
		p.says(t, other, synWith(0x99999999), nil)
		p.age(t, time.Second)
		p.says(t, other, synWith(0x99999999), nil, "unanswered")
		if w.nat() {
			p.answers(t, other, syn|ack, nat, "answered")
		} else {
			p.asks(t, other, ack, nil, "answered")
		}
		// What has been answered is what it was.
		p.says(t, other, synWith(7), nil)
		p.checkPorts(t)
	})
}

// So it is with a SYN that comes after the one before it was forgotten.
func TestOutcomeOfForgottenSYN(t *testing.T) {
	eachOutcome(t, []route{{wayTo(dsr4), standard}, {wayTo(dsr6), standard}}, counted, func(t *testing.T, p *plane, w way) {
		p.asks(t, w, syn, created, "attempts")
		p.records(t, func(number uint32, f *bpf.Flow) {
			if err := p.raw["syns"].Put(number%p.raw["syns"].MaxEntries(), bpf.Syn{}); err != nil {
				t.Fatal(err)
			}
		})
		p.age(t, 3*time.Second)
		other := w.over(2)
		changed := world{p.held}.clone()
		changed.add(other)
		changed.table(w.service, other.number)
		p.hold(t, changed)
		p.says(t, other, synWith(7), created, "attempts")
		p.asks(t, other, ack, nil, "answered")
	})
}

// Where replies pass by, the client that goes on tells that there was one.
func TestOutcomeWithoutReplies(t *testing.T) {
	eachOutcome(t, []route{{wayTo(dsr4), standard}, {wayTo(dsr6), standard}}, counted, func(t *testing.T, p *plane, w way) {
		p.asks(t, w, syn, created, "attempts")
		p.asks(t, w, ack, nil, "answered")
		p.asks(t, w, ack, nil)
		p.asks(t, w, rst, nil)
		p.asks(t, w, syn, created, "attempts")
		p.asks(t, w, rst, nil) // refused, or the client went away
		p.asks(t, w.fromPort(40001), ack, []string{"flow_created", "flow_midstream"})
	})
}

// delay makes every SYN that waits look as if it had left earlier by d.
func (p *plane) delay(t *testing.T, d time.Duration) {
	t.Helper()
	p.records(t, func(number uint32, f *bpf.Flow) {
		var cell bpf.Syn
		if err := p.raw["syns"].Lookup(number%p.raw["syns"].MaxEntries(), &cell); err != nil {
			t.Fatal(err)
		}
		if f.Tuple != 0 && cell.Left&1 == 1 {
			cell.Left = cell.Left&^0xffffffff | uint64(uint32(cell.Left)-uint32(d>>8)&^1)
			p.put(t, "syns", number, cell)
		}
	})
}

// expectLatency compares a backend's latency, of which a test takes some itself.
func (p *plane) expectLatency(t *testing.T, w way, want time.Duration) {
	t.Helper()
	got := p.set.BackendLoad(w.number).Latency
	if got < want || got > want+20*time.Millisecond || want == 0 && got != 0 {
		t.Errorf("latency is %v, want %v", got, want)
	}
}

// The time from SYN to SYN-ACK is smoothed; a SYN that was sent twice tells nothing.
func TestHandshakeLatency(t *testing.T) {
	eachOutcome(t, answering(), counted, func(t *testing.T, p *plane, w way) {
		handshake := func(port uint16, between func(x way)) {
			t.Helper()
			x := w.fromPort(port)
			nat := p.asks(t, x, syn, created, "attempts")
			between(x)
			p.answers(t, x, syn|ack, nat, "answered")
		}
		after := func(d time.Duration) func(way) { return func(way) { p.delay(t, d) } }
		handshake(41000, after(400*time.Millisecond))
		p.expectLatency(t, w, 400*time.Millisecond)
		handshake(41001, after(1200*time.Millisecond))
		p.expectLatency(t, w, 500*time.Millisecond)
		handshake(41002, func(x way) { p.copies(t, x); p.delay(t, time.Minute) })
		handshake(41003, func(x way) { p.age(t, time.Second); p.asks(t, x, syn, nil, "unanswered"); p.delay(t, time.Minute) })
		p.expectLatency(t, w, 500*time.Millisecond)
		for i := range uint16(40) {
			p.forget(t)
			handshake(42000+i, after(time.Minute))
		}
		// More than four seconds are four.
		p.expectLatency(t, w, 4260*time.Millisecond)
	})
}

// A cell may be another flow's by then.
func TestLatencyCellTaken(t *testing.T) {
	eachOutcome(t, answering(), counted, func(t *testing.T, p *plane, w way) {
		nat := p.asks(t, w, syn, created, "attempts")
		p.records(t, func(number uint32, _ *bpf.Flow) { p.put(t, "syns", number, bpf.Syn{Left: 0x12345678<<32 | 7}) })
		p.answers(t, w, syn|ack, nat, "answered")
		p.expectLatency(t, w, 0)
		// Whether a SYN is the first one's copy is not known then.
		x := w.fromPort(40001)
		p.asks(t, x, syn, created, "attempts")
		p.records(t, func(number uint32, _ *bpf.Flow) { p.put(t, "syns", number, bpf.Syn{}) })
		p.age(t, time.Second)
		p.asks(t, x, syn, nil)
		p.age(t, 2*time.Second)
		p.asks(t, x, syn, nil, "unanswered")
	})
}

// Behind XDP nothing is counted twice: neither a SYN whose next hop TC resolves nor
// one that comes again.
func TestOutcomesOfCompanion(t *testing.T) {
	for _, r := range []route{{wayTo(nat4), standard}, {wayTo(dsr6), standard}} {
		world := r.world().counts(1)
		unknown := map[int]string{4: "10.20.0.99:8080", 6: "[fd10:20::63]:80"}[r.family()]
		world.backend(r.number, r.service, unknown)
		p := newPlane(t, settings(), sizes(), world)
		inside(t, r.name, func(t *testing.T) {
			w := r.way
			w.backend = world.Backends[w.number].Address
			m := keepingMACs(segment(syn), w.requestEnds().link)
			for i, outcomes := range [][]string{{"attempts"}, nil, {"unanswered"}, nil} {
				var events []string
				if i == 0 {
					events = created
				}
				if i > 1 {
					p.age(t, time.Second)
				} else if i == 1 {
					p.soon(t)
				}
				p.hook = xdpHook
				p.expect(t, w.request(m), want{reason: "pass_neighbour", service: w.service, backend: w.number, events: events, outcomes: outcomes})
				p.hook = companion
				p.expectTo(t, w, m, "redirect")
			}
		})
	}
}

// Where nobody asks for it nothing is counted, and what was counted is forgotten with
// its number.
func TestOutcomesOfOthers(t *testing.T) {
	eachOutcome(t, answering(), func(w world, _ way) world { return w }, func(t *testing.T, p *plane, w way) {
		nat := p.asks(t, w, syn, created)
		p.answers(t, w, rst|ack, nat)
		p.expectLatency(t, w, 0)
		begin := world{p.held}.clone()
		p.hold(t, begin.clone().counts(0))
		p.asks(t, w.fromPort(40001), syn, created, "attempts")
		p.hold(t, emptyWorld())
		p.hold(t, begin)
		for name, n := range p.counters(t) {
			if name == fmt.Sprintf("backend %d outcome attempts", w.number) || name == fmt.Sprintf("service %d outcome attempts", w.service) {
				t.Errorf("%s of the number's next owner is %d", name, n)
			}
		}
	})
}
