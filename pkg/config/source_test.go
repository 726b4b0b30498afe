package config

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

func TestSources(t *testing.T) {
	cfg := parse(t, `
interfaces: eth0
services:
  least:
    frontends: tcp://203.0.113.10:80
    discover:
    - {type: dns, name: web.example.com}
    - {type: dns, name: web.example.net}
    - {type: srv, name: _web._tcp.example.com, source: dns-3}
    - {type: consul, service: web}
    - {type: file, path: web.yaml}
    - {type: etcd, endpoints: http://192.0.2.7:2379, prefix: /web/}
    - {type: exec, command: ./list}
  all:
    frontends: [tcp://203.0.113.11:80, "tcp://[2001:db8::11]:80"]
    forward: ipip
    backends: [10.0.0.1]
    discover:
    - {type: dns, source: site, name: a.b., families: ipv6, servers: [127.0.0.53, "[::1]:54"], timeout: 1s, min_ttl: 10m, port: 80, weight: 0,
       zone: r1, tags: [b, a], priority: 2, stale_for: 1h, on_empty: accept, debounce: 0s}
    - {type: srv, name: a.b, servers: 192.0.2.1:54, max_ttl: 500ms}
    - {type: consul, address: "https://[2001:db8::9]:8501/", service: web, with_tags: [v2, x], datacenter: dc, namespace: n, partition: p,
       token_file: token, zone_meta: rack, server_id_meta: quic_id, wait: 1m, priority: 1, tls: {ca: ca.pem, certificate: /c.pem, key: k.pem, server_name: consul, insecure: false}}
    - {type: file, path: /backends}
    - {type: etcd, endpoints: ["https://192.0.2.7:2379", "https://etcd.example:2379"], prefix: /web/, username: u, password: p, tls: {insecure: true}}
    - {type: exec, command: [/bin/list, "", -v], interval: 5s, timeout: 20s}
    - {type: exec, command: /bin/watch, keep_running: true}
`)
	source := func(name string, kind model.SourceType, port uint16) model.Source {
		return model.Source{Name: name, Type: kind, OnEmpty: model.EmptyKeep, Debounce: 200 * time.Millisecond, Backend: model.Backend{
			Address: netip.AddrPortFrom(netip.Addr{}, port), Weight: 1}}
	}
	usual := model.Resolvers{Timeout: 2 * time.Second, MinTTL: time.Second, MaxTTL: 5 * time.Minute}
	least := []model.Source{
		source("dns", model.SourceDNS, 80), source("dns-2", model.SourceDNS, 80), source("dns-3", model.SourceSRV, 0), source("consul", model.SourceConsul, 80),
		source("file", model.SourceFile, 80), source("etcd", model.SourceEtcd, 80), source("exec", model.SourceExec, 80),
	}
	least[0].DNS = model.DNSSource{Name: "web.example.com", IPv4: true, Resolvers: usual}
	least[1].DNS = model.DNSSource{Name: "web.example.net", IPv4: true, Resolvers: usual}
	least[2].SRV = model.SRVSource{Name: "_web._tcp.example.com", IPv4: true, Resolvers: usual}
	least[3].Consul = model.ConsulSource{Address: "http://127.0.0.1:8500", Service: "web", Wait: 5 * time.Minute}
	least[4].File.Path = "web.yaml"
	least[5].Etcd = model.EtcdSource{Endpoints: []string{"http://192.0.2.7:2379"}, Prefix: "/web/"}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// The file is named without a directory, and the name of a program keeps its slash.
	least[6].Exec = model.ExecSource{Command: []string{here + "/list"}, Interval: 30 * time.Second, Timeout: 10 * time.Second}
	equal(t, least, cfg.Services[0].Sources)
	equal(t, []model.Backend(nil), cfg.Services[0].Backends)

	all := []model.Source{
		source("site", model.SourceDNS, 80), source("srv", model.SourceSRV, 0), source("consul", model.SourceConsul, 80),
		source("file", model.SourceFile, 80), source("etcd", model.SourceEtcd, 80), source("exec", model.SourceExec, 80), source("exec-2", model.SourceExec, 80),
	}
	all[0].StaleFor, all[0].OnEmpty, all[0].Debounce = time.Hour, model.EmptyAccept, 0
	all[0].Backend = model.Backend{Address: netip.AddrPortFrom(netip.Addr{}, 80), Zone: "r1", Tags: "a,b", Priority: 2}
	all[0].DNS = model.DNSSource{Name: "a.b.", IPv6: true, Resolvers: model.Resolvers{
		Servers: []string{"127.0.0.53:53", "[::1]:54"}, Timeout: time.Second, MinTTL: 10 * time.Minute, MaxTTL: 10 * time.Minute}}
	all[1].SRV = model.SRVSource{Name: "a.b", IPv4: true, IPv6: true, Resolvers: model.Resolvers{
		Servers: []string{"192.0.2.1:54"}, Timeout: 2 * time.Second, MinTTL: 500 * time.Millisecond, MaxTTL: 500 * time.Millisecond}}
	all[2].Backend.Priority = 1
	all[2].Consul = model.ConsulSource{
		Address: "https://[2001:db8::9]:8501", Service: "web", Tags: []string{"v2", "x"}, Datacenter: "dc", Namespace: "n", Partition: "p", TokenFile: "token",
		ZoneMeta: "rack", ServerIDMeta: "quic_id", Wait: time.Minute, TLS: model.TLSFiles{CA: "ca.pem", Certificate: "/c.pem", Key: "k.pem", ServerName: "consul"},
	}
	all[3].File.Path = "/backends"
	all[4].Etcd = model.EtcdSource{Endpoints: []string{"https://192.0.2.7:2379", "https://etcd.example:2379"}, Prefix: "/web/", Username: "u", Password: "p", TLS: model.TLSFiles{Insecure: true}}
	all[5].Exec = model.ExecSource{Command: []string{"/bin/list", "", "-v"}, Interval: 5 * time.Second, Timeout: 20 * time.Second}
	all[6].Exec.Command = []string{"/bin/watch"}
	equal(t, all, cfg.Services[1].Sources)
}

