package api

import (
	"net/netip"
	"time"
)

// DefaultSocket is where the daemon listens unless told otherwise.
const DefaultSocket = "/run/xlb/xlb.sock"

// Status is the state of a daemon. Services are sorted by name.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	// Config is the path of the configuration file.
	Config string `json:"config"`
	// Adopted: the maps of an earlier daemon were taken over.
	Adopted bool `json:"adopted"`
	// Ready: the maps hold what the configuration says, every probed backend has
	// had its first result or the time for it, and nothing critical is down.
	Ready bool `json:"ready"`
	// Reasons are machine-readable words on what is wrong, sorted; empty if
	// nothing is. These stand in the way of Ready:
	//
	//	starting          nothing was written yet
	//	apply_failed      the maps could not be written
	//	maps_unreadable   the maps could not be read
	//	plan_failed       what is wanted does not fit into the maps
	//	probes_pending    a backend has had neither a first result nor the time for it
	//	critical_down:NAME         no backend of the critical service is usable
	//	critical_down:NAME/BACKEND the critical backend is unhealthy or ejected
	//
	// These do not:
	//
	//	config_invalid         the last reload was refused, an older configuration is in force
	//	vips_unprotected       the host's firewall rules could not be set
	//	probes_unrouted        the way of probes via the VIP could not be set up
	//	service_down:NAME      no backend of the service is usable
	//	panic:NAME             few backends of the service are usable, and unhealthy ones are used too
	//	no_source:NAME         nat has no source address of the service's family
	//	no_tunnel_source:NAME  ipip or gue has no outer source address of a backend's family
	//	policies_unasked       nobody asks policies about new flows, which follow on_overload
	//	policy_failing:NAME    a policy failed too often and is not asked for a while
	//	hook_failing:NAME      a program or web server was not told the last change of a backend
	//	discovery_failed:NAME  a source of the service's backends fails; its last word holds, or
	//	                       nothing of it after stale_for
	Reasons []string `json:"reasons"`
	// Problem is the text behind apply_failed, maps_unreadable, plan_failed
	// and vips_unprotected; empty if none of them holds.
	Problem string `json:"problem,omitempty"`
	// Warnings are things to know, in words.
	Warnings   []string    `json:"warnings,omitempty"`
	LastReload Reload      `json:"last_reload"`
	Interfaces []Interface `json:"interfaces"`
	Services   []Service   `json:"services"`
	// MarkedSlots is the sum of the services'.
	MarkedSlots int `json:"marked_slots"`
}

// Reload is the outcome of the last reading of the configuration file, the one
// at the daemon's start included.
type Reload struct {
	At time.Time `json:"at"`
	OK bool      `json:"ok"`
	// Error says what was wrong, one "file:line:column: …" a line.
	Error string `json:"error"`
}

// Interface is where the data plane is attached.
type Interface struct {
	Name string `json:"name"`
	// Mode is "native", "generic" or "tc".
	Mode string `json:"mode"`
	// Why this mode.
	Why string `json:"why"`
	// Hook is "xdp link", "tcx link" or "clsact filter".
	Hook string `json:"hook"`
}

