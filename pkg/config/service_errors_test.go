package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestServiceErrors holds what follows "services:"; its first line is line 3.
func TestServiceErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a list", "- web\n", "x.yaml:3:1: services: must be a mapping of service name to values, not a list"},
		{"null service", "  web:\n", "x.yaml:3:3: web: has no value (give one or remove the key)"},
		{"text service", "  web: tcp://192.0.2.1:80\n", `x.yaml:3:8: web: must be a mapping of keys to values, not "tcp://192.0.2.1:80" (keys: frontends, backends, discover, forward, track, fail, policies, on_overload, probe, timeouts, schedule, hash, affinity, ops, quic, allow, deny, steer, rate, rate_per_source, max_connections, subset, tiers, zones, panic_threshold, slow_start, drain_timeout, role, role_fallback, role_exclusive, outcomes, eject, syn_retry, on_change, critical)`},
		{"empty service", "  web: {}\n", lines(
			"x.yaml:3:8: backends is missing in service (for example backends: [10.0.0.11:8080, 10.0.0.12:8080])",
			`x.yaml:3:8: frontends is missing in service (for example frontends: [tcp://203.0.113.10:80, "tcp://[2001:db8::10]:80"])`)},
		{"names", "  Web: {frontends: tcp://192.0.2.1:80, backends: []}\n  " + strings.Repeat("x", 64) + ": {frontends: tcp://192.0.2.1:81, backends: []}\n", lines(
			"x.yaml:3:3: \"Web\" is not a valid service name (1 to 63 of `a-z`, `0-9`, `-`, `.`, `_`)",
			"x.yaml:4:3: \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" is not a valid service name (1 to 63 of `a-z`, `0-9`, `-`, `.`, `_`)")},
		{"service twice", "  web: {frontends: tcp://192.0.2.1:80, backends: []}\n  web: {frontends: tcp://192.0.2.1:81, backends: []}\n",
			`x.yaml:4:3: the key "web" is given twice (first at x.yaml:3:3)`},
		{"unknown keys", "  web: {frontends: tcp://192.0.2.1:80, backends: [{address: 10.0.0.1, wieght: 2}], timeout: {udp: 1s}}\n", lines(
			`x.yaml:3:71: unknown key "wieght" in backend (did you mean "weight"?)`,
			`x.yaml:3:84: unknown key "timeout" in service (did you mean "timeouts"?)`)},
		{"forward, fail", "  web:\n    frontends: [tcp://192.0.2.1:80, tcp://192.0.2.1:81]\n    backends: [10.0.0.1:82]\n    forward: dsr\n    fail: close\n", lines(
			`x.yaml:6:14: forward: unknown value "dsr" (known: nat, dnat, l2dsr, ipip, gue)`,
			`x.yaml:7:11: fail: unknown value "close" (did you mean "closed"? known: open, closed)`)},

		{"no frontends", "  web: {frontends: [], backends: [10.0.0.1]}\n", "x.yaml:3:20: frontends: at least one is needed (for example frontends: tcp://203.0.113.10:80)"},
		{"null frontends", "  web:\n    frontends:\n    backends: []\n", "x.yaml:4:5: frontends: at least one is needed (for example frontends: tcp://203.0.113.10:80)"},
		{"frontend spellings", lines("  web:", "    backends: [10.0.0.1]", "    frontends:",
			"      - 192.0.2.1:80",
			"      - sctp://192.0.2.1:80",
			"      - tcp://www:80",
			"      - tcp://192.0.2.1",
			"      - tcp://192.0.2.1:0",
			"      - tcp://192.0.2.1:70000",
			"      - tcp://192.0.2.1:http",
			"      - tcp://2001:db8::1:80",
			"      - tcp://[2001:db8::1]",
			"      - tcp://[2001:db8::1:80",
			"      - tcp://[192.0.2.1]:80",
			"      - 'tcp://192.0.2.1:'",
			"      - 80",
			"      - tcp://192.0.2.1:99999999999"), lines(
			`x.yaml:6:9: frontends: frontend "192.0.2.1:80" has no protocol (for example tcp://203.0.113.10:80 or udp://[2001:db8::10]:53)`,
			`x.yaml:7:9: frontends: unknown protocol "sctp" (known: tcp, udp) (for example tcp://203.0.113.10:80 or udp://[2001:db8::10]:53)`,
			`x.yaml:8:9: frontends: "www" is not an IP address (for example 192.0.2.1 or 2001:db8::1; names are not looked up)`,
			`x.yaml:9:9: frontends: frontend "tcp://192.0.2.1" has no port (for example tcp://203.0.113.10:80 or udp://[2001:db8::10]:53)`,
			`x.yaml:10:9: frontends: 192.0.2.1:0: port 0 is out of range (1 to 65535)`,
			`x.yaml:11:9: frontends: 192.0.2.1:70000: port 70000 is out of range (1 to 65535)`,
			`x.yaml:12:9: frontends: 192.0.2.1:http: port "http" is not a number (1 to 65535)`,
			`x.yaml:13:9: frontends: "tcp://2001:db8::1:80": an IPv6 address before a port needs brackets (for example tcp://203.0.113.10:80 or udp://[2001:db8::10]:53)`,
			`x.yaml:14:9: frontends: frontend "tcp://[2001:db8::1]" has no port (for example tcp://203.0.113.10:80 or udp://[2001:db8::10]:53)`,
			`x.yaml:15:9: frontends: "[2001:db8::1:80" is not an address (with a port, IPv6 is written [2001:db8::1]:80)`,
			`x.yaml:16:9: frontends: "[192.0.2.1]:80" is not an address (brackets are for IPv6 only)`,
			`x.yaml:17:9: frontends: 192.0.2.1:: port "" is not a number (1 to 65535)`,
			`x.yaml:18:9: frontends: must be a text (frontend), not 80 (if it is meant so, quote it: "80")`,
			`x.yaml:19:9: frontends: 192.0.2.1:99999999999: port 99999999999 is out of range (1 to 65535)`)},
		{"frontend addresses", lines("  web:", "    backends: []", "    frontends:",
			"      - tcp://0.0.0.0:80", "      - tcp://[::]:80", "      - tcp://127.0.0.1:80", "      - tcp://[::1]:80",
			"      - tcp://224.0.0.5:80", "      - tcp://[ff02::5]:80", "      - tcp://255.255.255.255:80", "      - tcp://169.254.1.1:80",
			"      - tcp://[fe80::1]:80", "      - tcp://[fe80::1%eth0]:80", "      - tcp://[2001:db8::1%eth0]:80"), lines(
			"x.yaml:6:9: frontends: 0.0.0.0:80 is the unspecified address, which nothing can be sent to (give one address)",
			"x.yaml:7:9: frontends: [::]:80 is the unspecified address, which nothing can be sent to (give one address)",
			"x.yaml:8:9: frontends: 127.0.0.1:80 is a loopback address, which never leaves its host (give an address that other hosts can reach)",
			"x.yaml:9:9: frontends: [::1]:80 is a loopback address, which never leaves its host (give an address that other hosts can reach)",
			"x.yaml:10:9: frontends: 224.0.0.5:80 is a multicast address, not that of one host (give a unicast address)",
			"x.yaml:11:9: frontends: [ff02::5]:80 is a multicast address, not that of one host (give a unicast address)",
			"x.yaml:12:9: frontends: 255.255.255.255:80 is the broadcast address, not that of one host (give a unicast address)",
			"x.yaml:13:9: frontends: 169.254.1.1:80 is a link-local address, which is valid on one link only (give a global or private address)",
			"x.yaml:14:9: frontends: [fe80::1]:80 is a link-local address, which is valid on one link only (give a global or private address)",
			"x.yaml:15:9: frontends: [fe80::1%eth0]:80 is a link-local address, which is valid on one link only (give a global or private address)",
			"x.yaml:16:9: frontends: [2001:db8::1%eth0]:80 is an address with a zone, which is valid on this host only (remove %eth0)")},
		{"duplicate frontends", lines("  a: {frontends: [tcp://192.0.2.1:80, tcp://192.0.2.1:80], backends: []}",
			"  b: {frontends: ['tcp://[2001:db8::1]:80'], backends: []}",
			"  c: {frontends: ['tcp://[2001:DB8:0:0:0::1]:80'], backends: []}",
			"  d: {frontends: tcp://192.0.2.1:80, backends: []}",
			"  e: {frontends: 'tcp://[::ffff:192.0.2.1]:80', backends: []}"), lines(
			"x.yaml:3:39: duplicate frontend tcp://192.0.2.1:80 (first at x.yaml:3:19)",
			"x.yaml:5:19: duplicate frontend tcp://[2001:db8::1]:80 (first at x.yaml:4:19)",
			"x.yaml:6:18: duplicate frontend tcp://192.0.2.1:80 (first at x.yaml:3:19)",
			"x.yaml:7:18: duplicate frontend tcp://192.0.2.1:80 (first at x.yaml:3:19)",
			"x.yaml:7:18: frontends: [::ffff:192.0.2.1]:80 is an IPv4-mapped IPv6 address, which never appears in a packet (write 192.0.2.1)")},
		{"two protocols", "  dns: {frontends: [udp://192.0.2.1:53, tcp://192.0.2.1:53], backends: []}\n",
			"x.yaml:3:41: frontend tcp://192.0.2.1:53 differs in protocol from udp://192.0.2.1:53 (make one service per protocol)"},
		{"nat families", lines("  web:", "    frontends: [tcp://192.0.2.1:80, 'tcp://[2001:db8::1]:80']", "    backends: [10.0.0.1, '2001:db8::2']"), lines(
			"x.yaml:4:37: frontend tcp://[2001:db8::1]:80 is IPv6, but tcp://192.0.2.1:80 is IPv4, and nat cannot mix them (make one service per family, or use forward: l2dsr)",
			"x.yaml:5:26: backend [2001:db8::2]:80 is IPv6, but frontend tcp://192.0.2.1:80 is IPv4, and nat cannot translate between them (make one service per family)")},
		{"l2dsr ports", lines("  web:", "    forward: l2dsr", "    frontends: [tcp://192.0.2.1:80, tcp://192.0.2.1:81]", "    backends: [10.0.0.1:80, 10.0.0.2:8080]"), lines(
			"x.yaml:5:37: frontend tcp://192.0.2.1:81 differs in port from tcp://192.0.2.1:80, and l2dsr cannot rewrite ports (make one service per port, or use forward: nat)",
			"x.yaml:6:29: backend 10.0.0.2:8080 has another port than frontend tcp://192.0.2.1:80, and l2dsr cannot rewrite ports (use port 80, or forward: nat)")},
		{"dnat families", lines("  web:", "    forward: dnat", "    frontends: [tcp://192.0.2.1:80, 'tcp://[2001:db8::1]:80']", "    backends: [10.0.0.1, '2001:db8::2']"), lines(
			"x.yaml:5:37: frontend tcp://[2001:db8::1]:80 is IPv6, but tcp://192.0.2.1:80 is IPv4, and dnat cannot mix them (make one service per family, or use forward: l2dsr)",
			"x.yaml:6:26: backend [2001:db8::2]:80 is IPv6, but frontend tcp://192.0.2.1:80 is IPv4, and dnat cannot translate between them (make one service per family)")},
		{"tunnel ports", lines("  a:", "    forward: ipip", "    frontends: [tcp://192.0.2.1:80, 'tcp://[2001:db8::1]:81']", "    backends: ['2001:db8::2', 10.0.0.2:8080]",
			"  b: {forward: gue, frontends: udp://192.0.2.1:53, backends: 10.0.0.1:54}"), lines(
			"x.yaml:5:37: frontend tcp://[2001:db8::1]:81 differs in port from tcp://192.0.2.1:80, and ipip cannot rewrite ports (make one service per port, or use forward: nat)",
			"x.yaml:6:16: backend 2001:db8::2 has no port, and the frontends have several (write [2001:db8::2]:80)",
			"x.yaml:6:31: backend 10.0.0.2:8080 has another port than frontend tcp://192.0.2.1:80, and ipip cannot rewrite ports (use port 80, or forward: nat)",
			"x.yaml:7:62: backend 10.0.0.1:54 has another port than frontend udp://192.0.2.1:53, and gue cannot rewrite ports (use port 53, or forward: nat)")},
		{"track", "  web: {frontends: tcp://192.0.2.1:80, backends: [], forward: l2dsr, track: alway}\n",
			`x.yaml:3:77: track: unknown value "alway" (did you mean "always"? known: auto, always, never)`},
		{"track never", lines("  a: {frontends: tcp://192.0.2.1:80, backends: [], track: never}", "  b: {frontends: tcp://192.0.2.1:81, backends: [], forward: dnat, track: never}"), lines(
			`x.yaml:3:59: service "a" forwards by nat, which records every flow, for replies need it: track: never is impossible (remove track, or use forward: l2dsr, ipip or gue)`,
			`x.yaml:4:74: service "b" forwards by dnat, which records every flow, for replies need it: track: never is impossible (remove track, or use forward: l2dsr, ipip or gue)`)},

		{"backend spellings", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends:",
			"      - web1", "      - 10.0.0.1:0", "      - 10.0.0.1:65536", "      - '[2001:db8::1]80'", "      - 10.0.0.0/24",
			"      - 127.0.0.1:80", "      - ''", "      - 5", "      - []", "      - ~"), lines(
			`x.yaml:6:9: backends: "web1" is not an IP address (for example 192.0.2.1 or 2001:db8::1; names are not looked up)`,
			`x.yaml:7:9: backends: 10.0.0.1:0: port 0 is out of range (1 to 65535)`,
			`x.yaml:8:9: backends: 10.0.0.1:65536: port 65536 is out of range (1 to 65535)`,
			`x.yaml:9:9: backends: "[2001:db8::1]80" is not an address (with a port, IPv6 is written [2001:db8::1]:80)`,
			`x.yaml:10:9: backends: "10.0.0.0/24" is not an IP address (an address alone, without a prefix length)`,
			`x.yaml:11:9: backends: 127.0.0.1:80 is a loopback address, which never leaves its host (give an address that other hosts can reach)`,
			`x.yaml:12:9: backends: "" is not an IP address (for example 192.0.2.1 or 2001:db8::1; names are not looked up)`,
			`x.yaml:13:9: backends: must be a text (backend address), not 5 (if it is meant so, quote it: "5")`,
			`x.yaml:14:9: backends: must be a text (backend address), not a list`,
			`x.yaml:15:9: backends: has no value (give one or remove the key)`)},
		{"backend keys", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends:",
			"      - {port: 80}",
			"      - {address: 10.0.0.1, port: 70000}",
			"      - {address: 10.0.0.2, weight: -1}",
			"      - {address: 10.0.0.3, weight: 65536}",
			"      - {address: 10.0.0.4, drain: yes}",
			"      - {address: 10.0.0.5, zone: 12}",
			"      - {address: 10.0.0.6, zone: ''}",
			"      - {address: '10.0.0.7:80', port: 81}",
			"      - {address: 10.0.0.8, weight: }"), lines(
			"x.yaml:6:9: address is missing in backend (for example address: 10.0.0.12)",
			"x.yaml:7:35: port: 70000 is out of range (1 to 65535)",
			"x.yaml:8:37: weight: -1 is out of range (0 to 65535)",
			"x.yaml:9:37: weight: 65536 is out of range (0 to 65535)",
			`x.yaml:10:36: drain: must be true or false, not "yes"`,
			`x.yaml:11:35: zone: must be a text (zone), not 12 (if it is meant so, quote it: "12")`,
			`x.yaml:12:35: zone: "" is not a valid zone (1 to 63 bytes, no control characters)`,
			"x.yaml:13:34: the port is given twice (address holds 80 already)",
			"x.yaml:14:29: weight: has no value (give one or remove the key)")},
		{"backend twice", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends: [10.0.0.1, 10.0.0.2, {address: 10.0.0.1, port: 80}, '10.0.0.2:80', 10.0.0.1:81]"), lines(
			"x.yaml:5:46: duplicate backend 10.0.0.1:80 (first at x.yaml:5:16)",
			"x.yaml:5:67: duplicate backend 10.0.0.2:80 (first at x.yaml:5:26)")},
		{"backend without port", lines("  web:", "    frontends: [tcp://192.0.2.1:80, tcp://192.0.2.1:81]", "    backends: [10.0.0.1, '2001:db8::1']"), lines(
			"x.yaml:5:16: backend 10.0.0.1 has no port, and the frontends have several (write 10.0.0.1:80)",
			"x.yaml:5:26: backend 2001:db8::1 has no port, and the frontends have several (write [2001:db8::1]:80)")},
		{"loop", lines("  web:", "    frontends: [tcp://192.0.2.1:80, tcp://192.0.2.2:80]", "    backends: [192.0.2.2, 192.0.2.2:81]"),
			"x.yaml:5:16: backend 192.0.2.2:80 is a frontend of the same service: packets would go in circles (give the address of the server itself)"},
		{"a wrong frontend causes no other mistake", lines("  web:", "    frontends: [tcp://192.0.2.1:80, tcp://192.0.2.1:x]", "    backends: [10.0.0.1]"),
			`x.yaml:4:37: frontends: 192.0.2.1:x: port "x" is not a number (1 to 65535)`},

		{"probe keys", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends: []", "    probe:",
			"      type: http", "      port: 0", "      interval: 50ms", "      timeout: 2h", "      rise: 0", "      fall: 101",
			"      method: get", "      path: health", "      host: a b", "      status: [99, 200-600, 300-200, ok, 204]", "      body: ''", "      urls: x"), lines(
			"x.yaml:8:13: port: 0 is out of range (1 to 65535)",
			"x.yaml:9:17: interval: 50ms is out of range (100ms to 1h)",
			"x.yaml:10:16: timeout: 2h is out of range (10ms to 1h)",
			"x.yaml:11:13: rise: 0 is out of range (1 to 100)",
			"x.yaml:12:13: fall: 101 is out of range (1 to 100)",
			`x.yaml:13:15: method: "get" is not a valid HTTP method (upper-case letters)`,
			"x.yaml:14:13: path: \"health\" is not a valid HTTP path (starts with `/`; up to 2048 bytes of ASCII without spaces; may hold a query)",
			"x.yaml:15:13: host: \"a b\" is not a valid host name (letters, digits, `-`, `.`, `_`; no port)",
			"x.yaml:16:16: status: 99 is out of range (100 to 599)",
			`x.yaml:16:20: status: "200-600" is not a range of HTTP status codes (for example 200 or 200-399)`,
			"x.yaml:16:29: status: 300-200 ends before it starts (write 200-300)",
			`x.yaml:16:38: status: "ok" is not a range of HTTP status codes (for example 200 or 200-399)`,
			`x.yaml:17:13: body: "" is not a valid text (1 to 4096 bytes)`,
			`x.yaml:18:7: unknown key "urls" in probe (known: type, via, address, port, interval, timeout, rise, fall, jitter, interval_failing, backoff_max, method, path, host, status, body, grpc_service, query, query_type, transport, rcode, answer, send, expect, version, user, password, password_file, database, command, policy, tls, starttls, verify, server_name, ca, certificate, key)`)},
		{"tcp probe", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends: []", "    probe: {method: GET, path: /, host: a, status: 200, body: ok, verify: true, rise: 1}"), lines(
			"x.yaml:6:13: probe: method has no effect with type tcp (use type: http, https or http2, or remove method)",
			"x.yaml:6:26: probe: path has no effect with type tcp (use type: http, https or http2, or remove path)",
			"x.yaml:6:35: probe: host has no effect with type tcp (use type: http, https, http2 or grpc, or remove host)",
			"x.yaml:6:44: probe: status has no effect with type tcp (use type: http, https or http2, or remove status)",
			"x.yaml:6:57: probe: body has no effect with type tcp (use type: http, https or http2, or remove body)",
			"x.yaml:6:67: probe: verify has no effect with type tcp (use a type that speaks TLS, for example https, or remove verify)")},
		{"no probe", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends: []", "    probe: {type: none, interval: 1s, path: /}"), lines(
			"x.yaml:6:25: probe: interval has no effect with type none (give another type or remove interval)",
			"x.yaml:6:39: probe: path has no effect with type none (give another type or remove path)")},
		{"probe via", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends: []", "    forward: l2dsr", "    probe: {via: vipp}"),
			`x.yaml:7:18: via: unknown value "vipp" (did you mean "vip"? known: direct, vip)`},
		{"probe via vip", lines("  a: {frontends: tcp://192.0.2.1:80, backends: [], probe: {via: vip}}", "  b: {frontends: tcp://192.0.2.1:81, backends: [], forward: dnat, probe: {type: http, via: vip}}"), lines(
			`x.yaml:3:65: probe: service "a" forwards by nat, so that its backends do not hold the VIP: via: vip is impossible (remove via, or use forward: l2dsr, ipip or gue)`,
			`x.yaml:4:92: probe: service "b" forwards by dnat, so that its backends do not hold the VIP: via: vip is impossible (remove via, or use forward: l2dsr, ipip or gue)`)},
		{"probe via of none", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends: []", "    forward: ipip", "    probe: {type: none, via: vip}"),
			"x.yaml:7:25: probe: via has no effect with type none (give another type or remove via)"},
		{"http probe", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends: []", "    probe: {type: http, verify: true}"),
			"x.yaml:6:25: probe: verify has no effect with type http (use a type that speaks TLS, for example https, or remove verify)"},
		{"probe type", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends: []", "    probe: {type: htpp, path: /}"),
			`x.yaml:6:19: type: unknown value "htpp" (did you mean "http"? known: none, tcp, tls, http, https, http2, grpc, dns, udp, icmp, mqtt, redis, postgres, mysql, smtp, send-expect, exec, policy)`},
		{"probe null", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends: []", "    probe:"),
			"x.yaml:6:5: probe: has no value (give one or remove the key)"},
		{"probe timeout", lines("  web:", "    frontends: tcp://192.0.2.1:80", "    backends: []", "    probe: {interval: 1s, timeout: 1500ms}"),
			"x.yaml:6:36: probe: timeout 1.5s is longer than interval 1s (set timeout to at most 1s, or a longer interval)"},
		{"udp probe", lines("  dns:", "    frontends: udp://192.0.2.1:53", "    backends: []", "    probe: {interval: 1s, rise: 1}"),
			"x.yaml:6:13: probe: interval has no effect: the service is UDP, and its probe has neither a type nor a port (add type: and, if it is not the backends' own, port:)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, refused(t, "interfaces: eth0\nservices:\n"+c.text)); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCrossErrors holds what joins services with the rest of the file.
func TestCrossErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"source family", lines("interfaces: eth0", "sources: 2001:db8::1", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: []}",
			"  b: {frontends: 'tcp://[2001:db8::9]:80', backends: []}",
			"  c: {frontends: tcp://192.0.2.1:81, backends: [], forward: l2dsr}"),
			`x.yaml:4:3: service "a" forwards IPv4 by nat, but sources holds no IPv4 address (add one to sources, or remove sources)`},
		{"tunnel source family", lines("interfaces: eth0", "tunnel_sources: 192.0.2.1", "services:",
			"  a: {frontends: 'tcp://[2001:db8::9]:80', backends: [10.0.0.1, '2001:db8::1'], forward: gue}",
			"  b: {frontends: 'tcp://[2001:db8::9]:81', backends: ['2001:db8::1']}"),
			"x.yaml:4:65: gue needs an outer source address towards backend [2001:db8::1]:80, but tunnel_sources holds no IPv6 one (add an IPv6 address or prefix to tunnel_sources, or remove tunnel_sources)"},
		{"a wrong tunnel source causes no other mistake", lines("interfaces: eth0", "tunnel_sources: [192.0.2.1, 'fd00::/129']", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: '2001:db8::1', forward: ipip}"),
			"x.yaml:2:29: tunnel_sources: fd00::/129: prefix length 129 is out of range (8 to 127 for IPv6; for one address leave it out)"},
		{"inherited track", lines("interfaces: eth0", "defaults: {track: never}", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: []}",
			"  b: {frontends: tcp://192.0.2.1:81, backends: [], forward: ipip}",
			"  c: {frontends: tcp://192.0.2.1:82, backends: [], track: always}"),
			`x.yaml:4:3: service "a" forwards by nat, which records every flow, for replies need it: track: never is impossible (set track: auto here)`},
		{"dnat backend and frontend", lines("interfaces: eth0", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: ['192.0.2.2:80', '192.0.2.1:80'], forward: dnat}",
			"  b: {frontends: [tcp://192.0.2.2:80, udp://192.0.2.9:80], backends: '10.0.0.1:80'}",
			"  c: {frontends: udp://192.0.2.1:80, backends: '192.0.2.2:80', forward: dnat}",
			"  d: {frontends: tcp://192.0.2.1:82, backends: '192.0.2.2:80'}"), lines(
			"x.yaml:3:49: backend tcp://192.0.2.2:80 of a dnat service is a frontend too: its replies could not be told from requests (frontend at x.yaml:4:19; use forward: nat, or another port)",
			"x.yaml:3:65: backend 192.0.2.1:80 is a frontend of the same service: packets would go in circles (give the address of the server itself)",
			"x.yaml:4:39: frontend udp://192.0.2.9:80 differs in protocol from tcp://192.0.2.2:80 (make one service per protocol)")},
		{"dnat backends are like frontends", lines("interfaces: eth0", "max_frontends: 4", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: [10.0.0.1, 10.0.0.2], forward: dnat}",
			"  b: {frontends: tcp://192.0.2.2:80, backends: [10.0.0.2, 10.0.0.3, 10.0.0.4], forward: dnat}"),
			"x.yaml:5:59: more frontends and backends of dnat services, which count too, than there is room for: 4 (raise max_frontends)"},
		{"inherited forward", lines("interfaces: eth0", "defaults: {forward: l2dsr}", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: ['10.0.0.1:81']}",
			"  b: {frontends: tcp://192.0.2.1:82, backends: ['10.0.0.1:81'], forward: nat}"),
			"x.yaml:4:49: backend 10.0.0.1:81 has another port than frontend tcp://192.0.2.1:80, and l2dsr cannot rewrite ports (use port 80, or forward: nat)"},
		{"inherited via", lines("interfaces: eth0", "defaults: {probe: {via: vip}}", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: []}",
			"  b: {frontends: tcp://192.0.2.1:81, backends: [], forward: gue}",
			"  c: {frontends: tcp://192.0.2.1:82, backends: [], probe: {via: direct}}",
			"  d: {frontends: udp://192.0.2.1:83, backends: []}",
			"  e: {frontends: tcp://192.0.2.1:84, backends: [], probe: none}"),
			`x.yaml:4:3: probe: service "a" forwards by nat, so that its backends do not hold the VIP: via: vip is impossible (set probe: {via: direct} here)`},
		{"inherited timeout", lines("interfaces: eth0", "defaults: {probe: {timeout: 2s}}", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: [], probe: {interval: 1s}}"),
			"x.yaml:4:70: probe: timeout 2s is longer than interval 1s (set timeout to at most 1s, or a longer interval)"},
		{"inherited probe type that is wrong", lines("interfaces: eth0", "defaults: {probe: {type: htp}}", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: [], probe: {path: /}}"),
			`x.yaml:2:26: type: unknown value "htp" (did you mean "http"? known: none, tcp, tls, http, https, http2, grpc, dns, udp, icmp, mqtt, redis, postgres, mysql, smtp, send-expect, exec, policy)`},
		{"inherited timeout that is wrong", lines("interfaces: eth0", "defaults: {probe: {timeout: 2d}}", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: [], probe: {interval: 500ms}}"),
			`x.yaml:2:29: timeout: must be a duration, not "2d" (for example 500ms, 2s, 15m or 1h30m)`},
		{"services", lines("interfaces: eth0", "max_services: 2", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: []}", "  b: {frontends: tcp://192.0.2.2:80, backends: []}",
			"  c: {frontends: tcp://192.0.2.3:80, backends: []}", "  d: {frontends: tcp://192.0.2.4:80, backends: []}"),
			"x.yaml:6:3: 4 services, but there is room for 2 (raise max_services)"},
		{"frontends", lines("interfaces: eth0", "max_frontends: 2", "services:",
			"  a: {frontends: [tcp://192.0.2.1:80, tcp://192.0.2.2:80, tcp://192.0.2.3:80, tcp://192.0.2.4:80], backends: []}"),
			"x.yaml:4:59: more frontends than there is room for: 2 (raise max_frontends)"},
		{"backends", lines("interfaces: eth0", "max_backends: 2", "services:",
			"  a: {frontends: tcp://192.0.2.1:80, backends: [10.0.0.1, 10.0.0.2]}",
			"  b: {frontends: tcp://192.0.2.2:80, backends: [10.0.0.2, 10.0.0.3, 10.0.0.4]}"),
			"x.yaml:5:49: more backends than there is room for: 2 (raise max_backends)"},
		{"sorted", lines("services:", "  b: {frontends: tcp://192.0.2.1:80, backends: [x]}", "table_size: 4", "interfaces: []"), lines(
			`x.yaml:2:49: backends: "x" is not an IP address (for example 192.0.2.1 or 2001:db8::1; names are not looked up)`,
			"x.yaml:3:13: table_size: 4 is not a prime (the nearest primes are 3 and 5)",
			"x.yaml:4:13: interfaces: at least one is needed (for example interfaces: eth0)")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, refused(t, c.text)); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOnHost holds a file that is right, but not on this host.
