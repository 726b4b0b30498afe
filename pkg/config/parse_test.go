package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/model"
)

var compareAddrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
var comparePrefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
var compareAddrPorts = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, compareAddrs, compareAddrPorts, comparePrefixes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func fe(proto model.Protocol, addrPort string) model.Frontend {
	ap := netip.MustParseAddrPort(addrPort)
	return model.Frontend{VIP: ap.Addr(), Port: ap.Port(), Protocol: proto}
}

func be(addrPort string) model.Backend {
	return model.Backend{Address: netip.MustParseAddrPort(addrPort), Weight: 1}
}

var tcpProbe = model.Probe{Type: model.ProbeTCP, Interval: 2 * time.Second, Jitter: 10, Timeout: time.Second, Rise: 2, Fall: 3}

func TestParseLeast(t *testing.T) {
	want := Default()
	want.Settings.Interfaces = []string{"eth0"}
	for _, text := range []string{
		"interfaces: eth0\n",
		"interfaces: [eth0]\n",
		"interfaces:\n- eth0\n",
		"{interfaces: eth0}",
		"# comment\n---\ninterfaces: 'eth0'\nservices:\ndefaults:\nsources:\n",
		"\ufeffinterfaces: eth0\r\nservices: {}\r\n",
		"? interfaces\n: eth0\n",
	} {
		equal(t, &want, parse(t, text))
	}
}

