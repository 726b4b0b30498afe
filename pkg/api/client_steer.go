package api

import (
	"context"
	"net/netip"
	"net/url"
	"time"
)

// Drain stops new flows to a backend; it holds until Undrain, also over
// restarts of the daemon. It returns once the data plane knows. If the service has
// a drain_timeout, the flows that are left after it move to others.
func (c *Client) Drain(ctx context.Context, service string, backend netip.AddrPort) error {
	return c.post(ctx, backendPath(service, backend, "drain"), nil, nil)
}

// DrainFor is Drain with a time of its own, after which the flows that are left
// move; 0: they stay until they end.
func (c *Client) DrainFor(ctx context.Context, service string, backend netip.AddrPort, after time.Duration) error {
	seconds := after.Seconds()
	return c.post(ctx, backendPath(service, backend, "drain"), DrainRequest{AfterSeconds: &seconds}, nil)
}

// Disable takes a backend out at once: its flows move to others. It holds until
// Enable, also over restarts of the daemon.
func (c *Client) Disable(ctx context.Context, service string, backend netip.AddrPort) error {
	return c.post(ctx, backendPath(service, backend, "disable"), nil, nil)
}

// Enable ends Disable.
func (c *Client) Enable(ctx context.Context, service string, backend netip.AddrPort) error {
	return c.post(ctx, backendPath(service, backend, "enable"), nil, nil)
}

// AddBackend adds a backend to a service beside those that it is configured with,
// until RemoveBackend, also over restarts of the daemon.
func (c *Client) AddBackend(ctx context.Context, service string, backend netip.AddrPort, r BackendRequest) error {
	return c.post(ctx, backendPath(service, backend, "add"), r, nil)
}

// RemoveBackend removes a backend that was added. It serves its flows until they
// end. One of the configuration is an [*Error] with status 409.
func (c *Client) RemoveBackend(ctx context.Context, service string, backend netip.AddrPort) error {
	return c.post(ctx, backendPath(service, backend, "rm"), nil, nil)
}

// AddService adds a service beside those of the configuration file, until
// RemoveService, also over restarts of the daemon. A text that is wrong is an
// [*Error] with status 422, as of Reload.
func (c *Client) AddService(ctx context.Context, name string, r ServiceRequest) error {
	return c.post(ctx, "/v1/services/"+url.PathEscape(name)+"/add", r, nil)
}

// RemoveService removes a service that was added, with all that was said of it. One
// of the configuration file is an [*Error] with status 409.
func (c *Client) RemoveService(ctx context.Context, name string) error {
	return c.post(ctx, "/v1/services/"+url.PathEscape(name)+"/rm", nil, nil)
}

// Zones returns the zones of a service, or of all if service is empty, sorted by
// zone and service.
func (c *Client) Zones(ctx context.Context, service string) ([]Zone, error) {
	return get[[]Zone](ctx, c, "/v1/zones", query("service", service))
}

// DisableZone lets the backends of a zone take no new flows: those of one service,
// or of all if service is empty. It holds until EnableZone, also over restarts of the
// daemon.
func (c *Client) DisableZone(ctx context.Context, zone, service string) error {
	return c.post(ctx, "/v1/zones/disable", ZoneRequest{zone, service}, nil)
}

// EnableZone ends DisableZone; without a service also what was said of single ones.
func (c *Client) EnableZone(ctx context.Context, zone, service string) error {
	return c.post(ctx, "/v1/zones/enable", ZoneRequest{zone, service}, nil)
}

// Undrain lets a backend take new flows again, also if the configuration says
// drain.
func (c *Client) Undrain(ctx context.Context, service string, backend netip.AddrPort) error {
	return c.post(ctx, backendPath(service, backend, "undrain"), nil, nil)
}

// SetWeight replaces the configured weight of a backend by 0 to 65535; it
// holds until ResetWeight, also over restarts of the daemon.
func (c *Client) SetWeight(ctx context.Context, service string, backend netip.AddrPort, weight int) error {
	return c.post(ctx, backendPath(service, backend, "weight"), WeightRequest{Weight: &weight}, nil)
}

// ResetWeight gives a backend its configured weight again.
func (c *Client) ResetWeight(ctx context.Context, service string, backend netip.AddrPort) error {
	return c.post(ctx, backendPath(service, backend, "weight"), WeightRequest{Reset: true}, nil)
}

// Overrides returns all that the operator said: of zones, of services, and of
// backends, each sorted.
func (c *Client) Overrides(ctx context.Context) ([]Override, error) {
	return get[[]Override](ctx, c, "/v1/overrides", nil)
}

// ClearOverrides takes back what the operator said, and returns what that was.
func (c *Client) ClearOverrides(ctx context.Context, f OverrideFilter) (cleared []Override, err error) {
	err = c.post(ctx, "/v1/overrides/clear", f, &cleared)
	return cleared, err
}
