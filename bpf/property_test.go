package bpf_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// tiny is a plane of 16 flows, where nearly every new flow evicts one, and of
// two nat services per family that share three backends.
func tiny(t *testing.T) *plane {
	t.Helper()
	s, z := settings(), sizes()
	s.NATPorts = model.PortRange{First: 2000, Last: 2063}
	z.Flows = 16
	w := standard()
	for _, like := range []uint32{nat4, nat6} {
		for service, vip := range map[uint32]string{
			like: map[uint32]string{nat4: "192.0.2.10", nat6: "2001:db8::10"}[like], like + 4: secondVIP(like),
		} {
			w.service(service, model.NAT, uint16(like-1), 1, vip)
			var numbers []uint32
			for n := range uint32(3) {
				id := backendNumber(service, n)
				w.backend(id, service, wayTo(like).over(n+1).backend.String())
				numbers = append(numbers, id)
			}
			w.table(service, numbers...)
		}
	}
	return newPlane(t, s, z, w)
}

func secondVIP(like uint32) string {
	return map[uint32]string{nat4: "192.0.2.50", nat6: "2001:db8::50"}[like]
}

// backendNumber: 1, 2, 3, 4 .. for (service 1, 2, 5, 6) and three backends each.
func backendNumber(service, n uint32) uint32 { return service*3 + n + 1 }

// key is what identifies a flow.
type key struct {
	client, vip netip.AddrPort
	protocol    model.Protocol
}

// nat is what identifies its other half.
type nat struct {
	source, backend netip.AddrPort
	protocol        model.Protocol
}

// live returns the flows of the table, and checks that no two share either half.
func (p *plane) live(t *testing.T) map[key]xlb.Flow {
	t.Helper()
	flows, nats := map[key]xlb.Flow{}, map[nat]key{}
	for f := range p.set.Flows() {
		k := key{f.Client, f.VIP, f.Protocol}
		if old, twice := flows[k]; twice {
			t.Fatalf("two records: %+v, %+v", old, f)
		}
		flows[k] = f
		n := p.natOf(f)
		if other, taken := nats[n]; taken {
			t.Fatalf("%v and %v both have %v", other, k, n)
		}
		nats[n] = k
	}
	return flows
}

func (p *plane) natOf(f xlb.Flow) nat {
	return nat{f.NAT, p.held.Backends[f.Backend].Address, f.Protocol}
}

// wayOf is how a flow's packets travel; of an unknown flow, only the client's.
func (p *plane) wayOf(k key, f xlb.Flow) way {
	w := wayTo(nat4)
	if k.vip.Addr().Is6() {
		w = wayTo(nat6)
	}
	w.client, w.vip, w.service, w.number = k.client, k.vip, f.Service, f.Backend
	w.clientMAC = mac(10, 254)
	if b, ok := p.held.Backends[f.Backend]; ok {
		w.backend = b.Address
		last := b.Address.Addr().AsSlice()
		w.backendMAC = mac(20, last[len(last)-1])
	}
	return w
}

// wordOf is a packet of the flow's protocol.
func wordOf(protocol model.Protocol, flags testlab.TCPFlags) mold {
	if protocol == model.UDP {
		return datagram()
	}
	return segment(flags)
}

// deliver sends a packet and says whether it left, as it should then.
func (p *plane) deliver(t *testing.T, in packet, right []byte) bool {
	t.Helper()
	verdict, out, err := p.run(in)
	if err != nil {
		t.Fatal(err)
	}
	if verdict != "redirect" {
		return false
	}
	if diff := testlab.Diff(right, out); diff != "" {
		t.Fatal(diff)
	}
	return true
}

// history drives random connections and knows what became of them.
type history struct {
	*plane
	random *rand.Rand
	gone   map[key]xlb.Flow // evicted, and not made again
	steps  int
	held   int // RSTs kept from clients that try another backend
	// retries: all is TCP, and more packets are of flows that live.
	retries bool
}

// Whatever comes: no two live flows share a port, the two directions of a flow
// live and die together, and evictions are counted one by one.
func TestRandomHistory(t *testing.T) { randomHistory(t, tiny(t), false) }