func TestParseAll(t *testing.T) {
	got := parse(t, `
interfaces: [eth0, bond0.12]
attach: native
next_hop: gateway-mac
gateway_mac: 02:00:00:00:00:aF
sources: [192.0.2.1, 2001:db8::1]
tunnel_sources: [192.0.2.0/28, 2001:db8::1]
gue_port: 6081
nat_ports: 2000-3000
flow_table_size: 1000000
table_size: 1000003
max_services: 2
max_frontends: 4
max_backends: 6
max_sources: 2
affinity_table_size: 100
policy_rate: 100
policy_rate_per_source: 10
policies:
  office: {path: /p/office.wasm, on_error: drop, fuel: 7, memory: 2MiB, timeout: 2s, tables: {ours: ours.txt}}
  canary:
    path: canary
    sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    config: {percent: 5, names: [a, 1.5, null, true], deep: {x: "1"}}
    subsets: {canary: {tag: canary}, near: {zone: rack 2, tag: ssd}}
defaults:
  forward: l2dsr
  track: never
  fail: closed
  probe: {type: http, path: /up, interval: 5s, rise: 1}
  timeouts: {udp: 30s, tcp_syn: 5s}
services:
  web:
    frontends: [tcp://203.0.113.10:80, tcp://203.0.113.11:80]
    forward: nat
    track: always
    fail: open
    policies: [office, {policy: canary, mode: shadow}]
    on_overload: drop
    backends:
      - 10.0.0.11:8080
      - {address: 10.0.0.12, port: 8080, weight: 3, zone: rack 2 é, drain: true, tags: [ssd, canary, ssd], priority: 1}
      - {address: 10.0.0.13:8081, weight: 0, drain: false}
      - 10.0.0.9
    probe:
      type: https
      port: 8443
      method: HEAD
      host: example.com
      status: [200, 204, 300-399]
      body: "ok\n"
      timeout: 5s
      fall: 100
      verify: false
    timeouts: {tcp_established: 168h, tcp_fin: 1m30s, tcp_closed: 1s, tcp_syn: 1h}
  80.dns_x-1:
    frontends: ["udp://[2001:db8::53]:53", udp://203.0.113.53:53]
    backends: ["[2001:db8::2]:53", 10.0.0.2]
`)
	want := &model.Config{
		Settings: model.Settings{
			Interfaces: []string{"eth0", "bond0.12"}, Attach: model.AttachNative, NextHop: model.NextHopGatewayMAC,
			GatewayMAC:    model.HardwareAddr{2, 0, 0, 0, 0, 0xaf},
			Sources:       []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
			TunnelSources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28"), netip.MustParsePrefix("2001:db8::1/128")}, GUEPort: 6081,
			NATPorts: model.PortRange{First: 2000, Last: 3000}, FlowTableSize: 1 << 20, TableSize: 1000003,
			MaxServices: 2, MaxFrontends: 4, MaxBackends: 6, MaxSources: 2,
			PolicyRate: 100, PolicyRatePerSource: 10, AffinityTableSize: 100,
			Probing: model.Probing{Strategy: model.ProbePool, Workers: 1024},
		},
		Policies: []model.Policy{{
			Name: "canary", Path: "canary", SHA256: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			Config:  json.RawMessage(`{"deep":{"x":"1"},"names":["a",1.5,null,true],"percent":5}`),
			Subsets: map[string]model.Subset{"canary": {Tag: "canary"}, "near": {Zone: "rack 2", Tag: "ssd"}}, OnError: model.ErrorContinue,
		}, {
			Name: "office", Path: "/p/office.wasm", OnError: model.ErrorDrop, Fuel: 7, Memory: 2 << 20, Timeout: 2 * time.Second,
			Tables: map[string]string{"ours": "ours.txt"},
		}},
		Services: []model.Service{{
			Name:      "web",
			Frontends: []model.Frontend{fe(model.TCP, "203.0.113.10:80"), fe(model.TCP, "203.0.113.11:80")},
			Forward:   model.NAT, Track: model.TrackAlways, Fail: model.FailOpen,
			Policies:   []model.PolicyUse{{Policy: "office", Mode: model.PolicyEnforce}, {Policy: "canary", Mode: model.PolicyShadow}},
			OnOverload: model.OverloadDrop,
			Backends: []model.Backend{
				be("10.0.0.11:8080"),
				{Address: netip.MustParseAddrPort("10.0.0.12:8080"), Weight: 3, Zone: "rack 2 é", Drain: true, Tags: "canary,ssd", Priority: 1},
				{Address: netip.MustParseAddrPort("10.0.0.13:8081")},
				be("10.0.0.9:80"),
			},
			Probe: model.Probe{
				Type: model.ProbeHTTPS, Port: 8443, Interval: 5 * time.Second, Jitter: 10, Timeout: 5 * time.Second, Rise: 1, Fall: 100,
				TLS: model.TLSProbe{Mode: model.TLSOn, SkipVerify: true},
				HTTP: model.HTTPProbe{
					Method: "HEAD", Path: "/up", Host: "example.com", Body: "ok\n",
					Status: []model.StatusRange{{First: 200, Last: 200}, {First: 204, Last: 204}, {First: 300, Last: 399}},
				},
			},
			Timeouts: model.Timeouts{TCPSyn: time.Hour, TCPEstablished: 168 * time.Hour, TCPFin: 90 * time.Second, TCPClosed: time.Second, UDP: 30 * time.Second},
		}, {
			Name:      "80.dns_x-1",
			Frontends: []model.Frontend{fe(model.UDP, "[2001:db8::53]:53"), fe(model.UDP, "203.0.113.53:53")},
			Forward:   model.L2DSR, Track: model.TrackNever, Fail: model.FailClosed,
			Backends: []model.Backend{be("[2001:db8::2]:53"), be("10.0.0.2:53")},
			Probe:    model.Probe{Type: model.ProbeNone},
			Timeouts: model.Timeouts{TCPSyn: 5 * time.Second, TCPEstablished: 15 * time.Minute, TCPFin: 2 * time.Minute, TCPClosed: 10 * time.Second, UDP: 30 * time.Second},
		}},
	}
	equal(t, want, got)
}

func TestDefaults(t *testing.T) {
	cfg := parse(t, "interfaces: eth0\nservices: {web: {frontends: tcp://192.0.2.1:80, backends: 10.0.0.1}}\n")
	equal(t, []model.Service{{
		Name: "web", Frontends: []model.Frontend{fe(model.TCP, "192.0.2.1:80")}, Forward: model.NAT, Track: model.TrackAuto, Fail: model.FailOpen,
		Backends: []model.Backend{be("10.0.0.1:80")}, Probe: tcpProbe,
		Timeouts: model.Timeouts{TCPSyn: 30 * time.Second, TCPEstablished: 15 * time.Minute, TCPFin: 2 * time.Minute, TCPClosed: 10 * time.Second, UDP: time.Minute},
	}}, cfg.Services)
}

