package bpf_test

import "testing"

// Live flows are given up rarely before the table is nearly full. How rarely is
// a matter of chance, which the bounds leave room for.
func TestLoadFactor(t *testing.T) {
	z := sizes()
	z.Flows = 1 << 14
	p := newPlane(t, settings(), z, standard())
	p.bothHooks(t, func(t *testing.T) {
		p.forget(t)
		w := wayTo(dsr4)
		before, sent := p.event(t, "flow_evicted"), 0
		for _, c := range []struct{ percent, perMille int }{{25, 1}, {50, 4}, {75, 40}} {
			for ; sent < z.Flows*c.percent/100; sent++ {
				if _, _, err := p.run(w.fromPort(uint16(1024 + sent)).request(segment(syn))); err != nil {
					t.Fatal(err)
				}
			}
			evicted := int(p.event(t, "flow_evicted") - before)
			t.Logf("%d %% full: %d of %d flows were given up", c.percent, evicted, sent)
			if evicted*1000 > sent*c.perMille {
				t.Errorf("%d of %d flows were given up in a table %d %% full, want at most %d in a thousand", evicted, sent, c.percent, c.perMille)
			}
		}
	})
}
