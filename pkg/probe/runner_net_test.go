package probe

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// TestRunnerManyTargets probes 2,000 targets over real sockets.
func TestRunnerManyTargets(t *testing.T) {
	noSocketLeft(t)
	l := listen(t, "127.0.0.1:0")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	const parallel = 16
	var now, most, goroutines atomic.Int32
	raise := func(v *atomic.Int32, to int32) {
		for old := v.Load(); to > old && !v.CompareAndSwap(old, to); old = v.Load() {
		}
	}
	r := NewRunner(Options{Probing: model.Probing{Workers: parallel}, Log: quiet, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		raise(&most, now.Add(1))
		defer now.Add(-1)
		raise(&goroutines, int32(runtime.NumGoroutine()))
		return new(net.Dialer).DialContext(ctx, network, address)
	}})
	defer r.Close()
	before := runtime.NumGoroutine()
	targets := make([]Target, 2000)
	for i := range targets {
		targets[i] = target("service-"+strconv.Itoa(i), l.Addr().String())
		targets[i].Probe.Interval, targets[i].Probe.Timeout = time.Minute, 10*time.Second+time.Duration(i) // none is like another
	}
	r.Apply(targets)
	eventually(t, "2000 targets are up", func() bool {
		up := 0
		for _, s := range r.Snapshot() {
			if s.State == model.Healthy && s.Latency > 0 {
				up++
			}
		}
		return up == len(targets)
	})
	if most.Load() > parallel {
		t.Errorf("%d checks at the same time, want at most %d", most.Load(), parallel)
	}
	// A check has its own goroutine and one or two of the dialer.
	if extra := int(goroutines.Load()) - before; extra > 4*parallel {
		t.Errorf("%d goroutines more than before for %d checks at the same time", extra, parallel)
	}
}

// TestRunnerFollowsServer takes a real server down and up again.
func TestRunnerFollowsServer(t *testing.T) {
	noSocketLeft(t)
	var broken atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, "ok")
	}))
	defer srv.Close()
	changes := make(chan Result, 100)
	r := NewRunner(Options{Log: quiet, OnChange: func(n Result) { changes <- n }})
	defer r.Close()
	tg := httpTarget(srv.Listener.Addr(), model.ProbeHTTP)
	tg.Probe.Interval, tg.Probe.HTTP.Body = 10*time.Millisecond, "ok"
	tg.Probe.Rise, tg.Probe.Fall = 2, 2
	r.Apply([]Target{tg})

	next := func(state model.Health, reason string) {
		t.Helper()
		select {
		case n := <-changes:
			if n.Health.State != state || n.Health.Reason != reason || n.Latency <= 0 {
				t.Fatalf("change to %+v in %s, want %s %q", n.Health, n.Latency, state, reason)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no change to %s %q within 10 s", state, reason)
		}
	}
	next(model.Healthy, "")
	broken.Store(true)
	next(model.Healthy, "status 503, expected 200-399")
	next(model.Unhealthy, "status 503, expected 200-399")
	broken.Store(false)
	next(model.Unhealthy, "")
	next(model.Healthy, "")
	srv.Close()
	next(model.Healthy, "connect: connection refused")
	next(model.Unhealthy, "connect: connection refused")
}

// TestRunnerCloseLeavesNoSocket closes and removes while checks wait for a
// server that never answers.
func TestRunnerCloseLeavesNoSocket(t *testing.T) {
	for _, c := range []struct {
		name string
		typ  model.ProbeType
		end  func(*Runner)
	}{
		{"close http", model.ProbeHTTP, (*Runner).Close},
		{"close https", model.ProbeHTTPS, (*Runner).Close},
		{"remove http", model.ProbeHTTP, func(r *Runner) { r.Apply(nil) }},
		{"remove https", model.ProbeHTTPS, func(r *Runner) { r.Apply(nil) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := listen(t, "127.0.0.1:0")
			before := sockets(t)
			r := NewRunner(Options{Log: quiet})
			defer r.Close()
			var targets []Target
			for i := range 20 {
				tg := httpTarget(l.Addr(), c.typ)
				tg.Backend = netip.MustParseAddrPort(l.Addr().String())
				tg.Service = strconv.Itoa(i)
				tg.Probe.Timeout = time.Hour + time.Duration(i) // none is like another
				targets = append(targets, tg)
			}
			r.Apply(targets)
			eventually(t, "all checks wait", func() bool { return sockets(t) == before+len(targets) })
			c.end(r)
			eventually(t, "their sockets are closed", func() bool { return sockets(t) == before })
		})
	}
}
