package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// recorder is a daemon that notes what it is asked.
type recorder struct {
	last  string
	err   error
	flows int
	stall chan struct{} // Reload waits for it, or for the request's end
	busy  atomic.Int32
}

func (r *recorder) Status() Status {
	return Status{Version: "1", Reasons: []string{}, Services: []Service{{Name: "a"}, {Name: "b"}}}
}

func (r *recorder) Service(name string) (ServiceDetail, error) {
	return ServiceDetail{Service: Service{Name: name}, ID: 7}, r.err
}

func (r *recorder) Backends(service string) ([]ServiceBackend, error) {
	return []ServiceBackend{{Service: service, Backend: Backend{Address: netip.MustParseAddrPort("10.0.0.1:80"), State: StateHealthy}}}, r.err
}

func (r *recorder) Backend(_ context.Context, service string, b netip.AddrPort) (BackendDetail, error) {
	return BackendDetail{Service: service, Backend: Backend{Address: b}, History: []Change{}}, r.note("backend", service, b.String())
}

func (r *recorder) note(words ...string) error {
	r.last = strings.Join(words, " ")
	return r.err
}

func (r *recorder) Drain(_ context.Context, service string, b netip.AddrPort, after *time.Duration) error {
	text := "as configured"
	if after != nil {
		text = after.String()
	}
	return r.note("drain", service, b.String(), text)
}

func (r *recorder) SetDisabled(_ context.Context, service string, b netip.AddrPort, disabled bool) error {
	return r.note("disabled", service, b.String(), fmt.Sprint(disabled))
}

func (r *recorder) AddBackend(_ context.Context, service string, b model.Backend) error {
	return r.note("add", service, fmt.Sprintf("%+v", b))
}

func (r *recorder) RemoveBackend(_ context.Context, service string, b netip.AddrPort) error {
	return r.note("rm", service, b.String())
}

func (r *recorder) AddService(_ context.Context, name string, req ServiceRequest) error {
	return r.note("add service", name, req.Path, req.Text)
}

func (r *recorder) RemoveService(_ context.Context, name string) error {
	return r.note("rm service", name)
}

func (r *recorder) Zones(service string) ([]Zone, error) {
	return []Zone{{Zone: "a", Service: service, Share: 0.5}}, r.err
}

func (r *recorder) SetZone(_ context.Context, zone, service string, disabled bool) error {
	return r.note("zone", zone, service, fmt.Sprint(disabled))
}

func (r *recorder) ClearOverrides(_ context.Context, service string, b netip.AddrPort) ([]Override, error) {
	return []Override{{Service: service}}, r.note("clear", service, fmt.Sprint(b))
}

func (r *recorder) Undrain(_ context.Context, service string, b netip.AddrPort) error {
	return r.note("undrain", service, b.String())
}

func (r *recorder) SetWeight(_ context.Context, service string, b netip.AddrPort, weight *uint16) error {
	text, _ := json.Marshal(weight)
	return r.note("weight", service, b.String(), string(text))
}

func (r *recorder) Overrides() []Override { return []Override{{Service: "a"}} }

func (r *recorder) Reload(ctx context.Context) error {
	if r.stall != nil {
		r.busy.Add(1)
		defer r.busy.Add(-1)
		select {
		case <-r.stall:
		case <-ctx.Done():
		}
	}
	return r.note("reload")
}

func (r *recorder) Plan(_ context.Context, p PlanRequest) (Plan, error) {
	return Plan{Warnings: []string{"w"}}, r.note("plan", p.Path, p.Content)
}

func (r *recorder) Policies() []Policy {
	return []Policy{{Name: "canary", HookNames: []policy.Hook{policy.HookFlow}, Uses: []PolicyUse{}}}
}

func (r *recorder) ReloadPolicy(_ context.Context, name string) error {
	return r.note("policy reload", name)
}

func (r *recorder) SetTable(name, table string, entries []policy.TableEntry) error {
	text, _ := json.Marshal(entries)
	return r.note("table", name, table, string(text))
}

