package bpf_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// others is the number of backends that a way's service has in the tests of retries.
const others = 4

// among gives the way's service some backends and as many retries.
func among(retries int) func(world, way) world {
	return func(w world, x way) world {
		var numbers []uint32
		for n := range uint32(others) {
			b := x.over(n + 1)
			w.add(b)
			numbers = append(numbers, b.number)
			if w.Features[0].DNAT {
				for _, protocol := range []model.Protocol{model.TCP, model.UDP} {
					w.VIPs[xlb.VIPKey{Address: b.backend.Addr(), Port: b.backend.Port(), Protocol: protocol}] = xlb.VIP{DNATBackend: true}
				}
			}
		}
		w.table(x.service, numbers...)
		return w.counts(retries)
	}
}

// home is the way over the backend that the table has for it.
func (p *plane) home(w way) way {
	number := p.held.Tables[w.service].Present[slotOf(w.client, w.vip, model.TCP)]
	return w.over(number - w.service*10)
}

// begin sends a SYN to where the table says.
func (p *plane) begin(t *testing.T, w way) (way, netip.AddrPort) {
	t.Helper()
	x := p.home(w)
	return x, p.asks(t, x, syn, created, "attempts")
}

// goesOn sends the SYN again, which is to go to a backend that was not tried.
func (p *plane) goesOn(t *testing.T, tried []way, outcomes ...string) (way, netip.AddrPort) {
	t.Helper()
	failed := tried[len(tried)-1]
	m := segment(syn)
	var x way
	var nat netip.AddrPort
	before := p.counters(t)
	_, out, err := p.run(failed.request(m))
	if err != nil {
		t.Fatal(err)
	}
	f := p.flow(t, failed.client, failed.vip, model.TCP)
	for _, b := range tried {
		if b.number == f.Backend {
			t.Fatalf("it goes to backend %d, which was tried: %v", f.Backend, tried)
		}
	}
	x, nat = failed.over(f.Backend-failed.service*10), f.NAT
	if diff := testlab.Diff(x.forwarded(m, nat), out); diff != "" {
		t.Errorf("packet that left:\n%s", diff)
	}
	w := want{
		reason: x.sends(), service: x.service, backend: x.number, events: []string{"flow_created", "syn_retried"},
		outcomes: append(outcomes, "attempts", fmt.Sprintf("retried@%d", failed.number)),
	}
	p.compare(t, before, w.counters(len(failed.request(m).frame)))
	p.checkPorts(t)
	if n := p.flowCount(); n != 1 {
		t.Errorf("%d flows", n)
	}
	return x, nat
}

// refuses sends the RST with which a backend refuses; held says that nobody gets it.
func (p *plane) refuses(t *testing.T, w way, nat netip.AddrPort, held bool) {
	t.Helper()
	if !held {
		p.answers(t, w, rst|ack, nat, "refused")
		return
	}
	p.expect(t, w.reply(segment(rst|ack), nat), want{
		reason: "drop_refusal", service: w.service, backend: w.number, outcomes: []string{"refused"},
	})
}

// A connection that is refused goes to one backend after the other, and to none twice,
// while it has tries left; then the client is told.
func TestRetryRefused(t *testing.T) {
	for retries := range model.MaxRetries + 1 {
		t.Run(fmt.Sprint(retries), func(t *testing.T) {
			eachOutcome(t, answering(), among(retries), func(t *testing.T, p *plane, w way) {
				for port := range uint16(12) {
					p.forget(t)
					x, nat := p.begin(t, w.fromPort(40000+port))
					tried := []way{x}
					for range retries {
						p.refuses(t, x, nat, true)
						x, nat = p.goesOn(t, tried)
						tried = append(tried, x)
					}
					p.refuses(t, x, nat, false)
					// What comes now is a connection of its own.
					x, nat = p.begin(t, w.fromPort(40000+port))
					p.answers(t, x, syn|ack, nat, "answered")
					p.asks(t, x, ack, nil)
				}
			})
		})
	}
}

