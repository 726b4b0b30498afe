package config

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/model"
)

// FuzzParse: whatever the bytes, Parse returns a configuration that keeps all
// rules and that the schema allows, or mistakes with their places.
func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../../examples/xlb.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte("interfaces: *a\n<<: [{}, &a x]\n? b\n: |\n  c\n--- %\n"))
	f.Add([]byte("{interfaces: [e:0], services: {a: {frontends: [tcp://1.2.3.4:5], backends: [1.2.3.4:6, ::2]}}}"))
	f.Add([]byte("interfaces: eth0\nservices:\n  a: &a {frontends: udp://1.2.3.4:5, backends: [1.2.3.5]}\n  b: {<<: *a, frontends: 'udp://[2001::1]:5', forward: l2dsr}\n"))
	f.Add([]byte("interfaces: eth0\nservices:\n  a:\n    frontends: tcp://1.2.3.4:5\n    discover:\n    - {type: dns, name: x, servers: ::1}\n    - {type: consul, service: x, address: 'https://h:1', tls: {ca: x}}\n    - {type: exec, command: [/x], interval: 1s}\n"))
	f.Add([]byte("interfaces: eth0\ntunnel_sources: [10.0.0.0/31, fd00::/8]\nservices:\n  a: {frontends: tcp://1.2.3.4:5, backends: ['::1:2'], forward: ipip, track: never}\n  b: {frontends: tcp://1.2.3.5:5, backends: [1.2.3.6], forward: dnat}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := Parse("f", data)
		if err != nil {
			list, ok := err.(Errors)
			if !ok || len(list) == 0 {
				t.Fatalf("error of type %T: %v", err, err)
			}
			for _, e := range list {
				if e.Line < 1 || e.Column < 1 || e.Message == "" || e.File != "f" {
					t.Errorf("mistake without a place or text: %+v", e)
				}
			}
			return
		}
		checkModel(t, cfg)
		checkSchema(t, data)
		again, err := Parse("f", data)
		if err != nil || !cmp.Equal(cfg, again, compareAddrs, compareAddrPorts, comparePrefixes) {
			t.Errorf("a second reading differs: %v", err)
		}
	})
}

var serviceName = regexp.MustCompile(`^[a-z0-9._-]{1,63}$`)

