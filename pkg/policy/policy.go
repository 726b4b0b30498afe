package policy

import (
	"context"
	"encoding/json"

	"github.com/xlb-io/xlb/pkg/model"
)

// Policy is a module that is loaded and configured. It is safe for concurrent use.
type Policy struct{}

// Name is the operator's name for it.
func (p *Policy) Name() string { panic("unfinished") }

// Bundle is what it was loaded from.
func (p *Policy) Bundle() *Bundle { panic("unfinished") }

// Spec is the operator's part, with the defaults filled in and the configuration
// that is in force.
func (p *Policy) Spec() model.Policy { panic("unfinished") }

// Warm makes n instances, so that the next n workers need not wait for theirs.
func (p *Policy) Warm(ctx context.Context, n int) error { panic("unfinished") }

// NewWorker returns a worker with an instance of its own, for one goroutine.
func (p *Policy) NewWorker(ctx context.Context) (*Worker, error) { panic("unfinished") }

// Configure gives the module another configuration, JSON. What its manifest's
// schema or the module itself refuses is an error, and the old one stays. Each
// worker's instance has the new one before its next call. State stays.
func (p *Policy) Configure(ctx context.Context, config json.RawMessage) error { panic("unfinished") }

// ReloadTables reads the files of all tables again. A table whose file is wrong
// stays as it is; the error names all such.
func (p *Policy) ReloadTables() error { panic("unfinished") }

// TableEntry is a line of a table, both as they are written in a table file. An
// empty value is 1.
type TableEntry struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

// SetTable replaces what a table holds. One that is filled from a file is refused.
func (p *Policy) SetTable(name string, entries []TableEntry) error { panic("unfinished") }

// Inherit takes over what outlives a reload of the module, from the policy that p
// replaces: counts, the module's counters, and tables that were set by [Policy.SetTable].
// It must be called before p is asked anything.
func (p *Policy) Inherit(old *Policy) { panic("unfinished") }

// Close frees the policy; it must be in no chain any more. Instances of workers
// stay until these are closed, or a [ChainWorker] is next used.
func (p *Policy) Close(ctx context.Context) error { panic("unfinished") }
