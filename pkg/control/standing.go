package control

import (
	"math"
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/probe"
)

// standing is what elections must know of those before: times, by the clock of
// Input.Now. What a service's settings do not ask for is nil. It is shared and
// never changed.
//
// A daemon that starts has what the last one kept ([keptStandings], and [roleStore]
// for roles and their times), and takes the rest from the maps: what served or was
// in the table then counts as old.
type standing struct {
	// kept: what is not in it is not known, and not new.
	kept bool
	// up is since when each usable backend is usable.
	up map[netip.AddrPort]time.Duration
	// good is since when each good tier is good.
	good map[uint8]time.Duration
	// draining is since when each backend drains that the operator does not drain.
	draining map[netip.AddrPort]time.Duration
	// incumbent is the backend that was believed to have a role of which there is
	// one; the zero value if none was.
	incumbent netip.AddrPort
}

// always is a time before all others, far enough from the limits to be reckoned
// with.
const always = time.Duration(math.MinInt64 / 2)

func (s *standing) empty() bool {
	return s.up == nil && s.good == nil && s.draining == nil && !s.incumbent.IsValid()
}

// endDrains moves the flows of backends whose drain is over.
func (e *election) endDrains() {
	limit := e.service.Placement.DrainTimeout
	if limit > 0 {
		e.after.draining = map[netip.AddrPort]time.Duration{}
	}
	for i := range e.contenders {
		c := &e.contenders[i]
		override := e.Overrides[probe.Key{Service: e.service.Name, Backend: c.Address}]
		byOperator := override.Drain != nil && *override.Drain
		switch {
		case c.State != api.StateDraining || !byOperator && !c.drain:
		case byOperator && override.Deadline == nil:
		case byOperator:
			e.endDrain(c, e.Now+override.Deadline.Sub(e.Time))
		case limit > 0:
			since := e.drainsSince(c)
			e.after.draining[c.Address] = since
			e.endDrain(c, since+limit)
		}
	}
}

func (e *election) endDrain(c *contender, at time.Duration) {
	c.Drained = at
	if at > e.Now {
		e.wake(at)
		return
	}
	c.Serves = false
	c.Reason += "; its time is over, and its flows moved"
}

// drainsSince is when a backend began to drain that is drained by its
// configuration. One that did not serve under the daemon before is done.
func (e *election) drainsSince(c *contender) time.Duration {
	if since, known := e.before.draining[c.Address]; known {
		return since
	}
	number, there := e.present[e.state.ID][c.Address]
	if (e.before.draining == nil || e.before.kept) && there && !e.Present.Backends[number].Serves {
		return always
	}
	return e.Now
}

// touchDue touches the services whose elections time changes, and returns when the
// next one is due; 0: never.
func (c *controller) touchDue() (next time.Duration) {
	if c.plan == nil {
		return 0
	}
	now := c.clock()
	for i := range c.plan.Services {
		s := &c.plan.Services[i]
		switch {
		case s.next == 0:
		case s.next <= now:
			c.touch(s.Name)
		case next == 0 || s.next < next:
			next = s.next
		}
	}
	return next
}

// standings are those that the plan in force noted.
func (c *controller) standings() map[string]standing {
	if c.plan == nil {
		return c.restored
	}
	return c.plan.standings
}
