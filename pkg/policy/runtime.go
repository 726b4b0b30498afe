package policy

import (
	"context"
	"log/slog"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Options are those of a [Runtime].
type Options struct {
	// CacheDir holds compiled modules, for the next start. It must belong to this
	// user and be writable by nobody else, for what is in it is run. Empty: no cache.
	CacheDir string
	// Log gets what policies log. nil: nowhere.
	Log *slog.Logger
	// Clock is the wall clock that policies are told. nil: time.Now.
	Clock func() time.Time
}

// Runtime compiles and runs policies. It is safe for concurrent use.
type Runtime struct{}

// NewRuntime returns a runtime without policies.
func NewRuntime(ctx context.Context, o Options) (*Runtime, error) { panic("unfinished") }

// Load opens the bundle at spec.Path and makes a policy of it that is ready to be
// asked: compiled, its tables filled, the configuration valid and given to it.
func (r *Runtime) Load(ctx context.Context, spec model.Policy) (*Policy, error) {
	panic("unfinished")
}

// LoadBundle is [Runtime.Load] for a bundle that is open already.
func (r *Runtime) LoadBundle(ctx context.Context, b *Bundle, spec model.Policy) (*Policy, error) {
	panic("unfinished")
}

// Close frees all. Policies, workers and chains must not be used any more.
func (r *Runtime) Close(ctx context.Context) error { panic("unfinished") }
