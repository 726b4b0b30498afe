package control

import (
	"errors"
	"fmt"
	gomaps "maps"
	"net/netip"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// The reasons of a status that a round can give; see [api.Status].
const (
	reasonPlan        = "plan_failed"
	reasonApply       = "apply_failed"
	reasonRead        = "maps_unreadable"
	reasonUnprotected = "vips_unprotected"
	reasonDecisions   = "policies_unasked"
)

// reconcile is one round: plan, difference, write, publish. After an error
// the maps are read again and the round is repeated later.
func (c *controller) reconcile() {
	reason, err := c.round()
	for _, r := range []string{reasonPlan, reasonApply, reasonRead} {
		delete(c.problems, r)
	}
	c.dirty, c.touched = err != nil, nil
	if err != nil {
		c.problems[reason] = err
		c.retry = min(max(2*c.retry, c.timing.minRetry), c.timing.maxRetry)
		c.notBefore = time.Now().Add(c.retry)
		c.log.Error("the maps do not hold what they should; trying again", "reason", reason, "error", err, "retry_in", c.retry)
	} else {
		c.retry = 0
	}
	c.publish()
	for _, w := range c.waiters {
		w <- err
	}
	c.waiters = nil
	c.roles.save() // last, for a disk may take its time
}

func (c *controller) round() (reason string, err error) {
	if c.stale {
		if c.current, err = c.data.Read(); err != nil {
			return reasonRead, fmt.Errorf("read the maps: %w", err)
		}
		c.stale = false
		// Marks may be others than were planned: they count from now.
		c.transitions = nil
	}
	if !c.seeded {
		c.seed()
		c.seeded = true
	}
	if c.retarget && c.dirty {
		c.aimProbes()
	}
	u, enough, err := c.update()
	if err == nil && !enough {
		u = &update{}
		c.auto = c.sourcesFor(c.cfg, c.discovered, c.auto)
		if u.plan, err = c.planner.Plan(c.input(c.cfg, c.discovered, c.auto)); err == nil {
			u.changes = maps.Diff(c.current, u.plan.Contents)
			u.services = indexes(len(u.plan.Services))
		}
	}
	if err != nil {
		return reasonPlan, err
	}
	// Whoever the data plane asks must be there when it begins to.
	c.routeDecisions(u.plan)
	if changes := u.changes; changes.Len() > 0 {
		c.writes++
		if err := c.data.Apply(changes); err != nil {
			c.stale = true
			return reasonApply, fmt.Errorf("write the maps: %w", err)
		}
		c.log.Debug("wrote the maps", "vips", len(changes.VIPs), "services", len(changes.Services),
			"tables", len(changes.Tables), "backends", len(changes.Backends), "sources", len(changes.Sources), "tunnels", len(changes.Tunnels))
	}
	if enough {
		c.current.Make(u.changes)
	}
	c.written(u, enough)
	if c.retarget { // it takes long, and the maps did not wait
		c.aimProbes()
	}
	c.protect()
	c.routeProbes()
	c.endDecisionsUnless(c.plan)
	return "", nil
}

// input is the input of a plan for cfg.
func (c *controller) input(cfg *model.Config, discovered map[string][]model.Backend, auto autoSources) Input {
	said := c.operator.said()
	in := Input{
		Settings: cfg.Settings, Services: cfg.Services, Discovered: discovered, Added: said.Backends,
		Health: c.health, Overrides: said.Overrides, DisabledZones: said.Zones,
		Local: c.host.LocalAddresses(), Present: c.current, Idle: c.idle, IdleSources: c.idleSource, Sizes: c.data.Sizes(),
		Deciding: c.deciding, Answers: c.answers,
		Now: c.clock(), Time: c.now(), Transitions: c.transitions, Survey: c.surveyed, Standings: c.standings(),
		Networks: cfg.Networks,
		Breakers: c.breakers,
	}
	for _, a := range auto.nat {
		in.AutoSources = append(in.AutoSources, a)
	}
	for _, a := range auto.tunnel {
		in.AutoTunnelSources = append(in.AutoTunnelSources, a)
	}
	return in
}

// written takes note of a plan that the maps hold now.
func (c *controller) written(u *update, partly bool) {
	plan := u.plan
	if c.plan == nil || !slices.Equal(c.plan.Warnings, plan.Warnings) {
		for _, w := range plan.Warnings {
			c.log.Warn(w)
		}
	}
	c.logOutages(plan)
	for _, i := range u.services {
		s := &plan.Services[i]
		for _, id := range s.tables() {
			if t := plan.transitions[id]; len(t) > 0 {
				t.stamp(c.clock())
				s.Settles = max(s.Settles, t.settles(plan.Contents.Tables[id], s.lasts))
			}
		}
	}
	before := c.plan
	c.noteChanges(before, plan, u.services)
	c.plan, c.current, c.transitions, c.surveyed = plan, plan.Contents, plan.transitions, nil
	// What was idle may have come back to use: only a new sweep tells.
	c.idle, c.idleSource = map[uint32]bool{}, map[netip.Addr]bool{}

	now := c.now()
	noted := map[uint32]time.Time{}
	note := func(states ...ServiceState) {
		for _, s := range states {
			for _, b := range s.Backends {
				if b.State != api.StateRetired || plan.inherited[b.ID] {
					continue
				}
				since, known := c.retired[b.ID]
				if !known {
					since = now
				}
				noted[b.ID] = since
			}
		}
	}
	if partly {
		for _, i := range u.services {
			note(plan.Services[i])
			for _, b := range before.Services[i].Backends {
				delete(c.retired, b.ID)
			}
		}
		gomaps.Copy(c.retired, noted)
		return
	}
	note(plan.Retired...)
	note(plan.Services...)
	names := map[uint32]string{}
	for _, s := range plan.Retired {
		names[s.ID] = c.names[s.ID]
	}
	for _, s := range plan.Services {
		names[s.ID] = s.Name
	}
	undrawn := map[netip.Addr]time.Time{}
	for _, a := range plan.Contents.Sources {
		if slices.Contains(plan.DrawnFrom, a) {
			continue
		}
		since, known := c.undrawn[a]
		if !known {
			since = now
		}
		undrawn[a] = since
	}
	c.retired, c.undrawn, c.names = noted, undrawn, names
}

// logOutages logs services that lose their last usable backend or have one
// again.
func (c *controller) logOutages(plan *Plan) {
	before := map[string]bool{}
	if c.plan != nil {
		for _, s := range c.plan.Services {
			before[s.Name] = s.Usable == 0
		}
	}
	for _, s := range plan.Services {
		out := s.Usable == 0
		switch {
		case out == before[s.Name]:
		case s.FailOpen:
			c.log.Warn("no backend is usable: all of them are used", "service", s.Name, "fail", s.Fail)
		case out:
			c.log.Warn("no backend is usable: new flows are dropped", "service", s.Name, "fail", s.Fail)
		default:
			c.log.Info("the service has usable backends again", "service", s.Name, "usable", s.Usable)
		}
	}
}

// protect keeps the flows of the frontends out of the host's connection
// tracking.
func (c *controller) protect() {
	want := map[model.Frontend]bool{}
	var list []model.Frontend
	for _, s := range c.plan.Services {
		for _, f := range s.Frontends {
			want[f] = true
			list = append(list, f)
		}
	}
	same := c.protected != nil && len(want) == len(c.protected)
	for f := range want {
		same = same && c.protected[f]
	}
	if same {
		return
	}
	if err := c.host.ProtectVIPs(list); err != nil {
		c.problems[reasonUnprotected] = err
		c.protected = nil
		c.log.Error("cannot keep frontends out of connection tracking; trying again", "error", err)
		return
	}
	delete(c.problems, reasonUnprotected)
	c.protected = want
}

// retryProblems repeats, at every sweep, what failed without stopping a round.
func (c *controller) retryProblems() {
	c.roles.save()
	if c.plan == nil {
		return
	}
	if c.problems[reasonUnprotected] != nil {
		c.protect()
		c.publish()
	}
	if c.problems[reasonProbeRoute] != nil {
		c.routeProbes()
		c.publish()
	}
	if c.problems[reasonDecisions] != nil {
		c.routeDecisions(c.plan)
		c.publish()
	}
	set := c.cfg.Settings
	if slices.ContainsFunc(c.plan.Services, func(s ServiceState) bool {
		return s.NoSource && len(set.Sources) == 0 || s.NoTunnel && len(set.TunnelSources) == 0
	}) {
		c.dirty = true
	}
}

// problemText joins the problems, sorted by reason.
func problemText(problems map[string]error) string {
	var errs []error
	for _, r := range []string{reasonApply, reasonRead, reasonPlan, reasonUnprotected, reasonProbeRoute, reasonDecisions} {
		if err := problems[r]; err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return ""
	}
	return errors.Join(errs...).Error()
}

// startDriftCheck compares, beside the reconciler, the maps with what was
// written to them, and sets the timer for the next time: the checks take one
// per cent of the time at most.
func (c *controller) startDriftCheck(next interface{ Reset(time.Duration) bool }) {
	if c.stale || c.plan == nil || c.drifting {
		next.Reset(c.timing.drift)
		return
	}
	c.drifting = true
	writes, want := c.writes, c.current.Clone()
	c.helpers.Go(func() {
		begin := time.Now()
		have, err := c.data.Read()
		var drift maps.Changes
		if err == nil {
			drift = maps.Diff(have, want)
		}
		took := time.Since(begin)
		c.post(func() {
			c.drifting = false
			next.Reset(max(c.timing.drift, 100*took))
			if err != nil {
				c.log.Warn("cannot compare the maps with what was written", "error", err)
				return
			}
			if c.writes != writes || drift.Len() == 0 {
				return
			}
			c.log.Warn("somebody else changed the maps; writing them again", "entries", drift.Len())
			c.stale, c.dirty = true, true
		})
	})
}

// indexes are the numbers below n.
func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