// The same where connections that fail try other backends.
func TestRandomHistoryOfRetries(t *testing.T) {
	p := tiny(t)
	p.hold(t, world{p.held}.clone().counts(2))
	h := randomHistory(t, p, true)
	if n := p.event(t, "syn_retried"); n < 10 || h.held < 10 {
		t.Errorf("only %d retries and %d RSTs held back: the history proves nothing", n, h.held)
	}
}

func randomHistory(t *testing.T, p *plane, retries bool) (h *history) {
	t.Helper()
	p.bothHooks(t, func(t *testing.T) {
		h = &history{plane: p, random: rand.New(rand.NewPCG(7, 11)), gone: map[key]xlb.Flow{}, retries: retries}
		evicted := h.event(t, "flow_evicted")
		for h.steps = range 2500 {
			h.step(t)
			if h.steps%25 == 0 {
				h.checkBothWays(t)
				h.checkPorts(t)
			}
		}
		if n := h.event(t, "flow_evicted") - evicted; n < 500 && !retries || n < 100 {
			t.Errorf("only %d evictions: the history proves nothing", n)
		}
	})
	return h
}

// dropped is how many packets were dropped for a reason.
func (p *plane) dropped(t *testing.T, reason string) uint64 {
	t.Helper()
	return p.counters(t)["reason "+reason+" packets"]
}

func (p *plane) event(t *testing.T, name string) uint64 {
	t.Helper()
	events, err := p.set.Events()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Name == name {
			return e.Packets
		}
	}
	t.Fatalf("no event %s", name)
	return 0
}

// someone is one of some hundred possible flows.
func (h *history) someone() key {
	n := h.random.IntN(2)
	client := []string{"198.51.100.%d", "2001:db8:c::%d"}[n]
	vips := [][]string{{"192.0.2.10", "192.0.2.50"}, {"2001:db8::10", "2001:db8::50"}}[n]
	return key{
		netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf(client, 1+h.random.IntN(3))), uint16(40000+h.random.IntN(3))),
		netip.AddrPortFrom(netip.MustParseAddr(vips[h.random.IntN(2)]), []uint16{80, 443}[h.random.IntN(2)]),
		h.protocol(),
	}
}

func (h *history) protocol() model.Protocol {
	if h.retries {
		return model.TCP
	}
	return []model.Protocol{model.TCP, model.UDP}[h.random.IntN(2)]
}

// oneOf is one of the live flows, or another if there are none.
func (h *history) oneOf(live map[key]xlb.Flow, other key) key {
	keys := slices.SortedFunc(maps.Keys(live), func(a, b key) int {
		return cmp.Or(a.client.Compare(b.client), a.vip.Compare(b.vip), cmp.Compare(a.protocol, b.protocol))
	})
	if len(keys) == 0 {
		return other
	}
	return keys[h.random.IntN(len(keys))]
}

// step sends one random packet of a client or, if there is a flow, of its
// backend.
func (h *history) step(t *testing.T) {
	t.Helper()
	if h.random.IntN(40) == 0 {
		h.age(t, 3*time.Second)
	}
	before := h.settled(t)
	evicted, created := h.event(t, "flow_evicted"), h.event(t, "flow_created")
	k := h.someone()
	if h.retries && h.random.IntN(5) > 0 {
		k = h.oneOf(before, k)
	}
	flags := []testlab.TCPFlags{syn, syn, syn, ack, fin | ack, rst, rst | ack}[h.random.IntN(7)]
	f, known := before[k]
	answers := known && h.random.IntN(2) == 0
	if h.retries && h.random.IntN(2) == 0 {
		switch f.State { // often refused, and tried again
		case "syn":
			flags, answers = rst|ack, true
		case "closed":
			flags, answers = syn, false
		}
	}
	if answers {
		w := h.wayOf(k, f)
		m := wordOf(k.protocol, flags)
		if held := h.dropped(t, "drop_refusal"); !h.deliver(t, w.reply(m, f.NAT), w.returned(m)) {
			if flags != rst|ack || h.dropped(t, "drop_refusal") != held+1 {
				t.Fatalf("step %d: the reply of live flow %+v did not get through", h.steps, f)
			}
			h.held++
		}
	} else if verdict, _, err := h.run(h.wayOf(k, f).request(wordOf(k.protocol, flags))); err != nil {
		t.Fatal(err)
	} else if refused := !known && k.protocol == model.TCP && flags&rst != 0; refused != (verdict == "drop") {
		t.Fatalf("step %d: %v of %v (known: %t): %s", h.steps, flags, k, known, verdict)
	}
	after := h.live(t)
	vanished := uint64(0)
	for old, f := range before {
		if _, ok := after[old]; !ok {
			h.gone[old] = f
			vanished++
		}
	}
	for k := range after {
		delete(h.gone, k)
	}
	if n := h.event(t, "flow_evicted") - evicted; n != vanished || vanished > 1 {
		t.Fatalf("step %d: %d flows vanished, %d counted as evicted", h.steps, vanished, n)
	}
	isNew := uint64(0)
	if a, ok := after[k]; ok && (!known || a.NAT != f.NAT || a.Backend != f.Backend) {
		isNew = 1
	}
	if n := h.event(t, "flow_created") - created; n < isNew || n > 1 {
		t.Fatalf("step %d: %d flows counted as created, not %d", h.steps, n, isNew)
	}
}

