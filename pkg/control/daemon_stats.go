package control

import (
	"github.com/xlb-io/xlb/pkg/api"
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
