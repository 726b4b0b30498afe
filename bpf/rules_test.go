package bpf_test

import (
	"net/netip"
	"testing"

	"github.com/xlb-io/xlb/bpf"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// subset is the first table that is no service's own.
const subset = 8

// rule is a rule with its prefix as text.
func rule(prefix string, v model.Verdict, table uint32) xlb.Rule {
	return xlb.Rule{Prefix: netip.MustParsePrefix(prefix), Verdict: v, Table: table}
}

// rules gives a service rules, to which those for all other sources are added:
// taken, unless rules say something of them.
func (w world) rules(service uint32, rules ...xlb.Rule) {
	s := w.Services[service]
	s.Ruled = true
	w.Services[service] = s
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		there := false
		for _, r := range rules {
			there = there || r.Prefix.String() == all
		}
		if !there {
			rules = append(rules, rule(all, model.Taken, 0))
		}
	}
	xlb.SortRules(rules)
	w.Rules[service] = rules
}

// eachRuled runs a test for a way to every service, on both hooks, once with
// records and once, if the service can do without, without.
func eachRuled(t *testing.T, f func(t *testing.T, p *plane, w way, tracked bool)) {
	t.Helper()
	p := newPlane(t, settings(), sizes(), standard())
	for _, track := range []model.Track{model.TrackAlways, model.TrackAuto} {
		p.bothHooks(t, func(t *testing.T) {
			for _, w := range throughWays() {
				if track == model.TrackAuto && w.nat() {
					continue
				}
				inside(t, w.name+"/"+track.String(), func(t *testing.T) {
					x := standard()
					x.tracks(w.service, track)
					p.hold(t, x)
					p.forget(t)
					f(t, p, w, track == model.TrackAlways)
				})
			}
		})
	}
}

// expectBegun sends the first packet of a flow.
func (p *plane) expectBegun(t *testing.T, w way, m mold, tracked bool) {
	t.Helper()
	switch {
	case tracked:
		p.expectRequest(t, w, m, m.created()...)
	default:
		p.expectSent(t, w, m, m.protocol == model.TCP && m.flags == syn)
	}
}

// expectGoesOn sends a later one.
func (p *plane) expectGoesOn(t *testing.T, w way, m mold, tracked bool) {
	t.Helper()
	if tracked {
		p.expectRequest(t, w, m)
		return
	}
	p.expectSent(t, w, m, false)
}

func (p *plane) expectRefused(t *testing.T, w way, m mold, reason string) {
	t.Helper()
	p.expect(t, w.request(m), want{reason: reason, service: w.service})
}

// sourceOf is the prefix of a way's client, of so many bits less than its address.
func (w way) sourceOf(less int) string {
	p, err := w.client.Addr().Prefix(w.client.Addr().BitLen() - less)
	if err != nil {
		panic(err)
	}
	return p.String()
}

// A source that is denied, or not allowed, gets no packet through, whatever it is
// and whether its flow is known or not. What the backend still sends goes out.
func TestRulesRefuse(t *testing.T) {
	eachRuled(t, func(t *testing.T, p *plane, w way, tracked bool) {
		p.expectBegun(t, w, segment(syn), tracked)
		p.expectBegun(t, w, datagram(), tracked)
		x := world{p.held}.clone()
		for verdict, reason := range map[model.Verdict]string{model.Denied: "drop_denied", model.NotAllowed: "drop_not_allowed"} {
			x.rules(w.service, rule(w.sourceOf(8), verdict, 0))
			p.hold(t, x)
			for _, m := range []mold{segment(syn), segment(ack), segment(rst), datagram()} {
				p.expectRefused(t, w, m, reason)
				p.expectRefused(t, w.fromPort(40001), m, reason)
			}
		}
		if w.nat() {
			p.expectReply(t, w, segment(syn|ack), p.flow(t, w.client, w.vip, model.TCP).NAT)
		}
		// The lists of a service are no other's.
		other := wayTo(w.service%4 + 1)
		p.expectRequest(t, other, segment(syn), "flow_created")
		// And without them all is as it was.
		x = world{p.held}.clone()
		s := x.Services[w.service]
		s.Ruled = false
		x.Services[w.service] = s
		delete(x.Rules, w.service)
		p.hold(t, x)
		p.expectGoesOn(t, w, segment(ack), tracked)
		p.expectBegun(t, w.fromPort(40001), segment(syn), tracked)
	})
}

