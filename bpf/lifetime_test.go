package bpf_test

import (
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// word is one packet of a connection and the state it leaves behind.
type word struct {
	from  string // client or backend
	flags testlab.TCPFlags
	state string
}

// conversations under nat; a backend's words are not seen under l2dsr, where
// the second column of states holds.
var conversations = map[string]struct{ nat, l2dsr []word }{
	"handshake": {
		nat:   []word{{"client", syn, "syn"}, {"client", syn, "syn"}, {"backend", syn | ack, "syn"}, {"client", ack, "established"}, {"backend", ack, "established"}},
		l2dsr: []word{{"client", syn, "syn"}, {"client", syn, "syn"}, {"client", ack, "established"}},
	},
	"never answered": {
		nat: []word{{"client", syn, "syn"}, {"client", ack, "syn"}},
	},
	"client closes": {
		nat:   []word{{"client", syn, "syn"}, {"backend", syn | ack, "syn"}, {"client", fin | ack, "fin"}, {"backend", ack, "fin"}, {"backend", fin | ack, "closed"}, {"client", ack, "closed"}},
		l2dsr: []word{{"client", syn, "syn"}, {"client", fin | ack, "fin"}, {"client", ack, "fin"}},
	},
	"backend closes": {
		nat: []word{{"client", syn, "syn"}, {"backend", syn | ack, "syn"}, {"client", ack, "established"}, {"backend", fin | ack, "fin"}, {"client", ack, "fin"}, {"client", fin | ack, "closed"}, {"backend", ack, "closed"}},
	},
	"client resets": {
		nat:   []word{{"client", syn, "syn"}, {"backend", syn | ack, "syn"}, {"client", ack, "established"}, {"client", rst, "closed"}, {"backend", ack, "closed"}},
		l2dsr: []word{{"client", syn, "syn"}, {"client", ack, "established"}, {"client", rst | ack, "closed"}},
	},
	"backend refuses": {
		nat: []word{{"client", syn, "syn"}, {"backend", rst | ack, "closed"}},
	},
	"forged reset": {
		nat:   []word{{"client", syn, "syn"}, {"backend", syn | ack, "syn"}, {"client", ack, "established"}, {"client", rst, "closed"}, {"backend", rst, "closed"}, {"client", ack, "closed"}, {"backend", ack, "established"}},
		l2dsr: []word{{"client", syn, "syn"}, {"client", ack, "established"}, {"client", rst, "closed"}, {"client", ack, "established"}},
	},
}

var ofState = map[string]time.Duration{
	"syn": timeouts.TCPSyn, "established": timeouts.TCPEstablished, "fin": timeouts.TCPFin,
	"closed": timeouts.TCPClosed, "active": timeouts.UDP,
}

// Every packet of a connection is forwarded like any other, and each state has
// its own time to live.
func TestStates(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		for name, c := range conversations {
			words := c.nat
			if !w.nat() {
				words = c.l2dsr
			}
			inside(t, name, func(t *testing.T) {
				p.forget(t)
				for i, x := range words {
					p.say(t, w, x, i == 0)
					f := p.flow(t, w.client, w.vip, model.TCP)
					if f.State != x.state {
						t.Fatalf("word %d, %s %v: state %s, want %s", i, x.from, x.flags, f.State, x.state)
					}
					if left := ofState[x.state] - f.Expires; left < -10*time.Millisecond || left > 2*time.Second {
						t.Errorf("word %d, %s %v: expires in %v, of %v", i, x.from, x.flags, f.Expires, ofState[x.state])
					}
				}
			})
		}
		p.expectRequest(t, w, datagram(), "flow_created")
		if f := p.flow(t, w.client, w.vip, model.UDP); f.State != "active" || f.Expires < timeouts.UDP-2*time.Second {
			t.Errorf("UDP: %+v", f)
		}
	})
}

func (p *plane) say(t *testing.T, w way, x word, first bool) {
	t.Helper()
	switch {
	case x.from == "backend":
		p.expectReply(t, w, segment(x.flags), p.flow(t, w.client, w.vip, model.TCP).NAT)
	case first:
		p.expectRequest(t, w, segment(x.flags), "flow_created")
	default:
		p.expectRequest(t, w, segment(x.flags))
	}
}

