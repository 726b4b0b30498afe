package main

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// sample is a daemon with a fixed state behind a real API server. Its verbs
// change the state.
type sample struct {
	mu     sync.Mutex
	status api.Status
	flows  []api.Flow
	stats  api.Stats
	plan   api.Plan
	// refuse is the answer to reload and plan, if not nil.
	refuse error
	// planned is the last request for a plan.
	planned   api.PlanRequest
	policies  []api.Policy
	table     string // the last one that was set
	said      string // the last thing that was asked for
	overrides []api.Override
	detail    api.BackendDetail // of every backend
	placement api.Placement     // of every service
	// step is added to the counters at each look at them.
	step uint64
}

var (
	web1 = netip.MustParseAddrPort("10.0.0.11:8080")
	web2 = netip.MustParseAddrPort("10.0.0.12:8080")
	web6 = netip.MustParseAddrPort("[2001:db8::11]:8080")
)

func newSample() *sample {
	minutes := func(n int) *time.Time {
		at := testNow.Add(-time.Duration(n) * time.Minute)
		return &at
	}
	vip := netip.MustParseAddrPort("203.0.113.10:80")
	nat := netip.MustParseAddrPort("192.0.2.1:1025")
	s := &sample{
		status: api.Status{
			Version: "v1.2.3", PID: 4711, Since: testNow.Add(-26 * time.Hour), Config: "/etc/xlb/xlb.yaml", Adopted: true, Ready: true,
			Reasons:    []string{"service_down:dns"},
			LastReload: api.Reload{At: testNow.Add(-90 * time.Second), OK: true},
			Interfaces: []api.Interface{{Name: "eth0", Mode: "native", Why: "the driver of eth0 runs XDP", Hook: "xdp link"}},
			Services: []api.Service{
				{
					Name: "dns", Frontends: []string{"203.0.113.53:53/udp"}, Forward: "l2dsr", Schedule: "maglev", Fail: "open", FailOpen: true,
					Backends: []api.Backend{{Address: netip.MustParseAddrPort("10.0.0.53:53"), Weight: 1, State: api.StateUnhealthy, Reason: "connect: connection refused", EffectiveWeight: 1, Slots: 65537, ID: 1, Since: minutes(2)}},
				},
				{
					Name: "web", Frontends: []string{"203.0.113.10:80/tcp", "[2001:db8:1::10]:80/tcp"}, Forward: "nat", Schedule: "maglev", Fail: "closed",
					Backends: []api.Backend{
						{Address: web1, Weight: 1, State: api.StateHealthy, Flows: 12345, EffectiveWeight: 1, Slots: 16384, ID: 2, Since: minutes(75), Zone: "rack-1"},
						{Address: web2, Weight: 3, State: api.StateDraining, Reason: "drained by the operator", Flows: 7, ID: 3, Override: true},
						{Address: web6, Weight: 3, State: api.StateHealthy, EffectiveWeight: 3, Slots: 49153, ID: 4},
					},
				},
			},
		},
		flows: []api.Flow{
			{Client: netip.MustParseAddrPort("192.0.2.7:40000"), VIP: vip, Protocol: "tcp", Service: "web", Backend: web1, NAT: &nat, State: "established", IdleSeconds: 3, ExpiresSeconds: 3597},
			{Client: netip.MustParseAddrPort("192.0.2.200:555"), VIP: vip, Protocol: "tcp", Service: "web", Backend: web2, State: "syn", IdleSeconds: 0, ExpiresSeconds: 30},
		},
		plan: api.Plan{
			Changes: []api.PlanChange{
				{Action: "add", Kind: "backend", Service: "web", Key: "10.0.0.13:8080", ID: 5, New: "unknown"},
				{Action: "delete", Kind: "frontend", Service: "web", Key: "203.0.113.99:80/tcp", Old: "service web"},
				{Action: "change", Kind: "table", Service: "web", Key: "web", Old: "2 backends in 65537 slots", New: "3 backends in 65537 slots", Moved: 21845, Slots: 65537},
			},
			Restart: []string{"attach"}, Warnings: []string{"service dns is down"},
		},
		stats: api.Stats{
			Reasons: []api.Counter{
				{Name: "tx", Count: api.Count{Packets: 1500000, Bytes: 3 << 30}}, {Name: "pass_ttl"},
				{Name: "drop_no_backend", Count: api.Count{Packets: 12, Bytes: 720}},
			},
			Events: []api.Counter{{Name: "flow_created", Count: api.Count{Packets: 99}}, {Name: "flow_evicted"}},
			Services: []api.ServiceStats{{Service: "web", ID: 2, Flows: 12352, Traffic: api.Traffic{
				Request: api.Count{Packets: 700000, Bytes: 1 << 30}, Reply: api.Count{Packets: 800000, Bytes: 2 << 30}, Dropped: api.Count{Packets: 12, Bytes: 720}, FlowsCreated: 99}}},
			Backends: []api.BackendStats{{Service: "web", Address: web1, ID: 2, Flows: 12345, Traffic: api.Traffic{Request: api.Count{Packets: 700000, Bytes: 1 << 30}, FlowsCreated: 99}}},
		},
	}
	return s
}

