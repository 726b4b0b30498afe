package bpf_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// plenty is a limit that no test reaches.
const plenty = 900_000

// policed is the standard world with policies for every service, each of which
// has a second backend that its table does not name. None would record flows but
// for its policies.
func policed(overload model.OnOverload) world {
	w := standard()
	for _, s := range []uint32{nat4, nat6, dsr4, dsr6} {
		w.tracks(s, model.TrackAuto)
		w.polices(s, overload, plenty, plenty)
		second := wayTo(s).over(2)
		w.backend(second.number, s, second.backend.String())
	}
	return w
}

func (w world) polices(service uint32, overload model.OnOverload, upcalls, perSource uint32) {
	s := w.Services[service]
	s.Policy, s.Upcalls, s.UpcallsPerSource = overload, upcalls, perSource
	w.Services[service] = s
}

// policePlane returns a data plane that holds w, whose daemon is there and has
// been asked nothing, and what it would be asked.
func policePlane(t *testing.T, w world) (*plane, *xlb.UpcallReader) {
	t.Helper()
	p := newPlane(t, settings(), sizes(), w)
	r, err := p.set.Upcalls()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), p.set.Away()); err != nil {
			t.Error(err)
		}
	})
	p.forgetPolicies(t, r)
	return p, r
}

// forgetPolicies empties what stands between a packet and the daemon, which is
// there from now on.
func (p *plane) forgetPolicies(t *testing.T, r *xlb.UpcallReader) {
	t.Helper()
	p.forget(t)
	p.waiting(t, r)
	var key bpf.DecisionKey
	for p.raw["decisions"].NextKey(nil, &key) == nil {
		if err := p.raw["decisions"].Delete(key); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"service_upcalls", "source_upcalls"} {
		m := p.raw[name]
		keys, values := make([]uint32, m.MaxEntries()), make([]uint64, m.MaxEntries())
		for i := range keys {
			keys[i] = uint32(i)
		}
		if _, err := m.BatchUpdate(keys, values, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.set.Heartbeat(); err != nil {
		t.Fatal(err)
	}
}

// waiting takes all that the daemon is asked.
func (p *plane) waiting(t *testing.T, r *xlb.UpcallReader) (all []*xlb.Upcall) {
	t.Helper()
	r.SetDeadline(time.Unix(1, 0)) // long ago: waits for nothing
	for {
		u := new(xlb.Upcall)
		err := r.Read(u)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
}

// expectAsked sends the way's packet and expects it, whole, at the daemon. No
// flow is made of it.
func (p *plane) expectAsked(t *testing.T, r *xlb.UpcallReader, w way, m mold) *xlb.Upcall {
	t.Helper()
	if err := p.set.Heartbeat(); err != nil {
		t.Fatal(err)
	}
	flows, in := p.flowCount(), w.request(m)
	p.expect(t, in, want{reason: "upcall", verdict: "drop"})
	all := p.waiting(t, r)
	if len(all) != 1 {
		t.Fatalf("%d upcalls, want one", len(all))
	}
	if diff := testlab.Diff(in.frame, all[0].Frame); diff != "" {
		t.Errorf("the daemon got:\n%s", diff)
	}
	if n := p.flowCount(); n != flows {
		t.Errorf("%d flows were recorded", n-flows)
	}
	return all[0]
}

// expectNotAsked sends the way's packet and expects that it is forwarded, with
// these events, and the daemon learns nothing.
func (p *plane) expectNotAsked(t *testing.T, r *xlb.UpcallReader, w way, m mold, events ...string) {
	t.Helper()
	p.expectRequest(t, w, m, events...)
	p.expectSilence(t, r)
}

func (p *plane) expectSilence(t *testing.T, r *xlb.UpcallReader) {
	t.Helper()
	if n := len(p.waiting(t, r)); n != 0 {
		t.Errorf("%d upcalls, want none", n)
	}
}

func (p *plane) decide(t *testing.T, u *xlb.Upcall, d xlb.Decision) {
	t.Helper()
	if err := p.set.Decide(u, d); err != nil {
		t.Fatal(err)
	}
}

// decisions are those that wait, changed.
func (p *plane) decisions(t *testing.T, change func(*bpf.Decision)) (n int) {
	t.Helper()
	var k bpf.DecisionKey
	var d bpf.Decision
	found := map[bpf.DecisionKey]bpf.Decision{}
	it := p.raw["decisions"].Iterate()
	for it.Next(&k, &d) {
		found[k] = d
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	for k, d := range found {
		change(&d)
		if err := p.raw["decisions"].Put(k, d); err != nil {
			t.Fatal(err)
		}
	}
	return len(found)
}

func unchanged(*bpf.Decision) {}

// older makes a decision look as if it had been made d before.
func older(by time.Duration) func(*bpf.Decision) {
	return func(d *bpf.Decision) { d.At -= uint64(by) }
}

// coarse is the data plane's clock.
func coarse(t *testing.T) uint64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil {
		t.Fatal(err)
	}
	return uint64(ts.Nano())
}

// policedWays runs a test for a way to each service of the policed world, on both
// hooks, each time from a data plane that knows nothing.
func policedWays(t *testing.T, overload model.OnOverload, f func(t *testing.T, p *plane, r *xlb.UpcallReader, w way)) {
	p, r := policePlane(t, policed(overload))
	p.bothHooks(t, func(t *testing.T) {
		for _, s := range []uint32{nat4, nat6, dsr4, dsr6} {
			inside(t, wayTo(s).name, func(t *testing.T) {
				p.hold(t, policed(overload))
				p.forgetPolicies(t, r)
				f(t, p, r, wayTo(s))
			})
		}
	})
}
