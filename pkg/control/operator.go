package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// configured is what the configuration, sources and additions say of a backend.
type configured struct {
	there, drained bool
	drainTimeout   time.Duration // of its service
}

// Drain implements [api.Daemon].
func (c *controller) Drain(ctx context.Context, service string, backend netip.AddrPort, after *time.Duration) error {
	return c.override(ctx, "drain", service, backend, func(o *model.Override, is configured) {
		yes := true
		o.Drain, o.Deadline = &yes, nil
		left := is.drainTimeout
		if after != nil {
			left = *after
		}
		if left > 0 {
			at := c.now().Add(left).Round(0) // the calendar's time, which outlives the daemon
			o.Deadline = &at
		}
	})
}

// Undrain implements [api.Daemon].
func (c *controller) Undrain(ctx context.Context, service string, backend netip.AddrPort) error {
	return c.override(ctx, "undrain", service, backend, func(o *model.Override, is configured) {
		o.Drain, o.Deadline = nil, nil
		if is.drained {
			no := false
			o.Drain = &no
		}
	})
}

// SetWeight implements [api.Daemon].
func (c *controller) SetWeight(ctx context.Context, service string, backend netip.AddrPort, weight *uint16) error {
	change := func(o *model.Override, _ configured) { o.Weight = weight }
	if weight == nil {
		return c.override(ctx, "weight reset", service, backend, change)
	}
	return c.override(ctx, "weight", service, backend, change, "weight", *weight)
}

// SetDisabled implements [api.Daemon].
func (c *controller) SetDisabled(ctx context.Context, service string, backend netip.AddrPort, disabled bool) error {
	what := map[bool]string{true: "disable", false: "enable"}[disabled]
	return c.override(ctx, what, service, backend, func(o *model.Override, _ configured) { o.Disabled = disabled })
}

// override changes what the operator says of a backend, keeps it, and waits
// until it holds. Of a backend that is not there only an override that exists can be
// changed, so that it can be taken back.
func (c *controller) override(ctx context.Context, what, service string, backend netip.AddrPort, change func(*model.Override, configured), logged ...any) error {
	key := probe.Key{Service: service, Backend: backend}
	var is configured
	err := c.ask(ctx, func() {
		in := c.places()
		for _, s := range c.cfg.Services {
			if s.Name != service {
				continue
			}
			is.drainTimeout = s.Placement.DrainTimeout
			for _, b := range in.backendsOf(s) {
				if b.Address == backend {
					is.there, is.drained = true, b.Drain
				}
			}
		}
	})
	if err != nil {
		return err
	}
	if _, kept := c.operator.said().Overrides[key]; !is.there && !kept {
		if _, err := c.published.Load().find(service); err != nil {
			return err
		}
		return noBackend(service, backend)
	}
	if err := c.operator.override(key, func(o *model.Override) { change(o, is) }); err != nil {
		return err
	}
	c.log.Info("operator: "+what, append([]any{"service", service, "backend", backend}, logged...)...)
	return c.hold(ctx, func() error { c.touch(service); return nil })
}

func noBackend(service string, backend netip.AddrPort) error {
	return api.Errorf(404, "service %q has no backend %s (`xlb backend ls` shows them)", service, backend)
}

// hold waits until what the operator said, and is kept, holds.
func (c *controller) hold(ctx context.Context, change func() error) error {
	err := c.submit(ctx, change)
	if _, refused := errors.AsType[*api.Error](err); err == nil || refused || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("noted, but the maps do not hold it yet (the daemon keeps trying): %w", err)
}