// checkModel checks what package model and the data plane rely on, without the
// help of the parser.
func checkModel(t *testing.T, cfg *model.Config) {
	t.Helper()
	must := func(ok bool, format string, args ...any) {
		t.Helper()
		if !ok {
			t.Errorf(format, args...)
		}
	}
	s := cfg.Settings
	must(len(s.Interfaces) > 0, "no interface")
	must((s.NextHop == model.NextHopGatewayMAC) == (s.GatewayMAC != model.HardwareAddr{}), "next hop %v with gateway %v", s.NextHop, s.GatewayMAC)
	must(s.NATPorts.First > 0 && s.NATPorts.First <= s.NATPorts.Last, "ports %v", s.NATPorts)
	must(s.FlowTableSize >= 1024 && s.FlowTableSize <= 1<<26 && s.FlowTableSize&(s.FlowTableSize-1) == 0, "flow table size %d", s.FlowTableSize)
	must(isPrime(s.TableSize) && s.TableSize >= 3 && s.TableSize <= 1000003, "table size %d", s.TableSize)
	must(len(s.Sources) <= s.MaxSources && len(cfg.Services) <= s.MaxServices, "caps")
	families := map[bool]bool{}
	for _, a := range s.Sources {
		must(usable(a), "source %v", a)
		families[a.Is4()] = true
	}
	tunnels := map[bool]bool{}
	for _, p := range s.TunnelSources {
		must(usable(p.Addr()) && p.Masked() == p && p.Bits() >= 8 && !tunnels[p.Addr().Is4()], "tunnel source %v", p)
		tunnels[p.Addr().Is4()] = true
	}
	must(s.GUEPort > 0, "gue_port 0")
	dnat := map[model.Frontend]bool{}
	names, frontends, backends := map[string]bool{}, map[model.Frontend]bool{}, 0
	for _, svc := range cfg.Services {
		must(serviceName.MatchString(svc.Name) && !names[svc.Name], "name %q", svc.Name)
		names[svc.Name] = true
		must(len(svc.Frontends) > 0, "%s: no frontend", svc.Name)
		first := svc.Frontends[0]
		for _, f := range svc.Frontends {
			must(usable(f.VIP) && f.Port > 0 && !frontends[f], "frontend %v", f)
			must(f.Protocol == first.Protocol && (f.Protocol == model.TCP || f.Protocol == model.UDP), "protocol of %v", f)
			must(!svc.Forward.RewritesPorts() || f.VIP.Is4() == first.VIP.Is4(), "family of %v", f)
			must(svc.Forward.RewritesPorts() || f.Port == first.Port, "port of %v", f)
			frontends[f] = true
		}
		own := map[netip.AddrPort]bool{}
		for _, b := range svc.Backends {
			must(usable(b.Address.Addr()) && b.Address.Port() > 0 && !own[b.Address], "backend %v", b)
			must(!svc.Forward.RewritesPorts() || b.Address.Addr().Is4() == first.VIP.Is4(), "family of %v", b)
			must(svc.Forward.RewritesPorts() || b.Address.Port() == first.Port, "port of %v", b)
			must(!frontends[model.Frontend{VIP: b.Address.Addr(), Port: b.Address.Port(), Protocol: first.Protocol}] ||
				!hasFrontend(svc, b.Address), "loop through %v", b)
			must(!svc.Forward.Tunnels() || len(tunnels) == 0 || tunnels[b.Address.Addr().Is4()], "no tunnel source for %v", b)
			if svc.Forward == model.DNAT {
				dnat[model.Frontend{VIP: b.Address.Addr(), Port: b.Address.Port(), Protocol: first.Protocol}] = true
			}
			own[b.Address] = true
			backends++
		}
		sources := map[string]bool{"static": true}
		for _, one := range svc.Sources {
			must(one.Name != "" && !sources[one.Name], "%s: source %q", svc.Name, one.Name)
			sources[one.Name] = true
			port := one.Backend.Address.Port()
			must(svc.Forward.RewritesPorts() || one.Type == model.SourceSRV || port == first.Port, "%s: port %d of source %q", svc.Name, port, one.Name)
			must(one.Type != model.SourceDNS || port > 0 && one.DNS.Name != "" && (one.DNS.IPv4 || one.DNS.IPv6) && one.DNS.MinTTL <= one.DNS.MaxTTL, "%s: source %+v", svc.Name, one.DNS)
			must(one.Type != model.SourceExec || len(one.Exec.Command) > 0 && (one.Exec.Timeout > 0) == (one.Exec.Interval > 0), "%s: source %+v", svc.Name, one.Exec)
			must(one.OnEmpty != 0 && one.StaleFor >= 0 && one.Debounce >= 0, "%s: source %+v", svc.Name, one)
		}
		must(svc.Forward >= model.NAT && svc.Forward <= model.GUE, "forward %v", svc.Forward)
		must(svc.Track >= model.TrackAuto && svc.Track <= model.TrackNever, "track %v", svc.Track)
		must(svc.Track != model.TrackNever || svc.Forward != model.NAT && svc.Forward != model.DNAT, "%v with track %v", svc.Forward, svc.Track)
		must(svc.Fail == model.FailOpen || svc.Fail == model.FailClosed, "fail %v", svc.Fail)
		must(svc.Forward != model.NAT || len(s.Sources) == 0 || families[first.VIP.Is4()], "%s: no source", svc.Name)
		for _, d := range []time.Duration{svc.Timeouts.TCPSyn, svc.Timeouts.TCPEstablished, svc.Timeouts.TCPFin, svc.Timeouts.TCPClosed, svc.Timeouts.UDP} {
			must(d >= time.Second && d <= 7*24*time.Hour && d%time.Second == 0, "timeout %v", d)
		}
		if err := probeError(svc.Probe); err != nil {
			t.Errorf("%s: %v", svc.Name, err)
		}
	}
	for d := range dnat {
		must(!frontends[d], "%v is a frontend and a dnat backend", d)
	}
	must(len(frontends)+len(dnat) <= s.MaxFrontends && backends <= s.MaxBackends, "caps of frontends or backends")
}

