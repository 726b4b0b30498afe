package control

import (
	"cmp"
	gomaps "maps"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// update is a plan made out of the one before.
type update struct {
	// plan shares Contents with the plan before: they become the plan's when
	// changes are made to them.
	plan    *Plan
	changes maps.Changes
	// services are the indexes in plan.Services of those that were planned.
	services []int
}

// Update returns what Plan would, and what that changes, at the cost of the
// named services alone, if in.Present is what last holds, and only what concerns
// backends of those services changed since: health, overrides, sets of
// backends, idle numbers, time, the survey. It returns false if this does not
// suffice; then a plan must be made.
func (p *Planner) Update(last *Plan, in Input, names map[string]bool) (*update, bool, error) {
	r := &round{
		Input: in, used: map[uint32]bool{}, next: 1, partial: true,
		rules: p.rules, usedTables: map[uint32]bool{}, compiled: map[string]*compiledRules{},
		present: make(map[uint32]map[netip.AddrPort]uint32, len(names)),
		named:   map[uint32]maps.QUICServer{},
	}
	r.plan = Plan{
		Contents:    maps.Contents{}.Clone(),
		transitions: map[uint32]transition{}, inherited: map[uint32]bool{}, standings: map[string]standing{},
	}
	if last.leftOut() {
		return nil, false, nil
	}
	r.spare = r.spareOfUpdate()
	out := &update{}
	have := maps.Contents{}.Clone()
	candidates := map[uint32]maps.Backend{}
	for _, name := range slices.Sorted(gomaps.Keys(names)) {
		at, ok := slices.BinarySearchFunc(last.Services, name, func(a ServiceState, n string) int { return cmp.Compare(a.Name, n) })
		from := slices.IndexFunc(in.Services, func(s model.Service) bool { return s.Name == name })
		if !ok || from < 0 {
			return nil, false, nil
		}
		old, s := &last.Services[at], in.Services[from]
		of := make(map[netip.AddrPort]uint32, len(old.Backends))
		for _, b := range slices.Backward(old.Backends) { // of one address sorted by number, and the lowest counts
			of[b.Address] = b.ID
			have.Backends[b.ID] = in.Present.Backends[b.ID]
			candidates[b.ID] = in.Present.Backends[b.ID]
			if q, named := old.quicServer(b); named && in.Present.QUICServers[q] == b.ID {
				have.QUICServers[q], r.named[b.ID] = b.ID, q
			}
		}
		r.present[old.ID] = of
		have.Services[old.ID] = in.Present.Services[old.ID]
		for _, id := range old.tables() {
			have.Tables[id] = in.Present.Tables[id]
		}
		for _, one := range old.Subsets {
			have.Subsets[one.Table] = in.Present.Subsets[one.Table]
		}
		if rules, ok := in.Present.Rules[old.ID]; ok {
			have.Rules[old.ID] = rules
		}
		if err := r.addService(s, old.ID, sourcesAgain(s, in.Present.Services[old.ID])); err != nil {
			return nil, false, err
		}
		out.services = append(out.services, at)
	}
	if r.plan.leftOut() {
		return nil, false, nil
	}
	if err := p.buildTables(r); err != nil {
		return nil, false, err
	}
	r.retire(candidates, nil)

	plan := *last
	plan.Services = slices.Clone(last.Services)
	plan.transitions, plan.inherited = gomaps.Clone(last.transitions), gomaps.Clone(last.inherited)
	plan.standings = gomaps.Clone(last.standings)
	var gone, come []string
	for i, at := range out.services {
		s, old := r.plan.Services[i], &last.Services[at]
		if needsMore(old, &s) {
			return nil, false, nil
		}
		s.Tunnels, s.NoTunnel = old.Tunnels, old.NoTunnel
		plan.Services[at] = s
		gone, come = append(gone, old.warnings...), append(come, s.warnings...)
		for _, id := range old.tables() {
			for _, m := range last.Contents.Tables[id].Marked {
				delete(plan.inherited, m.Previous)
			}
			delete(plan.transitions, id)
		}
		delete(plan.standings, s.Name)
	}
	gomaps.Copy(plan.transitions, r.plan.transitions)
	gomaps.Copy(plan.inherited, r.plan.inherited)
	gomaps.Copy(plan.standings, r.plan.standings)
	if !slices.Equal(gone, come) {
		plan.Warnings = exchange(last.Warnings, gone, come)
	}
	out.plan, out.changes = &plan, maps.Diff(have, r.plan.Contents)
	return out, true, nil
}

// sourcesAgain are the sources that a service draws from already.
func sourcesAgain(s model.Service, now maps.Service) map[bool]sourceRun {
	if len(s.Frontends) == 0 {
		return nil
	}
	return map[bool]sourceRun{s.Frontends[0].VIP.Is4(): {first: int(now.FirstSource), n: int(now.Sources)}}
}

// needsMore says whether a change of a service reaches beyond its own entries:
// frontends hold the backends of dnat, tunnels depend on the families there are.
func needsMore(old, now *ServiceState) bool {
	if now.Forward != model.DNAT && !now.Forward.Tunnels() {
		return false
	}
	return !slices.EqualFunc(old.Backends, now.Backends, func(a, b BackendState) bool {
		return a.ID == b.ID && a.Address == b.Address && (a.State == api.StateRetired) == (b.State == api.StateRetired)
	})
}

// exchange returns a sorted list with some of its members replaced.
func exchange(list, gone, come []string) []string {
	left := map[string]int{}
	for _, w := range gone {
		left[w]++
	}
	var out []string
	for _, w := range list {
		if left[w] > 0 {
			left[w]--
			continue
		}
		out = append(out, w)
	}
	out = append(out, come...)
	slices.Sort(out)
	return out
}

// touch makes the next round look at a service whose backends changed.
func (c *controller) touch(service string) {
	if c.touched == nil {
		c.touched = map[string]bool{}
	}
	c.touched[service] = true
}

// touchNumber does so for a service by its number. What is not configured any
// more is part of no update.
func (c *controller) touchNumber(id uint32) {
	i := slices.IndexFunc(c.plan.Services, func(s ServiceState) bool { return s.ID == id })
	if i < 0 {
		c.dirty = true
		return
	}
	c.touch(c.plan.Services[i].Name)
}

// due says whether there is anything to do in a round.
func (c *controller) due() bool { return c.dirty || len(c.touched) > 0 || len(c.waiters) > 0 }

// update plans for the services that were touched; false if that is not enough.
func (c *controller) update() (*update, bool, error) {
	if c.dirty || c.plan == nil {
		return nil, false, nil
	}
	return c.planner.Update(c.plan, c.input(c.cfg, c.discovered, c.auto), c.touched)
}
