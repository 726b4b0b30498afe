package policy

import (
	"errors"
	"testing"
	"time"
)

// TestBreaker follows a hook through ejection, trials and return, on a clock of its
// own.
func TestBreaker(t *testing.T) {
	b := &breaker{}
	now := time.Minute
	clock := func() time.Duration { return now }
	fail := func(trial bool) time.Duration { return b.fail(now, trial) }
	try := func(want, wantTrial bool) {
		t.Helper()
		if ok, trial := b.allow(clock); ok != want || trial != wantTrial {
			t.Fatalf("at %v: allowed %v, trial %v", now, ok, trial)
		}
	}
	for range ejectAfter - 1 {
		if fail(false) != 0 {
			t.Fatal("ejected too early")
		}
	}
	b.succeed(clock, false) // begins the row anew
	for range ejectAfter - 1 {
		if fail(false) != 0 {
			t.Fatal("ejected too early")
		}
	}
	try(true, false)
	if d := fail(false); d != time.Second {
		t.Fatalf("ejected for %v", d)
	}
	if fail(false) != 0 {
		t.Error("ejected again by a call that was under way")
	}
	b.succeed(clock, false) // so was this one
	try(false, false)
	for _, want := range []time.Duration{2, 4, 8, 16, 32, 60, 60} {
		now += b.backoff
		try(true, true)
		try(false, false) // others wait for the trial
		if d := fail(true); d != want*time.Second {
			t.Fatalf("ejected for %v, want %v", d, want*time.Second)
		}
	}
	now += b.backoff
	try(true, true)
	if !b.succeed(clock, true) {
		t.Error("the return is not told")
	}
	try(true, false)
	now += 10 * time.Second
	for range ejectAfter - 1 {
		fail(false)
	}
	if d := fail(false); d != time.Minute {
		t.Errorf("soon after its return it is ejected for %v", d)
	}
	now += time.Minute
	try(true, true)
	b.succeed(clock, true)
	now += 2 * time.Minute
	for range ejectAfter - 1 {
		fail(false)
	}
	if d := fail(false); d != time.Second {
		t.Errorf("long after its return it is ejected for %v", d)
	}
	if b.ejections.Load() != 10 {
		t.Errorf("%d ejections", b.ejections.Load())
	}
}

// TestBreakerForget: a trial that was broken off is made again.
func TestBreakerForget(t *testing.T) {
	b := &breaker{}
	now := time.Duration(1)
	clock := func() time.Duration { return now }
	for range ejectAfter {
		b.fail(now, false)
	}
	now += time.Second
	if ok, trial := b.allow(clock); !ok || !trial {
		t.Fatal("no trial")
	}
	b.forget(now, true)
	now += 2
	if ok, trial := b.allow(clock); !ok || !trial {
		t.Error("no other trial")
	}
}

// TestEjected: a policy that keeps failing is not asked, and comes back when it works.
func TestEjected(t *testing.T) {
	r, l := newLogged(t)
	p := hostile(t, r, "")
	w := worker(t, p)
	for range ejectAfter {
		w.Flow(from(4))
	}
	if _, err := w.Flow(from(999)); !errors.Is(err, ErrEjected) {
		t.Fatalf("after %d failures: %v", ejectAfter, err)
	}
	h := p.Stats().Hooks[HookFlow]
	if !h.Ejected || h.Skipped != 1 || h.Calls != ejectAfter || h.LastError == "" {
		t.Errorf("%+v", h)
	}
	eventually(t, "the policy works again", func() bool {
		_, err := w.Flow(from(999))
		return err == nil
	})
	if h := p.Stats().Hooks[HookFlow]; h.Ejected || h.LastError == "" || h.Ejections != 1 {
		t.Errorf("%+v", h)
	}
	wants(t, errors.New(oneOf(l.String(), "ejected")), "policy=test-hostile", "hook=flow", "for=1s", "unreachable")
	wants(t, errors.New(oneOf(l.String(), "works again")), "policy=test-hostile", "hook=flow")
}

// TestSometimes: a policy that fails two times of three is not ejected.
func TestSometimes(t *testing.T) {
	p := hostile(t, newRuntime(t, Options{}), "")
	w := worker(t, p)
	for i := range uint64(30) {
		f := from(21)
		f.Hash = i
		_, err := w.Flow(f)
		if (err == nil) != (i%3 == 0) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if s := p.Stats(); s.Hooks[HookFlow].Ejections != 0 || s.Hooks[HookFlow].Errors != 20 || s.Restarts != 20 {
		t.Errorf("%+v", s)
	}
}
