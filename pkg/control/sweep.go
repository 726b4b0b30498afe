package control

import (
	gomaps "maps"
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
)

// startSweep counts the flows beside the reconciler: with a million of them it
// takes too long for it.
func (c *controller) startSweep() {
	if c.sweeping || c.plan == nil {
		return
	}
	c.sweeping = true
	bySource := len(c.undrawn) > 0
	tables := c.plan.settledTables()
	c.helpers.Go(func() {
		found := &survey{began: c.clock()}
		start := time.Now()
		if len(tables) > 0 {
			var err error
			if found.strays, err = c.data.Strays(tables); err != nil {
				c.log.Error("cannot look for flows that marked slots are kept for; trying again", "error", err)
			}
		}
		counts := c.data.FlowCounts()
		sources := map[netip.Addr]int{}
		if bySource {
			for f := range c.data.Flows() {
				sources[f.NAT.Addr()]++
			}
		}
		c.post(func() {
			c.surveyed = found
			c.swept(start, counts, bySource, sources)
		})
	})
}

// swept learns from a sweep which retired backends and sources no flow uses.
// A sweep says nothing on what left use after it began.
func (c *controller) swept(start time.Time, counts map[uint32]int, bySource bool, sources map[netip.Addr]int) {
	c.sweeping = false
	same := gomaps.Equal(c.counts, counts)
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
	if len(c.idle) > 0 || len(c.idleSource) > 0 || c.transitionsDue() {
		c.dirty = true
	}
	if !same {
		c.publish()
	}
}

// settledTables are the tables of which a survey can tell something: that have
// marked slots whose previous and present backend are the same.
func (p *Plan) settledTables() map[uint32]maps.Table {
	out := map[uint32]maps.Table{}
	for id := range p.transitions {
		t := p.Contents.Tables[id]
		for _, m := range t.Marked {
			if m.Previous == t.Present[m.Slot] {
				out[id] = t
				break
			}
		}
	}
	return out
}

// transitionsDue says whether time or the last survey change a table.
func (c *controller) transitionsDue() bool {
	in := Input{Now: c.clock(), Present: c.plan.Contents, Survey: c.surveyed}
	for i := range c.plan.Services {
		s := &c.plan.Services[i]
		if times := c.plan.transitions[s.ID]; len(times) > 0 && in.merging(s).due(in.Present.Tables[s.ID], times) {
			return true
		}
	}
	return false
}

// clock is the time for transitions.
func (c *controller) clock() time.Duration { return time.Since(c.since) }
