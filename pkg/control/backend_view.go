package control

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// Backend implements [api.Daemon].
func (c *controller) Backend(ctx context.Context, service string, backend netip.AddrPort) (api.BackendDetail, error) {
	s := c.published.Load()
	state, err := s.find(service)
	if err != nil {
		return api.BackendDetail{}, err
	}
	i := slices.IndexFunc(state.Backends, func(b BackendState) bool { return b.Address == backend })
	if i < 0 {
		return api.BackendDetail{}, api.Errorf(404, "service %q has no backend %s (`xlb backend ls` shows them)", service, backend)
	}
	b := state.Backends[i]
	traffic, err := c.data.BackendTraffic(b.ID)
	if err != nil {
		return api.BackendDetail{}, err
	}
	key := probe.Key{Service: service, Backend: backend}
	out := api.BackendDetail{
		Service: service, Backend: s.backends(state)[i], ConfiguredWeight: int(b.Configured), WeightFrom: "configuration",
		TableSize: c.data.Sizes().Table, Serves: b.Serves, Traffic: trafficOf(traffic), History: c.pasts.last(key),
		Probe: api.BackendProbe{ServiceProbe: api.ServiceProbe{Type: string(model.ProbeNone)}},
	}
	if b.Answer.Weight != nil {
		out.WeightFrom = "policy"
	}
	for _, o := range c.Overrides() {
		if o.Service != service || o.Backend != backend {
			continue
		}
		out.Said = &o
		if o.Weight != nil || o.Added && o.Problem == "" && b.Answer.Weight == nil {
			out.WeightFrom = "operator"
		}
	}
	if cfg := s.configured(service); cfg != nil {
		out.Probe.ServiceProbe = probeOf(cfg.Probe)
	}
	if status, probed := c.prober.Status(key); probed {
		addStatus(&out.Probe, status)
	}
	if state.Via != model.ViaDirect {
		out.Probe.Via = state.Via.String()
	}
	return out, nil
}

// configured returns a service of the configuration; nil if there is none of that
// name.
func (s *snapshot) configured(name string) *model.Service {
	i := slices.IndexFunc(s.cfg.Services, func(one model.Service) bool { return one.Name == name })
	if i < 0 {
		return nil
	}
	return &s.cfg.Services[i]
}

// probeOf puts a probe into the words of the API.
func probeOf(p model.Probe) api.ServiceProbe {
	if p.Type == model.ProbeNone || p.Type == "" {
		return api.ServiceProbe{Type: string(model.ProbeNone)}
	}
	return api.ServiceProbe{
		Type: string(p.Type), IntervalSeconds: p.Interval.Seconds(), TimeoutSeconds: p.Timeout.Seconds(), Rise: p.Rise, Fall: p.Fall,
		JitterPercent: p.Jitter, FailingSeconds: p.IntervalFailing.Seconds(), BackoffSeconds: p.BackoffMax.Seconds(),
	}
}

// addStatus adds what is known from checks.
func addStatus(to *api.BackendProbe, s probe.Status) {
	if s.To.IsValid() {
		to.To = s.To.String()
	}
	to.Streak, to.Failures, to.Sharers = s.Streak, s.Failures, s.Sharers
	to.LatencySeconds, to.SmoothedSeconds = s.Latency.Seconds(), s.Smoothed.Seconds()
	to.Checked, to.Next = known(s.Checked), known(s.Next)
	switch {
	case s.Streak == 0:
	case s.Passed:
		to.Result = "passed"
	default:
		to.Result = "failed"
	}
}

// known is nil for a time that is not.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