// settled are the live flows when none is about to expire, so that none
// vanishes but by eviction.
func (h *history) settled(t *testing.T) map[key]xlb.Flow {
	t.Helper()
	for {
		flows, soon := h.live(t), false
		for _, f := range flows {
			soon = soon || f.Expires < 500*time.Millisecond
		}
		if !soon {
			return flows
		}
		h.age(t, time.Second)
	}
}

// checkBothWays sends packets of every flow that lives, both ways, and of the
// ones that are gone: for those neither way may work.
func (h *history) checkBothWays(t *testing.T) {
	t.Helper()
	flows := h.settled(t)
	nats := map[nat]bool{}
	for k, f := range flows {
		nats[h.natOf(f)] = true
		w, m := h.wayOf(k, f), wordOf(k.protocol, ack)
		if !h.deliver(t, w.request(m), w.forwarded(m, f.NAT)) {
			t.Fatalf("step %d: request of live flow %+v", h.steps, f)
		}
		if !h.deliver(t, w.reply(m, f.NAT), w.returned(m)) {
			t.Fatalf("step %d: reply of live flow %+v", h.steps, f)
		}
	}
	for k, f := range h.gone {
		w := h.wayOf(k, f)
		if !nats[h.natOf(f)] {
			h.refused(t, w.reply(wordOf(k.protocol, ack), f.NAT), "pass")
		}
		if k.protocol == model.TCP {
			h.refused(t, w.request(segment(rst)), "drop")
		}
	}
}

// refused sends a packet of a flow that is gone.
func (h *history) refused(t *testing.T, in packet, want string) {
	t.Helper()
	verdict, out, err := h.run(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := testlab.Diff(in.frame, out); verdict != want || diff != "" {
		t.Fatalf("step %d: packet of a flow that is gone: %s, want %s\n%s", h.steps, verdict, want, diff)
	}
}

// A port's cell may be one that another backend's port would have too: who
// answers is compared with the record, not only with the cell.
func TestStrangersInSmallTable(t *testing.T) {
	p := tiny(t)
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range natOnly() {
			k := key{w.client, w.vip, model.TCP}
			if verdict, _, err := p.run(w.request(segment(syn))); err != nil || verdict != "redirect" {
				t.Fatal(verdict, err)
			}
			f := p.live(t)[k]
			w = p.wayOf(k, f)
			w.clientMAC = mac(10, 2)
			for i := range uint16(1000) {
				port, address := w, w
				port.backend = netip.AddrPortFrom(w.backend.Addr(), 9000+i)
				last := w.backend.Addr().AsSlice()
				last[len(last)-2] += byte(1 + i/256)
				last[len(last)-1] += byte(i)
				other, _ := netip.AddrFromSlice(last)
				address.backend = netip.AddrPortFrom(other, w.backend.Port())
				for _, stranger := range []way{port, address} {
					in := stranger.reply(segment(ack), f.NAT)
					verdict, out, err := p.run(in)
					if err != nil {
						t.Fatal(err)
					}
					if diff := testlab.Diff(in.frame, out); verdict != "pass" || diff != "" {
						t.Fatalf("reply from %v to a flow of %v: %s\n%s", stranger.backend, w.backend, verdict, diff)
					}
				}
			}
			p.expectReply(t, w, segment(ack), f.NAT)
		}
	})
}