func hasFrontend(s model.Service, a netip.AddrPort) bool {
	for _, f := range s.Frontends {
		if f.VIP == a.Addr() && f.Port == a.Port() {
			return true
		}
	}
	return false
}

func usable(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.Is4In6() && a.Zone() == ""
}

func probeError(p model.Probe) error {
	if p.Type == model.ProbeNone {
		if !reflect.DeepEqual(p, model.Probe{Type: model.ProbeNone}) {
			return fmt.Errorf("no probe, but %+v", p)
		}
		return nil
	}
	if p.Interval < 100*time.Millisecond || p.Interval > time.Hour || p.Timeout < 10*time.Millisecond || p.Timeout > p.Interval ||
		p.Rise < 1 || p.Rise > 100 || p.Fall < 1 || p.Fall > 100 {
		return fmt.Errorf("probe %+v", p)
	}
	for _, part := range []struct {
		what  string
		value any
		of    []model.ProbeType
	}{
		{"TLS", p.TLS, tlsTypes}, {"HTTP", p.HTTP, httpTypes}, {"GRPC", p.GRPC, hostTypes}, {"DNS", p.DNS, dnsTypes}, {"Talk", p.Talk, talkTypes},
		{"Login", p.Login, loginTypes}, {"MQTTVersion", p.MQTTVersion, loginTypes}, {"Command", p.Command, []model.ProbeType{model.ProbeExec}},
		{"Policy", p.Policy, []model.ProbeType{model.ProbePolicy}},
	} {
		if v := reflect.ValueOf(part.value); !v.IsZero() && !slices.Contains(part.of, p.Type) {
			return fmt.Errorf("%s probe with %s %+v", p.Type, part.what, part.value)
		}
	}
	if !slices.Contains(probeTypes, p.Type) {
		return fmt.Errorf("probe type %q", p.Type)
	}
	return kindError(p)
}

// kindError says what a probe lacks for its type.
func kindError(p model.Probe) error {
	if (p.TLS.Certificate == "") != (p.TLS.Key == "") || p.TLS.Mode == model.TLSOff && p.TLS != (model.TLSProbe{}) {
		return fmt.Errorf("TLS %+v", p.TLS)
	}
	switch {
	case slices.Contains(httpTypes, p.Type):
		if p.HTTP.Method == "" || p.HTTP.Path == "" || p.HTTP.Path[0] != '/' || (p.Type == model.ProbeHTTPS) != (p.TLS.Mode == model.TLSOn) && p.Type != model.ProbeHTTP2 {
			return fmt.Errorf("HTTP probe with %+v", p)
		}
		for _, s := range p.HTTP.Status {
			if s.First < 100 || s.First > s.Last || s.Last > 599 {
				return fmt.Errorf("status %+v", s)
			}
		}
	case p.Type == model.ProbeDNS && (!strings.HasSuffix(p.DNS.Name, ".") || p.DNS.Type == "" || p.DNS.RCode == ""),
		p.Type == model.ProbeSendExpect && p.Talk.Expect == "" && p.Talk.Pattern == "",
		p.Type == model.ProbeExec && (len(p.Command) == 0 || p.Command[0] == ""),
		p.Type == model.ProbePolicy && p.Policy == "",
		p.Type == model.ProbeMQTT && p.MQTTVersion == "",
		p.Type == model.ProbeICMP && (p.Port != 0 || p.Via == model.ViaVIP),
		p.Login.Password != "" && p.Login.PasswordFile != "",
		p.Address.IsValid() && (!usable(p.Address) || p.Via == model.ViaVIP):
		return fmt.Errorf("%s probe with %+v", p.Type, p)
	}
	return nil
}
