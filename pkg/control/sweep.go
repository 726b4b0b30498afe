package control

import (
	"maps"
	"net/netip"
	"time"
)

// startSweep counts the flows beside the reconciler: with a million of them it
// takes too long for it.
func (c *controller) startSweep() {
	if c.sweeping || c.plan == nil {
		return
	}
	c.sweeping = true
	bySource := len(c.undrawn) > 0
	c.helpers.Go(func() {
		start := time.Now()
		counts := c.data.FlowCounts()
		sources := map[netip.Addr]int{}
		if bySource {
			for f := range c.data.Flows() {
				sources[f.NAT.Addr()]++
			}
		}
		c.post(func() { c.swept(start, counts, bySource, sources) })
	})
}

// swept learns from a sweep which retired backends and sources no flow uses.
// A sweep says nothing on what left use after it began.
func (c *controller) swept(start time.Time, counts map[uint32]int, bySource bool, sources map[netip.Addr]int) {
	c.sweeping = false
	same := maps.Equal(c.counts, counts)
	c.counts = counts
	for id, since := range c.retired {
		if counts[id] == 0 && start.After(since.Add(c.timing.grace)) {
			c.idle[id] = true
		}
	}
	for a, since := range c.undrawn {
		if bySource && sources[a] == 0 && start.After(since.Add(c.timing.grace)) {
			c.idleSource[a] = true
		}
	}
	if len(c.idle) > 0 || len(c.idleSource) > 0 {
		c.dirty = true
	}
	if !same {
		c.publish()
	}
}
