package control

import (
	"fmt"
	gomaps "maps"
	"reflect"
	"slices"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/rules"
)

// RulesState is what the lists of a service come to.
type RulesState struct {
	// Allow, Deny and Steer are how many prefixes the lists hold, those of files and
	// of countries included.
	Allow, Deny, Steer int
	// Prefixes is how many the kernel is given.
	Prefixes int
}

// SubsetState is a part of a service that sources are steered to.
type SubsetState struct {
	model.Subset
	// Table is the number of its table.
	Table uint32
	// Backends is how many belong to it, and Usable how many of them can take new
	// flows.
	Backends, Usable int
	// FallsBack: none is usable, and its sources go to the whole service.
	FallsBack bool

	entries []tableEntry
}

// builtRules are compiled rules with all that they were compiled from. Nothing of
// it is changed.
type builtRules struct {
	rules  model.Rules
	files  []*model.Networks
	tables []uint32 // by the order of model.Rules.Subsets
	out    maps.Rules
	state  RulesState
}

// addRules compiles the rules of a service whose subsets have their numbers.
func (r *round) addRules(s model.Service, state *ServiceState) error {
	if !s.Rules.Lists() {
		return nil
	}
	want := builtRules{rules: s.Rules}
	for _, file := range s.Rules.Files() {
		want.files = append(want.files, r.Networks[file])
	}
	for _, one := range state.Subsets {
		want.tables = append(want.tables, one.Table)
	}
	known, ok := r.rules[state.ID]
	if !ok || !known.same(want) {
		compiled, err := r.compile(want)
		if err != nil {
			return fmt.Errorf("service %q: %w", s.Name, err)
		}
		want.out, want.state = compiled.table(want.tables, s.Rules.Subsets()), compiled.state
		known = want
		if old := r.Present.Rules[state.ID]; known.out.Equal(old) {
			known.out = old // one copy in memory is enough, and comparing is free
		}
		r.rules[state.ID] = known
	}
	r.plan.Contents.Rules[state.ID], state.Rules = known.out, known.state
	return nil
}

// same says whether two compile to the same. Files are compared as memory: one that
// was read again may differ.
func (b builtRules) same(c builtRules) bool {
	return slices.Equal(b.files, c.files) && slices.Equal(b.tables, c.tables) && reflect.DeepEqual(b.rules, c.rules)
}

// compiledRules are what rules come to, before subsets have numbers.
type compiledRules struct {
	rules []rules.Rule
	state RulesState
	// tables are what was made of them, by the numbers of the subsets.
	tables map[string]maps.Rules
}

// compile compiles rules, once in a round for all services that have the same, as
// they do by their defaults.
func (r *round) compile(b builtRules) (*compiledRules, error) {
	key := rulesKey(b.rules)
	if known := r.compiled[key]; known != nil {
		return known, nil
	}
	compiled, err := rules.Compile(b.rules, r.Networks)
	if err != nil {
		return nil, err
	}
	out := &compiledRules{rules: compiled, tables: map[string]maps.Rules{}, state: RulesState{
		Allow: rules.Count(b.rules.Allow, r.Networks), Deny: rules.Count(b.rules.Deny, r.Networks),
		Steer: rules.CountSteered(b.rules, r.Networks), Prefixes: len(compiled),
	}}
	r.compiled[key] = out
	return out, nil
}

// rulesKey is the same for rules with the same lists.
func rulesKey(r model.Rules) string {
	return fmt.Sprintf("%t %q %q %q %q", r.Allow != nil, r.Allow, r.Deny, r.Steer, r.Default)
}

// table names subsets by the numbers of their tables.
func (c *compiledRules) table(tables []uint32, subsets []model.Subset) maps.Rules {
	key := fmt.Sprint(tables)
	if known := c.tables[key]; known != nil {
		return known
	}
	numbers := make(map[model.Subset]uint32, len(subsets))
	for i, one := range subsets {
		numbers[one] = tables[i]
	}
	out := make(maps.Rules, len(c.rules))
	for i, one := range c.rules {
		out[i] = maps.Rule{Prefix: one.Prefix, Verdict: one.Verdict, Table: numbers[one.To]}
	}
	c.tables[key] = out
	return out
}

// addSubsets elects the backends of each subset that the rules of a service name,
// and asks for their tables.
func (r *round) addSubsets(s model.Service, state *ServiceState) error {
	for _, subset := range s.Rules.Subsets() {
		number, err := r.subsetNumber(maps.Subset{Service: state.ID, Tag: subset.Tag, Zone: subset.Zone})
		if err != nil {
			return fmt.Errorf("service %q: %w", s.Name, err)
		}
		one := SubsetState{Subset: subset, Table: number}
		r.electSubset(s, state, &one)
		if one.FallsBack {
			what := "no backend of it is usable"
			if one.Backends == 0 {
				what = "it has no backend"
			}
			state.warnings = append(state.warnings, fmt.Sprintf("service %q steers to a subset (%s), but %s: the whole service takes its flows", s.Name, subset, what))
		}
		if s.Selection.Schedule == model.LeastConnections {
			r.weighSubset(&one)
		}
		state.Subsets = append(state.Subsets, one)
		r.plan.Contents.Subsets[number] = maps.Subset{Service: state.ID, Tag: subset.Tag, Zone: subset.Zone}
	}
	return nil
}