func TestOnHost(t *testing.T) {
	text := lines("interfaces: eth0", "services:", "  a:", "    frontends: tcp://192.0.2.1:80", "    backends: [10.0.0.1, {address: 10.0.0.2, port: 81}]",
		"  b: {frontends: 'tcp://[2001:db8::1]:80', backends: '2001:db8::2'}")
	parse(t, text)
	local := OnHost(map[netip.Addr]string{
		netip.MustParseAddr("10.0.0.2"): "eth0", netip.MustParseAddr("2001:db8::2"): "lo", netip.MustParseAddr("192.0.2.1"): "lo",
	})
	_, err := Parse("x.yaml", []byte(text), local)
	want := lines(
		"x.yaml:5:36: backend 10.0.0.2:81 is an address of this host (eth0): what is sent there never leaves it (a backend is another host)",
		"x.yaml:6:54: backend [2001:db8::2]:80 is an address of this host (lo): what is sent there never leaves it (a backend is another host)")
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

// TestPositions puts one mistake behind text that has misled YAML readers.
func TestPositions(t *testing.T) {
	for _, c := range []struct{ name, before, at string }{
		{"nothing", "", "2:1"},
		{"BOM", "\ufeff", "2:1"},
		{"comments", "# one\n\n# two\n", "5:1"},
		{"CRLF", "attach: tc\r\nnext_hop: fib\r\n", "4:1"},
		{"accents before", "# éß中\n", "3:1"},
		{"literal block", "sources: |\n  192.0.2.1\n  x\n", "5:1"},
		{"folded block", "sources: >-\n  192.0.2.1\n\n\n", "6:1"},
		{"quoted over lines", "sources: \"192.0.2.1\\\n   \"\n", "4:1"},
		{"plain over lines", "sources: 192.0.2.1\n   x\n", "4:1"},
		{"directive", "%YAML 1.2\n---\n", "4:1"},
		{"flow over lines", "sources: [\n  192.0.2.1,\n  192.0.2.2\n]\n", "6:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := refused(t, c.before+"interfaces: eth0\nbogus: 1\n")
			want := fmt.Sprintf("x.yaml:%s: unknown key \"bogus\"", c.at)
			if !strings.Contains(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
	if got, want := refused(t, "interfaces: eth0\nservices: {é: {frontends: a}}\n"), "x.yaml:2:27: frontends: frontend \"a\" has no protocol"; !strings.Contains(got, want) {
		t.Errorf("columns must count characters: got %s, want %s", got, want)
	}
}
