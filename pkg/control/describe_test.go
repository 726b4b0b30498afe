package control

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

func TestDescribe(t *testing.T) {
	key := func(frontend string) maps.VIPKey {
		a := ap(frontend)
		return maps.VIPKey{Address: a.Addr(), Port: a.Port(), Protocol: model.TCP}
	}
	source := netip.MustParseAddr("192.0.2.1")
	timeouts := model.Timeouts{TCPSyn: 30 * time.Second, TCPEstablished: 90 * time.Minute, TCPFin: time.Hour, TCPClosed: 61 * time.Second, UDP: time.Minute}
	have := maps.Contents{
		VIPs:     map[maps.VIPKey]maps.VIP{key("203.0.113.1:80"): {Service: 1}, key("203.0.113.2:80"): {Service: 2}},
		Services: map[uint32]maps.Service{1: {Forward: model.NAT, FirstSource: 2, Sources: 2, Timeouts: timeouts}},
		Backends: map[uint32]maps.Backend{
			1: {Address: ap("10.0.0.1:80"), Service: 1, Serves: true}, 2: {Address: ap("10.0.0.2:80"), Service: 1, Serves: true},
			3: {Address: ap("10.0.0.3:80"), Service: 2},
		},
		Tables: map[uint32]maps.Table{1: {Present: []uint32{1, 2, 1}}, 2: {Present: []uint32{3, 3, 3}}},
	}
	want := have.Clone()
	want.Services[1] = maps.Service{Forward: model.NAT, FirstSource: 2, Sources: 1, Timeouts: timeouts}
	want.VIPs[key("203.0.113.2:80")] = maps.VIP{Service: 1}
	want.VIPs[key("192.0.2.1:80")] = maps.VIP{Service: 1, Source: 3}
	want.VIPs[maps.VIPKey{Address: source}] = maps.VIP{Source: 3}
	want.Backends[1] = maps.Backend{Address: ap("10.0.0.1:80"), Service: 1}
	want.Backends[2] = maps.Backend{Address: ap("10.0.0.9:80"), Service: 1, Serves: true}
	want.Backends[4] = maps.Backend{Address: ap("10.0.0.4:80"), Service: 1, Serves: true, Weight: 3}
	delete(want.Backends, 3)
	want.Tables[1] = maps.Table{Present: []uint32{2, 2, 4}, Marked: []maps.Mark{{Slot: 0, Previous: 1}}}
	delete(want.Tables, 2)
	rule := func(prefix string, verdict model.Verdict) maps.Rule {
		return maps.Rule{Prefix: netip.MustParsePrefix(prefix), Verdict: verdict}
	}
	have.Rules = map[uint32]maps.Rules{1: {rule("0.0.0.0/0", model.Taken), rule("10.0.0.6/32", model.Denied), rule("10.0.1.0/24", model.Denied), rule("10.0.2.0/24", model.Taken)}}
	want.Rules = map[uint32]maps.Rules{1: {rule("0.0.0.0/0", model.Taken), rule("10.0.0.7/32", model.Denied), rule("10.0.1.0/24", model.Taken), rule("10.0.2.0/24", model.Denied), rule("10.0.3.0/24", model.Denied)}}
	told := want.Clone()
	told.Sources[2] = source

	const timeoutText = "timeouts syn 30s, established 1h30m, fin 1h, closed 1m1s, udp 1m"
	for _, c := range []struct {
		name  string
		want  maps.Contents
		words Words
		lines []string
	}{
		{"by number", want, Words{}, []string{
			"change service 1 #1 #1: forward nat, source numbers 2 to 3, " + timeoutText + " > forward nat, source number 2, " + timeoutText,
			"add source 0  192.0.2.1:  > source number 2",
			"add frontend 1 #1 192.0.2.1:80/tcp:  > service #1, source number 2",
			"change frontend 1 #1 203.0.113.2:80/tcp: service #2 > service #1",
			"change backend 1 #1 10.0.0.1:80: serves > does not serve",
			"change backend 2 #1 10.0.0.9:80: serves as 10.0.0.2:80 of #1 > serves as 10.0.0.9:80 of #1",
			"delete backend 3 #2 10.0.0.3:80: does not serve > ",
			"add backend 4 #1 10.0.0.4:80:  > serves, connections compared by weight 3",
			"change table 1 #1 #1: 2 backends in 3 slots > 2 backends in 3 slots, 1 marked, 2/3",
			"delete table 2 #2 #2: 1 backend in 3 slots > , 3/3",
			"change rules 1 #1 #1: 4 prefixes: 2 taken, 2 denied > 5 prefixes: 2 taken, 3 denied; 2 new, 1 gone, 2 decide otherwise",
		}},
		{"by name and state", told, Words{
			Services: map[uint32]string{1: "web", 2: "mail"},
			Before:   map[uint32]string{1: api.StateHealthy, 2: api.StateHealthy, 3: api.StateRetired},
			After:    map[uint32]string{1: api.StateUnhealthy, 2: api.StateHealthy, 4: api.StateUnknown},
		}, []string{
			"add source 2  192.0.2.1:  > 192.0.2.1",
			"change service 1 web web: forward nat, source numbers 2 to 3, " + timeoutText + " > forward nat, source number 2, " + timeoutText,
			"add frontend 1 web 192.0.2.1:80/tcp:  > service web, source number 2",
			"change frontend 1 web 203.0.113.2:80/tcp: service mail > service web",
			"change backend 1 web 10.0.0.1:80: healthy > unhealthy, its flows move to others",
			"change backend 2 web 10.0.0.9:80: healthy as 10.0.0.2:80 of web > healthy as 10.0.0.9:80 of web",
			"delete backend 3 mail 10.0.0.3:80: retired, its flows move to others > ",
			"add backend 4 web 10.0.0.4:80:  > not probed yet, connections compared by weight 3",
			"change table 1 web web: 2 backends in 3 slots > 2 backends in 3 slots, 1 marked, 2/3",
			"delete table 2 mail mail: 1 backend in 3 slots > , 3/3",
			"change rules 1 web web: 4 prefixes: 2 taken, 2 denied > 5 prefixes: 2 taken, 3 denied; 2 new, 1 gone, 2 decide otherwise",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, p := range Describe(maps.Diff(have, c.want), c.words) {
				line := fmt.Sprintf("%s %s %d %s %s: %s > %s", p.Action, p.Kind, p.ID, p.Service, p.Key, p.Old, p.New)
				if p.Slots > 0 {
					line += fmt.Sprintf(", %d/%d", p.Moved, p.Slots)
				}
				got = append(got, line)
			}
			if d := cmp.Diff(c.lines, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// TestBeforeFirstPlan: until the daemon knows where flows go, it says so.
func TestBeforeFirstPlan(t *testing.T) {
	cfg := &model.Config{Services: []model.Service{service("web", "203.0.113.1:80")}}
	none := func(string) []api.Source { return nil }
	for _, one := range (&snapshot{cfg: cfg, sources: none}).services() {
		if !one.Starting || len(one.Backends) > 0 {
			t.Errorf("service %+v", one)
		}
	}
	for _, one := range (&snapshot{cfg: cfg, sources: none, plan: &Plan{Services: []ServiceState{{Name: "web"}}}}).services() {
		if one.Starting {
			t.Errorf("service %+v", one)
		}
	}
}
