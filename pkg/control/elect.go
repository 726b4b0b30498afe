package control

import (
	"fmt"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
)

// An election says which backends of a service take new flows, and with what
// weight. What probes, policies and the operator say of each by itself is known
// before ([round.backendState]); then come the steps of [election.run], each with
// what those before it left. It depends on the input alone: what it must know of
// those before it is the service's standing, which is part of the input.
type election struct {
	*round
	service model.Service
	state   *ServiceState
	// contenders are the service's backends, in their order.
	contenders []contender
	// before is the standing that the last election left, and after this one's.
	before, after standing
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
	return c.possible() && c.Weight > 0 && !c.leaves
}

// possible: it could take flows if nothing better were left.
func (c *contender) possible() bool {
	return !c.barred && !c.Local && c.State != api.StateDisabled
}

// explain gives the reason why a backend takes no new flows, if there is no
// better one.
func (c *contender) explain(format string, args ...any) {
	if c.Reason == "" {
		c.Reason = fmt.Sprintf(format, args...)
	}
}

// elect holds the election of a service whose backends are known by themselves.
func (r *round) elect(s model.Service, state *ServiceState) {
	e := &election{round: r, service: s, state: state, before: r.Standings[s.Name], contenders: make([]contender, len(state.Backends))}
	for i := range state.Backends {
		e.contenders[i].BackendState = &state.Backends[i]
	}
	e.run()
	if !e.after.empty() {
		r.plan.standings[s.Name] = e.after
	}
}

func (e *election) run() {
	e.endDrains()
	e.chooseSubset()
	e.chooseRole()
	e.countUsable()
	e.noteContenders()
	e.chooseTiers()
	e.panic()
	e.failOpen()
	e.weigh()
}

// wake notes that the election comes out differently at a later time.
func (e *election) wake(at time.Duration) {
	if at > e.Now && (e.state.next == 0 || at < e.state.next) {
		e.state.next = at
	}
}

// bar takes backends out of the election.
func (e *election) bar(which func(*contender) bool, reason string) {
	for i := range e.contenders {
		if c := &e.contenders[i]; !c.barred && which(c) {
			c.barred = true
			c.explain("%s", reason)
		}
	}
}

// chooseSubset bars what is not in the service's subset.
func (e *election) chooseSubset() {
	subset := e.service.Placement.Subset
	if subset == (model.Subset{}) {
		return
	}
	e.bar(func(c *contender) bool { return !subset.Holds(model.Backend{Zone: c.Zone, Tags: c.Tags}) }, "not in the subset: "+subset.String())
	if len(e.contenders) > 0 && !e.any(func(c *contender) bool { return !c.barred }) {
		e.state.warnings = append(e.state.warnings, fmt.Sprintf("service %q has no backend in its subset (%s)", e.service.Name, subset))
	}
}

// serving: the tier is one of those that serve.
func (e *election) serving(tier uint8) bool { return slices.Contains(e.state.Serving, tier) }

func (e *election) any(which func(*contender) bool) bool {
	return slices.ContainsFunc(e.contenders, func(c contender) bool { return which(&c) })
}

func (e *election) countUsable() {
	for i := range e.contenders {
		if e.contenders[i].usable() {
			e.state.Usable++
		}
	}
}

// noteContenders keeps for the breakers which backends could serve.
func (e *election) noteContenders() {
	for i := range e.contenders {
		c := &e.contenders[i]
		c.contends = c.contends && !c.barred
	}
}

// panic uses the unhealthy backends of the tiers that serve, too, if few of theirs
// are usable: what is left would not carry the load.
func (e *election) panic() {
	threshold := e.service.Placement.PanicThreshold
	usable, all := 0, 0
	for i := range e.contenders {
		if c := &e.contenders[i]; c.counts() && e.serving(c.Tier) {
			all += int(c.Weight)
			if c.usable() {
				usable += int(c.Weight)
			}
		}
	}
	if usable == 0 || 100*usable >= threshold*all {
		return
	}
	e.state.Panic = true
	for i := range e.contenders {
		if c := &e.contenders[i]; c.counts() && e.serving(c.Tier) {
			c.used, c.Serves = true, true
		}
	}
}

// failOpen uses all when none is usable. Only the probes are doubted, as long as
// something is left to doubt.
func (e *election) failOpen() {
	if e.state.Usable > 0 || e.service.Fail != model.FailOpen || !e.any((*contender).possible) {
		return
	}
	e.state.FailOpen = true
	wanted := (*contender).counts
	if !e.any(wanted) {
		wanted = (*contender).possible
	}
	tiers := e.tiersOf(wanted)
	e.state.Serving = tiers[:1]
	for i := range e.contenders {
		c := &e.contenders[i]
		c.used = wanted(c) && c.Tier == tiers[0]
		if c.used || c.possible() && c.State == api.StateUnhealthy {
			c.Serves = true
		}
		if wanted(c) && !c.used {
			c.explain("stands by: tier %d serves", tiers[0])
		}
	}
}
