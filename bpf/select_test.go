package bpf_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// choosing is the standard world, each of whose services has three backends, in
// turn in the slots of its table, and chooses as told.
func choosing(s xlb.Selection) world {
	w := standard()
	for _, x := range throughWays() {
		service := w.Services[x.service]
		service.Selection = s
		w.Services[x.service] = service
		for n := range uint32(3) {
			w.add(x.over(n + 1))
		}
		t := make([]uint32, slots)
		for i := range t {
			t[i] = x.number + uint32(i)%3
		}
		w.Tables[x.service] = xlb.Table{Present: t}
	}
	return w
}

// eachChoosing runs a test for every service of such a world, on each hook.
func eachChoosing(t *testing.T, s xlb.Selection, f func(t *testing.T, p *plane, w way)) {
	t.Helper()
	p := newPlane(t, settings(), sizes(), choosing(s))
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range throughWays() {
			inside(t, w.name, func(t *testing.T) {
				p.hold(t, choosing(s))
				p.forget(t)
				p.forgetClients(t)
				f(t, p, w)
			})
		}
	})
}

func (p *plane) forgetClients(t *testing.T) {
	t.Helper()
	var keys [][24]byte
	var k, v = [24]byte{}, [8]byte{}
	for it := p.raw["affinities"].Iterate(); it.Next(&k, &v); {
		keys = append(keys, k)
	}
	for _, k := range keys {
		if err := p.raw["affinities"].Delete(k); err != nil {
			t.Fatal(err)
		}
	}
}

// chosen sends a packet, which must leave, and returns the number of the backend
// that it left to.
func (p *plane) chosen(t *testing.T, in packet) uint32 {
	t.Helper()
	count := func(id uint32) uint64 {
		c, err := p.set.BackendTraffic(id)
		if err != nil {
			t.Fatal(err)
		}
		return c.Request.Packets
	}
	before := map[uint32]uint64{}
	for id := range p.held.Backends {
		before[id] = count(id)
	}
	if verdict, _, err := p.run(in); err != nil || verdict != "redirect" {
		t.Fatalf("%s, %v", verdict, err)
	}
	for id, n := range before {
		if count(id) == n+1 {
			return id
		}
	}
	t.Fatal("no backend had a packet")
	return 0
}

// settle opens a connection from a port and returns its backend, which must stay the
// same for all of its packets.
func (p *plane) settle(t *testing.T, w way, port uint16) uint32 {
	t.Helper()
	w = w.fromPort(port)
	id := p.chosen(t, w.request(segment(syn)))
	for _, m := range []mold{segment(syn), segment(ack), segment(fin | ack)} {
		if other := p.chosen(t, w.request(m)); other != id {
			t.Fatalf("%s of a connection with backend %d went to %d", m.name, id, other)
		}
	}
	return id
}

// shares opens n connections and returns how many each backend got of them.
func (p *plane) shares(t *testing.T, w way, n int) map[uint32]int {
	t.Helper()
	out := map[uint32]int{}
	for i := range n {
		if i%50 == 49 {
			p.forget(t) // the table is small
		}
		out[p.settle(t, w, uint16(20000+i))]++
	}
	return out
}

// A draw by chance follows the shares of the table.
func TestRandom(t *testing.T) {
	eachChoosing(t, xlb.Selection{Schedule: model.Random}, func(t *testing.T, p *plane, w way) {
		const n = 600
		got := p.shares(t, w, n)
		for i, slots13 := range []float64{5, 4, 4} {
			want := n * slots13 / slots
			if have := float64(got[w.number+uint32(i)]); math.Abs(have-want) > 6*math.Sqrt(want) {
				t.Errorf("backend %d has %v of %d connections, want about %.0f", i+1, have, n, want)
			}
		}
	})
}

// Turns go through the table, slot after slot, whoever calls.
func TestRoundRobin(t *testing.T) {
	eachChoosing(t, xlb.Selection{Schedule: model.RoundRobin}, func(t *testing.T, p *plane, w way) {
		var order []uint32
		for i := range uint16(2 * slots) {
			order = append(order, p.settle(t, w, 20000+i)-w.number)
		}
		begun := 0
		for order[begun] != 0 || order[(begun+slots-1)%(2*slots)] != 0 {
			begun++ // slots 12 and 0 are of one backend
		}
		for i := range slots {
			if at := order[(begun+i)%(2*slots)]; at != uint32(i)%3 {
				t.Fatalf("turns were %v", order)
			}
		}
	})
}

