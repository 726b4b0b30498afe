package bpf_test

import (
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// counting is the standard world, in which connections are counted.
func counting() world {
	w := standard()
	for id, s := range w.Services {
		s.Selection.Schedule = model.LeastConnections
		w.Services[id] = s
	}
	return w
}

// expectLoad compares the count of a way's connections with the number wanted.
func (p *plane) expectLoad(t *testing.T, w way, connections int) {
	t.Helper()
	if n := p.set.BackendLoad(w.number).Connections; n != connections {
		t.Errorf("backend %d has %d connections, want %d", w.number, n, connections)
	}
	if n := p.set.ServiceLoad(w.service).Connections; n != connections {
		t.Errorf("service %d has %d connections, want %d", w.service, n, connections)
	}
}

// correct lets the daemon look, and says how many counts it found wrong.
func (p *plane) correct(t *testing.T) int {
	t.Helper()
	wrong, err := p.set.CorrectLoads()
	if err != nil {
		t.Fatal(err)
	}
	return wrong
}

// eachCounted runs a test for every service, none of which has a connection.
func eachCounted(t *testing.T, f func(t *testing.T, p *plane, w way)) {
	t.Helper()
	p := newPlane(t, settings(), sizes(), counting())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range throughWays() {
			inside(t, w.name, func(t *testing.T) {
				p.hold(t, counting())
				p.forget(t)
				p.correct(t)
				p.expectLoad(t, w, 0)
				f(t, p, w)
				if n := p.correct(t); n != 0 {
					t.Errorf("%d counts were wrong at last", n)
				}
			})
		}
	})
}

// A connection counts from its SYN to its end, once, however often it speaks.
func TestConnectionsAreCounted(t *testing.T) {
	eachCounted(t, func(t *testing.T, p *plane, w way) {
		nat := p.connect(t, w)
		p.expectLoad(t, w, 1)
		p.expectRequest(t, w, segment(ack))
		p.connect(t, w.fromPort(40001))
		p.expectLoad(t, w, 2)
		p.expectRequest(t, w, segment(fin|ack))
		if w.nat() {
			p.expectLoad(t, w, 2) // the backend has more to say
			p.expectReply(t, w, segment(fin|ack), nat)
		}
		p.expectLoad(t, w, 1)
		p.expectRequest(t, w, segment(ack))
		p.expectLoad(t, w, 1)
		// The same ports once more.
		p.expectRequest(t, w, segment(fin|ack))
		p.expectLoad(t, w, 1)
	})
}

// A reset ends a connection; a forged one, after which it goes on, does not.
func TestResetConnectionIsNotCounted(t *testing.T) {
	eachCounted(t, func(t *testing.T, p *plane, w way) {
		p.connect(t, w)
		p.expectRequest(t, w, segment(rst))
		p.expectLoad(t, w, 0)
		p.expectRequest(t, w, segment(ack))
		p.expectLoad(t, w, 1)
		p.expectRequest(t, w, segment(rst))
		p.expectRequest(t, w, segment(syn), "flow_created")
		p.expectLoad(t, w, 1)
	})
}

// A connection that moves counts where it is.
func TestMovedConnectionIsCounted(t *testing.T) {
	eachCounted(t, func(t *testing.T, p *plane, w way) {
		p.connect(t, w)
		other := w.over(2)
		changed := counting()
		changed.add(other)
		changed.serves(w.number, false)
		changed.table(w.service, other.number)
		p.hold(t, changed)
		p.expectRequest(t, other, segment(ack), "flow_created", "flow_midstream", "flow_moved")
		p.expectLoad(t, other, 1)
		if n := p.set.BackendLoad(w.number).Connections; n != 0 {
			t.Errorf("the backend that is down has %d connections", n)
		}
	})
}

// One that expired counts until the daemon looks, and not twice as ended if its
// ports are used again before.
func TestExpiredConnectionIsCorrected(t *testing.T) {
	eachCounted(t, func(t *testing.T, p *plane, w way) {
		p.connect(t, w)
		p.connect(t, w.fromPort(40001))
		p.age(t, 2*time.Minute)
		p.expectLoad(t, w, 2)
		p.expectRequest(t, w, segment(syn), "flow_created")
		p.expectLoad(t, w, 3)
		if n := p.correct(t); n != 2 {
			t.Errorf("%d counts were wrong, want those of backend and service", n)
		}
		p.expectLoad(t, w, 1)
	})
}

// Where nobody needs it nothing is counted, and what was is forgotten with its
// number.
func TestLoadsOfOthers(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range throughWays() {
			p.connect(t, w)
			p.expectLoad(t, w, 0)
			p.set.SetLatency(w.number, time.Millisecond)
			if l := p.set.BackendLoad(w.number).Latency; l != time.Millisecond {
				t.Errorf("latency is %v", l)
			}
			p.hold(t, emptyWorld())
			p.hold(t, standard())
			if l := p.set.BackendLoad(w.number).Latency; l != 0 {
				t.Errorf("the number's next owner has a latency of %v", l)
			}
		}
	})
}

// One that was given up for another is not counted any more.
func TestEvictedConnectionIsNotCounted(t *testing.T) {
	eachCounted(t, func(t *testing.T, p *plane, w way) {
		evicted := p.event(t, "flow_evicted")
		const tried = 300
		for i := range uint16(tried) {
			if _, _, err := p.run(w.fromPort(40000 + i).request(segment(syn))); err != nil {
				t.Fatal(err)
			}
		}
		n := tried - int(p.event(t, "flow_evicted")-evicted)
		if n == tried {
			t.Fatal("nothing was evicted")
		}
		p.expectLoad(t, w, n)
	})
}