func TestProbes(t *testing.T) {
	with := func(change func(*model.Probe)) model.Probe {
		p := tcpProbe
		change(&p)
		return p
	}
	get := model.HTTPProbe{Method: "GET", Path: "/"}
	for _, c := range []struct {
		name, proto, defaults, own string
		want                       model.Probe
	}{
		{"nothing", "tcp", "", "", tcpProbe},
		{"short none", "tcp", "", "none", model.Probe{Type: model.ProbeNone}},
		{"short http", "tcp", "", "http", with(func(p *model.Probe) { p.Type, p.HTTP = model.ProbeHTTP, get })},
		{"short https", "tcp", "https", "", with(func(p *model.Probe) { p.Type, p.HTTP, p.TLS.Mode = model.ProbeHTTPS, get, model.TLSOn })},
		{"own type, inherited times", "tcp", "{type: http, path: /a, interval: 9s}", "tcp", with(func(p *model.Probe) { p.Interval = 9 * time.Second })},
		{"own times, inherited type", "tcp", "{type: http, path: /a}", "{interval: 9s}", with(func(p *model.Probe) {
			p.Type, p.Interval, p.HTTP = model.ProbeHTTP, 9*time.Second, model.HTTPProbe{Method: "GET", Path: "/a"}
		})},
		{"inherited path waits for a type", "tcp", "{path: /a, status: 200-204}", "", tcpProbe},
		{"inherited path finds a type", "tcp", "{path: /a, status: 200-204}", "http", with(func(p *model.Probe) {
			p.Type, p.HTTP = model.ProbeHTTP, model.HTTPProbe{Method: "GET", Path: "/a", Status: []model.StatusRange{{First: 200, Last: 204}}}
		})},
		{"own status replaces", "tcp", "{type: http, status: [200, 204]}", "{status: 201}", with(func(p *model.Probe) {
			p.Type, p.HTTP = model.ProbeHTTP, model.HTTPProbe{Method: "GET", Path: "/", Status: []model.StatusRange{{First: 201, Last: 201}}}
		})},
		{"inherited none with times", "tcp", "{type: none, interval: 3s}", "tcp", with(func(p *model.Probe) { p.Interval = 3 * time.Second })},
		{"inherited none", "tcp", "none", "", model.Probe{Type: model.ProbeNone}},
		{"verify only for https", "tcp", "{type: https, verify: true}", "{type: http}", with(func(p *model.Probe) { p.Type, p.HTTP = model.ProbeHTTP, get })},
		{"timeout follows a short interval", "tcp", "", "{interval: 500ms}", with(func(p *model.Probe) {
			p.Interval, p.Timeout = 500*time.Millisecond, 500*time.Millisecond
		})},
		{"udp: nothing", "udp", "", "", model.Probe{Type: model.ProbeNone}},
		{"udp: inherited type", "udp", "{type: tcp}", "", model.Probe{Type: model.ProbeNone}},
		{"udp: own type", "udp", "", "tcp", tcpProbe},
		{"udp: own port", "udp", "", "{port: 53}", with(func(p *model.Probe) { p.Port = 53 })},
		{"udp: inherited port", "udp", "{port: 53}", "", with(func(p *model.Probe) { p.Port = 53 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := "interfaces: eth0\n"
			if c.defaults != "" {
				text += "defaults: {probe: " + c.defaults + "}\n"
			}
			text += "services:\n  s:\n    frontends: " + c.proto + "://192.0.2.1:53\n    backends: 10.0.0.1\n"
			if c.own != "" {
				text += "    probe: " + c.own + "\n"
			}
			equal(t, c.want, parse(t, text).Services[0].Probe)
		})
	}
}

// The way of a probe is inherited like its other keys.
func TestProbeVia(t *testing.T) {
	cfg := parse(t, `
interfaces: eth0
defaults: {forward: ipip, probe: {via: vip}}
services:
  a: {frontends: tcp://192.0.2.1:80, backends: []}
  b: {frontends: tcp://192.0.2.2:80, backends: [], probe: http}
  c: {frontends: tcp://192.0.2.3:80, backends: [], probe: {via: direct}}
  d: {frontends: tcp://192.0.2.4:80, backends: [], probe: none}
`)
	var got []string
	for _, s := range cfg.Services {
		got = append(got, fmt.Sprintf("%s %s", s.Probe.Type, s.Probe.Via))
	}
	equal(t, []string{"tcp vip", "http vip", "tcp direct", "none direct"}, got)
}

func TestAliases(t *testing.T) {
	plain := `
interfaces: [eth0, eth1]
services:
  a: {frontends: tcp://192.0.2.1:80, backends: [10.0.0.1:81, 10.0.0.2:81], probe: {type: http, path: /x, rise: 4}, fail: closed}
  b: {frontends: tcp://192.0.2.2:80, backends: [10.0.0.1:81, 10.0.0.2:81], probe: {type: http, path: /y, rise: 4}, fail: open}
  c: {frontends: tcp://192.0.2.3:80, backends: [10.0.0.1:81, 10.0.0.2:81], probe: {type: http, path: /y, rise: 4, fall: 9}, fail: open}
`
	aliased := `
interfaces: &nics [eth0, &second eth1]
services:
  a: &a
    frontends: tcp://192.0.2.1:80
    backends: &servers [10.0.0.1:81, 10.0.0.2:81]
    probe: &probe {type: http, path: /x, rise: 4}
    fail: closed
  b: &b
    <<: *a
    frontends: tcp://192.0.2.2:80
    probe: &py {path: /y, <<: *probe}
    fail: open
  c:
    frontends: tcp://192.0.2.3:80
    probe: {<<: [*py, {fall: 9, path: /z}]}
    <<: [{backends: *servers}, *b]
`
	equal(t, parse(t, plain), parse(t, aliased))
}

// TestColons holds plain scalars with colons in every kind of brackets.
func TestColons(t *testing.T) {
	want := parse(t, "interfaces: eth0\nsources: ['2001:db8::1', '10.0.0.9']\ntunnel_sources: ['fd00::/64', '10.0.0.0/8']\nservices:\n"+
		"  a: {frontends: ['tcp://192.0.2.1:80'], backends: ['10.0.0.1:81', '10.0.0.2:82']}\n"+
		"  b: {frontends: ['tcp://[2001:db8::2]:80'], backends: ['2001:db8::3', {address: '2001:db8::4'}, 'fd00::', '64:ff9b::']}\n")
	equal(t, want, parse(t, `{interfaces: eth0, sources: [2001:db8::1, 10.0.0.9], tunnel_sources: [fd00::/64, 10.0.0.0/8], services: {
  a: {frontends: [tcp://192.0.2.1:80], backends: [ 10.0.0.1:81 , 10.0.0.2:82]},
  b: {frontends: ["tcp://[2001:db8::2]:80"], backends: [2001:db8::3, {address: 2001:db8::4}, fd00::, 64:ff9b::]}}}`))
}

func TestExample(t *testing.T) {
	cfg, err := Load("../../examples/xlb.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range cfg.Services {
		names = append(names, s.Name)
	}
	equal(t, []string{"mail", "web", "shop", "web6", "dns", "dns-remote"}, names)
	checkModel(t, cfg)
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("directory: %v", err)
	}
	path := filepath.Join(dir, "xlb.yaml")
	for _, c := range []struct {
		size int
		want string
	}{
		{0, path + `:1:1: the file is empty (give at least "interfaces: eth0")`},
		{maxFileSize + 5, path + ":1:1: the file is larger than 16 MiB (is this the right file?)"},
	} {
		if err := os.WriteFile(path, []byte(strings.Repeat("#", c.size)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || err.Error() != c.want {
			t.Errorf("%d bytes: got %v, want %s", c.size, err, c.want)
		}
	}
}
