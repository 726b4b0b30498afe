package control

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/probe"
)

// keptChanges is how many changes of a backend are remembered.
const keptChanges = 32

// change is a change of a backend, of its state or of its role.
type change struct {
	api.Change
	service *ServiceState // as it is now
	backend BackendState  // likewise
	before  string        // its state; empty if it is new
}

// changesBetween are the changes of a service's backends from one plan to the next,
// in the order of their addresses. Without a service before there are none: its
// backends were not known in another state.
func changesBetween(before, now *ServiceState, at time.Time) (out []change) {
	if before == nil {
		return nil
	}
	old := before.Backends // both are sorted by address
	for i := range now.Backends {
		b := &now.Backends[i]
		for len(old) > 0 && old[0].Address.Compare(b.Address) < 0 {
			old = old[1:]
		}
		if i > 0 && now.Backends[i-1].Address == b.Address {
			continue // of a service that was superseded
		}
		var was *BackendState
		if len(old) > 0 && old[0].Address == b.Address {
			was = &old[0]
		}
		for _, c := range changesOf(was, b) {
			c.At = at
			one := change{Change: c, service: now, backend: *b}
			if was != nil {
				one.before = was.State
			}
			out = append(out, one)
		}
	}
	return out
}

// changesOf are the changes of one backend, which was not there if was is nil.
func changesOf(was, b *BackendState) (out []api.Change) {
	if was == nil {
		kind := api.ChangeConfiguration
		if b.Added {
			kind = api.ChangeOperator
		}
		return []api.Change{{Kind: kind, To: b.State, Reason: cmp.Or(b.Reason, "added")}}
	}
	if was.State != b.State {
		one := api.Change{Kind: kindOfChange(was, b), From: was.State, To: b.State, Reason: b.Reason}
		if b.State == api.StateHealthy {
			one.Reason = "" // why a healthy one gets no flows is no reason for its being so
		}
		out = append(out, one)
	}
	if was.Role != b.Role {
		out = append(out, api.Change{Kind: api.ChangeRole, From: was.Role, To: b.Role})
	}
	if was.Weight != b.Weight && (was.Override || b.Override) {
		out = append(out, api.Change{Kind: api.ChangeOperator, From: fmt.Sprintf("weight %d", was.Weight), To: fmt.Sprintf("weight %d", b.Weight)})
	}
	return out
}

// kindOfChange says whose doing a change of state is.
func kindOfChange(was, b *BackendState) string {
	for _, c := range []struct{ state, kind string }{
		{api.StateUnhealthy, api.ChangeHealth}, {api.StateDisabled, api.ChangeOperator}, {api.StateEjected, api.ChangeEjection},
		{api.StateRetired, api.ChangeConfiguration},
	} {
		if was.State == c.state || b.State == c.state {
			return c.kind
		}
	}
	for _, one := range []*BackendState{b, was} {
		if one.State == api.StateDraining && one.drain && !one.Override {
			return api.ChangeConfiguration
		} else if one.State == api.StateDraining { // it, or its zone
			return api.ChangeOperator
		}
	}
	return api.ChangeHealth
}

// pasts remembers the last changes of backends. Any goroutine may ask.
type pasts struct {
	mu sync.Mutex
	of map[probe.Key][]api.Change // the latest last
}

func (p *pasts) add(list []change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[probe.Key][]api.Change{}
	}
	for _, c := range list {
		key := probe.Key{Service: c.service.Name, Backend: c.backend.Address}
		kept := append(p.of[key], c.Change)
		p.of[key] = kept[max(0, len(kept)-keptChanges):]
	}
}

// keep forgets all but the backends of a plan.
func (p *pasts) keep(plan *Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.of) == 0 {
		return
	}
	kept := map[probe.Key][]api.Change{}
	for i := range plan.Services {
		s := &plan.Services[i]
		for k := range s.Backends {
			key := probe.Key{Service: s.Name, Backend: s.Backends[k].Address}
			if list, ok := p.of[key]; ok {
				kept[key] = list
			}
		}
	}
	p.of = kept
}

// last returns the changes of a backend, the latest first.
func (p *pasts) last(key probe.Key) []api.Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.of[key])
	slices.Reverse(out)
	if out == nil {
		out = []api.Change{}
	}
	return out
}

// noteChanges remembers what a plan changed of the services with these indexes,
// and tells who wants to know.
func (c *controller) noteChanges(before, plan *Plan, services []int) {
	if before == nil {
		return
	}
	var all []change
	at := c.now()
	for _, i := range services {
		now := &plan.Services[i]
		all = append(all, changesBetween(before.service(now.Name), now, at)...)
	}
	if len(all) > 0 {
		c.pasts.add(all)
		c.tellHooks(all)
	}
	if len(services) == len(plan.Services) {
		c.pasts.keep(plan)
	}
}

// service returns a configured service; nil if there is none of that name.
func (p *Plan) service(name string) *ServiceState {
	i, ok := slices.BinarySearchFunc(p.Services, name, func(a ServiceState, n string) int { return cmp.Compare(a.Name, n) })
	if !ok {
		return nil
	}
	return &p.Services[i]
}
