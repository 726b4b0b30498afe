package model

import (
	"fmt"
	"strings"
)

// Protocol is a transport protocol by its IANA number (the IPv4 protocol and
// IPv6 next-header field).
type Protocol uint8

// The transport protocols a frontend can carry.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

// Forward is how a packet reaches its backend.
type Forward uint8

// The forwarding modes.
const (
	// NAT rewrites destination to the backend and source to an address and
	// port of the load balancer. Replies come back through it.
	NAT Forward = iota + 1
	// L2DSR rewrites the MAC addresses only. The backend holds the VIP and
	// answers the client directly.
	L2DSR
	// DNAT rewrites the destination only. The backend sees the client's
	// address and answers through the load balancer, its gateway.
	DNAT
	// IPIP puts an outer IP header before the packet. The backend takes it
	// off, holds the VIP and answers the client directly.
	IPIP
	// GUE puts outer IP and UDP headers before it, so that routers and network
	// cards spread flows.
	GUE
)

// RewritesPorts says whether a backend may listen on another port than the
// frontend. These modes record every flow: replies need the record.
func (f Forward) RewritesPorts() bool { return f == NAT || f == DNAT }

// Tunnels says whether packets get an outer header.
func (f Forward) Tunnels() bool { return f == IPIP || f == GUE }

// Track is which flows of a service are recorded. [NAT] and [DNAT] record all.
type Track uint8

// The tracking modes.
const (
	// TrackAuto records the flows that a change of the table could move.
	TrackAuto Track = iota + 1
	// TrackAlways records every flow.
	TrackAlways
	// TrackNever records none.
	TrackNever
)

// FailMode is what a service does when none of its backends is usable.
type FailMode uint8

// The fail modes.
const (
	// FailOpen sends traffic to all backends, as if all were up: a broken
	// probe must not take a working service down.
	FailOpen FailMode = iota + 1
	// FailClosed drops new packets of the service.
	FailClosed
)

// AttachMode is the kernel hook that runs the data plane on an interface.
type AttachMode uint8

// The attach modes.
const (
	// AttachAuto tries native XDP, then generic XDP, then TC; on a virtual
	// interface TC first.
	AttachAuto AttachMode = iota + 1
	// AttachNative is XDP in the driver.
	AttachNative
	// AttachGeneric is XDP on socket buffers, for drivers without XDP.
	AttachGeneric
	// AttachTC is the traffic-control ingress hook: tcx (Linux 6.6) or, on
	// older kernels, a clsact filter.
	AttachTC
)

// NextHop is how the data plane finds the next hop's interface and MAC.
type NextHop uint8

// The next-hop methods.
const (
	// NextHopFIB asks the kernel's routing and neighbour tables.
	NextHopFIB NextHop = iota + 1
	// NextHopGatewayMAC sends every packet out of the interface it came in
	// by, to one fixed MAC address.
	NextHopGatewayMAC
)

// ProbeVia is the way that a probe takes.
type ProbeVia uint8

// The ways of probes.
const (
	// ViaDirect is to the backend's own address.
	ViaDirect ProbeVia = iota
	// ViaVIP is the way of the traffic: to the VIP, in the service's forwarding
	// mode, which must be [L2DSR], [IPIP] or [GUE].
	ViaVIP
)

// OnError is what becomes of a new flow whose policy fails: traps, runs out of
// fuel, answers what is no verdict, or is ejected.
type OnError uint8

// The modes of failure.
const (
	// ErrorContinue fails open: as if the policy had said continue.
	ErrorContinue OnError = iota + 1
	// ErrorDrop fails closed.
	ErrorDrop
)

// OnOverload is what becomes of a new flow that nobody has time to ask the
// service's policies about, or that comes while no daemon runs.
type OnOverload uint8

// The modes of overload.
const (
	// OverloadContinue goes on as if there were no policies.
	OverloadContinue OnOverload = iota + 1
	// OverloadDrop drops the packet; its sender may try again.
	OverloadDrop
)

// PolicyMode is whether a policy's verdicts count.
type PolicyMode uint8

// The policy modes.
const (
	// PolicyEnforce does what the policy says.
	PolicyEnforce PolicyMode = iota + 1
	// PolicyShadow counts and reports what it would have done.
	PolicyShadow
)

// Health is what is known of a backend's liveness.
type Health uint8

// The health states.
const (
	// HealthUnknown is a backend not probed yet. It counts as up, so that a
	// restart of the daemon takes nothing out of service.
	HealthUnknown Health = iota
	// Healthy passed `rise` probes in a row.
	Healthy
	// Unhealthy failed `fall` probes in a row.
	Unhealthy
)

