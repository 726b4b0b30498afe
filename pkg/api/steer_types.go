package api

import (
	"net/netip"
	"time"
)

// Override is what the operator said about a backend, a service or a zone: of a zone
// if Zone is set, else of a service if Backend is not valid.
type Override struct {
	// Service is empty for a zone of all services.
	Service string         `json:"service"`
	Backend netip.AddrPort `json:"backend"`
	// Zone takes no new flows.
	Zone string `json:"zone,omitempty"`
	// Added: the backend or the service is the operator's. As is what was said of the
	// backend then, and Text the service in YAML.
	Added bool            `json:"added,omitempty"`
	As    *BackendRequest `json:"as,omitempty"`
	Text  string          `json:"text,omitempty"`
	// Drain, when not nil, replaces the backend's drain, until Deadline if that is
	// not nil: then its flows move.
	Drain    *bool      `json:"drain,omitempty"`
	Deadline *time.Time `json:"deadline,omitempty"`
	// Weight, when not nil, replaces the backend's weight.
	Weight *uint16 `json:"weight,omitempty"`
	// Disabled: the backend gets no flows at all.
	Disabled bool `json:"disabled,omitempty"`
	// Known: the service, the backend or the zone is there now. What was said of one
	// that is not is kept and holds again when it returns.
	Known bool `json:"known"`
	// Problem says why something that was added is not in use; empty if it is.
	Problem string `json:"problem,omitempty"`
}

// OverrideFilter selects what was said: of a service, or of one of its backends.
// Zero fields select all.
type OverrideFilter struct {
	Service string         `json:"service,omitempty"`
	Backend netip.AddrPort `json:"backend,omitzero"`
}

// Zone is the part of a service's backends that is in a zone.
type Zone struct {
	Zone    string `json:"zone"`
	Service string `json:"service"`
	// Backends is how many there are, and Usable how many nothing speaks against.
	Backends int `json:"backends"`
	Usable   int `json:"usable"`
	// Share of new flows, 0 to 1.
	Share float64 `json:"share"`
	// Flows is the number of live flows, counted at most some seconds ago.
	Flows int `json:"flows"`
	// Own: it is the balancer's own.
	Own bool `json:"own,omitempty"`
	// Disabled: the operator lets it take no new flows.
	Disabled bool `json:"disabled,omitempty"`
}

// DrainRequest is the body of …/drain.
type DrainRequest struct {
	// AfterSeconds is when the flows that are left move to others; 0: never. nil: as
	// the service is configured.
	AfterSeconds *float64 `json:"after_seconds,omitempty"`
}

// BackendRequest is the body of …/add: what a configuration would say of a backend.
type BackendRequest struct {
	// Weight, 0 to 65535; nil is 1.
	Weight *int     `json:"weight,omitempty"`
	Zone   string   `json:"zone,omitempty"`
	Tags   []string `json:"tags,omitempty"`
	// Priority is its tier, 0 to 255.
	Priority int `json:"priority,omitempty"`
	// ServerID is what connection IDs of QUIC call it, 1 to 15 octets in hexadecimal
	// digits; empty: by its address. Only with the service's quic.
	ServerID string `json:"server_id,omitempty"`
}

// ServiceRequest is the body of /v1/services/NAME/add.
type ServiceRequest struct {
	// Path names Text in errors.
	Path string `json:"path,omitempty"`
	// Text is what would stand under the service's name in a configuration file, in
	// YAML.
	Text string `json:"text"`
}

// ZoneRequest is the body of /v1/zones/disable and /v1/zones/enable.
type ZoneRequest struct {
	Zone string `json:"zone"`
	// Service is empty for all.
	Service string `json:"service,omitempty"`
}

// WeightRequest is the body of …/weight.
type WeightRequest struct {
	// Weight, 0 to 65535, replaces the configured one.
	Weight *int `json:"weight,omitempty"`
	// Reset takes back an earlier weight of the operator.
	Reset bool `json:"reset,omitempty"`
}
