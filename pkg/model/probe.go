package model

import "time"

// ProbeType is the kind of a health check.
type ProbeType string

// The probe types.
const (
	ProbeNone  ProbeType = "none"
	ProbeTCP   ProbeType = "tcp"
	ProbeHTTP  ProbeType = "http"
	ProbeHTTPS ProbeType = "https"
	// ProbePolicy asks a Wasm policy that speaks the backend's protocol.
	ProbePolicy ProbeType = "policy"
)

// Probe is a health check of each backend of a service.
type Probe struct {
	Type ProbeType
	Via  ProbeVia
	// Port to probe; 0 means the backend's own.
	Port uint16
	// Interval between the starts of two probes, with ±10 % jitter.
	Interval time.Duration
	Timeout  time.Duration
	// Rise and Fall are the successes in a row that bring a backend up and
	// the failures in a row that take it down, 1 to 100. A first result
	// decides alone.
	Rise, Fall int
	// HTTP holds for the types http and https.
	HTTP HTTPProbe
	// Policy is the name of the policy of type policy.
	Policy string
}

// HTTPProbe is the request of an HTTP probe and what is expected of the answer.
type HTTPProbe struct {
	Method string
	Path   string
	// Host is the Host header and, for https, the TLS server name (SNI).
	// Empty: the backend's address.
	Host string
	// Status is the set of accepted status codes; empty means 200 to 399.
	Status []StatusRange
	// Body must be part of the first 64 KiB of the answer; empty accepts all.
	Body string
	// Verify checks the certificate chain and name of an https backend. Off
	// by default: a probe asks whether the server serves, not who it is.
	Verify bool
}

// StatusRange is an inclusive range of HTTP status codes, 100 to 599.
type StatusRange struct{ First, Last int }

// BackendHealth is the last word of the probes on one backend.
type BackendHealth struct {
	State Health
	// Reason is the text of the last failure; it stays until the next success.
	Reason string
	// Role is what a probe says the backend is, for example "primary"; empty if
	// it says nothing.
	Role string
	// Since is when State was entered.
	Since time.Time
}
