package control

import (
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/discovery"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// found takes an update of discovery.
func (c *controller) found(u discovery.Update) {
	i := slices.IndexFunc(c.cfg.Services, func(s model.Service) bool { return s.Name == u.Service })
	if i < 0 || u.At.Before(c.replaced[u.Service]) {
		return // the last word of a source that was stopped
	}
	if u.Err != nil {
		c.sourceErr[u.Service] = u.Err.Error()
		c.publish()
		return
	}
	if c.sourceErr[u.Service] != "" {
		delete(c.sourceErr, u.Service)
		c.publish()
	}
	in := Input{Discovered: c.discovered}
	before := in.backendsOf(c.cfg.Services[i])
	c.discovered[u.Service] = u.Backends
	if !slices.Equal(before, u.Backends) {
		c.retarget = true
		c.touch(u.Service)
		c.weighSoon(u.Service)
		// A family that comes or goes may need a source address.
		c.dirty = c.dirty || families(before) != families(u.Backends)
	}
	c.discoveryComplete()
}

func families(backends []model.Backend) (found [2]bool) {
	for _, b := range backends {
		found[tunnelIndex(b.Address.Addr())] = true
	}
	return found
}

// discoveryComplete lets the first round begin once every source has spoken.
func (c *controller) discoveryComplete() {
	if c.plan == nil && c.retry == 0 && len(c.discovered) >= len(c.cfg.Services) {
		c.notBefore = time.Time{}
	}
}

// discoveredFor is what is known of the backends of cfg's services: what
// sources found that need not be replaced. For the others the configuration's
// own list holds.
func (c *controller) discoveredFor(cfg *model.Config) map[string][]model.Backend {
	old := map[string]model.Service{}
	for _, s := range c.cfg.Services {
		old[s.Name] = s
	}
	kept := map[string][]model.Backend{}
	for _, s := range cfg.Services {
		before, had := old[s.Name]
		found, known := c.discovered[s.Name]
		if had && known && slices.Equal(before.Backends, s.Backends) {
			kept[s.Name] = found
		}
	}
	return kept
}

// adopt makes cfg, which is valid, the configuration.
func (c *controller) adopt(cfg *model.Config) {
	kept := c.discoveredFor(cfg)
	now := time.Now()
	replaced, sourceErr := map[string]time.Time{}, map[string]string{}
	for _, s := range cfg.Services {
		if _, same := kept[s.Name]; !same {
			replaced[s.Name] = now
			continue
		}
		if at, ok := c.replaced[s.Name]; ok {
			replaced[s.Name] = at
		}
		if e, ok := c.sourceErr[s.Name]; ok {
			sourceErr[s.Name] = e
		}
	}
	c.cfg, c.discovered, c.replaced, c.sourceErr = cfg, kept, replaced, sourceErr
	c.auto = autoSources{}
	clear(c.towards)
	c.retarget, c.dirty = true, true
	c.prober.SetProbing(cfg.Settings.Probing)
	c.discovery.Apply(cfg.Services)
}

// probed takes a change of health.
func (c *controller) probed(r probe.Result) {
	key := r.Target.Key()
	if !c.targets[key] {
		return
	}
	if r.Health.State != model.HealthUnknown {
		delete(c.pending, key)
	} else if _, seeded := c.health[key]; seeded {
		return // the probe itself failed: what the maps said still holds
	}
	c.health[key] = r.Health
	c.touch(key.Service)
	c.weighSoon(key.Service)
}

// aimProbes makes the prober probe the backends there are.
func (c *controller) aimProbes() {
	c.retarget = false
	in := Input{Discovered: c.discovered}
	targets := map[probe.Key]bool{}
	pending := map[probe.Key]time.Time{}
	var list []probe.Target
	now := time.Now()
	for _, s := range c.cfg.Services {
		for _, b := range in.backendsOf(s) {
			t := probe.Target{Service: s.Name, Backend: b.Address, Probe: s.Probe}
			key := t.Key()
			targets[key] = true
			way, numbered := c.ways[key]
			if s.Probe.Via == model.ViaVIP {
				t.Via = way
			}
			// Via the VIP one reaches a backend by its number, which the plan gives.
			if s.Probe.Via != model.ViaVIP || numbered {
				list = append(list, t)
			}
			if s.Probe.Type == model.ProbeNone || s.Probe.Type == "" {
				continue
			}
			if until, waiting := c.pending[key]; waiting {
				pending[key] = until
			} else if !c.targets[key] {
				pending[key] = now.Add(s.Probe.Interval + s.Probe.Timeout)
			}
		}
	}
	health := make(map[probe.Key]model.BackendHealth, len(targets))
	for key, h := range c.health {
		if targets[key] {
			health[key] = h
		}
	}
	c.targets, c.pending, c.health = targets, pending, health
	c.prober.Apply(list)
}

// seed takes over what an earlier daemon knew: a backend that did not serve
// stays down until its first probe says otherwise.
func (c *controller) seed() {
	in := c.input(c.cfg, c.discovered, autoSources{})
	for key := range in.notServing() {
		c.health[key] = model.BackendHealth{State: model.Unhealthy, Reason: "was down when the daemon started; not probed yet", Since: c.since}
	}
}

// notServing returns the probed backends that the maps hold as not serving.
func (in Input) notServing() map[probe.Key]bool {
	r := &round{Input: in, used: map[uint32]bool{}}
	r.services = in.Services
	r.indexPresent()
	out := map[probe.Key]bool{}
	numbers, _, err := r.number()
	if err != nil {
		return out // the plan will fail for the same reason
	}
	for _, s := range in.Services {
		if s.Probe.Type == model.ProbeNone || s.Probe.Type == "" {
			continue
		}
		for _, b := range in.backendsOf(s) {
			id, ok := r.present[numbers[s.Name]][b.Address]
			if ok && !in.Present.Backends[id].Serves {
				out[probe.Key{Service: s.Name, Backend: b.Address}] = true
			}
		}
	}
	return out
}
