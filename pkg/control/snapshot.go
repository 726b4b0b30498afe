package control

import (
	"cmp"
	gomaps "maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// snapshot is the published state; nothing of it is changed after.
type snapshot struct {
	cfg        *model.Config
	plan       *Plan // nil until one was written
	counts     map[uint32]int
	names      map[uint32]string
	lastReload api.Reload
	problem    string
	reasons    []string
	// pending is how many backends wait for their first probe, and pendingTo
	// the last moment until which that counts.
	pending   int
	pendingTo time.Time
	clock     func() time.Duration
	// unreadable is what is wrong with files of rules, by path.
	unreadable map[string]string
	// ejections are how often a backend of a service was ejected.
	ejections map[string]uint64
	// sources are those of a service, as they are at the time of the call.
	sources func(service string) []api.Source
}

func (c *controller) publish() {
	plan := c.plan
	if plan != nil {
		shown := *plan
		shown.Contents = maps.Contents{} // the reconciler's own, it changes
		plan = &shown
	}
	s := &snapshot{
		cfg: c.cfg, plan: plan, counts: c.counts, names: c.names,
		lastReload: c.lastReload, problem: problemText(c.problems), pending: len(c.pending), clock: c.clock, sources: c.sourcesOf,
		unreadable: map[string]string{}, ejections: gomaps.Clone(c.ejections),
	}
	for path, u := range c.unreadable {
		s.unreadable[path] = u.text
	}
	for _, to := range c.pending {
		if to.After(s.pendingTo) {
			s.pendingTo = to
		}
	}
	s.reasons = slices.Collect(gomaps.Keys(c.problems))
	s.reasons = append(s.reasons, c.failedSources()...)
	s.reasons = append(s.reasons, s.staleRules()...)
	if c.plan == nil && c.problems[reasonRead] == nil && c.problems[reasonPlan] == nil && c.problems[reasonApply] == nil {
		s.reasons = append(s.reasons, "starting")
	}
	if !c.lastReload.OK {
		s.reasons = append(s.reasons, "config_invalid")
	}
	if c.plan != nil {
		for _, one := range c.plan.Services {
			if one.Usable == 0 {
				s.reasons = append(s.reasons, "service_down:"+one.Name)
			}
			if one.Panic {
				s.reasons = append(s.reasons, "panic:"+one.Name)
			}
			s.reasons = append(s.reasons, one.criticalDown()...)
			if one.NoSource {
				s.reasons = append(s.reasons, "no_source:"+one.Name)
			}
			if one.NoTunnel {
				s.reasons = append(s.reasons, "no_tunnel_source:"+one.Name)
			}
		}
	}
	slices.Sort(s.reasons)
	c.published.Store(s)
}

// notReady are the reasons with which the load balancer does not do what its
// configuration says.
var notReady = []string{reasonApply, reasonPlan, reasonRead, "probes_pending", "starting"}

// Status implements [api.Daemon].
func (c *controller) Status() api.Status {
	s := c.published.Load()
	out := api.Status{
		Version: c.version, PID: os.Getpid(), Since: c.since, Config: c.configPath, Adopted: c.adopted,
		Reasons: slices.Clone(s.reasons), Problem: s.problem, LastReload: s.lastReload,
		Interfaces: c.interfaces, Services: s.services(),
	}
	if s.pending > 0 && time.Now().Before(s.pendingTo) {
		out.Reasons = append(out.Reasons, "probes_pending")
	}
	out.Reasons = append(out.Reasons, c.policyProblems()...)
	out.Reasons = append(out.Reasons, c.hookProblems()...)
	slices.Sort(out.Reasons)
	for _, one := range out.Services {
		out.MarkedSlots += one.MarkedSlots
	}
	out.Ready = !slices.ContainsFunc(out.Reasons, func(r string) bool { return slices.Contains(notReady, r) || strings.HasPrefix(r, reasonCritical) })
	if s.plan != nil {
		out.Warnings = append(slices.Clone(s.plan.Warnings), c.discoveryWarnings(s.cfg.Services)...)
	}
	out.Warnings = append(out.Warnings, LeftOut(s.cfg)...)
	if out.Reasons == nil {
		out.Reasons = []string{}
	}
	if out.Interfaces == nil {
		out.Interfaces = []api.Interface{}
	}
	return out
}

// services are the configured ones, sorted by name. Before the first round
// they have no backends.
func (s *snapshot) services() []api.Service {
	if s.plan == nil {
		out := make([]api.Service, 0, len(s.cfg.Services))
		for _, one := range s.cfg.Services {
			shown := s.service(ServiceState{Name: one.Name, Frontends: one.Frontends, Forward: one.Forward, Track: trackOf(one), Fail: one.Fail, Via: one.Probe.Via, Selection: one.Selection})
			shown.Starting = true
			out = append(out, shown)
		}
		slices.SortFunc(out, func(a, b api.Service) int { return cmp.Compare(a.Name, b.Name) })
		return out
	}
	out := make([]api.Service, 0, len(s.plan.Services))
	for _, one := range s.plan.Services {
		out = append(out, s.service(one))
	}
	return out
}

func (s *snapshot) service(one ServiceState) api.Service {
	out := api.Service{
		Name: one.Name, Frontends: make([]string, 0, len(one.Frontends)), Forward: one.Forward.String(), Track: one.Track.String(),
		Fail: one.Fail.String(), FailOpen: one.FailOpen, Backends: s.backends(one),
		MarkedSlots: one.Marked, Panic: one.Panic, Added: one.Added, Sources: s.sources(one.Name),
	}
	out.Critical = one.Critical
	if one.Role.Role != "" {
		out.Role, out.RoleFallback, out.StandsIn = one.Role.Role, one.Role.FallbackText(), one.StandIns
	}
	shownSelection(one.Selection, &out)
	if one.Via != model.ViaDirect {
		out.ProbeVia = one.Via.String()
	}
	if tiers := one.tiers(); len(tiers) > 1 {
		for _, t := range one.Serving {
			out.ServingTiers = append(out.ServingTiers, int(t))
		}
	}
	for _, t := range one.Tunnels {
		out.TunnelSources = append(out.TunnelSources, t.String())
		if one.Forward == model.GUE {
			out.GUEPort = t.GUEPort
		}
	}
	if one.Settles > 0 {
		out.SettlesSeconds = max(0, seconds(one.Settles-s.clock()))
	}
	for _, f := range one.Frontends {
		out.Frontends = append(out.Frontends, f.String())
	}
	return out
}

func (s *snapshot) backends(one ServiceState) []api.Backend {
	out := make([]api.Backend, 0, len(one.Backends))
	for _, b := range one.Backends {
		shown := api.Backend{
			Address: b.Address, Weight: int(b.Weight), State: b.State, Reason: b.Reason, Flows: s.counts[b.ID],
			EffectiveWeight: int(b.Effective), Slots: b.Slots, ID: b.ID, Zone: b.Zone, Override: b.Override, Added: b.Added,
			Tags: b.Tags.List(), Tier: int(b.Tier), Role: b.Role, Shadow: b.Answer.Shadow, Critical: b.Critical, ServerID: b.ServerID,
			Ejections: b.Ejections, HalfOpen: b.HalfOpen,
		}
		if !b.Since.IsZero() {
			shown.Since = &b.Since
		}
		if b.Drained > 0 {
			at := time.Now().Add(b.Drained - s.clock()).Round(time.Second)
			shown.DrainsUntil = &at
		}
		if !b.EjectedUntil.IsZero() {
			shown.EjectedUntil = &b.EjectedUntil
		}
		out = append(out, shown)
	}
	return out
}

// find returns a configured service of the plan.
func (s *snapshot) find(name string) (ServiceState, error) {
	if s.plan == nil {
		return ServiceState{}, api.Errorf(503, "the daemon has not written its first plan yet (see `xlb status`)")
	}
	i, ok := slices.BinarySearchFunc(s.plan.Services, name, func(a ServiceState, n string) int { return cmp.Compare(a.Name, n) })
	if !ok {
		return ServiceState{}, api.Errorf(404, "no service %q (`xlb service ls` shows them)", name)
	}
	return s.plan.Services[i], nil
}

// all returns every service of the maps, those that are no longer configured
// last, with the names they had if they are known.
func (s *snapshot) all() []ServiceState {
	if s.plan == nil {
		return nil
	}
	out := slices.Clone(s.plan.Services)
	for _, one := range s.plan.Retired {
		one.Name = s.names[one.ID]
		out = append(out, one)
	}
	return out
}
