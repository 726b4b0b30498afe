package control

import (
	"fmt"
	"math"
	"slices"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
)

// An election says which backends of a service take new flows, and with what
// weight. What probes, policies and the operator say of each by itself is known
// before ([round.backendState]); then come the steps of [election.run], each with
// what those before it left.
type election struct {
	service model.Service
	state   *ServiceState
	// contenders are the service's backends, in their order.
	contenders []contender
}

// contender is a backend in an election.
type contender struct {
	*BackendState
	// barred: it is not among those that the service chooses from, whatever
	// becomes of the others.
	barred bool
	// used: it takes new flows.
	used bool
}

// usable: nothing speaks against new flows.
func (c *contender) usable() bool { return !c.barred && takesFlows(*c.BackendState) }

// counts: it would take new flows if it were healthy.
func (c *contender) counts() bool {
	return !c.barred && !c.Local && c.Weight > 0 && c.State != api.StateDraining
}

// elect holds the election of a service whose backends are known by themselves.
func (r *round) elect(s model.Service, state *ServiceState) {
	e := &election{service: s, state: state, contenders: make([]contender, len(state.Backends))}
	for i := range state.Backends {
		e.contenders[i].BackendState = &state.Backends[i]
	}
	e.run()
}

func (e *election) run() {
	e.countUsable()
	e.chooseTier()
	e.failOpen()
	e.weigh()
}

// bar takes backends out of the election, for a reason that is shown if nothing
// else is said of them.
func (e *election) bar(which func(*contender) bool, reason string) {
	for i := range e.contenders {
		c := &e.contenders[i]
		if c.barred || !which(c) {
			continue
		}
		c.barred = true
		if c.Reason == "" {
			c.Reason = reason
		}
	}
}

func (e *election) countUsable() {
	for i := range e.contenders {
		if e.contenders[i].usable() {
			e.state.Usable++
		}
	}
}

// chooseTier takes the usable backends of the lowest tier that has some.
func (e *election) chooseTier() {
	tier := e.lowestTier((*contender).usable)
	for i := range e.contenders {
		c := &e.contenders[i]
		switch {
		case !c.usable():
		case c.Tier == tier:
			c.used = true
		case c.Reason == "":
			c.Reason = fmt.Sprintf("stands by: tier %d serves", tier)
		}
	}
}

// lowestTier is the lowest with a wanted backend.
func (e *election) lowestTier(wanted func(*contender) bool) uint8 {
	lowest := uint8(math.MaxUint8)
	for i := range e.contenders {
		if c := &e.contenders[i]; wanted(c) {
			lowest = min(lowest, c.Tier)
		}
	}
	return lowest
}

// failOpen uses all when none is usable. Only the probes are doubted, as long as
// something is left to doubt.
func (e *election) failOpen() {
	possible := func(c *contender) bool { return !c.barred && !c.Local }
	any := func(which func(*contender) bool) bool {
		return slices.ContainsFunc(e.contenders, func(c contender) bool { return which(&c) })
	}
	if e.state.Usable > 0 || e.service.Fail != model.FailOpen || !any(possible) {
		return
	}
	e.state.FailOpen = true
	wanted := (*contender).counts
	if !any(wanted) {
		wanted = possible
	}
	tier := e.lowestTier(wanted)
	for i := range e.contenders {
		c := &e.contenders[i]
		if possible(c) {
			c.Serves = true
		}
		switch {
		case !wanted(c):
		case c.Tier == tier:
			c.used = true
		case c.Reason == "":
			c.Reason = fmt.Sprintf("stands by: tier %d serves", tier)
		}
	}
}

// weigh sets the weights with which the used backends enter the table.
func (e *election) weigh() {
	for i := range e.contenders {
		if c := &e.contenders[i]; c.used {
			c.Effective = max(c.Weight, 1)
		}
	}
}
