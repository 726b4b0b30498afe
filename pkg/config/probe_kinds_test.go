package config

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/model"
)

// probeOf parses a service's probe.
func probeOf(t *testing.T, defaults, own string) model.Probe {
	t.Helper()
	text := "interfaces: eth0\npolicies: {line-probe: {path: x}}\n"
	if defaults != "" {
		text += "defaults: {probe: " + defaults + "}\n"
	}
	text += "services:\n  s:\n    frontends: tcp://192.0.2.1:53\n    backends: 10.0.0.1\n"
	if own != "" {
		text += "    probe: " + own + "\n"
	}
	checkSchema(t, []byte(text))
	return parse(t, text).Services[0].Probe
}

func TestProbeKinds(t *testing.T) {
	on := model.TLSProbe{Mode: model.TLSOn}
	get := model.HTTPProbe{Method: "GET", Path: "/"}
	for _, c := range []struct {
		name, defaults, own string
		want                model.Probe
	}{
		{"tls", "", "tls", model.Probe{Type: model.ProbeTLS, TLS: on}},
		{"tls keys", "", "{type: tls, verify: false, server_name: a.example, ca: ca.pem, certificate: /c.pem, key: /k.pem}", model.Probe{
			Type: model.ProbeTLS, TLS: model.TLSProbe{Mode: model.TLSOn, SkipVerify: true, ServerName: "a.example", CA: "ca.pem", Certificate: "/c.pem", Key: "/k.pem"}}},
		{"http2", "", "http2", model.Probe{Type: model.ProbeHTTP2, HTTP: get, TLS: on}},
		{"h2c", "", "{type: http2, tls: false}", model.Probe{Type: model.ProbeHTTP2, HTTP: get}},
		{"grpc", "", "{type: grpc, grpc_service: a.B, host: a.example}", model.Probe{Type: model.ProbeGRPC, GRPC: model.GRPCProbe{Service: "a.B", Host: "a.example"}}},
		{"grpc over TLS", "", "{type: grpc, tls: true}", model.Probe{Type: model.ProbeGRPC, TLS: on}},
		{"dns", "", "{type: dns, query: example.com}", model.Probe{Type: model.ProbeDNS, DNS: model.DNSProbe{Name: "example.com.", Type: "A", RCode: "NOERROR"}}},
		{"dns keys", "", "{type: dns, query: ., query_type: NS, transport: tcp, rcode: REFUSED, answer: a.}", model.Probe{
			Type: model.ProbeDNS, DNS: model.DNSProbe{Name: ".", Type: "NS", TCP: true, RCode: "REFUSED", Answer: "a."}}},
		{"udp", "", "udp", model.Probe{Type: model.ProbeUDP}},
		{"udp keys", "", `{type: udp, send: 'a\x00\\b\r\n\t\0', expect: "hex:00 ff"}`, model.Probe{
			Type: model.ProbeUDP, Talk: model.TalkProbe{Send: "a\x00\\b\r\n\t\x00", Expect: "\x00\xff"}}},
		{"icmp ignores an inherited port", "{port: 80}", "icmp", model.Probe{Type: model.ProbeICMP}},
		{"mqtt", "", "mqtt", model.Probe{Type: model.ProbeMQTT, MQTTVersion: model.MQTT311}},
		{"mqtt keys", "", "{type: mqtt, version: v5, user: u, password: p, tls: true}", model.Probe{
			Type: model.ProbeMQTT, MQTTVersion: model.MQTT5, Login: model.Login{User: "u", Password: "p"}, TLS: on}},
		{"redis", "", "{type: redis, password: p}", model.Probe{Type: model.ProbeRedis, Login: model.Login{Password: "p"}}},
		{"postgres", "", "{type: postgres, user: u, password_file: /p, database: d}", model.Probe{
			Type: model.ProbePostgres, Login: model.Login{User: "u", PasswordFile: "/p", Database: "d"}}},
		{"mysql", "", "{type: mysql, user: u}", model.Probe{Type: model.ProbeMySQL, Login: model.Login{User: "u"}}},
		{"smtp", "", "{type: smtp, starttls: true, verify: false}", model.Probe{Type: model.ProbeSMTP, TLS: model.TLSProbe{Mode: model.TLSStart, SkipVerify: true}}},
		{"exec", "", "{type: exec, command: [/bin/check, '-v']}", model.Probe{Type: model.ProbeExec, Command: []string{"/bin/check", "-v"}}},
		{"exec of one word", "", "{type: exec, command: /bin/check}", model.Probe{Type: model.ProbeExec, Command: []string{"/bin/check"}}},
		{"send-expect", "", "{type: send-expect, expect: 're:^2\\d\\d'}", model.Probe{Type: model.ProbeSendExpect, Talk: model.TalkProbe{Pattern: `^2\d\d`}}},
		{"policy", "", "{type: policy, policy: line-probe}", model.Probe{Type: model.ProbePolicy, Policy: "line-probe"}},
		{"address", "", "{address: 10.0.0.9, port: 9}", model.Probe{Type: model.ProbeTCP, Address: netip.MustParseAddr("10.0.0.9"), Port: 9}},

		{"inherited keys wait for their type", "{user: u, password: p, ca: /ca, tls: true, path: /x}", "tcp", model.Probe{Type: model.ProbeTCP}},
		{"inherited keys find their type", "{user: u, password: p, ca: /ca, tls: true, path: /x}", "mqtt", model.Probe{
			Type: model.ProbeMQTT, MQTTVersion: model.MQTT311, Login: model.Login{User: "u", Password: "p"}, TLS: model.TLSProbe{Mode: model.TLSOn, CA: "/ca"}}},
		{"own file for an inherited password", "{type: redis, password: p}", "{password_file: /p}", model.Probe{Type: model.ProbeRedis, Login: model.Login{PasswordFile: "/p"}}},
		{"own password for an inherited file", "{type: redis, password_file: /p}", "{password: p}", model.Probe{Type: model.ProbeRedis, Login: model.Login{Password: "p"}}},
		{"own tls: false", "{type: mqtt, tls: true, ca: /ca}", "{tls: false}", model.Probe{Type: model.ProbeMQTT, MQTTVersion: model.MQTT311}},
		{"inherited verify: false", "{type: https, verify: false}", "{verify: true}", model.Probe{Type: model.ProbeHTTPS, HTTP: get, TLS: on}},

		{"TCP:5432", "", "TCP:5432", model.Probe{Type: model.ProbeTCP, Port: 5432}},
		{"HTTP:8080/health", "", "HTTP:8080/health?full=1", model.Probe{Type: model.ProbeHTTP, Port: 8080, HTTP: model.HTTPProbe{Method: "GET", Path: "/health?full=1"}}},
		{"HTTPS:443/", "", "HTTPS:443/", model.Probe{Type: model.ProbeHTTPS, Port: 443, HTTP: get, TLS: on}},
		{"HTTP2:443", "", "HTTP2:443", model.Probe{Type: model.ProbeHTTP2, Port: 443, HTTP: get, TLS: on}},
		{"TLS:8443", "", "TLS:8443", model.Probe{Type: model.ProbeTLS, Port: 8443, TLS: on}},
		{"GRPC:50051", "", "GRPC:50051", model.Probe{Type: model.ProbeGRPC, Port: 50051}},
		{"GRPC:50051/a.B", "", "GRPC:50051/a.B", model.Probe{Type: model.ProbeGRPC, Port: 50051, GRPC: model.GRPCProbe{Service: "a.B"}}},
		{"DNS:53/example.com", "", "DNS:53/example.com", model.Probe{Type: model.ProbeDNS, Port: 53, DNS: model.DNSProbe{Name: "example.com.", Type: "A", RCode: "NOERROR"}}},
		{"SEND-EXPECT finds what it needs", "{expect: ok}", "SEND-EXPECT:7", model.Probe{Type: model.ProbeSendExpect, Port: 7, Talk: model.TalkProbe{Expect: "ok"}}},
		{"short form of defaults", "HTTP:8080/health", "{interval: 2s}", model.Probe{Type: model.ProbeHTTP, Port: 8080, HTTP: model.HTTPProbe{Method: "GET", Path: "/health"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Via, c.want.Interval, c.want.Jitter, c.want.Timeout, c.want.Rise, c.want.Fall = probe.Via, 2*time.Second, probe.Jitter, time.Second, 2, 3
			equal(t, c.want, probeOf(t, c.defaults, c.own))
		})
	}
}

// TestProbeProgram: a program is named from the file's directory, wherever it runs
// and whatever PATH holds.
func TestProbeProgram(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"check": here + "/check", "bin/check": here + "/bin/check", "/bin/check": "/bin/check"} {
		if got := probeOf(t, "", "{type: exec, command: ["+name+", -v]}").Command; got[0] != want || got[1] != "-v" {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
}

func TestProbeKindErrors(t *testing.T) {
	for _, c := range []struct{ defaults, own, want string }{
		{"", "dns", "3:86: probe: type dns needs query (for example query: www.example.com)"},
		{"", "DNS:53", "3:86: probe: type dns needs query (for example query: www.example.com)"},
		{"", "exec", "3:86: probe: type exec needs command (for example command: /usr/local/bin/check-shop)"},
		{"", "{type: exec, command: []}", "3:86: probe: type exec needs command (for example command: /usr/local/bin/check-shop)"},
		{"", "{type: exec, command: ['', a]}", "3:86: probe: type exec needs command (for example command: /usr/local/bin/check-shop)"},
		{"", "{type: send-expect, send: x}", "3:86: probe: type send-expect needs expect (for example expect: '+PONG')"},
		{"", "{type: redis, path: /}", "3:100: probe: path has no effect with type redis (use type: http, https or http2, or remove path)"},
		{"", "{type: tcp, query: a.example}", "3:98: probe: query has no effect with type tcp (use type: dns or remove query)"},
		{"", "{type: udp, tls: true}", "3:98: probe: tls has no effect with type udp (use type: http2, grpc, smtp, send-expect, mqtt, redis, postgres or mysql, or remove tls)"},
		{"", "{type: mqtt, ca: /ca}", "3:99: probe: ca has no effect without TLS (add tls: true or remove ca)"},
		{"", "{type: http2, tls: false, verify: false}", "3:112: probe: verify has no effect without TLS (add tls: true or remove verify)"},
		{"", "{type: tls, certificate: /c}", "3:86: probe: certificate and key need each other (give both or none)"},
		{"", "{type: redis, password: p, password_file: /p}", "3:113: probe: password and password_file are two ways to one password (remove one of them)"},
		{"", "{type: postgres, password: p}", "3:86: probe: type postgres has a password without a user (add user or remove the password)"},
		{"", "{type: smtp, tls: true, starttls: true}", "3:110: probe: starttls has no effect with tls: true (remove one of them)"},
		{"", "{type: icmp, port: 80}", "3:105: probe: port has no effect with type icmp (remove port, or use another type)"},
		{"", "{type: icmp, via: direct}", "3:99: probe: via has no effect with type icmp (remove via, or use another type)"},
		{"", "{type: none, address: 10.0.0.1}", "3:99: probe: address has no effect with type none (give another type or remove address)"},
		{"", "{type: none, user: u}", "3:99: probe: user has no effect with type none (give another type or remove user)"},
		{"", `{type: udp, send: 'a\qb'}`, `3:104: send: "a\\qb" holds an unknown escape (known: \r \n \t \0 \\ \xNN; a backslash is \\)`},
		{"", `{type: udp, send: 'a\x4'}`, `3:104: send: "a\\x4" holds an unknown escape (known: \r \n \t \0 \\ \xNN; a backslash is \\)`},
		{"", `{type: udp, send: 'a\'}`, `3:104: send: "a\\" holds an unknown escape (known: \r \n \t \0 \\ \xNN; a backslash is \\)`},
		{"", "{type: udp, send: 'hex:0'}", `3:104: send: "hex:0" is not a row of bytes (pairs of hex digits, for example hex:00 01 ff)`},
		{"", "{type: udp, expect: 're:('}", `3:106: expect: "re:(" is not a regular expression (for example re:^220 .*ESMTP (RE2, without look-around))`},
		{"", `{type: redis, password: "a\nsecret"}`, "3:110: password: this is not a valid password (1 to 1024 bytes, no control characters)"},
		{"", "{type: mqtt, version: v4}", `3:108: version: unknown value "v4" (did you mean "v5"? known: v3.1.1, v5)`},

		{"", "http:8080/health", `3:86: probe: "http:8080/health" is not a probe (write HTTP:8080/health)`},
		{"", "HTTP", `3:86: probe: "HTTP" is not a probe (write http, or HTTP:PORT)`},
		{"", "TCP:0", "3:86: probe: TCP:0: port 0 is out of range (1 to 65535)"},
		{"", "TCP:65536", "3:86: probe: TCP:65536: port 65536 is out of range (1 to 65535)"},
		{"", "TCP:80/x", "3:86: probe: TCP:80/x: a probe of type tcp has no path (remove /x)"},
		{"", "ICMP", `3:86: probe: "ICMP" is not a probe (write icmp)`},
		{"", "ICMP:80", "3:86: probe: ICMP:80: a probe of type icmp has no port (write icmp)"},
		{"", "icmp:80", `3:86: probe: "icmp:80" is not a probe (write icmp)`},
		{"", "tcp:80x", `3:86: probe: "tcp:80x" is not a probe (a type alone, for example tcp, or TYPE:PORT/PATH, for example HTTP:8080/health)`},
		{"", "FTP:21", "3:86: probe: FTP:21: there is no probe of type FTP (known: TCP, TLS, HTTP, HTTPS, HTTP2, GRPC, DNS, UDP, MQTT, REDIS, POSTGRES, MYSQL, SMTP, SEND-EXPECT, EXEC, POLICY)"},
		{"", "GRPC:1/a b", "3:86: probe: GRPC:1/a b: \"a b\" is not a valid gRPC service (letters, digits, `_`, `.`, `/`, `-`)"},
		{"", "tcp:", `3:86: probe: "tcp:" is not a probe (a type alone, for example tcp, or TYPE:PORT/PATH, for example HTTP:8080/health)`},
		{"", "80", "3:86: probe: unknown value 80 (known: none, tcp, tls, http, https, http2, grpc, dns, udp, icmp, mqtt, redis, postgres, mysql, smtp, send-expect, exec, policy)"},

		{"{type: redis, path: /}", "", "2:33: probe: path has no effect with type redis (use type: http, https or http2, or remove path)"},
		{"{type: icmp, port: 1}", "", "2:38: probe: port has no effect with type icmp (remove port, or use another type)"},
		{"{certificate: /c}", "tls", "3:86: probe: certificate and key need each other (give both or none)"},
		{"{via: vip, address: 10.0.0.9}", "", "3:12: probe: address has no effect with via: vip, which probes the VIP (remove address, or set via: direct)"},
	} {
		text := "interfaces: eth0\n"
		if c.defaults != "" {
			text += "defaults: {probe: " + c.defaults + "}\n"
		} else {
			text += "\n"
		}
		own := ""
		if c.own != "" {
			own = ", probe: " + c.own
		}
		text += "services: {s: {frontends: tcp://192.0.2.1:53, backends: 10.0.0.1, fail: open" + own + "}}\n"
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(refused(t, text)), "\n") {
			got = append(got, strings.TrimPrefix(line, "x.yaml:"))
		}
		if diff := cmp.Diff(c.want, got[0]); diff != "" {
			t.Errorf("defaults %s, probe %s (-want +got):\n%s", c.defaults, c.own, diff)
		}
	}
}

func TestProbeAddressWithVIP(t *testing.T) {
	want := "x.yaml:3:100: probe: address has no effect with via: vip, which probes the VIP (remove address, or set via: direct)"
	got := refused(t, "interfaces: eth0\nservices:\n  s: {frontends: tcp://192.0.2.1:53, backends: 10.0.0.1, forward: ipip, probe: {via: vip, address: 10.0.0.9}}\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
