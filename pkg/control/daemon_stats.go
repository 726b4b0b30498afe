package control

import (
	"context"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/probe"
)

// probeStats are the counters of health checks.
func (c *controller) probeStats() api.ProbeStats {
	s := c.prober.Stats()
	out := api.ProbeStats{
		Backends: s.Targets, Checks: s.Checks, Running: s.Running, Passed: s.Passed, Failed: s.Failed, Skipped: s.Skipped,
		LateSeconds: s.LateSum.Seconds(),
	}
	for i, n := range s.LateBy {
		one := api.LateStats{Checks: n}
		if i < len(probe.Late) {
			one.UpToSeconds = probe.Late[i].Seconds()
		}
		out.Late = append(out.Late, one)
	}
	return out
}

// hookStats are the counters of who is told of changes.
func (c *controller) hookStats() []api.HookStats {
	out := []api.HookStats{}
	for _, s := range c.hooks.Stats() {
		out = append(out, api.HookStats{
			Hook: s.Name, Told: s.Told, Failed: s.Failed, Dropped: s.Dropped, Retried: s.Retried, Waiting: s.Waiting, Error: s.Error,
		})
	}
	return out
}

// Stats implements [api.Daemon].
func (c *controller) Stats(ctx context.Context, f api.StatsFilter) (out api.Stats, err error) {
	s := c.published.Load()
	out = api.Stats{At: time.Now(), Upcalls: c.upcallCounts.shown(), Probes: c.probeStats(), Hooks: c.hookStats(), Services: []api.ServiceStats{}, Backends: []api.BackendStats{}}
	if f.Service != "" {
		if _, err := s.find(f.Service); err != nil {
			return out, err
		}
	}
	if out.Reasons, err = countersOf(c.data.Reasons); err != nil {
		return out, err
	}
	if out.Events, err = countersOf(c.data.Events); err != nil {
		return out, err
	}
	for _, one := range s.all() {
		if f.Service != "" && one.Name != f.Service {
			continue
		}
		total, err := c.serviceStats(s, one)
		if err != nil {
			return out, err
		}
		out.Services = append(out.Services, total)
		if f.NoBackends || f.Counting && !one.Counts {
			continue
		}
		for _, b := range one.Backends {
			if ctx.Err() != nil {
				return out, ctx.Err()
			}
			traffic, err := c.data.BackendTraffic(b.ID)
			if err != nil {
				return out, err
			}
			outcomes, err := c.backendOutcomes(one, b.ID)
			if err != nil {
				return out, err
			}
			out.Backends = append(out.Backends, api.BackendStats{
				Service: one.Name, Address: b.Address, ID: b.ID, Flows: s.counts[b.ID], Traffic: trafficOf(traffic), Outcomes: outcomes,
			})
		}
	}
	return out, nil
}

// serviceStats are the counters of one service.
func (c *controller) serviceStats(s *snapshot, one ServiceState) (out api.ServiceStats, err error) {
	traffic, err := c.data.ServiceTraffic(one.ID)
	if err != nil {
		return out, err
	}
	refused, err := c.data.Refused(one.ID)
	if err != nil {
		return out, err
	}
	out = api.ServiceStats{
		Service: one.Name, ID: one.ID, MarkedSlots: one.Marked, Sources: s.sources(one.Name), Traffic: trafficOf(traffic), Refused: refusedOf(refused),
		Ejections: s.ejections[one.Name], Usable: one.Usable, Critical: one.isCritical(), CriticalDown: len(one.criticalDown()) > 0,
	}
	for _, b := range one.Backends {
		out.Flows += s.counts[b.ID]
		if !b.EjectedUntil.IsZero() {
			out.Ejected++
		}
	}
	out.Outcomes, err = c.serviceOutcomes(one)
	return out, err
}

// countersOf reads counters that have names.
func countersOf(read func() ([]maps.NamedCount, error)) ([]api.Counter, error) {
	counts, err := read()
	if err != nil {
		return nil, err
	}
	out := make([]api.Counter, 0, len(counts))
	for _, n := range counts {
		out = append(out, api.Counter{Name: n.Name, Count: api.Count(n.Count)})
	}
	return out, nil
}