// TestSourcePorts: frontends of several ports leave the port to the source.
func TestSourcePorts(t *testing.T) {
	cfg := parse(t, `
interfaces: eth0
services:
  a: {frontends: [tcp://203.0.113.10:80, tcp://203.0.113.10:81], discover: [{type: file, path: x}, {type: dns, name: x, port: 82}]}
`)
	for i, want := range []uint16{0, 82} {
		if got := cfg.Services[0].Sources[i].Backend.Address.Port(); got != want {
			t.Errorf("source %d has port %d, want %d", i, got, want)
		}
	}
}

// TestSourceTypes: each key is common to all types, or refused by those that do not
// take it; and what a type needs it takes.
func TestSourceTypes(t *testing.T) {
	common := []string{"type", "source", "zone", "tags", "stale_for", "on_empty", "debounce"}
	for _, name := range sourceNames {
		kind := sourceTypes[name]
		if kind.fill == nil {
			t.Errorf("%s has no line in sourceTypes", name)
		}
		for _, n := range kind.needs {
			if !slices.Contains(kind.keys, n.key) {
				t.Errorf("%s needs %s, and does not take it", name, n.key)
			}
		}
		for _, f := range sourceKind.groups[0].fields {
			if slices.Contains(common, f.key) || slices.Contains(kind.keys, f.key) {
				continue
			}
			text := fmt.Sprintf("interfaces: eth0\nservices:\n  a:\n    frontends: tcp://203.0.113.10:80\n    discover: {type: %s, %s: %s}\n", name, f.key, f.example)
			if _, err := Parse("x.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s has no effect with type %s", f.key, name)) {
				t.Errorf("type %s with %s: %v", name, f.key, err)
			}
		}
	}
}

