package control

import (
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// adopt makes cfg, which is valid, the configuration.
func (c *controller) adopt(cfg *model.Config) {
	kept := make(map[string][]model.Backend, len(cfg.Services))
	for _, s := range cfg.Services {
		if found, ok := c.discovered[s.Name]; ok {
			kept[s.Name] = found
		}
	}
	for _, text := range LeftOut(cfg) {
		if !slices.Contains(LeftOut(c.cfg), text) {
			c.log.Warn(text)
		}
	}
	c.cfg, c.discovered = cfg, kept
	c.adoptNetworks()
	c.auto = autoSources{}
	clear(c.towards)
	c.retarget, c.dirty = true, true
	c.prober.SetProbing(cfg.Settings.Probing)
	c.hooks.Apply(cfg.Services)
	c.roles.apply(cfg.Services)
	c.discovery.Apply(cfg.Services)
	c.takeDiscovered()
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
	c.health[key] = c.roles.complete(key, r.Health, c.now())
	c.touch(key.Service)
	c.weighSoon(key.Service)
}

// places is as much of an input as tells the backends of services.
func (c *controller) places() Input {
	return Input{Services: c.cfg.Services, Discovered: c.discovered, Added: c.operator.said().Backends}
}

// aimProbes makes the prober probe the backends there are.
func (c *controller) aimProbes() {
	c.retarget = false
	in := c.places()
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
	for key := range c.targets {
		if !targets[key] {
			c.roles.forget(key)
		}
	}
	c.targets, c.pending, c.health = targets, pending, health
	c.prober.Apply(list)
}

// seed takes over what an earlier daemon knew: a backend that did not serve, or was
// not of the role that was wanted, stays out until its first probe says otherwise.
func (c *controller) seed() {
	in := c.input(c.cfg, c.discovered, autoSources{})
	for key, h := range in.atStart(c.roles.of, c.since) {
		c.health[key] = h
	}
}

// atStart is what the maps, and roles that are remembered, say of probed backends.
func (in Input) atStart(roles map[probe.Key]lastRole, now time.Time) map[probe.Key]model.BackendHealth {
	r := &round{Input: in, used: map[uint32]bool{}}
	r.services = in.Services
	r.indexPresent()
	out := map[probe.Key]model.BackendHealth{}
	numbers, _, err := r.number()
	if err != nil {
		return out // the plan will fail for the same reason
	}
	for _, s := range in.Services {
		if s.Probe.Type == model.ProbeNone || s.Probe.Type == "" {
			continue
		}
		holds := map[uint32]bool{}
		if s.Role.Role != "" {
			holds = in.inTable(numbers[s.Name])
		}
		if s.Role.Exclusive == s.Role.Role && len(holds) > 1 {
			clear(holds) // the daemon before knew nothing of roles
		}
		backends := in.backendsOf(s)
		later := lastTaken(s, backends, roles)
		for _, b := range backends {
			id, ok := r.present[numbers[s.Name]][b.Address]
			if !ok {
				continue
			}
			key := probe.Key{Service: s.Name, Backend: b.Address}
			was := leftOver{serves: in.Present.Backends[id].Serves, inTable: holds[id], role: roles[key]}
			was.replaced = was.role.role == s.Role.Exclusive && was.role.since.Before(later)
			if h, known := healthAtStart(s, was, now); known {
				out[key] = h
			}
		}
	}
	return out
}

// lastTaken is when a backend of a service took the role of which there is one, the
// last time; zero if nobody saw it.
func lastTaken(s model.Service, backends []model.Backend, roles map[probe.Key]lastRole) (last time.Time) {
	for _, b := range backends {
		if had := roles[probe.Key{Service: s.Name, Backend: b.Address}]; s.Role.Exclusive != "" && had.role == s.Role.Exclusive && had.since.After(last) {
			last = had.since
		}
	}
	return last
}