func (s *sample) Policies() []api.Policy { return s.policies }

func (s *sample) ReloadPolicy(context.Context, string) error { return s.refuse }

func (s *sample) SetTable(name, table string, entries []policy.TableEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = fmt.Sprint(name, " ", table, " ", entries)
	return s.refuse
}

// start serves the sample on a socket until the test ends, and makes it the
// socket of the commands.
func (s *sample) start(t *testing.T) *sample {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := api.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.NewServer(s, slog.New(slog.DiscardHandler), nil).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("API server: %v", err)
		}
		l.Close()
	})
	t.Setenv("XLB_SOCKET", socket)
	return s
}

// noDaemon makes the commands look for a daemon, and for maps, where there is
// none.
func noDaemon(t *testing.T) (socket string) {
	t.Helper()
	dir := t.TempDir()
	socket = filepath.Join(dir, "none")
	t.Setenv("XLB_SOCKET", socket)
	t.Setenv("XLB_PIN_DIR", filepath.Join(dir, "pins"))
	return socket
}

func (s *sample) Status() api.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *sample) Service(name string) (api.ServiceDetail, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.status.Services {
		if v.Name == name {
			return api.ServiceDetail{
				Service: v, ID: 2, TableSize: 65537, Probe: api.ServiceProbe{Type: "http", IntervalSeconds: 2, TimeoutSeconds: 0.5, Rise: 2, Fall: 3},
				Timeouts: map[string]float64{"tcp_syn": 30, "tcp_established": 3600, "tcp_fin": 120, "tcp_closed": 10, "udp": 60},
				Traffic:  s.stats.Services[0].Traffic, Placement: s.placement,
			}, nil
		}
	}
	return api.ServiceDetail{}, api.Errorf(404, "no service %q", name)
}

func (s *sample) Backends(service string) (out []api.ServiceBackend, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for _, v := range s.status.Services {
		if service == "" || v.Name == service {
			found = true
			for _, b := range v.Backends {
				out = append(out, api.ServiceBackend{Service: v.Name, Backend: b})
			}
		}
	}
	if service != "" && !found {
		return nil, api.Errorf(404, "no service %q", service)
	}
	return out, nil
}

func (s *sample) Backend(_ context.Context, service string, address netip.AddrPort) (api.BackendDetail, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.status.Services {
		for _, b := range v.Backends {
			if v.Name == service && b.Address == address {
				out := s.detail
				out.Service, out.Backend, out.TableSize = service, b, 65537
				return out, nil
			}
		}
	}
	return api.BackendDetail{}, api.Errorf(404, "no backend %s of %q", address, service)
}

func (s *sample) change(service string, address netip.AddrPort, f func(*api.Backend)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.status.Services {
		for i := range v.Backends {
			if v.Name == service && v.Backends[i].Address == address {
				f(&v.Backends[i])
				return nil
			}
		}
	}
	return api.Errorf(404, "no backend %s of %q", address, service)
}

func (s *sample) Drain(_ context.Context, service string, b netip.AddrPort, after *time.Duration) error {
	return s.change(service, b, func(b *api.Backend) {
		b.State, b.DrainsUntil = api.StateDraining, nil
		if after != nil && *after > 0 {
			at := testNow.Add(*after)
			b.DrainsUntil = &at
		}
	})
}

func (s *sample) SetDisabled(_ context.Context, service string, b netip.AddrPort, disabled bool) error {
	return s.change(service, b, func(b *api.Backend) {
		b.State = map[bool]string{true: api.StateDisabled, false: api.StateHealthy}[disabled]
	})
}

