package control

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// backendsOf returns the backends of a service: the static ones, those that
// discovery found, and those that the operator added.
func (in *Input) backendsOf(s model.Service) []model.Backend { return in.withAdded(s, in.foundOf(s)) }

// addService adds a service, its backends and the wish for its table.
func (r *round) addService(s model.Service, id uint32, runs map[bool]sourceRun) error {
	run := sourcesOf(s, runs)
	entry := maps.Service{
		Forward: s.Forward, Track: r.trackOf(s), Selection: selectionOf(s.Selection), FirstSource: uint16(run.first), Sources: uint16(run.n), Timeouts: s.Timeouts,
		Outcomes: countsOutcomes(s), Retries: s.Outcomes.Retries,
	}
	if r.Deciding[s.Name] {
		entry.Policy = s.OnOverload
		entry.Upcalls, entry.UpcallsPerSource = uint32(r.Settings.PolicyRate), uint32(r.Settings.PolicyRatePerSource)
	}
	entry.Ruled, entry.Limits = s.Rules.Lists(), limitsOf(s.Rules)
	r.plan.Contents.Services[id] = entry
	state := ServiceState{
		Name: s.Name, ID: id, Frontends: s.Frontends, Forward: s.Forward, Track: entry.Track, Fail: s.Fail, Via: s.Probe.Via, Critical: s.Critical,
		Selection: s.Selection,
		Decides:   r.Deciding[s.Name], Added: s.Added, Limits: entry.Limits,
		Counts: entry.Outcomes, ejects: s.Outcomes.Eject.On,
		NoSource: s.Forward == model.NAT && run.n == 0,
		tracking: trackingOf(r.plan.Contents.Services[id]), lasts: longestTimeout(s),
	}
	if state.NoSource {
		state.warnings = append(state.warnings, fmt.Sprintf("service %q has no source address for nat and drops new flows (set sources)", s.Name))
	}

	backends := slices.Clone(r.backendsOf(s))
	slices.SortStableFunc(backends, func(a, b model.Backend) int { return a.Address.Compare(b.Address) })
	backends = r.fitting(s, id, backends, &state)
	state.Backends = make([]BackendState, 0, len(backends))
	for i, b := range backends {
		if i > 0 && backends[i-1].Address == b.Address {
			state.warnings = append(state.warnings, fmt.Sprintf("service %q has backend %s twice; the first counts", s.Name, b.Address))
			continue
		}
		number, err := r.backendNumber(id, b.Address)
		if err != nil {
			return fmt.Errorf("service %q: %w", s.Name, err)
		}
		one := r.backendState(s, b)
		one.ID = number
		state.Backends = append(state.Backends, one)
	}
	r.noteAdded(s, &state)
	r.elect(s, &state)
	for _, b := range state.Backends {
		entry := maps.Backend{Address: b.Address, Service: id, Serves: b.Serves}
		if s.Selection.Schedule == model.LeastConnections {
			entry.Weight = b.Effective
		}
		r.plan.Contents.Backends[b.ID] = entry
	}
	r.nameQUICServers(&state, backends)
	if err := r.addSubsets(s, &state); err != nil {
		return err
	}
	if err := r.addRules(s, &state); err != nil {
		return err
	}
	r.plan.Warnings = append(r.plan.Warnings, state.warnings...)
	for i, table := range state.tables() {
		r.jobs = append(r.jobs, tableJob{service: len(r.plan.Services), subset: i - 1, id: table})
	}
	r.plan.Services = append(r.plan.Services, state)
	return nil
}

// trackOf is what the data plane records of a service. A policy's decision is
// kept in the flow's record.
func (in *Input) trackOf(s model.Service) model.Track {
	if in.Deciding[s.Name] {
		return model.TrackAlways
	}
	return trackOf(s)
}

// trackOf is the same without policies.
func trackOf(s model.Service) model.Track {
	if s.Forward.RewritesPorts() || countsOutcomes(s) || s.Selection.RecordsAll() {
		return model.TrackAlways
	}
	if s.Selection.OnePacket {
		return model.TrackNever
	}
	track := cmp.Or(s.Track, model.TrackAuto)
	if track == model.TrackAuto && recordsAll(s) {
		return model.TrackAlways
	}
	return track
}

// countsOutcomes says whether the data plane counts what becomes of connections: it
// is asked to, or a schedule goes by how soon backends answer.
func countsOutcomes(s model.Service) bool {
	return s.Outcomes.Count || measuresLatency(s.Selection, s.Forward, s.Frontends)
}