// electSubset holds an election among the backends of a subset. What doubts the
// probes holds for the whole service alone, and so does the waiting before a tier
// takes back its flows: there is always the whole service to fall back on. Which
// role serves is the whole service's matter too: a subset without a primary must
// not make one.
func (r *round) electSubset(s model.Service, state *ServiceState, one *SubsetState) {
	s.Fail, s.Role = model.FailClosed, model.RoleChoice{}
	s.Placement.Tiers.ReturnAfter, s.Placement.PanicThreshold, s.Placement.DrainTimeout = 0, 0, 0
	part := ServiceState{Name: state.Name, ID: state.ID}
	for _, b := range state.Backends {
		if !b.outOfRole && one.Holds(model.Backend{Zone: b.Zone, Tags: b.Tags}) {
			b.Effective = 0
			part.Backends = append(part.Backends, b)
		}
	}
	e := &election{round: r, service: s, state: &part, before: r.plan.standings[s.Name]}
	for i := range part.Backends {
		e.contenders = append(e.contenders, contender{BackendState: &part.Backends[i]})
	}
	e.run()
	one.Backends, one.Usable = len(part.Backends), part.Usable
	one.entries = entriesOf(part.Backends)
	one.FallsBack = len(one.entries) == 0
}

// weighSubset tells the data plane the weights of backends that are in a subset's
// table and not in the service's.
func (r *round) weighSubset(one *SubsetState) {
	for _, e := range one.entries {
		if b := r.plan.Contents.Backends[e.id]; b.Weight == 0 {
			b.Weight = e.weight
			r.plan.Contents.Backends[e.id] = b
		}
	}
}

// subsetNumber returns the number of a subset's table, a new one if it has none.
func (r *round) subsetNumber(want maps.Subset) (uint32, error) {
	for number, one := range r.Present.Subsets {
		if one == want && !r.usedTables[number] {
			r.usedTables[number] = true
			return number, nil
		}
	}
	first := uint32(r.Sizes.Services)
	for number := first; number < first+uint32(r.Sizes.Subsets()); number++ {
		if _, taken := r.Present.Subsets[number]; !taken && !r.usedTables[number] {
			r.usedTables[number] = true
			return number, nil
		}
	}
	return 0, fmt.Errorf("more subsets are steered to than the %d that the maps have room for, those that go with this change included (raise max_services and restart)", r.Sizes.Subsets())
}

// limitsOf are the limits as the data plane knows them.
func limitsOf(r model.Rules) maps.Limits {
	return maps.Limits{
		Rate: rateOf(r.Rate), RatePerSource: rateOf(r.RatePerSource),
		IPv4: uint8(r.SourceIPv4), IPv6: uint8(r.SourceIPv6), MaxConnections: uint32(r.MaxConnections),
	}
}

func rateOf(r model.Rate) maps.Rate {
	return maps.Rate{PerSecond: uint32(r.PerSecond), Burst: uint32(r.Burst)}
}

// recordsAll says whether the rules of a service need all of its flows recorded: so
// that they stay where they are when sources are steered elsewhere, so that there is
// something to count, and so that new ones of UDP can be told from others.
func recordsAll(s model.Service) bool {
	udp := len(s.Frontends) > 0 && s.Frontends[0].Protocol == model.UDP
	return s.Rules.Steers() || s.Rules.MaxConnections > 0 || udp && s.Rules.Limits()
}

// tables are the numbers of a service's tables, its own first.
func (s *ServiceState) tables() []uint32 {
	out := []uint32{s.ID}
	for _, one := range s.Subsets {
		out = append(out, one.Table)
	}
	return out
}

// tableBefore is the table that a job's replaces, with its times. A subset's first
// one replaces the service's own: until now its flows have asked that one, with the
// same slots. That is what first says.
func (r *round) tableBefore(job tableJob) (before maps.Table, since transition, first bool) {
	id := job.id
	if job.subset >= 0 {
		s := &r.plan.Services[job.service]
		_, written := r.Present.Tables[id]
		// A service that steers records all flows. One that does not yet has not
		// steered either, though a plan that failed may have written the table.
		steers := trackingOf(r.Present.Services[s.ID]) != tracksMarked
		if !written || !steers || r.Present.Subsets[id] != r.plan.Contents.Subsets[id] {
			id, first = s.ID, true
		}
	}
	return r.Present.Tables[id], r.Transitions[id], first
}

// keepRules remembers the compiled rules of a round, all of them or, after an
// update, also those of other services.
func (p *Planner) keepRules(r *round) {
	if r.partial {
		return // r.rules are p.rules
	}
	gomaps.DeleteFunc(r.rules, func(id uint32, _ builtRules) bool {
		_, there := r.plan.Contents.Rules[id]
		return !there
	})
}
