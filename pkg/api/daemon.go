package api

import (
	"context"
	"iter"
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// Daemon is what a [Server] shows and steers. Its methods are called from many
// goroutines. An error that is an [*Error] chooses the HTTP status.
type Daemon interface {
	Status() Status
	Service(name string) (ServiceDetail, error)
	// Backends returns those of one service, or of all if service is empty.
	Backends(service string) ([]ServiceBackend, error)
	// Backend returns all that is known of one.
	Backend(ctx context.Context, service string, backend netip.AddrPort) (BackendDetail, error)

	// All that an operator says returns once the data plane knows.

	// Drain ends after a time, 0: never, nil: as configured.
	Drain(ctx context.Context, service string, backend netip.AddrPort, after *time.Duration) error
	Undrain(ctx context.Context, service string, backend netip.AddrPort) error
	// SetWeight with nil takes back an earlier one.
	SetWeight(ctx context.Context, service string, backend netip.AddrPort, weight *uint16) error
	SetDisabled(ctx context.Context, service string, backend netip.AddrPort, disabled bool) error
	AddBackend(ctx context.Context, service string, backend model.Backend) error
	RemoveBackend(ctx context.Context, service string, backend netip.AddrPort) error
	AddService(ctx context.Context, name string, r ServiceRequest) error
	RemoveService(ctx context.Context, name string) error
	// Zones are those of a service, or of all if service is empty.
	Zones(service string) ([]Zone, error)
	SetZone(ctx context.Context, zone, service string, disabled bool) error
	Overrides() []Override
	// ClearOverrides takes back what was said of a service, or of all if it is empty,
	// or of one backend if that is valid. It returns what that was.
	ClearOverrides(ctx context.Context, service string, backend netip.AddrPort) ([]Override, error)
	Reload(ctx context.Context) error
	Plan(ctx context.Context, r PlanRequest) (Plan, error)
	// Policies are those in force, sorted by name.
	Policies() []Policy
	// ReloadPolicy loads a policy's bundle again, with the configuration file, and
	// returns once it is asked; if anything is wrong nothing changes.
	ReloadPolicy(ctx context.Context, name string) error
	// SetTable replaces what a table of a policy holds that is filled from no file.
	SetTable(policyName, table string, entries []policy.TableEntry) error
	Stats(ctx context.Context, f StatsFilter) (Stats, error)
	// Flows returns the flows that match. They may be read slowly: nothing is
	// held meanwhile.
	Flows(f FlowFilter) (iter.Seq[Flow], error)
}
