package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// Drain implements [api.Daemon].
func (c *controller) Drain(ctx context.Context, service string, backend netip.AddrPort) error {
	return c.override(ctx, "drain", service, backend, func(o *model.Override, _ bool) {
		yes := true
		o.Drain = &yes
	})
}

// Undrain implements [api.Daemon].
func (c *controller) Undrain(ctx context.Context, service string, backend netip.AddrPort) error {
	return c.override(ctx, "undrain", service, backend, func(o *model.Override, configured bool) {
		o.Drain = nil
		if configured {
			no := false
			o.Drain = &no
		}
	})
}

// SetWeight implements [api.Daemon].
func (c *controller) SetWeight(ctx context.Context, service string, backend netip.AddrPort, weight *uint16) error {
	change := func(o *model.Override, _ bool) { o.Weight = weight }
	if weight == nil {
		return c.override(ctx, "weight reset", service, backend, change)
	}
	return c.override(ctx, "weight", service, backend, change, "weight", *weight)
}

// override changes what the operator says of a backend, keeps it, and waits
// until it holds. The change is told whether the configuration drains the
// backend. Of a backend that is not there only an override that exists can be
// changed, so that it can be taken back.
func (c *controller) override(ctx context.Context, what, service string, backend netip.AddrPort, change func(o *model.Override, configuredDrain bool), logged ...any) error {
	key := probe.Key{Service: service, Backend: backend}
	var configured, drained bool
	err := c.ask(ctx, func() {
		in := Input{Discovered: c.discovered}
		for _, s := range c.cfg.Services {
			if s.Name != service {
				continue
			}
			for _, b := range in.backendsOf(s) {
				if b.Address == backend {
					configured, drained = true, b.Drain
				}
			}
		}
	})
	if err != nil {
		return err
	}
	if _, kept := c.overrides.all()[key]; !configured && !kept {
		if _, err := c.published.Load().find(service); err != nil {
			return err
		}
		return api.Errorf(404, "service %q has no backend %s (`xlb backend ls` shows them)", service, backend)
	}
	if err := c.overrides.set(key, func(o *model.Override) { change(o, drained) }); err != nil {
		return err
	}
	c.log.Info("operator: "+what, append([]any{"service", service, "backend", backend}, logged...)...)
	err = c.submit(ctx, func() error { c.touch(service); return nil })
	if _, refused := errors.AsType[*api.Error](err); err == nil || refused || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("noted, but the maps do not hold it yet (the daemon keeps trying): %w", err)
}

// Overrides implements [api.Daemon].
func (c *controller) Overrides() []api.Override {
	s := c.published.Load()
	out := []api.Override{}
	for _, o := range sortedOverrides(c.overrides.all()) {
		state, err := s.find(o.Service)
		known := err == nil && slices.ContainsFunc(state.Backends, func(b BackendState) bool {
			return b.Address == o.Backend && b.State != api.StateRetired
		})
		out = append(out, api.Override{Service: o.Service, Backend: o.Backend, Drain: o.Drain, Weight: o.Weight, Known: known})
	}
	return out
}
