package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
)

var weights = []int{1, 2, 3}

// family names the services of the matrix.
var families = []struct {
	name string
	ipv6 bool
}{{"4", false}, {"6", true}}

// matrixServices are one of each protocol and family. All flows are recorded and
// stay long enough to be counted after.
func matrixServices(forward string) []service {
	more := "forward: " + forward + "\ntrack: always\nprobe: none\ntimeouts: {tcp_closed: 2m, udp: 2m}"
	var out []service
	for _, f := range families {
		for _, p := range []string{"tcp", "udp"} {
			out = append(out, service{name: p + f.name, protocol: p, ipv6: f.ipv6, weights: weights, more: more})
		}
	}
	return out
}

// TestMatrix sends real connections through every forwarding mode, protocol,
// family and hook, and compares what clients and servers saw with what the
// commands tell.
func TestMatrix(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		forward string
		shape   testlab.Shape
	}{{"nat", testlab.Routed}, {"nat", testlab.OneArm}, {"l2dsr", testlab.OneArm}} {
		for _, mode := range []string{"native", "generic", "tc"} {
			t.Run(fmt.Sprintf("%s/%s/%s", c.forward, c.shape, mode), func(t *testing.T) {
				t.Parallel()
				n := newNetwork(t, testlab.TopologyOptions{
					Shape: c.shape, Backends: len(weights), BackendsHoldVIPs: c.forward == "l2dsr",
				})
				services := matrixServices(c.forward)
				n.run(n.config("attach: "+mode+"\nflow_table_size: 262144", services...))
				answers := map[string]map[string]int{}
				for _, s := range services {
					answers[s.name] = n.sendAll(s, 300)
					n.spread(s.name, answers[s.name], weights)
				}
				n.checkStatus(mode, c.forward, services)
				n.checkStats(c.forward, services, answers)
				n.checkFlows(c.forward, services, answers)
				n.checkMaps(c.forward, services)
			})
		}
	}
}

// sendAll sends so many requests, each on a flow of its own, all of which must
// be answered, and counts the answers by backend.
func (n *network) sendAll(s service, count int) map[string]int {
	n.t.Helper()
	to := s.frontend(n)
	var mu sync.Mutex
	answers := map[string]int{}
	// Kept open: a port that is used again would be the flow it was before.
	var open []func()
	defer func() {
		for _, end := range open {
			end()
		}
	}()
	keep := func(end func()) {
		mu.Lock()
		defer mu.Unlock()
		open = append(open, end)
	}
	get := func() (string, error) {
		client, err := n.Client.HTTPClient(true, 10*time.Second)
		if err != nil {
			return "", err
		}
		keep(client.CloseIdleConnections)
		return testlab.Get(context.Background(), client, "http://"+to.String()+"/")
	}
	ask := func() (name string, err error) {
		f, err := n.Client.UDPFlow(context.Background(), to)
		if err != nil {
			return "", err
		}
		keep(func() { f.Close() })
		name, _, err = f.Ask(context.Background(), []byte("ask"), 3, 2*time.Second)
		return name, err
	}
	var group errgroup.Group
	group.SetLimit(4)
	for range count {
		group.Go(func() error {
			var name string
			var err error
			if s.protocol == "udp" {
				name, err = ask()
			} else {
				name, err = get()
			}
			mu.Lock()
			defer mu.Unlock()
			answers[name]++
			return err
		})
	}
	if err := group.Wait(); err != nil {
		n.t.Fatalf("%s: %v", s.name, err)
	}
	return answers
}

func (n *network) checkStatus(mode, forward string, services []service) {
	n.t.Helper()
	s := decode[api.Status](n, "status")
	if !s.Ready || s.Adopted || len(s.Reasons) != 0 || len(s.Services) != len(services) {
		n.t.Errorf("status: ready %v, adopted %v, reasons %v, %d services", s.Ready, s.Adopted, s.Reasons, len(s.Services))
	}
	if len(s.Interfaces) != len(n.Interfaces) {
		n.t.Errorf("interfaces %+v, want %v", s.Interfaces, n.Interfaces)
	}
	for _, i := range s.Interfaces {
		if i.Mode != mode || i.Why == "" {
			n.t.Errorf("interface %+v, want mode %s and why", i, mode)
		}
	}
	for _, one := range s.Services {
		if one.Forward != forward || one.Schedule != "maglev" || one.FailOpen {
			n.t.Errorf("service %+v, want %s by maglev", one, forward)
		}
	}
	for _, service := range services {
		for i, b := range n.backends(s, service) {
			if b == nil || b.Weight != weights[i] || b.EffectiveWeight != weights[i] || b.State != api.StateUnknown && b.State != api.StateHealthy {
				n.t.Errorf("backend %d of %s: %+v, want weight %d", i+1, service.name, b, weights[i])
			}
		}
	}
}