// A connection that is not answered does so too, when its SYN comes again; a copy of
// the SYN does not count. What the first backend says after all is nobody's.
func TestRetryUnanswered(t *testing.T) {
	eachOutcome(t, answering(), among(2), func(t *testing.T, p *plane, w way) {
		for port := range uint16(6) {
			p.forget(t)
			first, late := p.begin(t, w.fromPort(40000+port))
			p.copies(t, first)
			p.age(t, time.Second)
			second, nat := p.goesOn(t, []way{first}, fmt.Sprintf("unanswered@%d", first.number))
			p.expect(t, first.reply(segment(syn|ack), late), want{reason: "pass_not_vip"})
			p.expect(t, first.reply(segment(rst|ack), late), want{reason: "pass_not_vip"})
			p.copies(t, second)
			p.refuses(t, second, nat, true)
			third, nat := p.goesOn(t, []way{first, second})
			p.answers(t, third, syn|ack, nat, "answered")
			p.age(t, time.Second)
			p.asks(t, third, syn, nil)
			p.asks(t, third, ack, nil)
			p.answers(t, third, rst|ack, nat, "reset")
		}
	})
}

// The same, of a RST that comes twice, and of an answer that comes after a RST.
func TestRetryOddAnswers(t *testing.T) {
	eachOutcome(t, answering(), among(1), func(t *testing.T, p *plane, w way) {
		x, nat := p.begin(t, w)
		p.refuses(t, x, nat, true)
		p.expect(t, x.reply(segment(rst|ack), nat), want{reason: "drop_refusal", service: x.service, backend: x.number})
		p.answers(t, x, syn|ack, nat, "answered")
		p.asks(t, x, syn, nil)
		p.asks(t, x, ack, nil)
		p.answers(t, x, ack, nat)
		// A RST that refuses no SYN.
		x, nat = p.begin(t, w.fromPort(40001))
		p.answers(t, x, rst, nat)
	})
}

// Where there is no other backend the flow stays, and the next RST is the client's.
func TestRetryWithoutOther(t *testing.T) {
	for name, spoil := range map[string]func(world, way){
		"alone": func(w world, x way) { w.table(x.service, x.number) },
		"others do not serve": func(w world, x way) {
			for n := range uint32(others - 1) {
				w.serves(x.over(n+2).number, false)
			}
			w.table(x.service, x.number, x.over(2).number, x.over(3).number, x.over(4).number)
			w.Tables[x.service].Present[slotOf(x.client, x.vip, model.TCP)] = x.number
		},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(w world, x way) world {
				w = among(3)(w, x)
				spoil(w, x)
				return w
			}
			eachOutcome(t, answering(), change, func(t *testing.T, p *plane, w way) {
				x, nat := p.begin(t, w)
				p.refuses(t, x, nat, true)
				if again := p.asks(t, x, syn, nil, "attempts"); again != nat {
					t.Errorf("again from %v, not %v", again, nat)
				}
				p.refuses(t, x, nat, false)
				p.checkPorts(t)

				p.forget(t)
				x, nat = p.begin(t, w)
				p.age(t, time.Second)
				p.asks(t, x, syn, nil, "unanswered")
				p.answers(t, x, syn|ack, nat, "answered")
			})
		})
	}
}

// Where there are fewer backends than tries each is tried again, but for the one that
// has just failed.
func TestRetryFewBackends(t *testing.T) {
	change := func(w world, x way) world {
		w = among(3)(w, x)
		w.table(x.service, x.number, x.over(2).number)
		return w
	}
	eachOutcome(t, answering(), change, func(t *testing.T, p *plane, w way) {
		for port := range uint16(6) {
			p.forget(t)
			x, nat := p.begin(t, w.fromPort(40000+port))
			for range 3 {
				p.refuses(t, x, nat, true)
				x, nat = p.goesOn(t, []way{x})
			}
			p.refuses(t, x, nat, false)
		}
	})
}

// A backend that failed last is not asked again, though the table changed meanwhile.
func TestRetryAfterChange(t *testing.T) {
	eachOutcome(t, answering(), among(3), func(t *testing.T, p *plane, w way) {
		x, nat := p.begin(t, w)
		p.refuses(t, x, nat, true)
		second, nat := p.goesOn(t, []way{x})
		changed := world{p.held}.clone()
		changed.table(w.service, second.number, x.number)
		p.hold(t, changed)
		p.refuses(t, second, nat, true)
		p.goesOn(t, []way{second})
	})
}

