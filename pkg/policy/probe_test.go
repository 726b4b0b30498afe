package policy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// pair is a connection and its other end, at which serve runs until it is closed.
func pair(t *testing.T, serve func(net.Conn)) net.Conn {
	t.Helper()
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer there.Close()
		serve(there)
	}()
	t.Cleanup(func() {
		here.Close()
		<-done
	})
	return here
}

// pong answers a line.
func pong(answer string) func(net.Conn) {
	return func(c net.Conn) {
		b := make([]byte, 64)
		if n, _ := c.Read(b); string(b[:n]) == "PING\r\n" {
			io.WriteString(c, answer)
		}
	}
}

// silent answers nothing.
func silent(c net.Conn) { io.Copy(io.Discard, c) }

func TestProbe(t *testing.T) {
	p := load(t, newRuntime(t, Options{}), "guest", "", func(s *model.Policy) { s.Timeout = 300 * time.Millisecond })
	good, bad := ProbeResult{Healthy: true, Role: "primary"}, ProbeResult{Reason: "no pong"}
	for name, tt := range map[string]struct {
		serve func(net.Conn)
		want  ProbeResult
	}{
		"right":  {pong("+PONG\r\n"), good},
		"wrong":  {pong("-ERR\r\n"), bad},
		"silent": {silent, bad},
		"closed": {func(net.Conn) {}, bad},
	} {
		got, err := p.Probe(t.Context(), pair(t, tt.serve))
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v %v, want %+v", name, got, err, tt.want)
		}
	}
	if h := p.Stats().Hooks[HookProbe]; h.Calls != 4 || h.Errors != 0 {
		t.Errorf("%+v", h)
	}
}

// TestManyProbes: probes run at the same time, and few instances stay.
func TestManyProbes(t *testing.T) {
	p := load(t, newRuntime(t, Options{}), "guest", "")
	var group sync.WaitGroup
	for range 3 * maxProbes {
		conn := pair(t, pong("+PONG\r\n"))
		group.Go(func() {
			if got, err := p.Probe(t.Context(), conn); err != nil || !got.Healthy {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
	group.Wait()
	// Beside them are the control instance and the worker's spare.
	if n := p.Stats().Instances; n > maxIdle+2 {
		t.Errorf("%d instances", n)
	}
}

func TestHostileProbe(t *testing.T) {
	r := newRuntime(t, Options{})
	for config, want := range map[string]string{
		`{"n":30}`: "it did not end within ",
		`{"n":31}`: "state 2, of 0 (healthy) and 1",
		`{"n":32}`: "trap: conn_read: 1000 bytes at 0xfde8 are not in the module's memory",
		`{"n":33}`: "trap: set_role: 65537 bytes at 0x0 are not in the module's memory",
	} {
		p := hostile(t, r, config)
		_, err := p.Probe(t.Context(), pair(t, silent))
		wants(t, err, `policy "test-hostile": probe: `, want)
	}
	p := hostile(t, r, `{"n":34}`)
	if got, err := p.Probe(t.Context(), pair(t, silent)); err != nil || len(got.Role) > maxLabel+3 {
		t.Errorf("a long role: %+v %v", got, err)
	}
	// A backend that never stops talking ends with the time.
	p = hostile(t, r, `{"n":35}`)
	start := time.Now()
	got, err := p.Probe(t.Context(), pair(t, func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, "more\n"); err != nil {
				return
			}
		}
	}))
	if time.Since(start) > 2*time.Second {
		t.Errorf("an endless answer: %+v %v after %v", got, err, time.Since(start))
	}
}

// TestProbeBrokenOff: a probe ends when nobody wants to know any more, and that is
// not the policy's failure.
func TestProbeBrokenOff(t *testing.T) {
	p := hostile(t, newRuntime(t, Options{}), `{"n":30}`)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := p.Probe(ctx, pair(t, silent))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if h := p.Stats().Hooks[HookProbe]; h.Errors != 0 {
		t.Errorf("%+v", h)
	}
}
