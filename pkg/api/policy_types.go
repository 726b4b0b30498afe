package api

import "github.com/xlb-io/xlb/pkg/policy"

// Policy is a policy in force, with what it did since it was loaded or, if it was
// loaded in the place of one of its name, since that was.
type Policy struct {
	Name        string `json:"name"`
	Path        string `json:"path"`
	Version     string `json:"version,omitempty"`
	Description string `json:"description,omitempty"`
	// HookNames are what it answers: "flow", "weigh", "probe".
	HookNames []policy.Hook `json:"hook_names"`
	// OnError is "continue" or "drop".
	OnError string `json:"on_error"`
	// Uses are the services that name it.
	Uses []PolicyUse `json:"uses"`
	policy.Stats
}

// PolicyUse is where a policy is used.
type PolicyUse struct {
	Service string `json:"service"`
	// As is "policy" or "probe".
	As string `json:"as"`
	// Mode is "enforce" or "shadow"; empty for a probe.
	Mode string `json:"mode,omitempty"`
}

// Upcalls are packets whose flows policies were to be asked about.
type Upcalls struct {
	// Asked were, Overloaded found the service's queue full, Stale waited for a
	// second or more, Failed could not be decided or sent on.
	Asked      uint64 `json:"asked"`
	Overloaded uint64 `json:"overloaded"`
	Stale      uint64 `json:"stale"`
	Failed     uint64 `json:"failed"`
}

// Counts are u by name.
func (u Upcalls) Counts() []Counter {
	return []Counter{
		{Name: "asked", Count: Count{Packets: u.Asked}}, {Name: "overloaded", Count: Count{Packets: u.Overloaded}},
		{Name: "stale", Count: Count{Packets: u.Stale}}, {Name: "failed", Count: Count{Packets: u.Failed}},
	}
}

// TableRequest replaces what a table of a policy holds.
type TableRequest struct {
	Entries []policy.TableEntry `json:"entries"`
}
