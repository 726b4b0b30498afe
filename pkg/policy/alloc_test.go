package policy

import "testing"

// TestNoAllocations: a decision makes no garbage.
func TestNoAllocations(t *testing.T) {
	r := newRuntime(t, Options{})
	w, c := chainWorker(t), NewChain(enforce(load(t, r, "pick", "")))
	in := from(40000)
	if n := testing.AllocsPerRun(1000, func() { w.Decide(c, in) }); n > 0 {
		t.Errorf("%v allocations a decision", n)
	}
}