// Service is a service as it is served now.
type Service struct {
	Name string `json:"name"`
	// Frontends such as "10.0.0.1:80/tcp", "[fd00::1]:53/udp".
	Frontends []string `json:"frontends"`
	// Forward is "nat", "dnat", "l2dsr", "ipip" or "gue".
	Forward string `json:"forward"`
	// Track is which flows are recorded: "auto", "always" or "never".
	Track string `json:"track"`
	// TunnelSources are the outer source addresses of ipip and gue, an address
	// or, if the flow fills the rest, a prefix; GUEPort is where gue sends.
	TunnelSources []string `json:"tunnel_sources,omitempty"`
	GUEPort       uint16   `json:"gue_port,omitempty"`
	// Schedule is "maglev", "source-hash", "random", "round-robin",
	// "least-connections" or "least-latency".
	Schedule string `json:"schedule"`
	// Hash is what the schedule hashes if that is not the five-tuple: "source",
	// "source-destination" or "destination-port".
	Hash string `json:"hash,omitempty"`
	// Affinity, nil without.
	Affinity *Affinity `json:"affinity,omitempty"`
	// OnePacket: each datagram is a flow by itself.
	OnePacket bool `json:"ops,omitempty"`
	// QUIC is how connection IDs name servers; nil if they name none.
	QUIC *QUIC `json:"quic,omitempty"`
	// Fail is "open" or "closed".
	Fail string `json:"fail"`
	// Starting: the daemon has not yet planned where flows go, and lists no
	// backends. They go where they went before, if the service was there.
	Starting bool `json:"starting,omitempty"`
	// Critical: without a usable backend the load balancer is not ready.
	Critical bool `json:"critical,omitempty"`
	// Role is the role that backends must have to take connections, and
	// RoleFallback who stands in for them: "none", "any" or another role; empty if
	// roles do not count. StandsIn: none of the role is usable, and those of the
	// fallback serve.
	Role         string `json:"role,omitempty"`
	RoleFallback string `json:"role_fallback,omitempty"`
	StandsIn     bool   `json:"stands_in,omitempty"`
	// ProbeVia is "vip" if probes take the way of the traffic, else empty.
	ProbeVia string `json:"probe_via,omitempty"`
	// FailOpen: no backend is usable and all of them are used.
	FailOpen bool `json:"fail_open"`
	// Panic: few of the backends that serve are usable, and the others are used too.
	Panic bool `json:"panic,omitempty"`
	// ServingTiers take new flows, the lowest first; left out if all backends are of
	// one tier.
	ServingTiers []int `json:"serving_tiers,omitempty"`
	// Added: by the operator, not in the configuration file.
	Added bool `json:"added,omitempty"`
	// MarkedSlots is how many slots of its table are marked: changed not long
	// ago, so that their flows are recorded; 0 to the table's size.
	MarkedSlots int `json:"marked_slots"`
	// SettlesSeconds is the time until every live flow that is older than its
	// slot's mark has spoken and is recorded; 0 if all are. Then marks go when
	// the last flow ends that has another backend than its slot.
	SettlesSeconds float64 `json:"settles_seconds,omitempty"`
	// Backends are sorted by address; retired ones are among them.
	Backends []Backend `json:"backends"`
	// Sources find backends beside those that the configuration lists.
	Sources []Source `json:"sources,omitempty"`
}

// The states of a source.
const (
	// SourceWaiting has neither answered nor failed yet; what it said before a
	// restart or a reload is in use.
	SourceWaiting = "waiting"
	// SourceOK answered last.
	SourceOK = "ok"
	// SourceFailing failed last; its last answer is in use.
	SourceFailing = "failing"
	// SourceStale has failed for longer than its stale_for; nothing of it is in
	// use.
	SourceStale = "stale"
)

// Source is a place where backends of a service come from.
type Source struct {
	Name string `json:"name"`
	// Type is "dns", "srv", "consul", "file", "etcd" or "exec".
	Type string `json:"type"`
	// Where says what is watched, in words.
	Where string `json:"where"`
	// State is one of the Source constants, entered at Since.
	State string    `json:"state"`
	Since time.Time `json:"since"`
	// Answered is when the last answer came that was believed; nil if none has.
	Answered *time.Time `json:"answered,omitempty"`
	// Backends is how many the answer in use holds, those left out included.
	Backends int `json:"backends"`
	// Error is why it fails; empty if it does not.
	Error string `json:"error"`
	// Warnings are what of the last answer could not be understood.
	Warnings []string `json:"warnings,omitempty"`
}

// Affinity keeps the new flows of a client with one backend.
type Affinity struct {
	// TimeoutSeconds since its last new flow.
	TimeoutSeconds float64 `json:"timeout_seconds"`
	// IPv4 and IPv6 are how many bits of an address are a client.
	IPv4 int `json:"ipv4"`
	IPv6 int `json:"ipv6"`
}

