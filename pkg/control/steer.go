package control

import (
	"context"
	"fmt"
	gomaps "maps"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/discovery"
	"github.com/xlb-io/xlb/pkg/model"
)

// step is a change of what the operator said that reaches further than one
// backend's override.
type step struct {
	// change may be called more than once.
	change func(*Operator)
	// grows: it may not fit into the maps, and is tried before it is kept.
	grows bool
	// service is one that it adds, and file where its text is from.
	service, file string
}

// take tries a step, keeps it, and waits until it holds. What is refused changes
// nothing. The caller holds c.reloading, so that no other configuration comes
// between.
func (c *controller) take(ctx context.Context, s step) (err error) {
	said := c.operator.said()
	next := said.clone()
	s.change(&next)
	cfg := c.published.Load().cfg
	var policies *policyChange
	if !gomaps.Equal(said.Services, next.Services) {
		from := c.configSource(c.configPath, c.text, next)
		from.newest, from.file = s.service, s.file
		if cfg, policies, err = from.load(ctx, c.runtime, c.policies(), nil); err != nil {
			return unprocessable(err)
		}
		defer func() {
			if policies != nil {
				err = joined(err, policies.abandon(ctx))
			}
		}()
		if err := s.displaces(c.published.Load().cfg, cfg); err != nil {
			return err
		}
	}
	if s.grows {
		set := c.policies()
		if policies != nil {
			set = policies.next
		}
		if _, err := c.rehearse(ctx, cfg, set, next); err != nil {
			return unprocessable(err)
		}
	}
	if err := c.operator.change(s.change); err != nil {
		return err
	}
	adopted := policies
	policies = nil
	return c.hold(ctx, func() error {
		if adopted != nil {
			c.adopt(cfg)
			c.adoptPolicies(adopted)
		}
		c.retarget, c.dirty = true, true
		return nil
	})
}

// displaces says why the service that the step adds cannot be: it is left out itself,
// or another that was added would be, for its policy cannot be loaded any more.
func (s step) displaces(before, after *model.Config) error {
	if why := after.LeftOut[s.service]; why != "" {
		return api.Errorf(422, "%s", why)
	}
	if s.service == "" {
		return nil
	}
	for _, name := range slices.Sorted(gomaps.Keys(after.LeftOut)) {
		if before.LeftOut[name] == "" {
			return api.Errorf(422, "service %q, which was added before, would be left out: %s", name, after.LeftOut[name])
		}
	}
	return nil
}

// AddBackend implements [api.Daemon].
func (c *controller) AddBackend(ctx context.Context, service string, b model.Backend) error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	s, is, err := c.serviceAndBackends(ctx, service)
	if err != nil {
		return err
	}
	if has(is, b) {
		return api.Errorf(409, "service %q has backend %s already", service, b.Address)
	}
	if iface, local := c.host.LocalAddresses()[b.Address.Addr()]; local {
		return api.Errorf(422, "backend %s is an address of this host (%s): what is sent there never leaves it (a backend is another host)", b.Address, iface)
	}
	if why := discovery.Unusable(c.published.Load().cfg.Services, s, b); why != "" {
		return api.Errorf(422, "backend %s cannot be one of service %q: %s", b.Address, service, why)
	}
	if err := checkServerID(s, is, b); err != nil {
		return err
	}
	if c.operator.said().hasBackend(service, b.Address) {
		return api.Errorf(409, "backend %s was added to service %q before, and does not fit (`xlb status` says why; take it back with `xlb backend rm`)", b.Address, service)
	}
	err = c.take(ctx, step{grows: true, change: func(o *Operator) { o.addBackend(service, b) }})
	if err == nil {
		c.log.Info("operator: add backend", "service", service, "backend", b.Address, "weight", b.Weight)
	}
	return err
}

// RemoveBackend implements [api.Daemon].
func (c *controller) RemoveBackend(ctx context.Context, service string, address netip.AddrPort) error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	if !c.operator.said().hasBackend(service, address) {
		s, is, err := c.serviceAndBackends(ctx, service)
		switch {
		case err != nil:
			return err
		case has(s.Backends, model.Backend{Address: address}):
			return api.Errorf(409, "backend %s of service %q is in the configuration file %s (remove it there; drain or disable takes it out until then)", address, service, c.configPath)
		case has(is, model.Backend{Address: address}):
			return api.Errorf(409, "backend %s of service %q was found by discovery (drain or disable takes it out as long as it is found)", address, service)
		}
		return noBackend(service, address)
	}
	err := c.take(ctx, step{change: func(o *Operator) { o.removeBackend(service, address) }})
	if err == nil {
		c.log.Info("operator: remove backend", "service", service, "backend", address)
	}
	return err
}