// Of the prefixes that hold a source the longest decides, and those of IPv6 say
// nothing of IPv4.
func TestRulesLongestDecides(t *testing.T) {
	eachRuled(t, func(t *testing.T, p *plane, w way, tracked bool) {
		x := world{p.held}.clone()
		x.rules(w.service, rule(w.sourceOf(16), model.Denied, 0), rule(w.sourceOf(8), model.Taken, 0), rule(w.sourceOf(0), model.Denied, 0))
		p.hold(t, x)
		p.expectRefused(t, w, segment(syn), "drop_denied")
		near := w
		near.client = netip.AddrPortFrom(w.client.Addr().Next(), w.client.Port())
		p.expectBegun(t, near, segment(syn), tracked)

		mine, others := "0.0.0.0/0", "::/0"
		if w.family() == 6 {
			mine, others = others, mine
		}
		x.rules(w.service, rule(mine, model.Taken, 0), rule(others, model.Denied, 0))
		p.hold(t, x)
		p.expectBegun(t, w, segment(syn), tracked)
		x.rules(w.service, rule(mine, model.NotAllowed, 0))
		p.hold(t, x)
		p.expectRefused(t, w, segment(syn), "drop_not_allowed")
	})
}

// Steered sources ask the table of their subset, all others the service's own.
// Flows that are recorded stay where they are when rules change.
func TestRulesSteer(t *testing.T) {
	eachRuled(t, func(t *testing.T, p *plane, w way, tracked bool) {
		second := w.over(2)
		x := world{p.held}.clone()
		x.add(second)
		x.Subsets[subset] = xlb.Subset{Service: w.service, Tag: "second"}
		x.table(subset, second.number)
		x.rules(w.service, rule(w.sourceOf(8), model.Taken, subset), rule(w.sourceOf(0), model.Taken, 0))
		p.hold(t, x)
		near := second
		near.client = netip.AddrPortFrom(w.client.Addr().Next(), w.client.Port())
		for _, m := range []mold{segment(syn), datagram()} {
			p.expectBegun(t, near, m, tracked)
			p.expectBegun(t, w, m, tracked)
		}
		x = world{p.held}.clone()
		x.rules(w.service, rule(w.sourceOf(8), model.Taken, 0), rule(w.sourceOf(0), model.Taken, subset))
		p.hold(t, x)
		if tracked {
			p.expectGoesOn(t, near, segment(ack), true)
			p.expectGoesOn(t, w, segment(ack), true)
		}
		p.expectBegun(t, second.fromPort(40001), segment(syn), tracked)
	})
}

// A service whose rules are not there, as no writer leaves it, takes everybody.
func TestRulesMissing(t *testing.T) {
	eachRuled(t, func(t *testing.T, p *plane, w way, tracked bool) {
		x := world{p.held}.clone()
		x.rules(w.service)
		delete(x.Rules, w.service)
		p.hold(t, x)
		p.expectBegun(t, w, segment(syn), tracked)
	})
}

// Two kinds of clients in turn do not disturb each other's round robin.
func TestRulesTurns(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		w := wayTo(dsr4)
		x := standard()
		s := x.Services[dsr4]
		s.Selection.Schedule = model.RoundRobin
		x.Services[dsr4] = s
		x.Subsets[subset] = xlb.Subset{Service: dsr4, Tag: "second"}
		for n := uint32(2); n <= 4; n++ {
			x.add(w.over(n))
		}
		for table, first := range map[uint32]uint32{dsr4: 1, subset: 3} {
			turns := xlb.Table{}
			for i := range uint32(slots) {
				turns.Present = append(turns.Present, w.over(first+i%2).number)
			}
			x.Tables[table] = turns
			p.put(t, "service_loads", table, bpf.Load{})
		}
		x.rules(dsr4, rule(w.sourceOf(0), model.Taken, subset))
		p.hold(t, x)
		other := w
		other.client = netip.AddrPortFrom(w.client.Addr().Next(), w.client.Port())
		got := map[netip.Addr][]uint32{}
		for port := range uint16(4) {
			for _, c := range []way{w.fromPort(41000 + port), other.fromPort(41000 + port)} {
				if _, _, err := p.run(c.request(segment(syn))); err != nil {
					t.Fatal(err)
				}
				got[c.client.Addr()] = append(got[c.client.Addr()], p.flow(t, c.client, c.vip, model.TCP).Backend)
			}
		}
		for _, turns := range got {
			for i := 1; i < len(turns); i++ {
				if turns[i] == turns[i-1] {
					t.Errorf("the turns of one kind of clients are %v", turns)
					break
				}
			}
		}
	})
}
