package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
)

// waiting runs a command beside the test and returns what it left behind, once it
// has asked the daemon to drain or not for something.
func waiting(t *testing.T, ctx context.Context, args string) <-chan result {
	t.Helper()
	done := make(chan result, 1)
	go func() { done <- xlbIn(t, ctx, env{}, strings.Fields(args)...) }()
	return done
}

// still makes sure that a command waits on.
func still(t *testing.T, done <-chan result) {
	t.Helper()
	select {
	case r := <-done:
		t.Fatalf("it did not wait: %+v", r)
	case <-time.After(2 * waitPause):
	}
}

// changed is a change of the sample under its lock.
func (s *sample) changed(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// recording is a sample whose service web records every flow.
func recording(t *testing.T) *sample {
	s := newSample()
	s.status.Services[1].Track = "always"
	s.status.Services[1].Backends[0].EffectiveWeight = 0
	s.detail.Serves = true
	return s.start(t)
}

func TestDrainWaits(t *testing.T) {
	s := recording(t)
	done := waiting(t, t.Context(), "backend drain --wait web 10.0.0.11")
	still(t, done)
	s.changed(func() { s.flows[0].State = "fin" })
	still(t, done)
	s.changed(func() { s.flows[0].State = "closed" })
	same(t, (<-done).ok(t), `
web 10.0.0.11:8080: draining: no new flows, old ones stay
web 10.0.0.11:8080: drained: its last flow has ended
`)

	// Its deadline passes.
	s.changed(func() { s.flows[0].State = "established" })
	done = waiting(t, t.Context(), "backend drain --wait --deadline 30s --json web 10.0.0.11")
	still(t, done)
	s.changed(func() { s.detail.Serves = false })
	if b := decode[api.ServiceBackend](t, (<-done).ok(t)); b.State != api.StateDraining || b.Address != web1 {
		t.Errorf("JSON: %+v", b)
	}
	s.changed(func() { s.detail.Serves = true })

	// Somebody interferes, time is over, or the user has enough.
	done = waiting(t, t.Context(), "backend drain --wait web 10.0.0.11")
	still(t, done)
	xlb(t, "backend", "undrain", "web", "10.0.0.11").ok(t)
	if r := <-done; r.status != 1 || r.stderr != "xlb: web 10.0.0.11:8080: it is healthy, and drains no longer\n" {
		t.Errorf("undrained meanwhile: %+v", r)
	}
	r := xlb(t, "backend", "drain", "--wait", "--timeout", "300ms", "web", "10.0.0.11")
	if r.status != 1 || r.stderr != "xlb: web 10.0.0.11:8080: not within 300ms: 1 flow left\n" {
		t.Errorf("time is over: %+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done = waiting(t, ctx, "backend drain --wait web 10.0.0.11")
	still(t, done)
	cancel()
	if r := <-done; r.status != 1 || r.stderr != "xlb: interrupted\n" {
		t.Errorf("interrupted: %+v", r)
	}
	// It would be wrong to say that it has no flows while it gets new ones.
	s.changed(func() { s.flows = nil; s.status.Services[1].Backends[0].EffectiveWeight = 1 })
	r = xlb(t, "backend", "drain", "--wait", "--timeout", "300ms", "web", "10.0.0.11")
	if !strings.Contains(r.stderr, "not within 300ms: it is used though it drains, for no other backend is usable") {
		t.Errorf("used under fail: open: %+v", r)
	}

	xlb(t, "backend", "drain", "--timeout", "1m", "web", "10.0.0.11").fails(t, 2, "xlb: --timeout goes with --wait only")
	xlb(t, "backend", "drain", "--wait", "--timeout", "0s", "web", "10.0.0.11").fails(t, 2, "xlb: --timeout 0s is in the past")
}

// TestDrainWaitsForDeadline: where flows are not recorded nobody can tell that there
// are none, and only the deadline says so.
func TestDrainWaitsForDeadline(t *testing.T) {
	s := recording(t)
	s.changed(func() { s.status.Services[1].Track, s.flows = "auto", nil })
	r := xlb(t, "backend", "drain", "--wait", "web", "10.0.0.11")
	if r.status != 1 || !strings.Contains(r.stderr, "web does not record every flow (track: auto), so nobody knows when the last one ends; the backend drains (give a --deadline") {
		t.Errorf("without a deadline: %+v", r)
	}
	done := waiting(t, t.Context(), "backend drain --wait --deadline 5s web 10.0.0.11")
	still(t, done)
	s.changed(func() { s.detail.Serves = false; s.status.Services[1].Backends[0].Reason = "its time is over" })
	if out := (<-done).ok(t); !strings.HasSuffix(out, "web 10.0.0.11:8080: drained: its time is over\n") {
		t.Errorf("with one:\n%s", out)
	}
}

func TestUndrainWaits(t *testing.T) {
	s := recording(t)
	probe := func(result string, after time.Duration) {
		s.changed(func() {
			at := testNow.Add(after)
			s.detail.Probe = api.BackendProbe{ServiceProbe: api.ServiceProbe{Type: "http"}, Result: result, Checked: &at, LatencySeconds: 1}
		})
	}
	state := func() (now string) {
		s.changed(func() { now = s.status.Services[1].Backends[0].State })
		return now
	}
	xlb(t, "backend", "drain", "web", "10.0.0.11").ok(t)
	// What passed, or began, before says nothing.
	probe("passed", 500*time.Millisecond)
	done := waiting(t, t.Context(), "backend undrain --wait web 10.0.0.11")
	still(t, done)
	probe("failed", 2*time.Second)
	still(t, done)
	if got := state(); got != api.StateDraining {
		t.Errorf("it is %s before a probe has passed", got)
	}
	probe("passed", 3*time.Second)
	until(t, "it is undrained", func() bool { return state() == api.StateHealthy })
	still(t, done) // it is not in the table
	s.changed(func() { s.status.Services[1].Backends[0].EffectiveWeight = 1 })
	same(t, (<-done).ok(t), "web 10.0.0.11:8080: takes new flows again")

	xlb(t, "backend", "drain", "web", "10.0.0.11").ok(t)
	probe("failed", 4*time.Second)
	s.changed(func() { s.status.Services[1].Backends[0].Reason = "connection refused" })
	xlb(t, "backend", "undrain", "--wait", "--timeout", "300ms", "web", "10.0.0.11").fails(t, 1,
		"xlb: web 10.0.0.11:8080: not within 300ms: its probe does not pass: connection refused; it was not undrained")
	if got := state(); got != api.StateDraining {
		t.Errorf("it is %s though its probe fails", got)
	}
	xlb(t, "backend", "disable", "web", "10.0.0.11").ok(t)
	xlb(t, "backend", "undrain", "--wait", "web", "10.0.0.11").fails(t, 1, `xlb: web 10.0.0.11:8080 is disabled (see "xlb backend enable")`)
}

func TestDrainedText(t *testing.T) {
	for reason, want := range map[string]string{
		"drained by the operator; its time is over, and its flows moved": "drained: its time is over, and its flows moved",
		"connect: connection refused":                                    "drained: connect: connection refused",
	} {
		if got := drainedText(reason); got != want {
			t.Errorf("%s: %s", reason, got)
		}
	}
}