// QUIC is how connection IDs name servers.
type QUIC struct {
	// ServerIDLength in octets, 1 to 15.
	ServerIDLength int `json:"server_id_length"`
	// ConfigRotation, 0 to 6.
	ConfigRotation int `json:"config_rotation"`
}

// The states of a backend.
const (
	// StateHealthy takes new flows: its probe succeeds, or it has none.
	StateHealthy = "healthy"
	// StateUnhealthy failed its probe. Its flows move to others.
	StateUnhealthy = "unhealthy"
	// StateUnknown was not probed yet and counts as up.
	StateUnknown = "unknown"
	// StateDraining keeps its flows and gets no new ones, until the drain's time, if
	// it has one, is over.
	StateDraining = "draining"
	// StateEjected keeps its flows and gets no new ones: too many of its connections
	// failed, or a policy said so.
	StateEjected = "ejected"
	// StateDisabled gets no flows at all: the operator said so. Its flows move to
	// others.
	StateDisabled = "disabled"
	// StateRetired is no longer configured; it stays until its last flow ends.
	StateRetired = "retired"
)

// Backend is a backend of a service.
type Backend struct {
	Address netip.AddrPort `json:"address"`
	// Weight is the configured one, or the operator's. 0 to 65535.
	Weight int `json:"weight"`
	// State is one of the State constants.
	State string `json:"state"`
	// Reason is the text of the probe's last failure, or why the backend gets
	// no new flows; empty if there is nothing to say.
	Reason string `json:"reason"`
	// Flows is the number of live flows, counted at most some seconds ago.
	Flows int `json:"flows"`
	// EffectiveWeight is the weight with which the backend is in the service's
	// table; 0 if it is not in it.
	EffectiveWeight int `json:"effective_weight"`
	// Slots is how many slots of the table it has.
	Slots int `json:"slots"`
	// Connections are those that go on, counted by the data plane where the
	// schedule or a limit needs it; LatencySeconds is its smoothed time to open a
	// connection. Only of one service in detail.
	Connections    int     `json:"connections,omitempty"`
	LatencySeconds float64 `json:"latency_seconds,omitempty"`
	// ServerID is what connection IDs of QUIC call it, in hexadecimal digits.
	ServerID string `json:"server_id,omitempty"`
	// ID is its number in the maps.
	ID uint32 `json:"id"`
	// Tags are its labels.
	Tags []string `json:"tags,omitempty"`
	// Tier is its priority; the lowest with enough usable backends serves.
	Tier int `json:"tier"`
	// Role is what its probe says it is, for example "primary".
	Role string `json:"role,omitempty"`
	// Since is when the probe's state was entered, or an ejection began or ended if
	// that was later; nil without a result.
	Since *time.Time `json:"since,omitempty"`
	Zone  string     `json:"zone,omitempty"`
	// Shadow is what policies in shadow mode would say of its weight, in words.
	Shadow string `json:"shadow,omitempty"`
	// Critical: without it the load balancer is not ready.
	Critical bool `json:"critical,omitempty"`
	// Override: the operator said something on this backend.
	Override bool `json:"override,omitempty"`
	// Added: the operator added it.
	Added bool `json:"added,omitempty"`
	// DrainsUntil is when the flows that are left move to others; nil if it does not
	// drain, or for as long as it takes.
	DrainsUntil *time.Time `json:"drains_until,omitempty"`
	// Ejections are how often it was ejected because its connections failed, since it
	// last served for long; EjectedUntil is the end of an ejection that goes on.
	Ejections    int        `json:"ejections,omitempty"`
	EjectedUntil *time.Time `json:"ejected_until,omitempty"`
	// HalfOpen: its ejection is over, and a few connections must succeed before it is
	// trusted again.
	HalfOpen bool `json:"half_open,omitempty"`
	// Outcomes is what became of connections to it, where the service counts that.
	Outcomes *Outcomes `json:"outcomes,omitempty"`
}