// Of two backends drawn the one with fewer connections for its weight is taken.
func TestLeastConnections(t *testing.T) {
	eachChoosing(t, xlb.Selection{Schedule: model.LeastConnections}, func(t *testing.T, p *plane, w way) {
		weighed := choosing(xlb.Selection{Schedule: model.LeastConnections})
		for n, weight := range []uint16{1, 1, 2} {
			id := w.number + uint32(n)
			b := weighed.Backends[id]
			b.Weight = weight
			weighed.Backends[id] = b
		}
		weighed.table(w.service, w.number, w.number+1, w.number+2, w.number+2)
		p.hold(t, weighed)
		p.correct(t)
		const n = 40 // of 64 records
		for i := range uint16(n) {
			p.chosen(t, w.fromPort(20000+i).request(segment(syn)))
		}
		for i, want := range []int{n / 4, n / 4, n / 2} {
			if got := p.set.BackendLoad(w.number + uint32(i)).Connections; got < want-6 || got > want+6 {
				t.Errorf("backend %d has %d of %d connections, want about %d", i+1, got, n, want)
			}
		}
		// One that loses its connections gets most of the new ones: 3 of 4 draws of
		// two have it, if it has two of four parts.
		p.forget(t)
		p.correct(t)
		before := p.set.BackendLoad(w.number + 2).Connections
		if before != 0 {
			t.Fatalf("%d connections are left", before)
		}
		for i := range uint32(2) {
			p.burden(t, w.number+i, 1000)
		}
		for i := range uint16(n) {
			p.chosen(t, w.fromPort(30000+i).request(segment(syn)))
		}
		if got := p.set.BackendLoad(w.number + 2).Connections; got < n/2 {
			t.Errorf("the idle backend has %d of %d new connections", got, n)
		}
		p.forget(t)
		p.correct(t)
	})
}

// burden makes a backend look as if it had more connections.
func (p *plane) burden(t *testing.T, id uint32, connections int32) {
	t.Helper()
	var load [64]byte
	if err := p.raw["backend_loads"].Lookup(id, &load); err != nil {
		t.Fatal(err)
	}
	load[0], load[1], load[2], load[3] = byte(connections), byte(connections>>8), byte(connections>>16), byte(connections>>24)
	p.put(t, "backend_loads", id, load)
}

// Of two backends drawn the quicker is taken, or the one that nobody measured.
func TestLeastLatency(t *testing.T) {
	eachChoosing(t, xlb.Selection{Schedule: model.LeastLatency}, func(t *testing.T, p *plane, w way) {
		equal := choosing(xlb.Selection{Schedule: model.LeastLatency})
		equal.table(w.service, w.number, w.number+1)
		p.hold(t, equal)
		for _, c := range []struct{ first, second time.Duration }{{2 * time.Millisecond, time.Millisecond}, {time.Second, 0}} {
			p.set.SetLatency(w.number, c.first)
			p.set.SetLatency(w.number+1, c.second)
			const n = 200
			got := p.shares(t, w, n)
			// Slow twice in a row: (7/13)² of the draws.
			if slow := float64(got[w.number]); slow < 0.15*n || slow > 0.45*n {
				t.Errorf("a backend with %v has %v of %d connections beside one with %v, want 29 %%", c.first, slow, n, c.second)
			}
		}
		p.set.SetLatency(w.number, 0)
	})
}

// What goes on and is not known was not drawn: it goes where the table says, and
// where it said before.
func TestDrawnMidstream(t *testing.T) {
	for _, s := range []model.Schedule{model.Random, model.RoundRobin, model.LeastConnections, model.LeastLatency} {
		eachChoosing(t, xlb.Selection{Schedule: s}, func(t *testing.T, p *plane, w way) {
			old := p.chosen(t, w.request(segment(ack)))
			for range 10 {
				p.forget(t)
				if id := p.chosen(t, w.request(segment(ack))); id != old {
					t.Fatalf("%v: backend %d, and then %d", s, old, id)
				}
			}
			if w.nat() {
				return
			}
			p.forget(t)
			changed := choosing(xlb.Selection{Schedule: s})
			next := w.number + (old-w.number+1)%3
			changed.table(w.service, next)
			changed.mark(w.service, old)
			p.hold(t, changed)
			if id := p.chosen(t, w.request(segment(ack))); id != old {
				t.Errorf("%v: after a change it went from %d to %d", s, old, id)
			}
			if id := p.chosen(t, w.fromPort(2).request(segment(syn))); id != next {
				t.Errorf("%v: a new one went to %d", s, id)
			}
			// Of a datagram nobody knows; it counts as a new flow.
			if id := p.chosen(t, w.fromPort(3).request(datagram())); id != next {
				t.Errorf("%v: a datagram went to %d", s, id)
			}
		})
	}
}

