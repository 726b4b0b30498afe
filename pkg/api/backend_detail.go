package api

import "time"

// BackendDetail is all that is known of one backend of a service.
type BackendDetail struct {
	Service string `json:"service"`
	Backend
	// ConfiguredWeight is the configuration's or a source's; WeightFrom says whose
	// Weight is: "configuration", "policy" or "operator".
	ConfiguredWeight int    `json:"configured_weight"`
	WeightFrom       string `json:"weight_from"`
	// TableSize is the number of slots of the service's table.
	TableSize int `json:"table_size"`
	// Serves: it may keep the flows that it has.
	Serves bool         `json:"serves"`
	Probe  BackendProbe `json:"probe"`
	// Said is what the operator said of it; nil if nothing.
	Said *Override `json:"said,omitempty"`
	// Traffic since the backend got its number.
	Traffic Traffic `json:"traffic"`
	// History is its last changes, the latest first.
	History []Change `json:"history"`
}

// BackendProbe is the health check of a backend and what is known from it.
type BackendProbe struct {
	ServiceProbe
	// To is the address that is probed; empty for type none.
	To string `json:"to,omitempty"`
	// Via is "vip" if the probe takes the way of the traffic, else empty.
	Via string `json:"via,omitempty"`
	// Result is how the last check ended, "passed" or "failed", and Streak how many
	// in a row ended so; empty and 0 before the first.
	Result string `json:"result,omitempty"`
	Streak int    `json:"streak"`
	// Failures is how many checks failed since the backend is probed.
	Failures uint64 `json:"failures"`
	// LatencySeconds is that of the last check, SmoothedSeconds that of those that
	// passed, each new one an eighth of it.
	LatencySeconds  float64 `json:"latency_seconds"`
	SmoothedSeconds float64 `json:"smoothed_seconds"`
	// Checked is when the last check ended, and Next when the next is due.
	Checked *time.Time `json:"checked,omitempty"`
	Next    *time.Time `json:"next,omitempty"`
	// Sharers is how many backends of services the same check is for, this one
	// included; 0 without checks.
	Sharers int `json:"sharers"`
}

// The kinds of a [Change].
const (
	// ChangeHealth is one that probes found out.
	ChangeHealth = "health"
	// ChangeRole is one of the role that a probe told.
	ChangeRole = "role"
	// ChangeEjection is one to or from ejected.
	ChangeEjection = "ejection"
	// ChangeOperator is one that an operator made on the command line.
	ChangeOperator = "operator"
	// ChangeConfiguration is one that the configuration or a source made.
	ChangeConfiguration = "configuration"
)

// Change is a change of a backend.
type Change struct {
	At time.Time `json:"at"`
	// Kind is one of the Change constants.
	Kind string `json:"kind"`
	// From and To are states, roles (empty: none is known) or, of an operator,
	// "weight 5"; From is empty for a backend that is new.
	From   string `json:"from"`
	To     string `json:"to"`
	Reason string `json:"reason,omitempty"`
}