// ServiceDetail is all that is known of one service.
type ServiceDetail struct {
	Service
	// ID is its number in the maps.
	ID uint32 `json:"id"`
	// Placement is which of the backends take part.
	Placement Placement `json:"placement"`
	// Failing is what becomes of connections that backends refuse or do not answer;
	// nil: nothing.
	Failing *Failing `json:"failing,omitempty"`
	// Probe is its type, for example "tcp", and how often it runs.
	Probe ServiceProbe `json:"probe"`
	// TableSize is the number of slots of its table.
	TableSize int `json:"table_size"`
	// Timeouts in seconds by name: tcp_syn, tcp_established, tcp_fin,
	// tcp_closed, udp.
	Timeouts map[string]float64 `json:"timeouts"`
	// Traffic and Refused since the service got its number.
	Traffic Traffic `json:"traffic"`
	Refused Refused `json:"refused"`
	// Rules of its sources and new flows; nil if it has none.
	Rules *Rules `json:"rules,omitempty"`
}

// Failing is what a service makes of connections that fail.
type Failing struct {
	// SynRetry is how many other backends a connection may try.
	SynRetry int `json:"syn_retry,omitempty"`
	// Eject, nil without.
	Eject *Eject `json:"eject,omitempty"`
}

// Eject is when a backend is ejected because its connections fail. Shares are per
// cent, 1 to 100; what is 0 does not eject.
type Eject struct {
	Failures       int     `json:"failures,omitempty"`
	MinAttempts    int     `json:"min_attempts"`
	WindowSeconds  float64 `json:"window_seconds"`
	Consecutive    int     `json:"consecutive,omitempty"`
	Resets         int     `json:"resets,omitempty"`
	TimeSeconds    float64 `json:"time_seconds"`
	MaxTimeSeconds float64 `json:"max_time_seconds"`
	MaxEjected     int     `json:"max_ejected"`
	Trials         int     `json:"trials"`
	TrialWeight    int     `json:"trial_weight"`
}

// Placement is which of a service's backends take part; what is not set is left out.
type Placement struct {
	// Subset is in words: "tag ssd, zone eu-1a".
	Subset string `json:"subset,omitempty"`
	// TierMinHealthy, ZoneMinHealthy and PanicThreshold are per cent, 1 to 100.
	TierMinHealthy int `json:"tier_min_healthy,omitempty"`
	// TierWhenLow is "switch" or "add".
	TierWhenLow            string  `json:"tier_when_low,omitempty"`
	TierReturnAfterSeconds float64 `json:"tier_return_after_seconds,omitempty"`
	// PreferZone is the balancer's own zone, if it is preferred.
	PreferZone          string  `json:"prefer_zone,omitempty"`
	EqualZones          bool    `json:"equal_zones,omitempty"`
	ZoneMinHealthy      int     `json:"zone_min_healthy,omitempty"`
	PanicThreshold      int     `json:"panic_threshold,omitempty"`
	SlowStartSeconds    float64 `json:"slow_start_seconds,omitempty"`
	DrainTimeoutSeconds float64 `json:"drain_timeout_seconds,omitempty"`
}

// ServiceProbe is the health check of a service's backends.
type ServiceProbe struct {
	Type string `json:"type"`
	// IntervalSeconds and TimeoutSeconds are 0 for type none.
	IntervalSeconds float64 `json:"interval_seconds"`
	TimeoutSeconds  float64 `json:"timeout_seconds"`
	Rise            int     `json:"rise"`
	Fall            int     `json:"fall"`
	// JitterPercent of an interval is by how much it may be longer or shorter.
	JitterPercent int `json:"jitter_percent"`
	// FailingSeconds is the interval when failing, and BackoffSeconds up to where
	// it doubles while a backend is unhealthy; 0: as usual, and not at all.
	FailingSeconds float64 `json:"failing_seconds,omitempty"`
	BackoffSeconds float64 `json:"backoff_seconds,omitempty"`
}

// ServiceBackend is a backend with the name of its service. The name is empty
// for what an earlier daemon left of a service that is no longer configured.
type ServiceBackend struct {
	Service string `json:"service"`
	Backend
}

