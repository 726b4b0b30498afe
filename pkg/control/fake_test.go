package control

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// memory is a data plane without a kernel.
type memory struct {
	mu       sync.Mutex
	contents maps.Contents
	sizes    maps.Sizes
	flows    []maps.Flow
	outcomes map[uint32]maps.Outcomes // by backend
	loads    map[uint32]maps.Load
	applies  int
	failing  error // of Apply, after half of the work
	unread   error // of Read
}

var testSizes = maps.Sizes{Services: 65, Backends: 1025, Frontends: 64 + 8, Sources: 8, Table: 251, Flows: 1024}

func newMemory() *memory {
	return &memory{contents: maps.Contents{}.Clone(), sizes: testSizes, loads: map[uint32]maps.Load{}}
}

func (m *memory) Sizes() maps.Sizes { return m.sizes }

func (m *memory) Read() (maps.Contents, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.contents.Clone()
	for id, t := range c.Tables {
		c.Tables[id] = maps.Table{Present: slices.Clone(t.Present), Marked: slices.Clone(t.Marked)} // as the kernel does
	}
	return c, m.unread
}

func (m *memory) Apply(c maps.Changes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applies++
	put(m.contents.Backends, c.Backends)
	put(m.contents.Sources, c.Sources)
	put(m.contents.QUICServers, c.QUICServers)
	put(m.contents.Tunnels, c.Tunnels)
	put(m.contents.Features, c.Features)
	if m.failing != nil {
		return m.failing
	}
	put(m.contents.Services, c.Services)
	put(m.contents.Tables, c.Tables)
	put(m.contents.Subsets, c.Subsets)
	put(m.contents.Rules, c.Rules)
	put(m.contents.VIPs, c.VIPs)
	return nil
}

func put[K comparable, V any](m map[K]V, changes []maps.Change[K, V]) {
	for _, c := range changes {
		if c.New == nil {
			delete(m, c.Key)
		} else {
			m[c.Key] = *c.New
		}
	}
}

func (m *memory) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *memory) FlowCounts() map[uint32]int {
	counts := map[uint32]int{}
	for f := range m.Flows() {
		counts[f.Backend]++
	}
	return counts
}

func (m *memory) CorrectLoads() (int, error) { return 0, nil }

func (m *memory) BackendLoad(id uint32) maps.Load {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loads[id]
}

func (m *memory) SetLatency(id uint32, latency time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loads[id]
	l.Latency = latency
	m.loads[id] = l
}

// Strays takes the slot of a flow from its client's port.
func (m *memory) Strays(tables map[uint32]maps.Table) (map[uint32]maps.Slots, error) {
	out := map[uint32]maps.Slots{}
	for id, t := range tables {
		out[id] = maps.NewSlots(len(t.Present))
		for f := range m.Flows() {
			if slot := uint32(f.Client.Port()) % uint32(len(t.Present)); f.Service == id && t.Present[slot] != f.Backend {
				out[id].Add(slot)
			}
		}
	}
	return out, nil
}

func (m *memory) Flows() iter.Seq[maps.Flow] {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Values(slices.Clone(m.flows))
}

func (m *memory) Reasons() ([]maps.NamedCount, error) {
	return []maps.NamedCount{{Name: "tx", Count: maps.Count{Packets: 3, Bytes: 300}}}, nil
}

func (m *memory) Events() ([]maps.NamedCount, error) {
	return []maps.NamedCount{{Name: "flow_created", Count: maps.Count{Packets: 2}}}, nil
}

func (m *memory) ServiceTraffic(id uint32) (maps.Traffic, error) {
	return maps.Traffic{Request: maps.Count{Packets: uint64(id)}, Flows: 1}, nil
}

func (m *memory) ServiceLoad(id uint32) maps.Load { return maps.Load{Connections: int(id)} }

func (m *memory) Refused(id uint32) (maps.Refused, error) {
	return maps.Refused{Denied: uint64(id)}, nil
}

func (m *memory) BackendTraffic(id uint32) (maps.Traffic, error) {
	if int(id) >= m.sizes.Backends {
		return maps.Traffic{}, errors.New("no such number")
	}
	return maps.Traffic{Reply: maps.Count{Packets: uint64(id)}}, nil
}

func (m *memory) ServiceOutcomes(id uint32) (maps.Outcomes, error) {
	return maps.Outcomes{Attempts: uint64(id)}, nil
}

func (m *memory) BackendOutcomes(id uint32) (maps.Outcomes, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.outcomes[id], nil
}

func (m *memory) Decide(*maps.Upcall, maps.Decision) error { return m.failing }
func (m *memory) Heartbeat() error                         { return nil }
func (m *memory) Away() error                              { return nil }

// machine is a host.
type machine struct {
	mu         sync.Mutex
	protected  [][]model.Frontend
	routed     [][]netip.Addr // by RouteProbes
	unroutable error          // of RouteProbes
	failing    error
	local      map[netip.Addr]string
	changed    chan struct{}
}

func (h *machine) LocalAddresses() map[netip.Addr]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.local
}

func (h *machine) AddressesChanged() <-chan struct{} { return h.changed }

// move gives the host other addresses.
func (h *machine) move(local map[netip.Addr]string) {
	h.mu.Lock()
	h.local = local
	h.mu.Unlock()
	h.changed <- struct{}{}
}

func (h *machine) ProtectVIPs(f []model.Frontend) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.protected = append(h.protected, f)
	return h.failing
}

func (h *machine) RouteProbes(vips []netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unroutable != nil {
		return h.unroutable
	}
	h.routed = append(h.routed, slices.Clone(vips))
	return nil
}

func (h *machine) SourceFor(to netip.Addr) (netip.Addr, error) {
	if to.Is4() {
		return netip.MustParseAddr("192.0.2.250"), nil
	}
	return netip.MustParseAddr("2001:db8::250"), nil
}

// Short times for tests; the sweep's grace stays above the clock's noise.
var quick = timing{
	sweep: 20 * time.Millisecond, outcomes: 5 * time.Millisecond, grace: time.Millisecond, drift: 20 * time.Millisecond, discovery: time.Second,
	minRetry: time.Millisecond, maxRetry: 10 * time.Millisecond, debounce: 10 * time.Millisecond,
}

func addr(s string) netip.Addr   { return netip.MustParseAddr(s) }
func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
func front(s string) model.Frontend {
	a := ap(s)
	return model.Frontend{VIP: a.Addr(), Port: a.Port(), Protocol: model.TCP}
}

func service(name, frontend string, backends ...string) model.Service {
	s := model.Service{Name: name, Forward: model.NAT, Fail: model.FailOpen, Probe: model.Probe{Type: model.ProbeNone}}
	s.Frontends = []model.Frontend{front(frontend)}
	for _, b := range backends {
		s.Backends = append(s.Backends, model.Backend{Address: ap(b), Weight: 1})
	}
	return s
}

// eventually polls until check returns "".
func eventually(t *testing.T, check func() string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		problem := check()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still: %s", problem)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func unless(ok bool, format string, args ...any) string {
	if ok {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