// backendState is a backend by itself: what probes and operator say of it.
func (r *round) backendState(s model.Service, b model.Backend) BackendState {
	key := probe.Key{Service: s.Name, Backend: b.Address}
	override, overridden := r.Overrides[key]
	answer := r.Answers[s.Name][b.Address]
	out := BackendState{Address: b.Address, Weight: b.Weight, Configured: b.Weight, Critical: b.Critical, Zone: b.Zone, Tags: b.Tags, Tier: b.Priority, Override: overridden, drain: b.Drain}
	answer.weigh(&out)
	drain, drainReason := b.Drain, "drained by the configuration"
	if override.Drain != nil {
		drain, drainReason = *override.Drain, "drained by the operator"
	}
	if override.Weight != nil {
		out.Weight = *override.Weight
	}
	zoneDisabled := r.zoneDisabled(s.Name, b.Zone)
	out.leaves = drain || zoneDisabled
	health := r.Health[key]
	out.State, out.Since, out.Reason, out.Serves = api.StateUnknown, health.Since, health.Reason, true
	out.Role, out.roleSince = health.Role, health.RoleSince
	iface, local := r.Local[b.Address.Addr()]
	switch {
	case local:
		out.State, out.Serves, out.Local = api.StateUnhealthy, false, true
		out.Reason = fmt.Sprintf("address of this host: %s has it, and what is sent there never leaves", iface)
	case override.Disabled:
		out.State, out.Reason, out.Serves = api.StateDisabled, "disabled by the operator", false
	case health.State == model.Unhealthy:
		out.State, out.Serves = api.StateUnhealthy, false
	case drain:
		out.State, out.Reason = api.StateDraining, drainReason
	case zoneDisabled:
		out.State, out.Reason = api.StateDraining, fmt.Sprintf("zone %s is disabled by the operator", b.Zone)
	case answer.Eject:
		out.State, out.Reason = api.StateEjected, answer.Reason
	case health.State == model.Healthy || s.Probe.Type == model.ProbeNone || s.Probe.Type == "":
		out.State = api.StateHealthy
	}
	if s.Outcomes.Eject.On {
		r.Breakers[s.Name][b.Address].contend(s.Outcomes.Eject, &out)
	}
	if out.Weight == 0 && out.Reason == "" {
		out.Reason = "weight 0: no new flows"
	}
	return out
}

// zoneDisabled says whether the operator disabled a zone, for the service or for all.
func (in *Input) zoneDisabled(service, zone string) bool {
	return zone != "" && (in.DisabledZones[model.DisabledZone{Zone: zone}] || in.DisabledZones[model.DisabledZone{Zone: zone, Service: service}])
}

func takesFlows(b BackendState) bool {
	return (b.State == api.StateHealthy || b.State == api.StateUnknown) && b.Weight > 0
}

// retire keeps those candidates that are no longer configured and may still have flows: replies
// need the entries of service and backend. Whether it serves stays as it was,
// but the flows of a superseded service move. A backend without a service, left
// by a write that failed half-way, has no flows.
func (r *round) retire(candidates map[uint32]maps.Backend, superseded map[uint32]bool) {
	left := map[uint32][]BackendState{}
	for id, b := range candidates {
		if _, configured := r.plan.Contents.Backends[id]; configured || r.Idle[id] && !r.plan.inherited[id] {
			continue
		}
		if _, whole := r.Present.Services[b.Service]; !whole {
			continue
		}
		b.Serves = b.Serves && !superseded[b.Service]
		b.Weight = 0
		r.plan.Contents.Backends[id] = b
		left[b.Service] = append(left[b.Service], BackendState{
			Address: b.Address, ID: id, State: api.StateRetired, Reason: "removed; stays until its last flow ends", Serves: b.Serves,
		})
	}
	for i := range r.plan.Services {
		s := &r.plan.Services[i]
		r.keepQUICServers(s, left[s.ID])
		s.Backends = append(s.Backends, left[s.ID]...)
		sortStates(s.Backends)
		delete(left, s.ID)
	}
	for id, backends := range left {
		sortStates(backends)
		old := r.Present.Services[id]
		old.Ruled, old.Limits = false, maps.Limits{} // nothing new comes to it
		r.plan.Contents.Services[id] = old
		r.plan.Retired = append(r.plan.Retired, ServiceState{ID: id, Forward: old.Forward, Backends: backends})
	}
	slices.SortFunc(r.plan.Retired, func(a, b ServiceState) int { return cmp.Compare(a.ID, b.ID) })
}

func sortStates(s []BackendState) {
	slices.SortFunc(s, func(a, b BackendState) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.ID, b.ID))
	})
}

// entryKey places a backend in a table: the text of its address and port, the
// same on every load balancer.
func entryKey(a netip.AddrPort) string { return a.String() }
