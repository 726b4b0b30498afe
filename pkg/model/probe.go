package model

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// ProbeType is the kind of a health check.
type ProbeType string

// The probe types.
const (
	ProbeNone  ProbeType = "none"
	ProbeTCP   ProbeType = "tcp"
	ProbeTLS   ProbeType = "tls"
	ProbeHTTP  ProbeType = "http"
	ProbeHTTPS ProbeType = "https"
	// ProbeHTTP2 is HTTP/2, over TLS or by prior knowledge (h2c).
	ProbeHTTP2 ProbeType = "http2"
	// ProbeGRPC asks the service grpc.health.v1.Health.
	ProbeGRPC ProbeType = "grpc"
	ProbeDNS  ProbeType = "dns"
	ProbeUDP  ProbeType = "udp"
	// ProbeICMP sends an echo request (ping).
	ProbeICMP     ProbeType = "icmp"
	ProbeMQTT     ProbeType = "mqtt"
	ProbeRedis    ProbeType = "redis"
	ProbePostgres ProbeType = "postgres"
	ProbeMySQL    ProbeType = "mysql"
	ProbeSMTP     ProbeType = "smtp"
	// ProbeExec runs a program of the operator's.
	ProbeExec ProbeType = "exec"
	// ProbeSendExpect speaks over TCP or TLS what the operator says.
	ProbeSendExpect ProbeType = "send-expect"
	// ProbePolicy asks a Wasm policy that speaks the backend's protocol.
	ProbePolicy ProbeType = "policy"
)

// The roles that probes of databases say.
const (
	RolePrimary = "primary"
	RoleReplica = "replica"
)

// ValidRole tells whether name can be a role: 1 to 63 of a-z, 0-9, '-', '.', '_'.
func ValidRole(name string) bool {
	return name != "" && len(name) <= 63 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}

// Probe is a health check of each backend of a service.
type Probe struct {
	Type ProbeType
	Via  ProbeVia
	// Address to probe; the zero value means the backend's own, or the VIP.
	Address netip.Addr
	// Port to probe; 0 means the backend's own.
	Port uint16
	// Interval between the starts of two probes, longer or shorter by up to
	// Jitter per cent of it, 0 to 50.
	Interval time.Duration
	Jitter   int
	// IntervalFailing is the interval from the first failure until the backend
	// is healthy again; 0: Interval.
	IntervalFailing time.Duration
	// BackoffMax is up to where the interval doubles with each failure of a
	// backend that is unhealthy; 0: it does not.
	BackoffMax time.Duration
	Timeout    time.Duration
	// Rise and Fall are the successes in a row that bring a backend up and
	// the failures in a row that take it down, 1 to 100. A first result
	// decides alone.
	Rise, Fall int
	TLS        TLSProbe
	// HTTP holds for the types http, https and http2.
	HTTP HTTPProbe
	GRPC GRPCProbe
	DNS  DNSProbe
	// Talk holds for the types udp and send-expect.
	Talk TalkProbe
	// Login holds for the types mqtt, redis, postgres and mysql.
	Login Login
	// MQTTVersion is the protocol of type mqtt.
	MQTTVersion MQTTVersion
	// Command is the program of type exec, by its absolute path, and its
	// arguments.
	Command []string
	// Policy is the name of the policy of type policy.
	Policy string
}

// TLSProbe is whether and how a probe speaks TLS.
type TLSProbe struct {
	Mode TLSMode
	// ServerName is the name that the certificate must be for, and the SNI. Empty:
	// the Host of HTTP and gRPC, else the address that is probed, which is no SNI.
	ServerName string
	// SkipVerify takes any certificate. Without it the certificate's chain and name
	// are verified.
	SkipVerify bool
	// CA is a file of the certificates to trust, in PEM; empty: those of the
	// system.
	CA string
	// Certificate and Key are the files of the client's certificate, in PEM; both
	// or none.
	Certificate, Key string
}

// TLSMode is when a probe speaks TLS.
type TLSMode uint8

// The modes. A probe of type postgres or mysql asks for TLS in its protocol's own
// way.
const (
	TLSOff TLSMode = iota
	// TLSOn holds from the first byte.
	TLSOn
	// TLSStart is SMTP's STARTTLS.
	TLSStart
)

// HTTPProbe is the request of an HTTP probe and what is expected of the answer.
type HTTPProbe struct {
	Method string
	Path   string
	// Host is the Host header, and the TLS server name where TLS names none.
	// Empty: the backend's address.
	Host string
	// Status is the set of accepted status codes; empty means 200 to 399.
	Status []StatusRange
	// Body must be part of the first 64 KiB of the answer; empty accepts all.
	Body string
}

// StatusRange is an inclusive range of HTTP status codes, 100 to 599.
type StatusRange struct{ First, Last int }

// GRPCProbe is what a gRPC server is asked.
type GRPCProbe struct {
	// Service is the name whose health is asked; empty means the whole server.
	Service string
	// Host is the authority, as HTTPProbe.Host.
	Host string
}

// DNSProbe is a question and what is expected of the answer.
type DNSProbe struct {
	// Name is absolute, with a dot at its end.
	Name string
	// Type is a record type, for example AAAA.
	Type string
	TCP  bool
	// RCode is the expected response code, for example NOERROR.
	RCode string
	// Answer is the data of a record that must be in the answer, as text; empty
	// accepts all.
	Answer string
}

// TalkProbe is what is sent and what is expected to come back.
type TalkProbe struct {
	// Send may be empty: then the backend speaks first.
	Send string
	// Expect is what the answer must hold; empty accepts all.
	Expect string
	// Pattern, if not empty, is a regular expression in the place of Expect.
	Pattern string
}

// MQTTVersion is a version of the protocol MQTT.
type MQTTVersion string

// The versions.
const (
	MQTT311 MQTTVersion = "v3.1.1"
	MQTT5   MQTTVersion = "v5"
)

// Login is who a probe is towards its backend.
type Login struct {
	User string
	// Password is in the configuration, or in PasswordFile, whose first line it
	// is.
	Password, PasswordFile string
	// Database is for the types postgres and mysql.
	Database string
}

// String keeps the password out of logs.
func (l Login) String() string { return fmt.Sprintf("{User:%s Database:%s}", l.User, l.Database) }

// BackendHealth is the last word of the probes on one backend.
type BackendHealth struct {
	State Health
	// Reason is the text of the last failure; it stays until the next success.
	Reason string
	// Role is what a probe says the backend is, for example "primary"; empty if
	// it says nothing. A probe that cannot ask leaves the last one.
	Role string
	// RoleSince is when Role took the place of another one; zero if it did not.
	RoleSince time.Time
	// Since is when State was entered.
	Since time.Time
}
