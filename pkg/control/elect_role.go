package control

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
)

// chooseRole bars the backends whose role is not the one that the service wants
// or, while none of that can serve, not the one that stands in.
//
// A backend of a role that the service never takes does not keep its flows: its
// next packet meets a backend that does not know the connection and resets it, so
// that a client finds out and comes again. One that may stand in keeps them, and so
// does one whose role nobody knows yet.
func (e *election) chooseRole() {
	choice := e.service.Role
	e.state.Role = choice
	if choice.Role == "" {
		return
	}
	var incumbent *contender
	if choice.Exclusive != "" {
		if incumbent = e.incumbent(choice.Exclusive); incumbent != nil {
			e.after.incumbent = incumbent.Address
		}
	}
	disbelieved := func(c *contender) bool {
		return incumbent != nil && c.Role == choice.Exclusive && c.BackendState != incumbent.BackendState
	}
	has := func(c *contender) bool { return c.Role == choice.Role && !disbelieved(c) }
	standsIn := func(c *contender) bool {
		return c.Role != choice.Role && choice.StandsIn(c.Role) && !disbelieved(c)
	}
	able := func(which func(*contender) bool) bool {
		return e.any(func(c *contender) bool { return which(c) && c.usable() })
	}
	there := func(which func(*contender) bool) bool {
		return e.any(func(c *contender) bool { return which(c) && c.possible() })
	}
	// Fail open doubts the probes of those that stand in only if there is none of the
	// role.
	e.state.StandIns = !able(has) && (able(standsIn) || !there(has) && there(standsIn))
	for i := range e.contenders {
		c := &e.contenders[i]
		c.Serves = c.Serves && (has(c) || c.Role == "" || standsIn(c))
		in := has(c)
		if e.state.StandIns {
			in = standsIn(c)
		}
		switch c.outOfRole = !in; {
		case c.barred:
		case !in:
			c.barred = true
			c.explain("%s", whyNot(choice.Role, c, disbelieved(c), incumbent))
		case e.state.StandIns:
			c.explain("stands in: no backend of role %s is usable", choice.Role)
		}
	}
}

// whyNot is why a backend takes no flows by its role.
func whyNot(wanted string, c *contender, disbelieved bool, incumbent *contender) string {
	switch {
	case c.Role == "":
		return "its role is not known; the service wants " + wanted
	case disbelieved && incumbent.roleSince.After(c.roleSince):
		return fmt.Sprintf("says that it is %s, but %s became it later", c.Role, incumbent.Address)
	case disbelieved:
		return fmt.Sprintf("says that it is %s, but so does %s, which had the connections first", c.Role, incumbent.Address)
	}
	return fmt.Sprintf("role %s; the service wants %s", c.Role, wanted)
}

// incumbent is the backend that is believed to have a role of which there is one;
// nil if none says so. The one wins that was seen to take the role last: one that
// was replaced while it was away comes back as what it was. Among those of which
// that was not seen, by this daemon or one before, one that is usable does, then the
// one of the last election or, after a restart, one that has the table.
func (e *election) incumbent(role string) *contender {
	var all []*contender
	for i := range e.contenders {
		if c := &e.contenders[i]; c.Role == role && !c.barred {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil
	}
	if len(all) == 1 {
		return all[0]
	}
	said := slices.DeleteFunc(slices.Clone(all), func(c *contender) bool { return c.State == api.StateUnhealthy })
	if len(said) > 1 { // one that is down says nothing any more
		e.state.warnings = append(e.state.warnings, fmt.Sprintf("service %q: %d backends say that they are %s (see `xlb backend ls %s`)", e.service.Name, len(said), role, e.service.Name))
	}
	holds := e.inTable(e.state.ID)
	return slices.MinFunc(all, func(a, b *contender) int {
		return cmp.Or(b.roleSince.Compare(a.roleSince), trueFirst(a.usable(), b.usable()),
			trueFirst(a.Address == e.before.incumbent, b.Address == e.before.incumbent), trueFirst(holds[a.ID], holds[b.ID]), a.Address.Compare(b.Address))
	})
}

func trueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// inTable are the backend numbers that the maps send a service's new flows to.
func (in *Input) inTable(service uint32) map[uint32]bool {
	holds := map[uint32]bool{}
	for _, id := range in.Present.Tables[service].Present {
		holds[id] = true
	}
	return holds
}

// roleUnknown is the role of a backend that did not serve under the daemon before
// and was not probed under this one.
const roleUnknown = "unknown"

// leftOver is what an earlier daemon left of a backend.
type leftOver struct {
	serves, inTable bool
	role            lastRole
	replaced        bool // another became later what it is
}

// healthAtStart is what is taken for granted of a backend until its first probe,
// by what the maps hold: one that did not serve stays out, and one that took the
// flows of a role has that, or stood in by the role that is remembered.
func healthAtStart(s model.Service, was leftOver, now time.Time) (h model.BackendHealth, known bool) {
	last := was.role
	wanted := func(role string) bool { return role == s.Role.Role || s.Role.StandsIn(role) }
	down := model.BackendHealth{State: model.Unhealthy, Reason: "was down when the daemon started; not probed yet", Since: now}
	h = model.BackendHealth{Role: last.role, RoleSince: last.since, Since: now}
	byRole := s.Role.Role != "" && s.Role.Fallback != model.FallbackAny
	switch {
	case !was.serves && !byRole:
		return down, true
	case !was.serves && last.role == "":
		h.Role = roleUnknown
	case !was.serves && wanted(last.role) && !was.replaced:
		// It has the role all the same: of two that say so it may be the later one.
		down.Role, down.RoleSince = last.role, last.since
		return down, true
	case !was.serves:
	case !byRole || !was.inTable:
		return model.BackendHealth{}, false
	case last.role == "" || !wanted(last.role):
		h.Role, h.RoleSince = s.Role.Role, time.Time{}
	}
	return h, true
}