// A SYN on the ports of a closed connection is a new one: the table chooses
// again. While the old one lives, it is a retransmission.
func TestPortReuse(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		endings := map[string][]word{
			"reset": {{"client", rst, ""}},
		}
		if w.nat() {
			endings["fin both ways"] = []word{{"client", fin | ack, ""}, {"backend", fin | ack, ""}, {"client", ack, ""}}
			endings["backend's reset"] = []word{{"backend", rst, ""}}
		}
		other := w.over(2)
		for name, ending := range endings {
			inside(t, name, func(t *testing.T) {
				p.forget(t)
				changed := standard()
				changed.add(other)
				p.hold(t, changed)
				p.connect(t, w)
				changed.table(w.service, other.number)
				p.hold(t, changed)
				p.expectRequest(t, w, segment(syn))
				for _, x := range ending {
					p.say(t, w, x, false)
				}
				nat := p.expectRequest(t, other, segment(syn), "flow_created")
				p.expectRequest(t, other, segment(syn))
				if w.nat() {
					p.expectReply(t, other, segment(syn|ack), nat)
				}
				if n := p.flowCount(); n != 1 {
					t.Errorf("%d flows", n)
				}
				p.checkPorts(t)
			})
		}
	})
}

// A flow that was idle for too long is forgotten in both directions; its next
// packet begins a new one.
func TestExpiry(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		prepare := map[string][]word{
			"syn":         {{"client", syn, ""}},
			"established": {{"client", syn, ""}, {"backend", syn | ack, ""}, {"client", ack, ""}},
			"fin":         {{"client", syn, ""}, {"client", fin | ack, ""}},
			"closed":      {{"client", syn, ""}, {"client", rst, ""}},
		}
		for state, words := range prepare {
			inside(t, state, func(t *testing.T) {
				p.forget(t)
				for i, x := range words {
					if x.from == "client" || w.nat() {
						p.say(t, w, x, i == 0)
					}
				}
				nat := p.flow(t, w.client, w.vip, model.TCP).NAT
				p.age(t, ofState[state]-2*time.Second)
				if f := p.flow(t, w.client, w.vip, model.TCP); f.State != state || f.Expires < time.Second || f.Expires > 3*time.Second {
					t.Errorf("before it expires: %+v", f)
				}
				p.age(t, 3*time.Second)
				if n := p.flowCount(); n != 0 {
					t.Fatalf("%d flows", n)
				}
				if w.nat() {
					p.expect(t, w.reply(segment(ack), nat), want{reason: "pass_not_vip"})
					p.expect(t, w.request(segment(rst)), want{reason: "drop_no_flow", service: w.service})
				}
				p.expectRequest(t, w, segment(syn), "flow_created")
				if n := p.flowCount(); n != 1 {
					t.Errorf("%d flows", n)
				}
				p.checkPorts(t)
			})
		}
		p.expectRequest(t, w, datagram(), "flow_created")
		p.age(t, timeouts.UDP+time.Second)
		p.expectRequest(t, w, datagram(), "flow_created")
	})
}

// A flow that goes on does not expire, however short its timeout.
func TestBusyFlowLives(t *testing.T) {
	eachWay(t, func(t *testing.T, p *plane, w way) {
		for _, timeout := range []time.Duration{time.Second, 2 * time.Second, time.Hour} {
			short := standard()
			short.timeouts(w.service, model.Timeouts{
				TCPSyn: timeout, TCPEstablished: timeout, TCPFin: timeout, TCPClosed: timeout, UDP: timeout,
			})
			p.hold(t, short)
			p.forget(t)
			nat := p.connect(t, w)
			p.expectRequest(t, w, datagram(), "flow_created")
			step := timeout * 3 / 5
			for range 4 {
				p.age(t, step)
				p.expectRequest(t, w, segment(ack))
				if w.nat() {
					p.expectReply(t, w, segment(ack), nat)
				}
				p.expectRequest(t, w, datagram())
				for f := range p.set.Flows() {
					if f.Expires < timeout*3/5 {
						t.Errorf("of %v only %v are left after a packet", timeout, f.Expires)
					}
				}
			}
		}
	})
}