func (s *sample) AddBackend(_ context.Context, service string, b model.Backend) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.status.Services {
		if v := &s.status.Services[i]; v.Name == service {
			v.Backends = append(slices.Clone(v.Backends), api.Backend{
				Address: b.Address, Weight: int(b.Weight), State: api.StateUnknown, Zone: b.Zone, Tags: b.Tags.List(), Tier: int(b.Priority), ServerID: b.ServerID, Added: true,
			})
			return s.refuse
		}
	}
	return api.Errorf(404, "no service %q", service)
}

func (s *sample) RemoveBackend(_ context.Context, service string, b netip.AddrPort) error {
	s.said = fmt.Sprint("rm ", service, " ", b)
	return s.refuse
}

func (s *sample) AddService(_ context.Context, name string, r api.ServiceRequest) error {
	s.said = fmt.Sprintf("%s %s\n%s", name, r.Path, r.Text)
	return s.refuse
}

func (s *sample) RemoveService(_ context.Context, name string) error {
	s.said = "rm " + name
	return s.refuse
}

func (s *sample) Zones(service string) ([]api.Zone, error) {
	if service == "dns" {
		return []api.Zone{}, nil
	}
	return []api.Zone{
		{Zone: "rack-1", Service: "web", Backends: 2, Usable: 1, Share: 0.25, Flows: 12345, Own: true},
		{Zone: "rack-2", Service: "web", Backends: 1, Disabled: true},
	}, s.refuse
}

func (s *sample) SetZone(_ context.Context, zone, service string, disabled bool) error {
	s.said = fmt.Sprint(zone, " ", service, " ", disabled)
	return s.refuse
}

func (s *sample) ClearOverrides(_ context.Context, service string, b netip.AddrPort) ([]api.Override, error) {
	return slices.DeleteFunc(s.Overrides(), func(o api.Override) bool {
		return service != "" && o.Service != service || b.IsValid() && o.Backend != b
	}), s.refuse
}

func (s *sample) Undrain(_ context.Context, service string, b netip.AddrPort) error {
	return s.change(service, b, func(b *api.Backend) { b.State = api.StateHealthy })
}

func (s *sample) SetWeight(_ context.Context, service string, b netip.AddrPort, weight *uint16) error {
	return s.change(service, b, func(b *api.Backend) {
		b.Override = weight != nil
		b.Weight = 1
		if weight != nil {
			b.Weight = int(*weight)
		}
	})
}

func (s *sample) Overrides() []api.Override { return slices.Clone(s.overrides) }

func (s *sample) Reload(context.Context) error { return s.refuse }

func (s *sample) Plan(_ context.Context, r api.PlanRequest) (api.Plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planned = r
	return s.plan, s.refuse
}

func (s *sample) Stats(_ context.Context, f api.StatsFilter) (api.Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Service != "" && f.Service != "web" {
		return api.Stats{}, api.Errorf(404, "no service %q", f.Service)
	}
	out := s.stats
	out.At = testNow.Add(time.Duration(s.step) * time.Second)
	out.Reasons = slices.Clone(out.Reasons)
	out.Reasons[0].Packets += 1000 * s.step
	out.Reasons[0].Bytes += 125000 * s.step
	out.Services = slices.Clone(out.Services)
	out.Services[0].Request.Packets += 500 * s.step
	s.step++
	if f.NoBackends {
		out.Backends = []api.BackendStats{}
	}
	return out, nil
}

func (s *sample) Flows(f api.FlowFilter) (iter.Seq[api.Flow], error) {
	if f.Service != "" && f.Service != "web" && f.Service != "dns" {
		return nil, api.Errorf(404, "no service %q", f.Service)
	}
	s.mu.Lock()
	flows := slices.Clone(s.flows)
	s.mu.Unlock()
	return func(yield func(api.Flow) bool) {
		for i, v := range flows {
			match := (f.Service == "" || v.Service == f.Service) && matchesBackend(f.Backend, v.Backend) && matchesClient(f.Client, v.Client.Addr())
			if f.Limit > 0 && i >= f.Limit || match && !yield(v) {
				return
			}
		}
	}, nil
}

// manyFlows fills the sample with more flows than are looked at for widths.
func (s *sample) manyFlows(n int) {
	one := s.flows[0]
	s.flows = nil
	for i := range n {
		one.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1000)
		s.flows = append(s.flows, one)
	}
}

func lines(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n") }
