package control

import (
	"slices"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/notify"
)

// told are the states of which hooks can be told.
var told = []string{api.StateHealthy, api.StateUnhealthy, api.StateEjected, api.StateDraining, api.StateDisabled}

// event is what a hook is told of a change; false if nobody is. What the first
// probe finds out is told only if it is bad: otherwise each start of the daemon
// would have all backends come up.
func (c change) event() (model.HookEvent, bool) {
	if c.Kind == api.ChangeRole {
		return model.HookRole, c.before != api.StateUnknown && c.From != ""
	}
	if c.before == "" || !slices.Contains(told, c.To) {
		return "", false
	}
	return model.HookEvent(c.To), c.From != api.StateUnknown || c.To != api.StateHealthy
}

// tellHooks tells those who want to know.
func (c *controller) tellHooks(list []change) {
	for _, one := range list {
		event, wanted := one.event()
		if !wanted {
			continue
		}
		b := one.backend
		c.hooks.Tell(notify.Change{
			At: one.At, Event: event, Service: one.service.Name, Backend: b.Address, From: one.From, To: one.To,
			State: b.State, Role: b.Role, Reason: b.Reason, Zone: b.Zone, Critical: b.Critical || one.service.Critical,
			Usable: one.service.Usable, Backends: one.service.configured(),
		})
	}
}

// configured is how many backends the service has.
func (s *ServiceState) configured() (n int) {
	for _, b := range s.Backends {
		if b.State != api.StateRetired {
			n++
		}
	}
	return n
}

// hookProblems are reasons of the status: hooks whose last change was not told.
func (c *controller) hookProblems() (reasons []string) {
	for _, s := range c.hooks.Stats() {
		if s.Error != "" {
			reasons = append(reasons, "hook_failing:"+s.Name)
		}
	}
	return reasons
}