var (
	protocolNames = map[Protocol]string{TCP: "tcp", UDP: "udp"}
	forwardNames  = map[Forward]string{NAT: "nat", L2DSR: "l2dsr", DNAT: "dnat", IPIP: "ipip", GUE: "gue"}
	trackNames    = map[Track]string{TrackAuto: "auto", TrackAlways: "always", TrackNever: "never"}
	failNames     = map[FailMode]string{FailOpen: "open", FailClosed: "closed"}
	attachNames   = map[AttachMode]string{AttachAuto: "auto", AttachNative: "native", AttachGeneric: "generic", AttachTC: "tc"}
	nextHopNames  = map[NextHop]string{NextHopFIB: "fib", NextHopGatewayMAC: "gateway-mac"}
	viaNames      = map[ProbeVia]string{ViaDirect: "direct", ViaVIP: "vip"}
	errorNames    = map[OnError]string{ErrorContinue: "continue", ErrorDrop: "drop"}
	overloadNames = map[OnOverload]string{OverloadContinue: "continue", OverloadDrop: "drop"}
	policyNames   = map[PolicyMode]string{PolicyEnforce: "enforce", PolicyShadow: "shadow"}
	healthNames   = map[Health]string{HealthUnknown: "unknown", Healthy: "healthy", Unhealthy: "unhealthy"}
)

func (p Protocol) String() string   { return nameOf(protocolNames, p) }
func (f Forward) String() string    { return nameOf(forwardNames, f) }
func (t Track) String() string      { return nameOf(trackNames, t) }
func (f FailMode) String() string   { return nameOf(failNames, f) }
func (a AttachMode) String() string { return nameOf(attachNames, a) }
func (n NextHop) String() string    { return nameOf(nextHopNames, n) }
func (v ProbeVia) String() string   { return nameOf(viaNames, v) }
func (o OnError) String() string    { return nameOf(errorNames, o) }
func (o OnOverload) String() string { return nameOf(overloadNames, o) }
func (p PolicyMode) String() string { return nameOf(policyNames, p) }
func (h Health) String() string     { return nameOf(healthNames, h) }

// MarshalText implements [encoding.TextMarshaler].
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalText implements [encoding.TextMarshaler].
func (f Forward) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// MarshalText implements [encoding.TextMarshaler].
func (t Track) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText implements [encoding.TextMarshaler].
func (f FailMode) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// MarshalText implements [encoding.TextMarshaler].
func (a AttachMode) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// MarshalText implements [encoding.TextMarshaler].
func (n NextHop) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// MarshalText implements [encoding.TextMarshaler].
func (v ProbeVia) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// MarshalText implements [encoding.TextMarshaler].
func (o OnError) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// MarshalText implements [encoding.TextMarshaler].
func (o OnOverload) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// MarshalText implements [encoding.TextMarshaler].
func (p PolicyMode) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalText implements [encoding.TextMarshaler].
func (h Health) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Protocol) UnmarshalText(b []byte) error { return parse(p, protocolNames, "protocol", b) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (f *Forward) UnmarshalText(b []byte) error { return parse(f, forwardNames, "forwarding mode", b) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (t *Track) UnmarshalText(b []byte) error { return parse(t, trackNames, "tracking mode", b) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (f *FailMode) UnmarshalText(b []byte) error { return parse(f, failNames, "fail mode", b) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (a *AttachMode) UnmarshalText(b []byte) error { return parse(a, attachNames, "attach mode", b) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *NextHop) UnmarshalText(b []byte) error { return parse(n, nextHopNames, "next hop", b) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (v *ProbeVia) UnmarshalText(b []byte) error { return parse(v, viaNames, "way of probes", b) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *OnError) UnmarshalText(b []byte) error { return parse(o, errorNames, "mode of failure", b) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *OnOverload) UnmarshalText(b []byte) error {
	return parse(o, overloadNames, "mode of overload", b)
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *PolicyMode) UnmarshalText(b []byte) error { return parse(p, policyNames, "policy mode", b) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Health) UnmarshalText(b []byte) error { return parse(h, healthNames, "health", b) }

func nameOf[T ~uint8](names map[T]string, v T) string {
	if n, ok := names[v]; ok {
		return n
	}
	return fmt.Sprintf("invalid(%d)", v)
}

// parse sets *v to the value called text, or says which names there are.
func parse[T ~uint8](v *T, names map[T]string, what string, text []byte) error {
	var known []string
	for i := 0; i < 256; i++ {
		n, ok := names[T(i)]
		if ok && n == string(text) {
			*v = T(i)
			return nil
		}
		if ok {
			known = append(known, n)
		}
	}
	return fmt.Errorf("unknown %s %q (known: %s)", what, text, strings.Join(known, ", "))
}