func TestSourceErrors(t *testing.T) {
	const head = "interfaces: eth0\nservices:\n  a:\n    frontends: tcp://203.0.113.10:80\n    discover:\n    - "
	for text, want := range map[string]string{
		"{name: x}":           "6:7: type is missing in discover (for example type: dns)",
		"dns":                 `6:7: discover: must be a mapping of keys to values, not "dns" (keys: type, source, port, weight, zone, tags, priority, stale_for, on_empty, debounce, name, families, servers, timeout, min_ttl, max_ttl, address, service, with_tags, datacenter, namespace, partition, token, token_file, zone_meta, server_id_meta, wait, tls, path, endpoints, prefix, username, password, password_file, command, interval, keep_running)`,
		"{type: nomad}":       `6:14: type: unknown value "nomad" (known: dns, srv, consul, file, etcd, exec)`,
		"{type: dns}":         "6:7: discover: type dns needs name (for example name: web.example.com)",
		"{type: etcd}":        lines("6:7: discover: type etcd needs endpoints (for example endpoints: http://192.0.2.7:2379)", "x.yaml:6:7: discover: type etcd needs prefix (for example prefix: /services/web/)"),
		"{type: exec}":        "6:7: discover: type exec needs command (for example command: [/usr/local/bin/web-backends])",
		"{type: file}":        "6:7: discover: type file needs path (for example path: /etc/xlb/backends/web.yaml)",
		"{type: consul}":      "6:7: discover: type consul needs service (for example service: web)",
		"{type: dns, nam: x}": lines("6:7: discover: type dns needs name (for example name: web.example.com)", `x.yaml:6:19: unknown key "nam" in discover (did you mean "name"?)`),

		"{type: file, path: x, name: y}":                     "6:29: discover: name has no effect with type file (remove it, or use type: dns, srv)",
		"{type: srv, name: x, port: 80}":                     "6:28: discover: port has no effect with type srv (remove it, or use type: dns, consul, file, etcd, exec)",
		"{type: consul, service: x, weight: 2, min_ttl: 1s}": lines("6:34: discover: weight has no effect with type consul (remove it, or use type: dns, srv, file, etcd, exec)", "x.yaml:6:45: discover: min_ttl has no effect with type consul (remove it, or use type: dns, srv)"),
		"{type: dns, name: x, source: static}":               `6:36: a source cannot be called "static" (the list under backends is; choose another name)`,
		"{type: dns, name: 'a b'}":                           `6:25: name: "a b" is not a valid DNS name (labels of up to 63 letters, digits, ` + "`-`, `_`" + `, with dots between)`,
		"{type: dns, name: x, families: ipv6}":               "6:38: families: ipv6 does not fit frontend tcp://203.0.113.10:80, and nat cannot translate between families (remove it)",
		"{type: dns, name: x, families: []}":                 "6:38: families: at least one is needed (or remove the key)",
		"{type: dns, name: x, servers: ns.example}":          `6:37: servers: "ns.example" is not the address of a DNS server (for example 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53)`,
		"{type: dns, name: x, min_ttl: 2m, max_ttl: 1m}":     "6:50: discover: max_ttl 1m is shorter than min_ttl 2m (swap them)",

		"{type: consul, service: x, address: 'ftp://h:1'}":                                `6:43: address: "ftp://h:1" is not the URL of a server (for example http://127.0.0.1:8500, https://consul.example.com:8501 or unix:///run/consul.sock)`,
		"{type: consul, service: x, address: 'http://h'}":                                 `6:43: address: "http://h" has no port (for example http://127.0.0.1:8500, https://consul.example.com:8501 or unix:///run/consul.sock)`,
		"{type: consul, service: x, address: 'unix://run'}":                               `6:43: address: "unix://run" holds no absolute path (for example http://127.0.0.1:8500, https://consul.example.com:8501 or unix:///run/consul.sock)`,
		"{type: consul, service: x, token: a, token_file: b}":                             "6:44: discover: both token and token_file (remove one)",
		"{type: consul, service: x, tls: {ca: b}}":                                        "6:34: discover: tls has no effect without https:// (write https://, or remove tls)",
		"{type: consul, service: x, address: 'https://h:1', tls: {key: b}}":               "6:63: tls: certificate and key go together (give both or none)",
		"{type: consul, service: x, address: 'https://h:1', tls: {ca: b,insecure: true}}": "6:64: tls: ca has no effect with insecure: true (remove one)",

		"{type: etcd, prefix: x, endpoints: []}":                                                       "6:42: endpoints: at least one is needed (for example http://192.0.2.7:2379)",
		"{type: etcd, prefix: x, endpoints: 'http://u:p@h:1'}":                                         "6:42: endpoints: a URL with a user name (there are keys for that; for example http://192.0.2.7:2379)",
		"{type: etcd, prefix: x, endpoints: 'http://h:1/v3'}":                                          `6:42: endpoints: "http://h:1/v3" holds more than a host and a port (for example http://192.0.2.7:2379)`,
		"{type: etcd, prefix: x, endpoints: 'http://h:99999'}":                                         "6:42: endpoints: http://h:99999: port 99999 is out of range (1 to 65535)",
		"{type: etcd, prefix: x, endpoints: ['http://h:1', 'https://h:1']}":                            "6:42: endpoints: some with https and some without (write all of them in the same way)",
		"{type: etcd, prefix: x, endpoints: 'http://h:1', username: u, password: p, password_file: f}": "6:82: discover: both password and password_file (remove one)",
		"{type: etcd, prefix: x, endpoints: 'http://h:1', username: u}":                                "6:14: discover: username and password go together (give both or none)",
		"{type: exec, command: []}":                                                                    "6:29: command: at least the program is needed (for example [/usr/local/bin/web-backends])",
		"{type: exec, command: [list, x]}":                                                             `6:30: "list" is not a path: programs are not searched for (for example /usr/local/bin/list)`,
		"{type: exec, command: /l, keep_running: true, interval: 1s}":                                  "6:53: discover: interval has no effect with keep_running (remove one)",
		"{type: exec, command: /l, keep_running: true, timeout: 1s}":                                   "6:53: discover: timeout has no effect with keep_running (remove one)",
		"{type: file, path: x, source: a}\n    - {type: file, path: y, source: a}":                     `7:37: duplicate source "a" (first at x.yaml:6:37)`,
		"{type: file, path: x, source: a b}":                                                           `6:37: source: "a b" is not a valid name (1 to 63 letters, digits, ` + "`-`, `.`, `_`" + `)`,
	} {
		t.Run(text, func(t *testing.T) { equal(t, "x.yaml:"+want, refused(t, head+text+"\n")) })
	}
	for text, want := range map[string]string{
		"{frontends: tcp://203.0.113.10:80}": "3:6: backends is missing in service (for example backends: [10.0.0.11:8080, 10.0.0.12:8080])",
		"{frontends: [tcp://203.0.113.10:80, tcp://203.0.113.10:81], discover: {type: dns, name: x}}":         "3:76: a source of type dns needs port, for the frontends have several (for example port: 80)",
		"{frontends: tcp://203.0.113.10:80, forward: l2dsr, discover: {type: dns, name: x, port: 81}}":        "3:94: port 81 is another one than that of frontend tcp://203.0.113.10:80, and l2dsr cannot rewrite ports (use port 80, or forward: nat)",
		"{frontends: tcp://203.0.113.10:80, backends: [], discover: {type: dns, name: x, stale_for: 1500ms}}": "3:97: stale_for: 1500ms is finer than its resolution of 1s",
	} {
		t.Run(text, func(t *testing.T) {
			equal(t, "x.yaml:"+want, refused(t, fmt.Sprintf("interfaces: eth0\nservices:\n  a: %s\n", text)))
		})
	}
}
