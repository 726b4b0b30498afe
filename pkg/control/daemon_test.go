package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/config"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// daemon is a controller over memory, behind a real socket.
type daemon struct {
	*controller
	*api.Client
	data *memory
	host *machine
	path string // of the configuration
	dir  string
	stop func() // waits until all is over
}

// start runs a daemon of a configuration; services are the YAML text under
// "services:".
func start(t *testing.T, data *memory, services string, tweaks ...func(*parts)) *daemon {
	t.Helper()
	return startIn(t, t.TempDir(), data, services, tweaks...)
}

func startIn(t *testing.T, dir string, data *memory, services string, tweaks ...func(*parts)) *daemon {
	t.Helper()
	d := &daemon{data: data, host: &machine{changed: make(chan struct{}, 1)}, dir: dir, path: filepath.Join(dir, "xlb.yaml")}
	d.write(t, services)
	loaded := fingerprintOf(d.path)
	operator, err := openOperator(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := config.Read(d.path)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := (&configSource{path: d.path, text: text, services: operator.said().Services}).parse()
	if err != nil {
		t.Fatal(err)
	}
	l, err := api.Listen(filepath.Join(dir, "xlb.sock"))
	if err != nil {
		t.Fatal(err)
	}
	p := parts{
		data: data, host: d.host, operator: operator, roles: openRoles(filepath.Join(dir, "state"), quiet()), log: quiet(), version: "1.2.3", configPath: d.path, text: text, loaded: loaded, timing: quick,
		interfaces: []api.Interface{{Name: "eth0", Mode: "native", Why: "asked for", Hook: "xdp link"}},
	}
	for _, tweak := range tweaks {
		tweak(&p)
	}
	d.controller = newController(p, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- d.serve(ctx, l, nil) }()
	if d.Client, err = api.Dial(l.Path()); err != nil {
		t.Fatal(err)
	}
	stopped := false
	d.stop = func() {
		if stopped {
			return
		}
		stopped = true
		d.Client.Close()
		cancel()
		if err := <-over; err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
	}
	t.Cleanup(d.stop)
	eventually(t, func() string { return unless(d.published.Load().plan != nil, "no plan: %s", d.problem()) })
	return d
}

func (d *daemon) problem() string { return d.published.Load().problem }

func (d *daemon) write(t *testing.T, services string) { t.Helper(); d.writeText(t, document(services)) }

func document(services string) string {
	return "interfaces: [eth0]\ntable_size: 251\nmax_services: 64\nmax_frontends: 64\nmax_backends: 1024\nmax_sources: 8\nservices:\n" + services
}

func (d *daemon) writeText(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(d.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (d *daemon) status(t *testing.T) api.Status {
	t.Helper()
	s, err := d.Client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// states tells the state of every backend of a service by host address.
func (d *daemon) states(t *testing.T, service string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, s := range d.status(t).Services {
		if s.Name != service {
			continue
		}
		for _, b := range s.Backends {
			out[b.Address.String()] = b.State
		}
	}
	return out
}

const web = "  web: {frontends: 'tcp://203.0.113.1:80', probe: none, backends: ['10.0.0.1:80', '10.0.0.2:80']}\n"

func TestDaemonApplies(t *testing.T) {
	d := start(t, newMemory(), web)
	eventually(t, func() string { s := d.status(t); return unless(s.Ready, "not ready: %v", s.Reasons) })
	s := d.status(t)
	if s.Version != "1.2.3" || s.PID != os.Getpid() || s.Config != d.path || !s.LastReload.OK || len(s.Interfaces) != 1 || len(s.Reasons) != 0 {
		t.Errorf("status %+v", s)
	}
	if len(s.Services) != 1 || s.Services[0].Frontends[0] != "203.0.113.1:80/tcp" || s.Services[0].Forward != "nat" || s.Services[0].Fail != "open" {
		t.Errorf("services %+v", s.Services)
	}
	got, _ := d.data.Read()
	if len(got.Backends) != 2 || len(got.Tables) != 1 || got.Sources[0] != addr("192.0.2.250") {
		t.Errorf("maps %+v", got)
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	if len(d.host.protected) != 1 || d.host.protected[0][0] != front("203.0.113.1:80") {
		t.Errorf("protected %v, want the frontend once", d.host.protected)
	}
}

func TestNothingIsWrittenTwice(t *testing.T) {
	data := newMemory()
	dir := t.TempDir()
	startIn(t, dir, data, web).stop()
	before := data.applies
	d := startIn(t, dir, data, web)
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.stop()
	if data.applies != before {
		t.Errorf("a restart and a reload without a change wrote %d times", data.applies-before)
	}
}

func TestProbesDecide(t *testing.T) {
	var sick atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(503)
		}
	}))
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	data := newMemory()
	d := start(t, data, web)
	// The configuration refuses loopback backends, so they come by discovery's way.
	cfg := *d.published.Load().cfg
	s := service("web", "203.0.113.1:80", address)
	s.Probe = model.Probe{Type: model.ProbeHTTP, Interval: 10e6, Timeout: 5e9, Rise: 1, Fall: 1, HTTP: model.HTTPProbe{Method: "GET", Path: "/"}}
	cfg.Services = []model.Service{s}
	if err := d.submit(t.Context(), func() error { d.adopt(&cfg); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{api.StateHealthy, api.StateUnhealthy, api.StateHealthy} {
		sick.Store(want == api.StateUnhealthy)
		eventually(t, func() string { got := d.states(t, "web"); return unless(got[address] == want, "%v", got) })
		st := d.status(t)
		if st.Services[0].FailOpen != (want == api.StateUnhealthy) || !st.Ready {
			t.Errorf("%s: fail open %v, ready %v (%v)", want, st.Services[0].FailOpen, st.Ready, st.Reasons)
		}
		if down := strings.Contains(strings.Join(st.Reasons, " "), "service_down:web"); down != (want == api.StateUnhealthy) {
			t.Errorf("%s: reasons %v", want, st.Reasons)
		}
	}
}

func TestAdoptedDownStaysDown(t *testing.T) {
	// Nobody answers at these, but it takes the probe long to know.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data := newMemory()
	dir := t.TempDir()
	startIn(t, dir, data, web).stop()
	var down uint32
	for id, b := range data.contents.Backends {
		if b.Address == ap("10.0.0.1:80") {
			down = id
			b.Serves = false
			data.contents.Backends[id] = b
		}
	}
	port := l.Addr().(*net.TCPAddr).Port
	d := startIn(t, dir, data, strings.Replace(web, "probe: none",
		fmt.Sprintf("probe: {type: http, port: %d, interval: 60s, timeout: 50s}", port), 1))
	got := d.states(t, "web")
	if got["10.0.0.1:80"] != api.StateUnhealthy || got["10.0.0.2:80"] != api.StateUnknown {
		t.Errorf("after adoption: %v", got)
	}
	for _, id := range data.contents.Tables[1].Present {
		if id == down {
			t.Fatal("a backend that was down got slots before it was probed")
		}
	}
	if s := d.status(t); s.Ready || strings.Join(s.Reasons, " ") != "probes_pending" {
		t.Errorf("ready %v, reasons %v while probes are pending", s.Ready, s.Reasons)
	}
}

func TestFailedWriteIsRepeated(t *testing.T) {
	data := newMemory()
	d := start(t, data, web)
	data.set(func() { data.failing = errors.New("no memory") })
	d.write(t, web+"  b: {frontends: 'tcp://203.0.113.2:80', probe: none, backends: ['10.0.0.3:80']}\n")
	if err := d.Client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "no memory") {
		t.Errorf("reload with failing writes: %v", err)
	}
	s := d.status(t)
	if s.Ready || !strings.Contains(s.Problem, "no memory") || strings.Join(s.Reasons, " ") != "apply_failed" {
		t.Errorf("ready %v, reasons %v, problem %q", s.Ready, s.Reasons, s.Problem)
	}
	data.set(func() { data.failing = nil })
	eventually(t, func() string {
		s := d.status(t)
		return unless(s.Ready && s.Problem == "", "%v %s", s.Reasons, s.Problem)
	})
	if got, _ := data.Read(); len(got.Backends) != 3 || len(got.Tables) != 2 {
		t.Errorf("after the repetition the maps hold %d backends and %d tables", len(got.Backends), len(got.Tables))
	}
}

func TestDriftIsMended(t *testing.T) {
	data := newMemory()
	d := start(t, data, web)
	want, _ := data.Read()
	data.set(func() { clear(data.contents.VIPs) })
	eventually(t, func() string {
		got, _ := data.Read()
		return unless(maps.Diff(got, want).Len() == 0 || len(got.VIPs) == len(want.VIPs), "%d VIPs", len(got.VIPs))
	})
	d.stop()
}

func TestRetiredBackendsLeaveWithTheirFlows(t *testing.T) {
	data := newMemory()
	d := start(t, data, web)
	var id uint32
	for n, b := range data.contents.Backends {
		if b.Address == ap("10.0.0.1:80") {
			id = n
		}
	}
	data.set(func() { data.flows = []maps.Flow{{Backend: id, Service: 1, Client: ap("198.51.100.7:1234")}} })
	d.write(t, strings.Replace(web, "'10.0.0.1:80', ", "", 1))
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { // counted, and still there
		for _, b := range d.status(t).Services[0].Backends {
			if b.State == api.StateRetired && b.Flows == 1 {
				return ""
			}
		}
		return fmt.Sprint(d.status(t).Services)
	})
	data.set(func() { data.flows = nil })
	eventually(t, func() string { got := d.states(t, "web"); return unless(len(got) == 1, "%v", got) })
	if got, _ := data.Read(); len(got.Backends) != 1 {
		t.Errorf("the maps still hold %v", got.Backends)
	}
}

func TestReplacedSourceLeavesWithItsFlows(t *testing.T) {
	data := newMemory()
	d := start(t, data, web)
	data.set(func() { data.flows = []maps.Flow{{Backend: 1, Service: 1, NAT: ap("192.0.2.250:1024")}} })
	d.writeText(t, "sources: [192.0.2.9]\n"+document(web))
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	sources := func() map[netip.Addr]bool {
		c, _ := data.Read()
		out := map[netip.Addr]bool{}
		for _, a := range c.Sources {
			out[a] = true
		}
		return out
	}
	if got := sources(); len(got) != 2 {
		t.Errorf("sources %v, want old and new", got)
	}
	data.set(func() { data.flows = nil })
	eventually(t, func() string { got := sources(); return unless(len(got) == 1 && got[addr("192.0.2.9")], "%v", got) })
}

func TestUnprotectedIsShownAndRepeated(t *testing.T) {
	data := newMemory()
	d := start(t, data, web)
	d.host.mu.Lock()
	d.host.failing = errors.New("no nftables")
	d.host.mu.Unlock()
	d.write(t, strings.Replace(web, "203.0.113.1", "203.0.113.5", 1))
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := d.status(t); strings.Join(s.Reasons, " ") != "vips_unprotected" || !s.Ready {
		t.Errorf("ready %v, reasons %v", s.Ready, s.Reasons)
	}
	d.host.mu.Lock()
	d.host.failing = nil
	d.host.mu.Unlock()
	eventually(t, func() string { s := d.status(t); return unless(len(s.Reasons) == 0, "%v", s.Reasons) })
}

// TestFailedWriteIsUndone: what a failed write left must not stay when it is no
// longer wanted.
func TestFailedWriteIsUndone(t *testing.T) {
	data := newMemory()
	d := start(t, data, web, func(p *parts) { p.timing.drift = time.Hour })
	before, _ := data.Read()
	data.set(func() { data.failing = errors.New("no memory") })
	d.write(t, web+"  b: {frontends: 'tcp://203.0.113.2:80', probe: none, backends: ['10.0.0.3:80']}\n")
	if err := d.Client.Reload(t.Context()); err == nil {
		t.Fatal("the write did not fail")
	}
	data.set(func() { data.failing = nil })
	d.write(t, web)
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		now, _ := data.Read()
		n := maps.Diff(now, before).Len()
		return unless(n == 0, "%d entries differ", n)
	})
}