// Fewer retries than a flow has used, or none, let it begin anew.
func TestRetryTakenBack(t *testing.T) {
	eachOutcome(t, answering(), among(2), func(t *testing.T, p *plane, w way) {
		x, nat := p.begin(t, w)
		p.refuses(t, x, nat, true)
		p.hold(t, world{p.held}.clone().counts(0))
		p.begin(t, w)
	})
}

// Datagrams are not retried, nor are connections in their middle.
func TestRetryOfOthers(t *testing.T) {
	eachOutcome(t, answering(), among(1), func(t *testing.T, p *plane, w way) {
		x := p.home(w)
		nat := p.asks(t, x, ack, []string{"flow_created", "flow_midstream"})
		p.age(t, time.Second)
		p.asks(t, x, ack, nil)
		p.answers(t, x, rst, nat)
		p.forget(t)
		number := p.held.Tables[w.service].Present[slotOf(w.client, w.vip, model.UDP)]
		x = w.over(number - w.service*10)
		p.expectRequest(t, x, datagram(), "flow_created")
		p.age(t, time.Second)
		p.expectRequest(t, x, datagram())
	})
}

// Where the policies sent a connection it stays; one that they left to the table is
// tried again without asking them.
func TestRetryOfDecisions(t *testing.T) {
	p, r := policePlane(t, policed(model.OverloadDrop))
	p.bothHooks(t, func(t *testing.T) {
		for _, s := range []uint32{nat4, nat6} {
			w := wayTo(s)
			changed := policed(model.OverloadDrop)
			changed.table(w.service, w.number, w.over(2).number)
			changed = changed.counts(1)
			p.hold(t, changed)
			hash := ^uint32(0)
			for name, d := range map[string]xlb.Decision{"backend": {Backend: w.over(2).number}, "hash": {Hash: &hash}} {
				inside(t, w.name+"/"+name, func(t *testing.T) {
					p.forgetPolicies(t, r)
					x := w.over(2)
					p.decide(t, p.expectAsked(t, r, x, segment(syn)), d)
					nat := p.asks(t, x, syn, []string{"flow_created", "decided"}, "attempts")
					p.refuses(t, x, nat, false)
				})
			}
			inside(t, w.name+"/table", func(t *testing.T) {
				p.forgetPolicies(t, r)
				x := p.home(w)
				p.decide(t, p.expectAsked(t, r, x, segment(syn)), xlb.Decision{})
				nat := p.asks(t, x, syn, []string{"flow_created", "decided"}, "attempts")
				p.refuses(t, x, nat, true)
				p.goesOn(t, []way{x})
				p.expectSilence(t, r)
			})
		}
	})
}

// Where clients are told apart by their address alone, all connections of one go the
// same way.
func TestRetryFollowsTheHash(t *testing.T) {
	change := func(w world, x way) world {
		w = among(1)(w, x)
		s := w.Services[x.service]
		s.Selection.Hash = model.HashSource
		w.Services[x.service] = s
		return w
	}
	eachOutcome(t, answering(), change, func(t *testing.T, p *plane, w way) {
		seen := map[string]bool{}
		for port := range uint16(6) {
			x := w.fromPort(40000 + port)
			p.forget(t)
			var row []uint32
			for range 2 {
				if _, _, err := p.run(x.request(segment(syn))); err != nil {
					t.Fatal(err)
				}
				f := p.flow(t, x.client, x.vip, model.TCP)
				row = append(row, f.Backend)
				if _, _, err := p.run(x.over(f.Backend-x.service*10).reply(segment(rst|ack), f.NAT)); err != nil {
					t.Fatal(err)
				}
			}
			if row[0] == row[1] {
				t.Errorf("it stays at backend %d", row[0])
			}
			seen[fmt.Sprint(row)] = true
		}
		if len(seen) != 1 {
			t.Errorf("connections of one client go by %v", seen)
		}
	})
}
