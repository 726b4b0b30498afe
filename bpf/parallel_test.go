package bpf_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// Several CPUs make, use and evict flows of one small table at once: what is
// left is whole.
func TestParallel(t *testing.T) {
	p := tiny(t)
	p.bothHooks(t, func(t *testing.T) {
		before := p.counters(t)
		var g errgroup.Group
		const workers, rounds = 4, 3000
		for worker := range workers {
			g.Go(func() error {
				return balancer.Do(func() error { return p.hammer(worker, rounds) })
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		moved := p.counters(t)
		packets := uint64(0)
		for _, reason := range []string{"redirect", "drop_no_flow", "drop_contended", "drop_nat_ports", "pass_not_vip"} {
			packets += moved["reason "+reason+" packets"] - before["reason "+reason+" packets"]
		}
		if packets < workers*rounds {
			t.Errorf("%d packets counted, at least %d sent", packets, workers*rounds)
		}
		// drop_contended is for packets that meet a record just being made.
		if n := moved["reason drop_contended packets"] - before["reason drop_contended packets"]; n > packets/4 {
			t.Errorf("%d of %d packets dropped as contended", n, packets)
		}
		p.checkPorts(t)
		for k, f := range p.live(t) {
			w, m := p.wayOf(k, f), wordOf(k.protocol, ack)
			if !p.deliver(t, w.request(m), w.forwarded(m, f.NAT)) || !p.deliver(t, w.reply(m, f.NAT), w.returned(m)) {
				t.Errorf("flow %+v does not work both ways", f)
			}
		}
	})
}

// hammer sends packets of clients of its own, and replies to whoever has a port.
func (p *plane) hammer(worker, rounds int) error {
	random := rand.New(rand.NewPCG(uint64(worker), 3))
	flags := []testlab.TCPFlags{syn, syn, ack, fin | ack, rst}
	for round := range rounds {
		w, vip := wayTo(nat4), []string{"192.0.2.10:80", "192.0.2.50:80"}
		client := fmt.Sprintf("198.51.100.%d:%d", 10+worker, 40000+random.IntN(20))
		if random.IntN(2) == 0 {
			w, vip = wayTo(nat6), []string{"[2001:db8::10]:80", "[2001:db8::50]:80"}
			client = fmt.Sprintf("[2001:db8:c::%d]:%d", 10+worker, 40000+random.IntN(20))
		}
		w.client, w.vip = at(client), at(vip[random.IntN(2)])
		in := w.request(wordOf([]model.Protocol{model.TCP, model.UDP}[random.IntN(2)], flags[random.IntN(len(flags))]))
		if round%3 == 0 {
			source := netip.AddrPortFrom(either(w.vip, "10.20.0.1:1", "[fd10:20::1]:1").Addr(), uint16(2000+random.IntN(64)))
			in = w.over(uint32(1+random.IntN(3))).reply(segment(ack), source)
		}
		verdict, out, err := p.run(in)
		if err != nil {
			return err
		}
		if verdict == "redirect" {
			err = testlab.Check(out)
		} else if verdict == "pass" && string(out) != string(in.frame) {
			err = fmt.Errorf("a passed packet changed:\n%s", testlab.Diff(in.frame, out))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
