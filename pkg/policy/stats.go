package policy

import (
	"cmp"
	"slices"
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
func (p *Policy) Stats() Stats {
	s := Stats{
		Policy: p.spec.Name, SHA256: p.bundle.SHA256, Loaded: p.loaded,
		Hooks:        map[Hook]HookStats{},
		Verdicts:     p.verdictStats(),
		EmptySubsets: p.counts.empty.Load(),
		FuelMost:     p.counts.fuelMost.Load(),
		Fuel:         p.spec.Fuel,
		MemoryLimit:  uint64(p.spec.Memory),
		Restarts:     p.counts.restarts.Load(),
		Counters:     map[string]uint64{},
	}
	for _, h := range p.bundle.Hooks {
		s.Hooks[h] = p.counts.hook(h).stats(p.rt)
	}
	for i, name := range p.bundle.Manifest.Counters {
		s.Counters[name] = p.counters[i].Load()
	}
	for _, t := range p.tables {
		s.Tables = append(s.Tables, t.stats())
	}
	s.LogLines, s.LogSuppressed = p.log.counts()
	p.mu.Lock()
	s.Instances = len(p.live)
	for in := range p.live {
		s.Memory += in.memory.Load()
	}
	p.mu.Unlock()
	if text := p.configError.Load(); text != nil {
		s.ConfigError = *text
	}
	return s
}

func (p *Policy) verdictStats() []VerdictStats {
	m := p.counts.verdicts.Load()
	if m == nil {
		return nil
	}
	list := make([]VerdictStats, 0, len(*m))
	for key, n := range *m {
		list = append(list, VerdictStats{
			Mode: key.mode, Action: key.action, Reason: key.reason,
			Text: p.bundle.Manifest.Reasons[key.reason], Count: n.Load(),
		})
	}
	slices.SortFunc(list, func(a, b VerdictStats) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Mode, b.Mode),
			cmp.Compare(a.Action, b.Action), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

func (h *hookCounts) stats(rt *Runtime) HookStats {
	s := HookStats{
		Calls: h.calls.Load(), Errors: h.errors.Load(), Skipped: h.skipped.Load(), Ejections: h.ejections.Load(),
		P50: h.times.quantile(0.5), P99: h.times.quantile(0.99), Max: time.Duration(h.times.most.Load()),
	}
	if f := h.last.Load(); f != nil {
		s.LastError, s.LastErrorAt = f.text, f.at
	}
	if until := h.until.Load(); until != 0 {
		s.Ejected = true
		s.EjectedUntil = rt.clock().Add(time.Duration(until) - rt.now())
	}
	return s
}

func (t *table) stats() TableStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return TableStats{TableSpec: t.spec, Source: t.source, Entries: t.contents.Load().size(), Loaded: t.loaded, Error: t.error}
}

// Inherit takes over what outlives a reload of the module, from the policy that p
// replaces: counts, the module's counters, and tables that were set by
// [Policy.SetTable]. It must be called once, and before p is asked anything; what
// the old one does later is not counted.
func (p *Policy) Inherit(old *Policy) {
	p.counts.add(&old.counts)
	for i, name := range p.bundle.Manifest.Counters {
		if j := slices.Index(old.bundle.Manifest.Counters, name); j >= 0 {
			p.counters[i].Add(old.counters[j].Load())
		}
	}
	for _, t := range p.tables {
		for _, from := range old.tables {
			if from.spec.Name == t.spec.Name && from.spec.Kind == t.spec.Kind {
				t.inherit(from)
			}
		}
	}
}

// inherit takes what from was set to, unless t has a file.
func (t *table) inherit(from *table) {
	from.mu.Lock()
	defer from.mu.Unlock()
	if t.source == "" && from.source == fromAPI {
		t.contents.Store(from.contents.Load())
		t.source, t.loaded = fromAPI, from.loaded
	}
}