func (r *recorder) Stats(_ context.Context, f StatsFilter) (Stats, error) {
	text, _ := json.Marshal(f)
	return Stats{Reasons: []Counter{{Name: "tx", Count: Count{1, 2}}}}, r.note("stats", string(text))
}

func (r *recorder) Flows(f FlowFilter) (iter.Seq[Flow], error) {
	text, _ := json.Marshal(f)
	return func(yield func(Flow) bool) {
		r.busy.Add(1)
		defer r.busy.Add(-1)
		for i := range r.flows {
			client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 16), byte(i >> 8)}), uint16(i))
			if !yield(Flow{Client: client, Protocol: "tcp", Service: "a", State: "established"}) {
				return
			}
		}
	}, r.note("flows", string(text))
}

// serve runs a server and returns a client of it.
func serve(t *testing.T, d Daemon) (*Client, func()) {
	t.Helper()
	l, err := Listen(filepath.Join(t.TempDir(), "run", "xlb.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- NewServer(d, slog.New(slog.DiscardHandler), nil).Serve(ctx, l) }()
	c, err := Dial(l.Path())
	if err != nil {
		t.Fatal(err)
	}
	done := false
	stop := func() {
		if done {
			return
		}
		done = true
		cancel()
		if err := <-over; err != nil {
			t.Errorf("serve: %v", err)
		}
		c.Close()
	}
	t.Cleanup(stop)
	return c, stop
}

func TestClientReachesDaemon(t *testing.T) {
	r := &recorder{}
	c, _ := serve(t, r)
	ctx := t.Context()
	v6 := netip.MustParseAddrPort("[2001:db8::1]:80")
	for _, tt := range []struct {
		want string
		do   func() error
	}{
		{"drain web [2001:db8::1]:80 as configured", func() error { return c.Drain(ctx, "web", v6) }},
		{"drain web [2001:db8::1]:80 1m30s", func() error { return c.DrainFor(ctx, "web", v6, 90*time.Second) }},
		{"drain web [2001:db8::1]:80 0s", func() error { return c.DrainFor(ctx, "web", v6, 0) }},
		{"disabled web [2001:db8::1]:80 true", func() error { return c.Disable(ctx, "web", v6) }},
		{"disabled web [2001:db8::1]:80 false", func() error { return c.Enable(ctx, "web", v6) }},
		{"add web {Address:[2001:db8::1]:80 Weight:1 Zone: ServerID: Tags: Priority:0 Drain:false Critical:false}", func() error { return c.AddBackend(ctx, "web", v6, BackendRequest{}) }},
		{"add web {Address:[2001:db8::1]:80 Weight:0 Zone:rack 1 ServerID:0aff Tags:a,b Priority:255 Drain:false Critical:false}", func() error {
			return c.AddBackend(ctx, "web", v6, BackendRequest{Weight: new(int), Zone: "rack 1", Tags: []string{"b", "a"}, Priority: 255, ServerID: "0AFF"})
		}},
		{"rm web [2001:db8::1]:80", func() error { return c.RemoveBackend(ctx, "web", v6) }},
		{"add service a b f.yaml x: y\n", func() error { return c.AddService(ctx, "a b", ServiceRequest{"f.yaml", "x: y\n"}) }},
		{"rm service web", func() error { return c.RemoveService(ctx, "web") }},
		{"zone a/b web true", func() error { return c.DisableZone(ctx, "a/b", "web") }},
		{"zone a  false", func() error { return c.EnableZone(ctx, "a", "") }},
		{"clear web [2001:db8::1]:80", func() error { _, err := c.ClearOverrides(ctx, OverrideFilter{"web", v6}); return err }},
		{"clear  invalid AddrPort", func() error { _, err := c.ClearOverrides(ctx, OverrideFilter{}); return err }},
		{"undrain web [2001:db8::1]:80", func() error { return c.Undrain(ctx, "web", v6) }},
		{"weight web [2001:db8::1]:80 0", func() error { return c.SetWeight(ctx, "web", v6, 0) }},
		{"weight web [2001:db8::1]:80 65535", func() error { return c.SetWeight(ctx, "web", v6, 65535) }},
		{"weight web [2001:db8::1]:80 null", func() error { return c.ResetWeight(ctx, "web", v6) }},
		{"backend web [2001:db8::1]:80", func() error {
			b, err := c.Backend(ctx, "web", v6)
			if err == nil && (b.Service != "web" || b.Address != v6 || b.History == nil) {
				err = fmt.Errorf("%+v", b)
			}
			return err
		}},
		{"reload", func() error { return c.Reload(ctx) }},
		{"plan a.yaml x: \"y\"\n", func() error { _, err := c.Plan(ctx, PlanRequest{"a.yaml", "x: \"y\"\n"}); return err }},
		{`stats {"Service":"web","NoBackends":true,"Counting":false}`, func() error { _, err := c.Stats(ctx, StatsFilter{Service: "web", NoBackends: true}); return err }},
		{`stats {"Service":"","NoBackends":false,"Counting":true}`, func() error { _, err := c.Stats(ctx, StatsFilter{Counting: true}); return err }},
		{`stats {"Service":"","NoBackends":false,"Counting":false}`, func() error { _, err := c.Stats(ctx, StatsFilter{}); return err }},
		{`flows {"Service":"web","Backend":"10.0.0.1","Client":"192.0.2.0/24","Limit":5}`, func() error {
			for _, err := range c.Flows(ctx, FlowFilter{"web", "10.0.0.1", "192.0.2.0/24", 5}) {
				return err
			}
			return nil
		}},
	} {
		if err := tt.do(); err != nil || r.last != tt.want {
			t.Errorf("the daemon was asked %q (%v), want %q", r.last, err, tt.want)
		}
	}
	if s, err := c.Status(ctx); err != nil || s.Version != "1" {
		t.Errorf("status %+v, %v", s, err)
	}
	if s, err := c.Services(ctx); err != nil || len(s) != 2 {
		t.Errorf("services %+v, %v", s, err)
	}
	if s, err := c.Service(ctx, "we.b-1"); err != nil || s.Name != "we.b-1" || s.ID != 7 {
		t.Errorf("service %+v, %v", s, err)
	}
	if b, err := c.Backends(ctx, "web"); err != nil || len(b) != 1 || b[0].Service != "web" || b[0].State != StateHealthy {
		t.Errorf("backends %+v, %v", b, err)
	}
	if o, err := c.Overrides(ctx); err != nil || len(o) != 1 {
		t.Errorf("overrides %+v, %v", o, err)
	}
	if s, err := c.Stats(ctx, StatsFilter{}); err != nil || s.Reasons[0].Bytes != 2 {
		t.Errorf("stats %+v, %v", s, err)
	}
}

func TestErrorsReachClient(t *testing.T) {
	r := &recorder{}
	c, _ := serve(t, r)
	r.err = Errorf(422, "xlb.yaml:3:1: no")
	if err := c.Reload(t.Context()); !IsConfigError(err) || err.Error() != "xlb.yaml:3:1: no" {
		t.Errorf("refused: %v", err)
	}
	r.err = errors.New("broken")
	if err := c.Reload(t.Context()); IsConfigError(err) || err == nil || err.Error() != "broken" {
		t.Errorf("failed: %v", err)
	}
	for _, err := range c.Flows(t.Context(), FlowFilter{}) {
		if err == nil || err.Error() != "broken" {
			t.Errorf("flows: %v", err)
		}
	}
}

func TestWrongRequests(t *testing.T) {
	c, _ := serve(t, &recorder{})
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/statsu", "", 404, "/v1/status"},
		{"GET", "/", "", 404, "/v1/status"},
		{"POST", "/v1/status", "", 405, "GET"},
		{"GET", "/v1/reload", "", 405, "POST"},
		{"GET", "/v1/flows?limit=-1", "", 400, "limit"},
		{"GET", "/v1/stats?backends=no", "", 400, "backends=no"},
		{"POST", "/v1/services/web/backends/10.0.0.1/drain", "", 400, "address:port"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/kill", "", 404, "undrain"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/weight", "", 400, "reset"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/weight", `{"weight": 65536}`, 400, "65535"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/weight", `{"weight": -1}`, 400, "65535"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/weight", `{"weight": 1, "reset": true}`, 400, "either"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/weight", `{"wieght": 1}`, 400, "wieght"},
		{"POST", "/v1/services/web/backends/10.0.0.1:0/add", "{}", 400, "backend 10.0.0.1:0 has no port"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/drain", `{"after_seconds": -1}`, 400, "after_seconds"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/drain", `{"after_seconds": 1e12}`, 400, "after_seconds"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/add", `{"weight": 65536}`, 400, "65535"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/add", `{"priority": 256}`, 400, "255"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/add", `{"server_id": "abc"}`, 400, "1 to 15 octets in hexadecimal digits"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/add", `{"tags": ["a,b"]}`, 400, "a,b"},
		{"POST", "/v1/services/web/backends/10.0.0.1:80/add", `{"zone": "a\u0007"}`, 400, "zone"},
		{"POST", "/v1/services/web/explode", "", 404, "explode"},
		{"POST", "/v1/zones/explode", `{"zone": "a"}`, 404, "explode"},
		{"POST", "/v1/zones/disable", `{}`, 400, "give a zone"},
		{"POST", "/v1/overrides/clear", `{"backend": "10.0.0.1:80"}`, 400, "service"},
		{"POST", "/v1/plan", "services: []", 400, "body"},
		{"POST", "/v1/plan", `{"content":"` + strings.Repeat("x", maxBody) + `"}`, 413, "larger"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://xlb"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body errorBody
		err = json.NewDecoder(resp.Body).Decode(&body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || !strings.Contains(body.Error, tt.want) {
			t.Errorf("%s %s %.40s: %d %q (%v), want %d with %q", tt.method, tt.path, tt.body, resp.StatusCode, body.Error, err, tt.status, tt.want)
		}
	}
}

func TestManyFlows(t *testing.T) {
	const n = 200_000
	c, _ := serve(t, &recorder{flows: n})
	// Counted as lines, as a program would that reads the socket.
	resp, err := c.do(t.Context(), http.MethodGet, "/v1/flows", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines, buffer := 0, make([]byte, 256<<10)
	for {
		got, err := resp.Body.Read(buffer)
		lines += bytes.Count(buffer[:got], []byte("\n"))
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if lines != n {
		t.Errorf("%d flows arrived of %d", lines, n)
	}
}

func TestFlowsStopWithTheirReader(t *testing.T) {
	r := &recorder{flows: 1 << 40}
	c, _ := serve(t, r)
	for f, err := range c.Flows(t.Context(), FlowFilter{}) {
		if err != nil || f.Service != "a" {
			t.Errorf("flow %+v, %v", f, err)
		}
		break
	}
	deadline := time.Now().Add(10 * time.Second)
	for r.busy.Load() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the daemon still goes through its flows")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestBrokenStreamIsAnError(t *testing.T) {
	r := &recorder{flows: 1 << 40}
	c, stop := serve(t, r)
	var last error
	n := 0
	for _, err := range c.Flows(t.Context(), FlowFilter{}) {
		if last = err; n == 0 {
			go stop()
		}
		n++
	}
	if last == nil {
		t.Error("a stream that broke off looks whole")
	}
	stop()
}

func TestServeWaitsForRequests(t *testing.T) {
	r := &recorder{stall: make(chan struct{})}
	c, stop := serve(t, r)
	answer := make(chan error, 1)
	go func() { answer <- c.Reload(context.Background()) }()
	deadline := time.Now().Add(10 * time.Second)
	for r.busy.Load() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the request did not arrive")
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	if r.busy.Load() != 0 {
		t.Error("a request was still running when Serve returned")
	}
	<-answer
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xlb.sock")
	old := syscall.Umask(0o077)
	l, err := Listen(path)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("a second daemon: %v", err)
	}
	// A daemon that was killed leaves its socket.
	l.Listener.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(path); !errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), "xlb run") {
		t.Errorf("dial a dead daemon: %v", err)
	}
	if l, err = Listen(path); err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	l.Close()
	if _, err := Dial(path); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("dial nobody: %v", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("over a file: %v", err)
	}
}