// checkStats compares the counters with the answers. A direct server's replies
// never pass the balancer.
func (n *network) checkStats(forward string, services []service, answers map[string]map[string]int) {
	n.t.Helper()
	stats := decode[api.Stats](n, "stats")
	for _, s := range services {
		count := uint64(total(answers[s.name]))
		for _, got := range stats.Services {
			if got.Service != s.name {
				continue
			}
			if got.FlowsCreated != count || got.Request.Packets < count || got.Dropped.Packets != 0 {
				n.t.Errorf("%s: %+v, want %d flows, as many packets at least, and none dropped", s.name, got, count)
			}
			if replies := got.Reply.Packets; forward == "nat" && replies < count || forward == "l2dsr" && replies != 0 {
				n.t.Errorf("%s: %d reply packets through the balancer", s.name, replies)
			}
		}
		for i := range n.Backends {
			for _, got := range stats.Backends {
				if want := answers[s.name][n.Backends[i].Name]; got.Service == s.name && got.Address == s.backend(n, i) && got.FlowsCreated != uint64(want) {
					n.t.Errorf("%s: backend %d had %d flows, but answered %d", s.name, i+1, got.FlowsCreated, want)
				}
			}
		}
	}
	if len(stats.Services) != len(services) || len(stats.Backends) != len(services)*len(n.Backends) {
		n.t.Errorf("stats of %d services and %d backends", len(stats.Services), len(stats.Backends))
	}
	sent, other := n.counter(stats.Reasons, "tx"), n.counter(stats.Reasons, "redirect")
	if n.Shape == testlab.Routed {
		sent, other = other, sent
	}
	if sent == 0 || other != 0 {
		n.t.Errorf("packets left by the expected way %d, by the other %d: %+v", sent, other, stats.Reasons)
	}
}

func (n *network) checkFlows(forward string, services []service, answers map[string]map[string]int) {
	n.t.Helper()
	all := n.flows()
	client := map[bool]netip.Addr{false: n.Client4, true: n.Client6}
	for _, s := range services {
		byBackend := map[string]int{}
		for _, f := range all {
			if f.Service != s.name {
				continue
			}
			if f.VIP != s.frontend(n) || f.Client.Addr() != client[s.ipv6] || f.Protocol != s.protocol ||
				(f.NAT != nil) != (forward == "nat") || f.ExpiresSeconds <= 0 {
				n.t.Errorf("%s: flow %+v", s.name, f)
			}
			for i, b := range n.Backends {
				if f.Backend == s.backend(n, i) {
					byBackend[b.Name]++
				}
			}
		}
		if fmt.Sprint(byBackend) != fmt.Sprint(answers[s.name]) {
			n.t.Errorf("%s: flows %v, answers %v", s.name, byBackend, answers[s.name])
		}
	}
	one := services[0]
	want := answers[one.name][n.Backends[1].Name]
	if got := len(n.flows("--service", one.name, "--backend", one.backend(n, 1).String())); got != want {
		n.t.Errorf("%d flows by filter, want %d", got, want)
	}
}

// dump is the JSON of `xlb map dump`.
type dump[K, V any] struct {
	Map     string `json:"map"`
	Entries []struct {
		Key   K `json:"key"`
		Value V `json:"value"`
	} `json:"entries"`
}

func (n *network) checkMaps(forward string, services []service) {
	n.t.Helper()
	vips := map[maps.VIPKey]maps.VIP{}
	for _, e := range decode[dump[maps.VIPKey, maps.VIP]](n, "map", "dump", "vips").Entries {
		vips[e.Key] = e.Value
	}
	backends := map[uint32]maps.Backend{}
	for _, e := range decode[dump[uint32, maps.Backend]](n, "map", "dump", "backends").Entries {
		backends[e.Key] = e.Value
	}
	shares := map[uint32]map[netip.AddrPort]int{}
	for _, e := range decode[dump[uint32, maps.Table]](n, "map", "dump", "tables").Entries {
		shares[e.Key] = map[netip.AddrPort]int{}
		for _, b := range e.Value.Present {
			shares[e.Key][backends[b].Address]++
		}
	}
	for _, s := range services {
		key := maps.VIPKey{Address: s.frontend(n).Addr(), Port: s.frontend(n).Port()}
		if err := key.Protocol.UnmarshalText([]byte(s.protocol)); err != nil {
			n.t.Fatal(err)
		}
		v, ok := vips[key]
		if !ok {
			n.t.Errorf("%s: no VIP %+v", s.name, key)
		}
		for i, w := range weights {
			// The table's 1009 slots, of six parts, give or take one.
			if slots, want := shares[v.Service][s.backend(n, i)], 1009*w/6; slots < want-1 || slots > want+1 {
				n.t.Errorf("%s: backend %d has %d slots, want %d", s.name, i+1, slots, want)
			}
		}
	}
	flows := decode[dump[json.RawMessage, json.RawMessage]](n, "map", "dump", "flows").Entries
	ports := decode[dump[json.RawMessage, json.RawMessage]](n, "map", "dump", "ports").Entries
	if forward == "nat" && len(ports) != len(flows) || forward == "l2dsr" && len(ports) != 0 || len(flows) != 1200 {
		n.t.Errorf("%d flows hold %d ports of %s", len(flows), len(ports), forward)
	}
}