// PlanRequest asks what a configuration would change. Without Content the
// daemon reads its own configuration file.
type PlanRequest struct {
	// Path names Content in errors.
	Path string `json:"path,omitempty"`
	// Content is the text of a configuration file, up to 16 MiB.
	Content string `json:"content,omitempty"`
}

// Plan is what would change. Nothing was applied.
type Plan struct {
	// Changes in the order sources, tunnels, features, services, frontends,
	// backends, server IDs of QUIC, tables, rules.
	Changes []PlanChange `json:"changes"`
	// Restart names the settings that differ and take effect only when the
	// daemon starts. A reload would be refused while this is not empty.
	Restart []string `json:"restart"`
	// Weights are what policies last said of backends, as far as they said anything;
	// it is part of what the tables would hold.
	Weights []PlanWeight `json:"weights,omitempty"`
	// Warnings are things to know, in words.
	Warnings []string `json:"warnings"`
}

// PlanWeight is a backend of whose weight policies said something.
type PlanWeight struct {
	Service string         `json:"service"`
	Backend netip.AddrPort `json:"backend"`
	// Weight and Tier are those that hold, 0 to 65535 and 0 to 255; Effective is the
	// weight in the table, 0 if the backend is not in it.
	Weight    int `json:"weight"`
	Tier      int `json:"tier"`
	Effective int `json:"effective_weight"`
	// Ejected: a policy takes it out, for the Reason.
	Ejected bool   `json:"ejected,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Shadow is what policies in shadow mode would say, in words.
	Shadow string `json:"shadow,omitempty"`
}

// PlanChange is one write.
type PlanChange struct {
	// Action is "add", "change" or "delete".
	Action string `json:"action"`
	// Kind is "source", "tunnel", "feature", "service", "frontend", "dnat" (where
	// a dnat backend replies from), "backend", "quic" (a server ID) or "table".
	Kind string `json:"kind"`
	// Service is the name of the service; empty for what belongs to none.
	Service string `json:"service,omitempty"`
	// Key says which: an address, a frontend, a backend. For kinds service and
	// table it is the service's name, for tunnel "ipv4" or "ipv6", for feature
	// its name.
	Key string `json:"key"`
	// ID is the number in the maps of the service, backend or source.
	ID uint32 `json:"id,omitempty"`
	// Old and New are the values in words; Old is empty if added, New if
	// deleted.
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
	// Moved of Slots slots of a table get another backend.
	Moved int `json:"moved,omitempty"`
	Slots int `json:"slots,omitempty"`
}

// FlowFilter selects flows. Zero fields select all.
type FlowFilter struct {
	// Service by name.
	Service string
	// Backend is an address with or without port: "10.0.0.11:8080" or
	// "10.0.0.11".
	Backend string
	// Client is an address or a prefix: "192.0.2.7", "192.0.2.0/24".
	Client string
	// Limit ends the stream after so many flows; 0 means no limit.
	Limit int
}

// Flow is a live flow.
type Flow struct {
	Client netip.AddrPort `json:"client"`
	VIP    netip.AddrPort `json:"vip"`
	// Protocol is "tcp" or "udp".
	Protocol string `json:"protocol"`
	// Service is a name; "#7" if number 7 is no longer configured and its
	// name is not known.
	Service string         `json:"service"`
	Backend netip.AddrPort `json:"backend"`
	// NAT is the load balancer's address and port towards the backend; nil
	// unless the service forwards by nat.
	NAT *netip.AddrPort `json:"nat,omitempty"`
	// State in words, such as "established".
	State string `json:"state"`
	// IdleSeconds is the time since its last packet, ExpiresSeconds the time
	// until it is forgotten if none comes.
	IdleSeconds    float64 `json:"idle_seconds"`
	ExpiresSeconds float64 `json:"expires_seconds"`
}

// errorBody is the body of every answer that is not 2xx.
type errorBody struct {
	Error string `json:"error"`
}