// serviceAndBackends returns a service and what backends it has.
func (c *controller) serviceAndBackends(ctx context.Context, name string) (s model.Service, backends []model.Backend, err error) {
	found := false
	err = c.ask(ctx, func() {
		in := c.places()
		if i := slices.IndexFunc(c.cfg.Services, func(s model.Service) bool { return s.Name == name }); i >= 0 {
			found, s = true, c.cfg.Services[i]
			backends = in.backendsOf(s)
		}
	})
	if err == nil && !found {
		err = noService(name)
	}
	return s, backends, err
}

func noService(name string) error {
	return api.Errorf(404, "no service %q (`xlb service ls` shows them)", name)
}

// AddService implements [api.Daemon].
func (c *controller) AddService(ctx context.Context, name string, req api.ServiceRequest) error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	if slices.ContainsFunc(c.published.Load().cfg.Services, func(s model.Service) bool { return s.Name == name }) {
		return api.Errorf(409, "there is a service %q already", name)
	}
	if _, kept := c.operator.said().Services[name]; kept {
		return api.Errorf(409, "a service %q was added before, and does not fit (`xlb overrides ls` says why; take it back with `xlb service rm`)", name)
	}
	file := req.Path
	if file == "" {
		file = "service " + name
	}
	err := c.take(ctx, step{
		grows: true, service: name, file: file,
		change: func(o *Operator) { o.Services[name] = req.Text },
	})
	if err == nil {
		c.log.Info("operator: add service", "service", name)
	}
	return err
}

// RemoveService implements [api.Daemon].
func (c *controller) RemoveService(ctx context.Context, name string) error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	if _, added := c.operator.said().Services[name]; !added {
		if slices.ContainsFunc(c.published.Load().cfg.Services, func(s model.Service) bool { return s.Name == name }) {
			return api.Errorf(409, "service %q is in the configuration file %s (remove it there)", name, c.configPath)
		}
		return noService(name)
	}
	err := c.take(ctx, step{change: func(o *Operator) { o.forget(name) }})
	if err == nil {
		c.log.Info("operator: remove service", "service", name)
	}
	return err
}

// SetZone implements [api.Daemon].
func (c *controller) SetZone(ctx context.Context, zone, service string, disabled bool) error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	if service != "" {
		if _, err := c.published.Load().find(service); err != nil {
			return err
		}
	}
	said := c.operator.said().Zones
	key := model.DisabledZone{Zone: zone, Service: service}
	everywhere := said[model.DisabledZone{Zone: zone}]
	mentioned := everywhere || slices.ContainsFunc(slices.Collect(gomaps.Keys(said)), func(z model.DisabledZone) bool { return z.Zone == zone })
	if !mentioned && !slices.ContainsFunc(c.published.Load().zones(service), func(z api.Zone) bool { return z.Zone == zone }) {
		return api.Errorf(404, "no backend is in zone %q (`xlb zone ls` shows them)", zone)
	}
	if !disabled && service != "" && everywhere {
		return api.Errorf(409, "zone %q is disabled for all services (`xlb zone enable %s` enables it for all)", zone, zone)
	}
	err := c.take(ctx, step{change: func(o *Operator) {
		switch {
		case disabled:
			o.Zones[key] = true
		case service == "":
			gomaps.DeleteFunc(o.Zones, func(z model.DisabledZone, _ bool) bool { return z.Zone == zone })
		default:
			delete(o.Zones, key)
		}
	}})
	if err == nil {
		c.log.Info("operator: "+map[bool]string{true: "disable zone", false: "enable zone"}[disabled], "zone", zone, "service", service)
	}
	return err
}

// ClearOverrides implements [api.Daemon].
func (c *controller) ClearOverrides(ctx context.Context, service string, backend netip.AddrPort) ([]api.Override, error) {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	cleared := slices.DeleteFunc(c.Overrides(), func(o api.Override) bool {
		return service != "" && o.Service != service || backend.IsValid() && o.Backend != backend
	})
	if len(cleared) == 0 {
		switch {
		case backend.IsValid():
			return nil, api.Errorf(404, "nothing was said of backend %s of service %q (`xlb overrides ls` shows what was said)", backend, service)
		case service != "":
			return nil, api.Errorf(404, "nothing was said of service %q (`xlb overrides ls` shows what was said)", service)
		}
		return []api.Override{}, nil
	}
	err := c.take(ctx, step{change: func(o *Operator) {
		if backend.IsValid() {
			o.removeBackend(service, backend)
		} else {
			o.forget(service)
		}
	}})
	if err == nil {
		c.log.Info("operator: clear", "service", service, "backend", backend, "cleared", len(cleared))
	}
	return cleared, err
}

func joined(err, other error) error {
	if other == nil {
		return err
	}
	if err == nil {
		return other
	}
	return fmt.Errorf("%w (and %w)", err, other)
}
