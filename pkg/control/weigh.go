package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/probe"
)

// answers are what policies said of a service's backends.
type answers map[netip.AddrPort]Answer

func (a answers) equal(b answers) bool {
	if len(a) != len(b) {
		return false
	}
	for address, answer := range a {
		if other, ok := b[address]; !ok || !answer.equal(other) {
			return false
		}
	}
	return true
}

// weighing is one question to the policies of a service about its backends.
type weighing struct {
	service string
	links   []policy.Link
	in      []policy.WeighInput
	ids     []uint32 // of in, for their counters; 0: not known yet
}

// weighSoon makes the policies of a service be asked about weights again.
func (c *controller) weighSoon(service string) {
	if c.toWeigh == nil {
		c.toWeigh = map[string]bool{}
	}
	c.toWeigh[service] = true
}

// startWeighing asks what is to be asked, beside the reconciler: a policy may take
// as long as its timeout. A service that is being asked about waits.
func (c *controller) startWeighing() {
	if len(c.toWeigh) == 0 || c.plan == nil {
		return
	}
	var probed map[probe.Key]probe.Status
	for _, s := range c.cfg.Services {
		if !c.toWeigh[s.Name] || c.weighing[s.Name] {
			continue
		}
		delete(c.toWeigh, s.Name)
		w := weighing{service: s.Name, links: c.policies().links(s, policy.HookWeigh)}
		if len(w.links) == 0 {
			continue
		}
		if probed == nil {
			probed = c.prober.Snapshot()
		}
		c.fill(&w, s, probed)
		c.weighing[s.Name] = true
		c.helpers.Go(func() {
			said := c.weigh(&w)
			c.post(func() { c.weighed(w.service, said) })
		})
	}
}

// fill puts down what is known of the backends, without what policies said before.
func (c *controller) fill(w *weighing, s model.Service, probed map[probe.Key]probe.Status) {
	in := c.input(c.cfg, c.discovered, c.auto)
	in.Answers = nil
	r := &round{Input: in}
	var planned []BackendState
	if i := slices.IndexFunc(c.plan.Services, func(one ServiceState) bool { return one.Name == s.Name }); i >= 0 {
		planned = c.plan.Services[i].Backends
	}
	for _, b := range in.backendsOf(s) {
		state := r.backendState(s, b)
		status := probed[probe.Key{Service: s.Name, Backend: b.Address}]
		one := policy.WeighInput{
			Address: b.Address, State: stateForPolicy(state), Weight: state.Weight, Tier: state.Tier, Zone: b.Zone, Tags: b.Tags,
			Latency: status.Smoothed, ErrorsTotal: status.Failures,
		}
		id := uint32(0)
		if i := slices.IndexFunc(planned, func(p BackendState) bool { return p.Address == b.Address }); i >= 0 {
			id = planned[i].ID
			one.Flows = uint64(c.counts[id])
		}
		w.in, w.ids = append(w.in, one), append(w.ids, id)
	}
}

func stateForPolicy(b BackendState) policy.BackendState {
	switch b.State {
	case api.StateHealthy:
		return policy.StateUp
	case api.StateUnhealthy, api.StateDisabled, api.StateEjected: // by no policy: what they say is not asked for here
		return policy.StateDown
	case api.StateDraining:
		return policy.StateDraining
	}
	return policy.StateUnknown
}

// weigh asks the policies in order. Each sees what those before it, if they are
// enforced, made of the weights. Of one that fails there is no answer, so that its
// last one holds, until it is ejected: then it has no say.
func (c *controller) weigh(w *weighing) map[string]answers {
	for i, id := range w.ids {
		if traffic, err := c.data.BackendTraffic(id); err == nil && id != 0 {
			w.in[i].FlowsTotal = traffic.Flows
		}
	}
	said := map[string]answers{}
	for _, link := range w.links {
		out, err := link.Policy.Weigh(context.Background(), w.in)
		if err != nil {
			c.log.Debug("a policy failed to weigh", "service", w.service, "error", err)
			if errors.Is(err, policy.ErrEjected) {
				said[link.Policy.Name()] = answers{}
			}
			continue
		}
		these := answers{}
		for i, o := range out {
			these[w.in[i].Address] = answerOf(link, o)
			if link.Mode == model.PolicyEnforce {
				apply(&w.in[i], o)
			}
		}
		said[link.Policy.Name()] = these
	}
	return said
}

// apply shows the next policy what this one said.
func apply(in *policy.WeighInput, o policy.WeighOutput) {
	if o.Weight != policy.Leave {
		in.Weight = uint16(o.Weight)
	}
	if o.Tier != policy.Leave {
		in.Tier = uint8(o.Tier)
	}
	if o.Eject {
		in.Weight = 0
	}
}

// answerOf is one policy's word on a backend.
func answerOf(link policy.Link, o policy.WeighOutput) Answer {
	var a Answer
	if o.Weight != policy.Leave {
		w := uint16(o.Weight)
		a.Weight = &w
	}
	if o.Tier != policy.Leave {
		t := uint8(o.Tier)
		a.Tier = &t
	}
	a.Eject = o.Eject
	if o.Eject {
		a.Reason = fmt.Sprintf("ejected by policy %s", link.Policy.Name())
		if text := link.Policy.Bundle().Manifest.Reasons[o.Reason]; text != "" {
			a.Reason += ": " + text
		}
	}
	if link.Mode == model.PolicyShadow {
		return Answer{Shadow: a.words(link.Policy.Name())}
	}
	return a
}

// weighed takes what the policies of a service said.
func (c *controller) weighed(service string, said map[string]answers) {
	delete(c.weighing, service)
	i := slices.IndexFunc(c.cfg.Services, func(s model.Service) bool { return s.Name == service })
	if i < 0 {
		return
	}
	links := c.policies().links(c.cfg.Services[i], policy.HookWeigh)
	before := c.said[service]
	total := answers{}
	now := map[string]answers{}
	for _, link := range links {
		name := link.Policy.Name()
		these, answered := said[name]
		if !answered {
			these = before[name]
		}
		now[name] = these
		for address, a := range these {
			total[address] = total[address].and(a)
		}
	}
	c.said[service] = now
	if !total.equal(c.answers[service]) {
		c.answers[service] = total
		c.touch(service)
	}
}

// weighAll has all be asked: numbers change without anybody's saying so.
func (c *controller) weighAll() {
	for _, s := range c.cfg.Services {
		if len(s.Policies) > 0 {
			c.weighSoon(s.Name)
		}
	}
}
