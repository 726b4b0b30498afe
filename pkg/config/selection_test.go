package config

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/model"
)

func TestSelection(t *testing.T) {
	for _, c := range []struct {
		name, defaults, service string
		want                    model.Selection
	}{
		{"usual", "{}", "frontends: tcp://192.0.2.1:80", model.Selection{}},
		{"own", "{}", "frontends: tcp://192.0.2.1:80, schedule: least-connections, affinity: 10m", model.Selection{
			Schedule: model.LeastConnections, Affinity: model.Affinity{Timeout: 10 * time.Minute, IPv4: 32, IPv6: 64},
		}},
		{"inherited", "{schedule: round-robin, affinity: {timeout: 1h, ipv4: 24, ipv6: 56}}", "frontends: tcp://192.0.2.1:80", model.Selection{
			Schedule: model.RoundRobin, Affinity: model.Affinity{Timeout: time.Hour, IPv4: 24, IPv6: 56},
		}},
		{"replaced", "{schedule: round-robin, affinity: 1h}", "frontends: tcp://192.0.2.1:80, schedule: maglev, hash: source-destination, affinity: {timeout: 2s, ipv6: 128}", model.Selection{
			Hash: model.HashSourceDestination, Affinity: model.Affinity{Timeout: 2 * time.Second, IPv4: 32, IPv6: 128},
		}},
		{"udp", "{forward: l2dsr, ops: true, schedule: random}", "frontends: udp://192.0.2.1:80", model.Selection{Schedule: model.Random, OnePacket: true}},
		{"not udp", "{forward: l2dsr, ops: true, quic: {server_id_length: 3}}", "frontends: tcp://192.0.2.1:80", model.Selection{}},
		{"quic", "{quic: {server_id_length: 3, config_rotation: 5}}", "frontends: udp://192.0.2.1:443", model.Selection{QUIC: model.QUIC{ServerIDLength: 3, ConfigRotation: 5}}},
	} {
		cfg := parse(t, "interfaces: eth0\ndefaults: "+c.defaults+"\nservices: {a: {"+c.service+", backends: 10.0.0.1}}\n")
		if diff := cmp.Diff(c.want, cfg.Services[0].Selection); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// What a schedule, ops or quic cannot do is refused by name, at its place.
func TestSelectionErrors(t *testing.T) {
	for _, c := range []struct{ service, want string }{
		{"schedule: wlc", `x.yaml:3:62: schedule: unknown value "wlc" (known: maglev, source-hash, random, round-robin, least-connections, least-latency)`},
		{"hash: port", `x.yaml:3:58: hash: unknown value "port" (known: five-tuple, source, source-destination, destination-port)`},
		{"affinity: 169h", `x.yaml:3:62: affinity: 169h is out of range (0s to 168h, whole seconds)`},
		{"affinity: {ipv4: 33}", lines(
			"x.yaml:3:62: timeout is missing in affinity (for example timeout: 10m)",
			"x.yaml:3:69: ipv4: 33 is out of range (1 to 32)")},
		{"hash: source, schedule: random", `x.yaml:3:58: service "a": hash: source has no effect with schedule: random (remove one of them)`},
		{"forward: l2dsr, track: never, schedule: round-robin", `x.yaml:3:92: service "a": schedule: round-robin needs a record of every flow: track: never is impossible (remove track, or use schedule: maglev)`},
		{"forward: l2dsr, track: never, affinity: 5m", `x.yaml:3:92: service "a": affinity needs a record of every flow: track: never is impossible (remove track or affinity)`},
		{"ops: true", `x.yaml:3:57: service "a" is TCP, whose packets belong together: ops is for UDP (remove ops)`},
		{"quic: {server_id_length: 4}", `x.yaml:3:58: service "a" is TCP, and QUIC is UDP (remove quic, or use udp:// frontends)`},
		{"quic: {server_id_length: 16, config_rotation: 7}", lines(
			"x.yaml:3:77: server_id_length: 16 is out of range (1 to 15)",
			"x.yaml:3:98: config_rotation: 7 is out of range (0 to 6)")},
		{"forward: l2dsr, probe: none, schedule: least-latency", `x.yaml:3:91: service "a": with forward: l2dsr only a probe can tell least-latency how fast backends are, and there is none (give the service a probe, or use another schedule)`},
	} {
		mistakes(t, c.service, "tcp", c.want)
	}
	for _, c := range []struct{ service, want string }{
		{"ops: true", `x.yaml:3:57: service "a" forwards by nat, which records every flow, for replies need it: ops is impossible (remove ops, or use forward: l2dsr, ipip or gue)`},
		{"forward: gue, track: always, ops: true", `x.yaml:3:86: service "a": ops records nothing, and track: always everything (remove one of them)`},
		{"forward: gue, affinity: 5m, ops: true", `x.yaml:3:85: service "a": affinity needs a record of every flow, and ops has none (remove one of them)`},
		{"forward: gue, schedule: least-connections, ops: true", `x.yaml:3:100: service "a": least-connections counts recorded flows, and ops has none (use another schedule, or remove ops)`},
		{"forward: gue, quic: {server_id_length: 1}, ops: true", `x.yaml:3:72: service "a": a QUIC connection is more than one packet: ops and quic exclude each other (remove one of them)`},
		{"schedule: least-latency", `x.yaml:3:62: service "a": with UDP only a probe can tell least-latency how fast backends are, and there is none (give the service a probe, or use another schedule)`},
	} {
		mistakes(t, c.service, "udp", c.want)
	}
	parse(t, "interfaces: eth0\nservices: {a: {frontends: udp://192.0.2.1:53, backends: 10.0.0.1, probe: {type: tcp}, schedule: least-latency}}\n")
}

// Where one of two keys is of the defaults, what is said is what to write beside the
// other.
func TestHashOfDefaults(t *testing.T) {
	for _, c := range []struct{ defaults, service, want string }{
		{"hash: source", "schedule: random", `x.yaml:4:68: service "a": hash: source has no effect with schedule: random (set hash: five-tuple here; defaults: has hash)`},
		{"schedule: random", "hash: source", `x.yaml:4:64: service "a": hash: source has no effect with schedule: random (set schedule: maglev here; defaults: has schedule)`},
		{"hash: source, schedule: random", "track: always", `x.yaml:4:3: service "a": hash: source has no effect with schedule: random (remove one of them)`},
		{"hash: source", "schedule: random, hash: five-tuple", ""},
	} {
		_, err := Parse("x.yaml", []byte("interfaces: eth0\ndefaults: {"+c.defaults+"}\nservices:\n  a: {frontends: tcp://192.0.2.1:80, backends: 10.0.0.1, "+c.service+"}\n"))
		if got := fmt.Sprint(err); got != c.want && !(err == nil && c.want == "") {
			t.Errorf("%s, %s:\n%v, want\n%s", c.defaults, c.service, err, c.want)
		}
	}
}

func mistakes(t *testing.T, service, protocol, want string) {
	t.Helper()
	_, err := Parse("x.yaml", []byte("interfaces: eth0\nservices:\n  a: {frontends: "+protocol+"://192.0.2.1:80, backends: [], "+service+"}\n"))
	if err == nil || err.Error() != want {
		t.Errorf("%s:\n%v, want\n%s", service, err, want)
	}
}

// What defaults say a service can take back.
func TestTakenBack(t *testing.T) {
	cfg := parse(t, "interfaces: eth0\ndefaults: {affinity: 10m, slow_start: 1m, drain_timeout: 1h, tiers: {return_after: 30s}}\nservices:\n"+
		"  a: {frontends: tcp://192.0.2.1:80, backends: 10.0.0.1, affinity: 0s, slow_start: 0s, drain_timeout: 0s, tiers: {return_after: 0s}}\n"+
		"  b: {frontends: tcp://192.0.2.2:80, backends: 10.0.0.1, affinity: {timeout: 0s, ipv4: 24}}\n")
	if a := cfg.Services[0]; a.Selection != (model.Selection{}) || a.Placement != (model.Placement{}) {
		t.Errorf("selection %+v, placement %+v", a.Selection, a.Placement)
	}
	if b := cfg.Services[1]; b.Selection != (model.Selection{}) || b.Placement.SlowStart != time.Minute || b.Placement.Tiers.ReturnAfter != 30*time.Second {
		t.Errorf("selection %+v, placement %+v", b.Selection, b.Placement)
	}
}

func TestServerIDs(t *testing.T) {
	text := func(backends string) string {
		return "interfaces: eth0\nservices:\n  a:\n    frontends: udp://192.0.2.1:443\n    quic: {server_id_length: 4}\n    backends: [" + backends + "]\n"
	}
	cfg := parse(t, text(`10.0.0.11, {address: 10.0.0.12, server_id: 0A0B0C0D}, {address: 10.0.0.13, server_id: "01020304"}`))
	for i, want := range []string{"0a00000b", "0a0b0c0d", "01020304"} {
		if got := cfg.Services[0].Backends[i].QUICServerID(4); got != want {
			t.Errorf("backend %d is %s, want %s", i, got, want)
		}
	}
	for _, c := range []struct{ backends, want string }{
		{"{address: 10.0.0.1, server_id: 0a0b}", `x.yaml:6:47: server_id "0a0b" has 2 octets, but server_id_length is 4`},
		{"{address: 10.0.0.1, server_id: 0a0}", "x.yaml:6:47: server_id: \"0a0\" is not a valid server ID (1 to 15 octets in hexadecimal digits; quote it if all are decimal)"},
		{"10.0.0.1:1, 10.0.0.1:2", `x.yaml:6:28: a second backend with the server ID 0a000001 (give both a server_id; first at x.yaml:6:16)`},
		{"10.0.0.1, {address: 10.0.0.2, server_id: 0a000001}", lines(`x.yaml:6:57: a second backend with the server ID 0a000001 (each has its own; first at x.yaml:6:16)`)},
	} {
		_, err := Parse("x.yaml", []byte(text(c.backends)))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n%v, want\n%s", c.backends, err, c.want)
		}
	}
	_, err := Parse("x.yaml", []byte("interfaces: eth0\nservices: {a: {frontends: udp://192.0.2.1:443, backends: [{address: 10.0.0.1, server_id: 0a}]}}\n"))
	if want := `x.yaml:2:90: server_id has no effect: service "a" has no quic (add quic: {server_id_length: …}, or remove server_id)`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// What a name of a server is made of where none is given.
func TestDerivedServerID(t *testing.T) {
	for _, c := range []struct {
		address string
		length  int
		want    string
	}{
		{"10.1.2.3:443", 4, "0a010203"}, {"10.1.2.3:443", 2, "0203"}, {"10.1.2.3:443", 6, "00000a010203"},
		{"[2001:db8::17]:443", 2, "0017"}, {"[2001:db8::17]:443", 15, "010db8000000000000000000000017"},
	} {
		if got := be(c.address).QUICServerID(c.length); got != c.want {
			t.Errorf("%s in %d octets: %s, want %s", c.address, c.length, got, c.want)
		}
	}
}
