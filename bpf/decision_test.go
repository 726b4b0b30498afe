package bpf_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// A flow goes where the policies say: to a backend, to that of another hash, or
// where the table says. Its packet takes the decision with it, and those that
// follow need none.
func TestDecisionSends(t *testing.T) {
	policedWays(t, model.OverloadDrop, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		changed := policed(model.OverloadDrop)
		changed.table(w.service, w.number, w.over(2).number)
		p.hold(t, changed)
		first, last := uint32(0), ^uint32(0)
		port := uint16(41000)
		for name, c := range map[string]struct {
			decision xlb.Decision
			to       way
		}{
			"first backend":       {xlb.Decision{Backend: w.number}, w},
			"second backend":      {xlb.Decision{Backend: w.over(2).number}, w.over(2)},
			"low hash":            {xlb.Decision{Hash: &first}, w},
			"high hash":           {xlb.Decision{Hash: &last}, w.over(2)},
			"backend before hash": {xlb.Decision{Backend: w.number, Hash: &last}, w},
		} {
			inside(t, name, func(t *testing.T) {
				for _, m := range []mold{segment(syn), datagram()} {
					port++
					to := c.to.fromPort(port)
					p.decide(t, p.expectAsked(t, r, to, m), c.decision)
					p.expectNotAsked(t, r, to, m, "flow_created", "decided")
					p.expectNotAsked(t, r, to, m)
					if n := p.decisions(t, unchanged); n != 0 {
						t.Errorf("%d decisions are left", n)
					}
				}
			})
		}
		inside(t, "table", func(t *testing.T) {
			for range uint16(10) {
				port++
				to := w.fromPort(port)
				if slotOf(to.client, to.vip, model.TCP) > slots/2 {
					to = to.over(2).fromPort(port)
				}
				p.decide(t, p.expectAsked(t, r, to, segment(syn)), xlb.Decision{})
				p.expectNotAsked(t, r, to, segment(syn), "flow_created", "decided")
			}
		})
	})
}

// A flow that the policies drop is dropped for five seconds, and then asked about
// again.
func TestDecisionDrops(t *testing.T) {
	policedWays(t, model.OverloadContinue, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		for _, m := range []mold{segment(syn), segment(ack), datagram()} {
			p.decide(t, p.expectAsked(t, r, w, m), xlb.Decision{Drop: true})
			dropped := func() {
				t.Helper()
				p.expect(t, w.request(m), want{reason: "drop_policy", service: w.service})
				p.expectSilence(t, r)
			}
			dropped()
			dropped()
			p.decisions(t, older(4900*time.Millisecond-time.Second))
			dropped()
			p.decisions(t, older(1200*time.Millisecond))
			p.expectAsked(t, r, w, m)
			// Another flow of the same client is another matter.
			p.expectAsked(t, r, w.fromPort(40001), m)
			if n := p.flowCount(); n != 0 {
				t.Errorf("%d flows are recorded", n)
			}
		}
	})
}

// A decision that waited too long, or is about another service's flow, is none.
func TestDecisionLapses(t *testing.T) {
	policedWays(t, model.OverloadDrop, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		u := p.expectAsked(t, r, w, segment(syn))
		p.decide(t, u, xlb.Decision{})
		p.decisions(t, older(5100*time.Millisecond))
		u = p.expectAsked(t, r, w, segment(syn))
		u.Service++
		p.decide(t, u, xlb.Decision{Drop: true})
		p.expectAsked(t, r, w, segment(syn))
	})
}

// A decision for a backend that is down, gone, or another service's, leaves the
// choice to the table.
func TestDecisionForNoBackend(t *testing.T) {
	policedWays(t, model.OverloadDrop, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		second := w.over(2).number
		for name, spoil := range map[string]func(world){
			"down":      func(x world) { x.serves(second, false) },
			"gone":      func(x world) { delete(x.Backends, second) },
			"another's": func(x world) { x.backend(second, w.service%4+1, w.over(2).backend.String()) },
		} {
			inside(t, name, func(t *testing.T) {
				p.forgetPolicies(t, r)
				x := policed(model.OverloadDrop)
				spoil(x)
				p.hold(t, x)
				p.decide(t, p.expectAsked(t, r, w, segment(syn)), xlb.Decision{Backend: second})
				p.expectNotAsked(t, r, w, segment(syn), "flow_created", "decided")
			})
		}
	})
}

// A connection in its middle has its backend: of a decision only the drop counts.
func TestDecisionMidstream(t *testing.T) {
	policedWays(t, model.OverloadDrop, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		last := ^uint32(0)
		x := policed(model.OverloadDrop)
		x.table(w.service, w.number, w.over(2).number)
		x.mark(w.service, w.number)
		if w.nat() {
			x.table(w.service, w.number) // has no marks
		}
		p.hold(t, x)
		events := []string{"flow_created", "flow_midstream", "decided"}
		for port := range uint16(8) {
			to := w.fromPort(40000 + port)
			p.decide(t, p.expectAsked(t, r, to, segment(ack)), xlb.Decision{Backend: w.over(2).number, Hash: &last})
			e := events
			if !w.nat() && slotOf(to.client, to.vip, model.TCP) > slots/2 {
				e = append(e[:3:3], "flow_inherited")
			}
			p.expectNotAsked(t, r, to, segment(ack), e...)
			p.expectNotAsked(t, r, to, segment(ack))
		}
	})
}