// Without a backend nothing is drawn.
func TestDrawnWithoutBackend(t *testing.T) {
	for _, s := range []model.Schedule{model.Random, model.RoundRobin, model.LeastConnections, model.LeastLatency} {
		eachChoosing(t, xlb.Selection{Schedule: s}, func(t *testing.T, p *plane, w way) {
			none := choosing(xlb.Selection{Schedule: s})
			none.table(w.service)
			p.hold(t, none)
			p.expect(t, w.request(segment(syn)), want{reason: "drop_no_backend", service: w.service})
		})
	}
}

// Each datagram by itself: drawn, and nothing recorded.
func TestOnePacket(t *testing.T) {
	for _, s := range []model.Schedule{model.Random, model.RoundRobin} {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			x := choosing(xlb.Selection{Schedule: s, OnePacket: true})
			for id := range x.Services {
				x.tracks(id, model.TrackNever)
			}
			p := newPlane(t, settings(), sizes(), x)
			p.bothHooks(t, func(t *testing.T) {
				for _, w := range []way{wayTo(dsr4), wayTo(dsr6)} {
					seen := map[uint32]int{}
					for range 60 {
						seen[p.chosen(t, w.request(datagram()))]++
					}
					if len(seen) != 3 {
						t.Errorf("60 datagrams went to %v", seen)
					}
					if n := p.flowCount(); n != 0 {
						t.Errorf("%d flows are recorded", n)
					}
				}
			})
		})
	}
}

// Where nobody can ask the policies a backend is drawn all the same: one flow, again
// and again, does not always go where its hash says.
func TestDrawnWithoutDaemon(t *testing.T) {
	for _, s := range []model.Schedule{model.Random, model.RoundRobin, model.LeastConnections, model.LeastLatency} {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			x := choosing(xlb.Selection{Schedule: s})
			for id := range x.Services {
				x.polices(id, model.OverloadContinue, plenty, plenty)
			}
			p := newPlane(t, settings(), sizes(), x)
			p.bothHooks(t, func(t *testing.T) {
				for _, w := range throughWays() {
					seen := map[uint32]int{}
					for range 40 {
						p.forget(t)
						seen[p.chosen(t, w.request(segment(syn)))]++
					}
					if len(seen) < 2 {
						t.Errorf("%s: 40 flows went to %v", w.name, seen)
					}
				}
			})
		})
	}
}

// A flow that the policies are asked about takes its turn once, though its packet
// comes by twice; what they say of it goes before the turn.
func TestRoundRobinWithPolicies(t *testing.T) {
	policedWays(t, model.OverloadDrop, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		x := policed(model.OverloadDrop)
		s := x.Services[w.service]
		s.Selection.Schedule = model.RoundRobin
		x.Services[w.service] = s
		second := w.over(2)
		table := make([]uint32, slots)
		for i := range table {
			table[i] = []uint32{w.number, second.number}[i%2]
		}
		x.Tables[w.service] = xlb.Table{Present: table}
		p.hold(t, x)
		var turns []uint32
		for i := range uint16(8) {
			from := w.fromPort(42000 + i)
			if err := p.set.Heartbeat(); err != nil {
				t.Fatal(err)
			}
			if verdict, _, err := p.run(from.request(segment(syn))); err != nil || verdict != "drop" {
				t.Fatal(verdict, err)
			}
			p.decide(t, p.waiting(t, r)[0], xlb.Decision{})
			turns = append(turns, p.chosen(t, from.request(segment(syn))))
		}
		same := 0
		for i := range turns[1:] {
			if turns[i] == turns[i+1] {
				same++ // from slot 12 to slot 0
			}
		}
		if same > 1 {
			t.Errorf("turns were %v", turns)
		}
		from := w.fromPort(43000)
		if _, _, err := p.run(from.request(segment(syn))); err != nil {
			t.Fatal(err)
		}
		p.decide(t, p.waiting(t, r)[0], xlb.Decision{Backend: turns[7]})
		if id := p.chosen(t, from.request(segment(syn))); id != turns[7] {
			t.Errorf("the policies' backend is %d, and it went to %d", turns[7], id)
		}
	})
}
