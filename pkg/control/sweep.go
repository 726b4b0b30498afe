package control

import (
	gomaps "maps"
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
)

// sweep is what was found by going through the flow table.
type sweep struct {
	start  time.Time
	counts map[uint32]int
	// sources are counts too, nil if nobody asked for them.
	sources map[netip.Addr]int
	survey  *survey
}

// startSweep looks at the flows beside the reconciler: with a million of them it
// takes too long for it.
func (c *controller) startSweep() {
	if c.sweeping || c.plan == nil {
		return
	}
	c.sweeping = true
	c.tellLatencies()
	look := c.sweeper()
	c.helpers.Go(func() {
		found := look()
		c.post(func() { c.swept(found) })
	})
}

// sweeper returns a function that sweeps for what is to be known now.
func (c *controller) sweeper() func() sweep {
	bySource := len(c.undrawn) > 0
	tables := c.plan.settledTables()
	return func() sweep {
		out := sweep{start: c.now(), survey: &survey{began: c.clock()}}
		if len(tables) > 0 {
			var err error
			if out.survey.strays, err = c.data.Strays(tables); err != nil {
				c.log.Error("cannot look for flows that marked slots are kept for; trying again", "error", err)
			}
		}
		out.counts = c.data.FlowCounts()
		if wrong, err := c.data.CorrectLoads(); err != nil {
			c.log.Error("cannot compare the counts of connections with the flow table; trying again", "error", err)
		} else if wrong > 0 {
			c.log.Debug("counts of connections were wrong", "counts", wrong)
		}
		if bySource {
			out.sources = map[netip.Addr]int{}
			for f := range c.data.Flows() {
				out.sources[f.NAT.Addr()]++
			}
		}
		return out
	}
}

// swept learns from a sweep which retired backends and sources no flow uses,
// and which marks can go. A sweep says nothing on what left use after it began.
func (c *controller) swept(s sweep) {
	c.sweeping = false
	c.surveyed = s.survey
	same := gomaps.Equal(c.counts, s.counts)
	c.counts = s.counts
	for id, since := range c.retired {
		if s.counts[id] == 0 && s.start.After(since.Add(c.timing.grace)) {
			c.idle[id] = true
		}
	}
	for a, since := range c.undrawn {
		if s.sources != nil && s.sources[a] == 0 && s.start.After(since.Add(c.timing.grace)) {
			c.idleSource[a] = true
		}
	}
	for id := range c.idle {
		c.touchNumber(c.current.Backends[id].Service)
	}
	c.dirty = c.dirty || len(c.idleSource) > 0
	c.touchTransitions()
	c.touchDue()
	if !same {
		c.publish()
	}
}

// settledTables are the tables of which a survey can tell something: that have
// marked slots whose previous and present backend are the same.
func (p *Plan) settledTables() map[uint32]maps.Table {
	out := map[uint32]maps.Table{}
	for id := range p.transitions {
		if _, subset := p.Contents.Subsets[id]; subset {
			continue // all flows are recorded there: none need be looked for
		}
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

// touchTransitions touches the services whose tables time or the last survey
// change.
func (c *controller) touchTransitions() {
	in := Input{Now: c.clock(), Present: c.plan.Contents, Survey: c.surveyed}
	for i := range c.plan.Services {
		s := &c.plan.Services[i]
		for _, id := range s.tables() {
			if times := c.plan.transitions[id]; len(times) > 0 && in.merging(s).due(in.Present.Tables[id], times) {
				c.touch(s.Name)
			}
		}
	}
}

// clock is the time for transitions.
func (c *controller) clock() time.Duration { return c.now().Sub(c.since) }
