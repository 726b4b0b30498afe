package api

import (
	"context"
	"iter"
	"net/netip"

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
	// Drain, Undrain and SetWeight return once the data plane knows. A nil
	// weight takes back an earlier one.
	Drain(ctx context.Context, service string, backend netip.AddrPort) error
	Undrain(ctx context.Context, service string, backend netip.AddrPort) error
	SetWeight(ctx context.Context, service string, backend netip.AddrPort, weight *uint16) error
	Overrides() []Override
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
