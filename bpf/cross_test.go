package bpf_test

import (
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestFinsCross: both sides say at the same time, on two CPUs, that they are done. The
// flow is closed then; if either FIN were lost it would be remembered for
// timeouts.tcp_fin, and a drain would wait for it.
func TestFinsCross(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		const rounds = 3000
		w := wayTo(nat4)
		var reply packet
		var here, there atomic.Int64 // the round that each side is in
		var g errgroup.Group
		defer func() {
			here.Store(rounds + 1)
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		}()
		g.Go(func() error {
			return balancer.Do(func() error {
				for round := int64(1); round <= rounds; round++ {
					for here.Load() < round { // to be woken takes longer than to run
					}
					if here.Load() > rounds {
						return nil
					}
					_, _, err := p.run(reply)
					there.Store(round)
					if err != nil {
						return err
					}
				}
				return nil
			})
		})
		for round := range int64(rounds) {
			for _, flag := range []mold{segment(syn), segment(ack)} {
				if verdict, _, err := p.run(w.request(flag)); err != nil || verdict != "redirect" {
					t.Fatalf("round %d: %s, %v", round, verdict, err)
				}
			}
			request := w.request(segment(fin | ack))
			for f := range p.set.Flows() {
				reply = w.reply(segment(fin|ack), f.NAT)
			}
			here.Store(round + 1)
			if _, _, err := p.run(request); err != nil {
				t.Fatal(err)
			}
			for there.Load() <= round {
			}
			if states := p.states(); states != "closed" {
				t.Fatalf("round %d: after both sides have sent FIN the flow is %s", round, states)
			}
		}
	})
}

// states are those of all flows.
func (p *plane) states() (states string) {
	for f := range p.set.Flows() {
		states += f.State
	}
	return states
}
