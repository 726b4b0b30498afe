package policy

import (
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Stats is what a policy did since it was loaded, or since the first of those it
// inherited from was.
type Stats struct {
	Policy string    `json:"policy"`
	SHA256 string    `json:"sha256"`
	Loaded time.Time `json:"loaded"`
	// Hooks are the calls of each hook.
	Hooks map[Hook]HookStats `json:"hooks"`
	// Verdicts are those of flow, most frequent first.
	Verdicts []VerdictStats `json:"verdicts,omitempty"`
	// EmptySubsets counts verdicts whose subset had no backend.
	EmptySubsets uint64 `json:"empty_subsets"`
	// FuelMost is the most fuel that a call of flow took, of Fuel.
	FuelMost uint64 `json:"fuel_most"`
	Fuel     uint64 `json:"fuel"`
	// Memory is the memory of all instances in bytes, MemoryLimit the most of one.
	Instances   int    `json:"instances"`
	Memory      uint64 `json:"memory"`
	MemoryLimit uint64 `json:"memory_limit"`
	// Restarts counts instances that were replaced after a failure.
	Restarts uint64 `json:"restarts"`
	// Counters are the module's own, by name.
	Counters map[string]uint64 `json:"counters,omitempty"`
	Tables   []TableStats      `json:"tables,omitempty"`
	// LogLines were written, LogSuppressed were too many.
	LogLines      uint64 `json:"log_lines"`
	LogSuppressed uint64 `json:"log_suppressed"`
	// ConfigError is why the last change of the configuration was refused.
	ConfigError string `json:"config_error,omitempty"`
}

// HookStats are the calls of a hook.
type HookStats struct {
	// Calls that were made, Errors of those; Skipped were not made because the policy
	// was ejected.
	Calls   uint64 `json:"calls"`
	Errors  uint64 `json:"errors"`
	Skipped uint64 `json:"skipped"`
	// LastError is kept after the policy works again.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// Ejected: not asked until EjectedUntil. Ejections counts how often.
	Ejected      bool      `json:"ejected"`
	EjectedUntil time.Time `json:"ejected_until,omitzero"`
	Ejections    uint64    `json:"ejections"`
	// P50, P99 and Max are times of calls, of one call in 16 for flow.
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// VerdictStats counts equal verdicts.
type VerdictStats struct {
	Mode   model.PolicyMode `json:"mode"`
	Action Action           `json:"action"`
	Reason uint16           `json:"reason"`
	// Text is the manifest's for the reason.
	Text  string `json:"text,omitempty"`
	Count uint64 `json:"count"`
}

// TableStats is what a look-up table holds.
type TableStats struct {
	TableSpec
	// Source is the file it is filled from, "api", or empty.
	Source string `json:"source,omitempty"`
	// Entries is -1 for a database, which does not say.
	Entries int       `json:"entries"`
	Loaded  time.Time `json:"loaded,omitzero"`
	// Error is why the last reload failed; the table is as it was before.
	Error string `json:"error,omitempty"`
}

// Stats returns what the policy did.
func (p *Policy) Stats() Stats { panic("unfinished") }