// A new connection in the place of a closed one, and a flow that was idle for too
// long, are asked about, and go where the decision says.
func TestDecisionReplacesRecord(t *testing.T) {
	policedWays(t, model.OverloadDrop, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		second := xlb.Decision{Backend: w.over(2).number}
		p.decide(t, p.expectAsked(t, r, w, segment(syn)), xlb.Decision{})
		p.expectNotAsked(t, r, w, segment(syn), "flow_created", "decided")
		p.expectNotAsked(t, r, w, segment(rst))
		p.decide(t, p.expectAsked(t, r, w, segment(syn)), second)
		p.expectNotAsked(t, r, w.over(2), segment(syn), "flow_created", "decided")
		p.expectNotAsked(t, r, w.over(2), segment(ack))

		p.age(t, 10*time.Minute)
		p.expectAsked(t, r, w, segment(ack))
		p.decide(t, p.expectAsked(t, r, w, segment(syn)), xlb.Decision{})
		p.expectNotAsked(t, r, w, segment(syn), "flow_created", "decided")

		p.age(t, 10*time.Minute)
		p.decide(t, p.expectAsked(t, r, w, segment(syn)), xlb.Decision{Drop: true})
		p.expect(t, w.request(segment(syn)), want{reason: "drop_policy", service: w.service})
	})
}

// A connection that loses its backend was asked about, and gets another by the
// table; a datagram may be a new flow's.
func TestDecisionMoved(t *testing.T) {
	policedWays(t, model.OverloadDrop, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		second := xlb.Decision{Backend: w.over(2).number}
		for _, m := range []mold{segment(syn), datagram()} {
			p.decide(t, p.expectAsked(t, r, w, m), second)
			p.expectNotAsked(t, r, w.over(2), m, "flow_created", "decided")
		}
		p.expectNotAsked(t, r, w.over(2), segment(ack))
		x := policed(model.OverloadDrop)
		x.serves(w.over(2).number, false)
		p.hold(t, x)
		p.expectNotAsked(t, r, w, segment(ack), "flow_created", "flow_midstream", "flow_moved")
		p.decide(t, p.expectAsked(t, r, w, datagram()), second)
		p.expectNotAsked(t, r, w, datagram(), "flow_created", "flow_moved", "decided")
	})
}

// In a marked slot a SYN begins with the present backend and an unknown datagram
// goes on with the previous one, unless the policies name another.
func TestDecisionInMarkedSlot(t *testing.T) {
	w := changing(model.TrackAuto)
	w.polices(dsr4, model.OverloadDrop, plenty, plenty)
	p, r := policePlane(t, w)
	p.bothHooks(t, func(t *testing.T) {
		p.forgetPolicies(t, r)
		sent := func(to way, m mold, d xlb.Decision, events ...string) {
			t.Helper()
			p.decide(t, p.expectAsked(t, r, to, m), d)
			p.expectSent(t, to, m, false, append([]string{"flow_created", "decided"}, events...)...)
			p.expectSent(t, to, m, false)
		}
		to := wayTo(dsr4)
		sent(to.toBackend(present), segment(testlab.SYN), xlb.Decision{})
		sent(to.toBackend(previous), datagram(), xlb.Decision{}, "flow_inherited")
		sent(to.fromPort(40001).toBackend(other), segment(testlab.SYN), xlb.Decision{Backend: other})
		sent(to.fromPort(40001).toBackend(other), datagram(), xlb.Decision{Backend: other})
	})
}

// Without a usable backend there is nothing to ask.
func TestNoBackendIsNotAsked(t *testing.T) {
	policedWays(t, model.OverloadContinue, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		x := policed(model.OverloadContinue)
		x.table(w.service)
		p.hold(t, x)
		p.expect(t, w.request(segment(syn)), want{reason: "drop_no_backend", service: w.service})
		p.expectSilence(t, r)
	})
}

// A decision that waits can be looked at, with the words of the configuration.
func TestDecisionDump(t *testing.T) {
	p, r := policePlane(t, policed(model.OverloadDrop))
	hash := uint32(7)
	for service, c := range map[uint32]struct {
		decision xlb.Decision
		want     string
	}{
		nat4: {xlb.Decision{Drop: true}, `"drop":true,"expires_ms":N,"service":1`},
		dsr6: {xlb.Decision{Backend: 42, Hash: &hash}, `"backend":42,"drop":false,"expires_ms":N,"hash":7,"service":4`},
	} {
		p.hook = xdpHook
		inside(t, wayTo(service).name, func(t *testing.T) {
			p.forgetPolicies(t, r)
			w := wayTo(service)
			p.decide(t, p.expectAsked(t, r, w, datagram()), c.decision)
			d, err := p.set.Dump("decisions")
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(d.Entries)
			if err != nil {
				t.Fatal(err)
			}
			got := regexp.MustCompile(`"expires_ms":\d+`).ReplaceAllString(string(b), `"expires_ms":N`)
			want := fmt.Sprintf(`[{"key":{"client":%q,"protocol":"udp","vip":%q},"value":{%s}}]`, w.client, w.vip, c.want)
			if got != want {
				t.Errorf("shown as\n%s, want\n%s", got, want)
			}
			p.decisions(t, older(6*time.Second))
			if d, err = p.set.Dump("decisions"); err != nil || len(d.Entries) != 0 {
				t.Errorf("what has lapsed is shown as %v, error %v", d.Entries, err)
			}
		})
	}
}
