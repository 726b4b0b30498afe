package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSettingsErrors holds files without services.
func TestSettingsErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", `x.yaml:1:1: the file is empty (give at least "interfaces: eth0")`},
		{"comments only", "# nothing\n\n# here\n", `x.yaml:1:1: the file is empty (give at least "interfaces: eth0")`},
		{"two documents", "interfaces: eth0\n---\ninterfaces: eth1\n", `x.yaml:3:1: a second document in the file (a configuration is one document; remove the "---" before it)`},
		{"a list", "- eth0\n", "x.yaml:1:1: must be a mapping of keys to values, not a list (keys: interfaces, attach, next_hop, gateway_mac, sources, tunnel_sources, gue_port, nat_ports, flow_table_size, table_size, affinity_table_size, max_services, max_frontends, max_backends, max_sources, policy_rate, policy_rate_per_source, zone, probes, policies, defaults, services)"},
		{"null", "~\n", "x.yaml:1:1: has no value (give one or remove the key)"},
		{"invalid UTF-8", "interfaces: eth0\n# é\xff\n", "x.yaml:2:4: the file is not valid UTF-8 (save it as UTF-8)"},
		{"a tab", "interfaces:\n\t- eth0\n", "x.yaml:2:1: found character '\t' that cannot start any token (indent with spaces, not tabs, and quote values that start with a special character)"},
		{"open bracket", "interfaces: [eth0\n", "x.yaml:1:13: sequence end token ']' not found (close every bracket and quote)"},
		{"brackets in a list", "interfaces: eth0\nservices: {w: {frontends: [tcp://[2001:db8::1]:80]}}\n", `x.yaml:2:34: ',' or ']' must be specified (inside [ ] and { }, quote a value that holds a bracket or a comma: "tcp://[2001:db8::1]:80")`},
		{"colon in a value", "interfaces: eth0: eth1\n", `x.yaml:1:13: mapping value is not allowed in this context (check the indentation, and quote a value that holds ": ")`},
		{"nested brackets", "interfaces: " + strings.Repeat("[", 100000), "x.yaml:1:77: nested more than 64 levels deep"},
		{"nested dashes", strings.Repeat("- ", 100000), "x.yaml:1:129: nested more than 64 levels deep"},
		{"nested keys", strings.Repeat("? ", 100000), "x.yaml:1:129: nested more than 64 levels deep"},

		{"no interfaces", "attach: tc\n", "x.yaml:1:1: interfaces is missing in file (for example interfaces: [eth0, eth1])"},
		{"empty interfaces", "interfaces: []\n", "x.yaml:1:13: interfaces: at least one is needed (for example interfaces: eth0)"},
		{"null interfaces", "interfaces:\n", "x.yaml:1:1: interfaces: at least one is needed (for example interfaces: eth0)"},
		{"null interface", "interfaces: [eth0, ~]\n", "x.yaml:1:20: interfaces: has no value (give one or remove the key)"},
		{"interface mapping", "interfaces: {eth0: 1}\n", "x.yaml:1:13: interfaces: must be a text (interface name), not a mapping"},
		{"number interface", "interfaces: 12\n", `x.yaml:1:13: interfaces: must be a text (interface name), not 12 (if it is meant so, quote it: "12")`},
		{"interface names", "interfaces:\n  - eth0/1\n  - averylonginterface\n  - ..\n", lines(
			"x.yaml:2:5: interfaces: \"eth0/1\" is not a valid interface name (1 to 15 bytes, no `/`, `:` or space)",
			"x.yaml:3:5: interfaces: \"averylonginterface\" is not a valid interface name (1 to 15 bytes, no `/`, `:` or space)",
			"x.yaml:4:5: interfaces: \"..\" is not a valid interface name (1 to 15 bytes, no `/`, `:` or space)")},
		{"interface twice", "interfaces: [eth0, eth1, eth0]\n", "x.yaml:1:26: duplicate interface eth0 (first at x.yaml:1:14)"},

		{"unknown key", "interfaces: eth0\ninterface: eth1\nzzz: 1\n", lines(
			`x.yaml:2:1: unknown key "interface" in file (did you mean "interfaces"?)`,
			`x.yaml:3:1: unknown key "zzz" in file (known: interfaces, attach, next_hop, gateway_mac, sources, tunnel_sources, gue_port, nat_ports, flow_table_size, table_size, affinity_table_size, max_services, max_frontends, max_backends, max_sources, policy_rate, policy_rate_per_source, zone, probes, policies, defaults, services)`)},
		{"dashes for underscores", "interfaces: eth0\nnext-hop: fib\n", `x.yaml:2:1: unknown key "next-hop" in file (did you mean "next_hop"?)`},
		{"duplicate key", "interfaces: eth0\nattach: tc\nattach: tc\n", `x.yaml:3:1: the key "attach" is given twice (first at x.yaml:2:1)`},
		{"duplicate quoted key", "interfaces: eth0\nattach: tc\n\"attach\": tc\n", `x.yaml:3:1: the key "attach" is given twice (first at x.yaml:2:1)`},

		{"attach", "interfaces: eth0\nattach: nativ\n", `x.yaml:2:9: attach: unknown value "nativ" (did you mean "native"? known: auto, native, generic, tc)`},
		{"attach number", "interfaces: eth0\nattach: 7\n", `x.yaml:2:9: attach: unknown value 7 (known: auto, native, generic, tc)`},
		{"next hop", "interfaces: eth0\nnext_hop: gateway\n", `x.yaml:2:11: next_hop: unknown value "gateway" (known: fib, gateway-mac)`},
		{"gateway-mac without", "interfaces: eth0\nnext_hop: gateway-mac\n", "x.yaml:2:11: next_hop: gateway-mac needs gateway_mac (add the router's MAC address, for example gateway_mac: 02:00:00:00:00:01)"},
		{"gateway_mac alone", "interfaces: eth0\ngateway_mac: 02:00:00:00:00:01\n", "x.yaml:2:1: gateway_mac has no effect with next_hop: fib (set next_hop: gateway-mac or remove gateway_mac)"},
		{"gateway_mac text", "interfaces: eth0\nnext_hop: gateway-mac\ngateway_mac: 02-00\n", `x.yaml:3:14: gateway_mac: "02-00" is not a MAC address (for example 02:00:00:00:00:01)`},
		{"gateway_mac multicast", "interfaces: eth0\nnext_hop: gateway-mac\ngateway_mac: 01:00:5e:00:00:01\n", "x.yaml:3:14: gateway_mac: 01:00:5e:00:00:01 is not the address of one station (give the unicast MAC address of the gateway)"},
		{"gateway_mac zero", "interfaces: eth0\nnext_hop: gateway-mac\ngateway_mac: 00:00:00:00:00:00\n", "x.yaml:3:14: gateway_mac: 00:00:00:00:00:00 is not the address of one station (give the unicast MAC address of the gateway)"},

		{"sources", "interfaces: eth0\nsources: [192.0.2.1, 10.0.0.0/8, host, 0.0.0.0, 127.0.0.1, 169.254.0.1, '::', ::1, ff02::1, 255.255.255.255, fe80::1%eth0, fd00::1%eth0, ::ffff:192.0.2.9]\n", lines(
			`x.yaml:2:22: sources: "10.0.0.0/8" is not an IP address (an address alone, without a prefix length)`,
			`x.yaml:2:34: sources: "host" is not an IP address (for example 192.0.2.1 or 2001:db8::1; names are not looked up)`,
			`x.yaml:2:40: sources: 0.0.0.0 is the unspecified address, which nothing can be sent to (give one address)`,
			`x.yaml:2:49: sources: 127.0.0.1 is a loopback address, which never leaves its host (give an address that other hosts can reach)`,
			`x.yaml:2:60: sources: 169.254.0.1 is a link-local address, which is valid on one link only (give a global or private address)`,
			`x.yaml:2:73: sources: :: is the unspecified address, which nothing can be sent to (give one address)`,
			`x.yaml:2:79: sources: ::1 is a loopback address, which never leaves its host (give an address that other hosts can reach)`,
			`x.yaml:2:84: sources: ff02::1 is a multicast address, not that of one host (give a unicast address)`,
			`x.yaml:2:93: sources: 255.255.255.255 is the broadcast address, not that of one host (give a unicast address)`,
			`x.yaml:2:110: sources: fe80::1%eth0 is a link-local address, which is valid on one link only (give a global or private address)`,
			`x.yaml:2:124: sources: fd00::1%eth0 is an address with a zone, which is valid on this host only (remove %eth0)`,
			`x.yaml:2:138: sources: ::ffff:192.0.2.9 is an IPv4-mapped IPv6 address, which never appears in a packet (write 192.0.2.9)`)},
		{"source twice", "interfaces: eth0\nsources: [2001:db8::1, 2001:db8:0:0::1]\n", "x.yaml:2:24: duplicate source 2001:db8::1 (first at x.yaml:2:11)"},
		{"too many sources", "interfaces: eth0\nmax_sources: 2\nsources: [192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4]\n", "x.yaml:3:33: 4 sources, but there is room for 2 (raise max_sources)"},

		{"tunnel_sources", "interfaces: eth0\ntunnel_sources: [10.0.0.0/7, 10.0.0.1/32, 10.0.0.1/x, 10.0.0.1/24, 'fd00::1/64', fd00::/128, fd00::/7, 127.0.0.0/8, a/8, 10.0.0.0/99999, ::ffff:192.0.2.9]\n", lines(
			`x.yaml:2:18: tunnel_sources: 10.0.0.0/7: prefix length 7 is out of range (8 to 31 for IPv4; for one address leave it out)`,
			`x.yaml:2:30: tunnel_sources: 10.0.0.1/32: prefix length 32 is out of range (8 to 31 for IPv4; for one address leave it out)`,
			`x.yaml:2:43: tunnel_sources: 10.0.0.1/x: prefix length "x" is not a number (8 to 31 for IPv4; for one address leave it out)`,
			`x.yaml:2:55: tunnel_sources: 10.0.0.1/24 has bits set behind its prefix, which the flow fills (write 10.0.0.0/24)`,
			`x.yaml:2:68: tunnel_sources: fd00::1/64 has bits set behind its prefix, which the flow fills (write fd00::/64)`,
			`x.yaml:2:82: tunnel_sources: fd00::/128: prefix length 128 is out of range (8 to 127 for IPv6; for one address leave it out)`,
			`x.yaml:2:94: tunnel_sources: fd00::/7: prefix length 7 is out of range (8 to 127 for IPv6; for one address leave it out)`,
			`x.yaml:2:104: tunnel_sources: 127.0.0.0/8 is a loopback address, which never leaves its host (give an address that other hosts can reach)`,
			`x.yaml:2:117: tunnel_sources: "a" is not an IP address (for example 192.0.2.1 or 2001:db8::1; names are not looked up)`,
			`x.yaml:2:122: tunnel_sources: 10.0.0.0/99999: prefix length 99999 is out of range (8 to 31 for IPv4; for one address leave it out)`,
			`x.yaml:2:138: tunnel_sources: ::ffff:192.0.2.9 is an IPv4-mapped IPv6 address, which never appears in a packet (write 192.0.2.9)`)},
		{"two tunnel sources", "interfaces: eth0\ntunnel_sources: [192.0.2.1, 'fd00::/64', 192.0.2.0/24]\n",
			"x.yaml:2:42: a second IPv4 tunnel source (one of each family; a prefix holds many addresses; first at x.yaml:2:18)"},
		{"gue_port", "interfaces: eth0\ngue_port: 0\n", "x.yaml:2:11: gue_port: 0 is out of range (1 to 65535)"},

		{"nat_ports number", "interfaces: eth0\nnat_ports: 1024\n", `x.yaml:2:12: nat_ports: must be a text (port range), not 1024 (if it is meant so, quote it: "1024")`},
		{"nat_ports text", "interfaces: eth0\nnat_ports: all\n", `x.yaml:2:12: nat_ports: "all" is not a range of ports (for example 1024-32767)`},
		{"nat_ports zero", "interfaces: eth0\nnat_ports: 0-10\n", "x.yaml:2:12: nat_ports: 0-10: port 0 is out of range (1 to 65535)"},
		{"nat_ports high", "interfaces: eth0\nnat_ports: 1-70000\n", "x.yaml:2:12: nat_ports: 1-70000: port 70000 is out of range (1 to 65535)"},
		{"nat_ports backwards", "interfaces: eth0\nnat_ports: 10-5\n", "x.yaml:2:12: nat_ports: 10-5 ends before it starts (write 5-10)"},
		{"nat_ports words", "interfaces: eth0\nnat_ports: a-b\n", `x.yaml:2:12: nat_ports: a-b: port "a" is not a number (1 to 65535)`},

		{"table_size prime", "interfaces: eth0\ntable_size: 1000\n", "x.yaml:2:13: table_size: 1000 is not a prime (the nearest primes are 997 and 1009)"},
		{"table_size lowest", "interfaces: eth0\ntable_size: 4\n", "x.yaml:2:13: table_size: 4 is not a prime (the nearest primes are 3 and 5)"},
		{"table_size highest", "interfaces: eth0\ntable_size: 1000002\n", "x.yaml:2:13: table_size: 1000002 is not a prime (the nearest primes are 999983 and 1000003)"},
		{"table_size range", "interfaces: eth0\ntable_size: 1000033\n", "x.yaml:2:13: table_size: 1000033 is out of range (3 to 1000003)"},

		{"numbers", lines("interfaces: eth0", "flow_table_size: 1023", "table_size: 0x11", "max_services: 010", "max_frontends: 1_000",
			`max_backends: "12"`, "max_sources: 1.5"), lines(
			"x.yaml:2:18: flow_table_size: 1023 is out of range (1024 to 67108864)",
			"x.yaml:3:13: table_size: must be a whole number from 3 to 1000003, not 0x11 (plain decimal digits)",
			"x.yaml:4:15: max_services: must be a whole number from 1 to 65536, not 010 (plain decimal digits)",
			"x.yaml:5:16: max_frontends: must be a whole number from 1 to 1048576, not 1_000 (plain decimal digits)",
			`x.yaml:6:15: max_backends: must be a whole number, not "12" (remove the quotes)`,
			"x.yaml:7:14: max_sources: must be a whole number from 1 to 1024, not 1.5 (plain decimal digits)")},
		{"more numbers", lines("interfaces: eth0", "flow_table_size: 67108865", "max_services: 0", "max_frontends: -5",
			"max_backends: 99999999999999999999999", "max_sources: [1]"), lines(
			"x.yaml:2:18: flow_table_size: 67108865 is out of range (1024 to 67108864)",
			"x.yaml:3:15: max_services: 0 is out of range (1 to 65536)",
			"x.yaml:4:16: max_frontends: -5 is out of range (1 to 1048576)",
			"x.yaml:5:15: max_backends: 99999999999999999999999 is out of range (1 to 1048576)",
			"x.yaml:6:14: max_sources: must be a whole number from 1 to 1024, not a list (plain decimal digits)")},

		{"timeouts", lines("interfaces: eth0", "defaults:", "  timeouts:", "    tcp_syn: 30", "    tcp_established: 169h", "    tcp_fin: 500ms",
			"    tcp_closed: 1.5s", "    udp: soon", "    tcp: 1s"), lines(
			"x.yaml:4:14: tcp_syn: 30 has no unit (for seconds write 30s)",
			"x.yaml:5:22: tcp_established: 169h is out of range (1s to 168h, whole seconds)",
			"x.yaml:6:14: tcp_fin: 500ms is out of range (1s to 168h, whole seconds)",
			"x.yaml:7:17: tcp_closed: 1.5s is finer than its resolution of 1s",
			`x.yaml:8:10: udp: must be a duration, not "soon" (for example 500ms, 2s, 15m or 1h30m)`,
			`x.yaml:9:5: unknown key "tcp" in timeouts (known: tcp_syn, tcp_established, tcp_fin, tcp_closed, udp)`)},
		{"duration spellings", lines("interfaces: eth0", "defaults:", "  timeouts: {tcp_syn: -5s, udp: 9999999999999h, tcp_fin: 1s5}"), lines(
			`x.yaml:3:23: tcp_syn: must be a duration, not "-5s" (for example 500ms, 2s, 15m or 1h30m)`,
			`x.yaml:3:33: udp: must be a duration, not "9999999999999h" (for example 500ms, 2s, 15m or 1h30m)`,
			`x.yaml:3:58: tcp_fin: must be a duration, not "1s5" (for example 500ms, 2s, 15m or 1h30m)`)},

		{"default probe", lines("interfaces: eth0", "defaults: {probe: {type: tcp, path: /, interval: 1s, timeout: 2s}}"), lines(
			"x.yaml:2:31: probe: path has no effect with type tcp (use type: http, https or http2, or remove path)",
			"x.yaml:2:63: probe: timeout 2s is longer than interval 1s (set timeout to at most 1s, or a longer interval)")},
		{"default http probe", lines("interfaces: eth0", "defaults: {probe: {type: http, verify: true}}"),
			"x.yaml:2:32: probe: verify has no effect with type http (use a type that speaks TLS, for example https, or remove verify)"},
		{"default no probe", lines("interfaces: eth0", "defaults: {probe: {type: none, interval: 4s, body: ok}}"),
			"x.yaml:2:46: probe: body has no effect with type none (give another type or remove body)"},
		{"default probe type", lines("interfaces: eth0", "defaults: {probe: ping}"),
			`x.yaml:2:19: probe: unknown value "ping" (known: none, tcp, tls, http, https, http2, grpc, dns, udp, icmp, mqtt, redis, postgres, mysql, smtp, send-expect, exec, policy)`},
		{"default timeout alone", lines("interfaces: eth0", "defaults: {probe: {timeout: 3s}}"),
			"x.yaml:2:29: probe: timeout 3s is longer than interval 2s (set timeout to at most 2s, or a longer interval)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, refused(t, c.text)); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHugeFile(t *testing.T) {
	want := "x.yaml:1:1: the file is larger than 16 MiB (is this the right file?)"
	if got := refused(t, strings.Repeat("#", maxFileSize+1)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	parse(t, "interfaces: eth0\n#"+strings.Repeat("x", maxFileSize-18))
}

func TestAliasErrors(t *testing.T) {
	bomb := "interfaces: eth0\nservices:\n  a0: &a0 {frontends: tcp://192.0.2.1:80, backends: [&l0 10.0.0.1]}\n"
	list := "10.0.0.1" + strings.Repeat(", 10.0.0.1", 4095)
	for i := 1; i < 600; i++ {
		bomb += fmt.Sprintf("  s%d: {frontends: tcp://192.0.2.1:%d, backends: *list}\n", i, i+100)
	}
	bomb = strings.Replace(bomb, "[&l0 10.0.0.1]", "&list ["+list+"]", 1)
	for _, c := range []struct{ name, text, want string }{
		{"unknown", "interfaces: *nic\n", "x.yaml:1:13: unknown alias *nic (an anchor &nic must be complete before it is used)"},
		{"itself", "interfaces: &nic [*nic]\n", "x.yaml:1:19: unknown alias *nic (an anchor &nic must be complete before it is used)"},
		{"tag", "interfaces: !!str eth0\n", "x.yaml:1:13: the tag !!str is not supported (remove it)"},
		{"merge of a text", "interfaces: eth0\n<<: eth0\n", "x.yaml:2:5: a merge key takes a mapping or a list of mappings"},
		{"merge of lists", "interfaces: eth0\n<<: [[]]\n", "x.yaml:2:6: a merge key takes a mapping or a list of mappings"},
		{"two merges", "interfaces: eth0\n<<: {attach: tc}\n<<: {attach: tc}\n", `x.yaml:3:1: the key "<<" is given twice (first at x.yaml:2:1)`},
		{"mistake told once, where it is", lines("interfaces: eth0", "services:", "  a:", "    frontends: tcp://192.0.2.1:80", "    backends: &b [{address: 10.0.0.1, weight: -1}]",
			"  b:", "    frontends: tcp://192.0.2.1:81", "    backends: *b"),
			"x.yaml:5:47: weight: -1 is out of range (0 to 65535)"},
		{"duplicate through an alias, told at the alias", lines("interfaces: eth0", "services:", "  a: &a", "    frontends: tcp://192.0.2.1:80", "    backends: []", "  b: *a", "  c:", "    <<: *a"), lines(
			"x.yaml:6:6: duplicate frontend tcp://192.0.2.1:80 (first at x.yaml:4:16)",
			"x.yaml:8:9: duplicate frontend tcp://192.0.2.1:80 (first at x.yaml:4:16)")},
		{"deep merges", deepMerges(), "x.yaml:4:16: merge keys nested more than 64 levels deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, refused(t, c.text)); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("bomb", func(t *testing.T) {
		if got := refused(t, bomb); !strings.Contains(got, "the file holds more than 2097152 values, aliases expanded (use fewer aliases)") {
			t.Errorf("got %.300s", got)
		}
	})
}

// deepMerges is a chain of merge keys, each in the anchor before it.
func deepMerges() string {
	var b strings.Builder
	b.WriteString("interfaces: eth0\nservices:\n  s0: &s0 {frontends: tcp://192.0.2.1:80, backends: []}\n")
	for i := 1; i <= 70; i++ {
		fmt.Fprintf(&b, "  s%d: &s%d {<<: *s%d}\n", i, i, i-1)
	}
	return b.String()
}
