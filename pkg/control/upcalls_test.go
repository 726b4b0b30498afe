package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// plane is the data plane's side of decisions.
type plane struct {
	mu      sync.Mutex
	said    []string // in order
	beats   int
	away    bool
	failing error
	packets chan maps.Upcall
	late    chan struct{}
}

func newPlane() *plane { return &plane{packets: make(chan maps.Upcall, 16), late: make(chan struct{})} }

func (p *plane) note(format string, args ...any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, fmt.Sprintf(format, args...))
	return p.failing
}

func (p *plane) Decide(u *maps.Upcall, d maps.Decision) error {
	return p.note("decide %d drop=%v backend=%d", u.Source.Port(), d.Drop, d.Backend)
}
func (p *plane) Inject(u *maps.Upcall) error { return p.note("inject %d", u.Source.Port()) }
func (p *plane) Reject(u *maps.Upcall) error { return p.note("reject %d", u.Source.Port()) }
func (p *plane) Close() error                { return p.note("close") }
func (p *plane) Flush() error                { close(p.late); return nil }

func (p *plane) Heartbeat() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beats++
	return nil
}

func (p *plane) Away() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = true
	return nil
}

// injection is its other side, which is closed on its own.
type injection struct{ *plane }

func (injection) Close() error { return nil }

func (p *plane) Read(u *maps.Upcall) error {
	select {
	case *u = <-p.packets:
		return nil
	default:
	}
	select {
	case *u = <-p.packets:
		return nil
	case <-p.late:
		return maps.ErrFlushed
	}
}

// ask sends a packet of a flow from a port to the daemon.
func (p *plane) ask(service uint32, port uint16, at time.Duration) {
	p.packets <- maps.Upcall{
		Service: service, Protocol: model.TCP, TCPFlags: 2, Hash: uint64(port), At: at,
		Source: netip.AddrPortFrom(addr("198.51.100.7"), port), Destination: ap("192.0.2.1:80"),
	}
}

// expect waits until that was said, and nothing else.
func (p *plane) expect(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		return unless(fmt.Sprint(p.said) == fmt.Sprint(want), "said %q, want %q", p.said, want)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = nil
}

func TestUpcalls(t *testing.T) {
	r := policyRuntime(t)
	trial, err := r.Load(t.Context(), canary("100"))
	if err != nil {
		t.Fatal(err)
	}
	reject, err := r.Load(t.Context(), filter(`{"unlisted":"deny","refuse":"reject"}`))
	if err != nil {
		t.Fatal(err)
	}
	drop, err := r.Load(t.Context(), filter(`{"unlisted":"deny"}`))
	if err != nil {
		t.Fatal(err)
	}
	state := placed(4)
	state.Backends[2].Tags = "canary"
	chain := func(p *policy.Policy) *policy.Chain {
		return policy.NewChain(policy.Link{Policy: p, Mode: model.PolicyEnforce})
	}
	p := newPlane()
	var counts upcallCounts
	now := 10 * time.Second
	u := startUpcalls(p, p, injection{p}, func() time.Duration { return now }, &counts, quiet())
	u.sites.Store(&map[uint32]*site{
		1: siteOf(state, chain(trial), model.OverloadContinue),
		2: siteOf(state, chain(drop), model.OverloadContinue),
		3: siteOf(state, chain(reject), model.OverloadDrop),
	})

	p.ask(1, 11, now)
	p.expect(t, "decide 11 drop=false backend=102", "inject 11")
	p.ask(2, 12, now)
	p.expect(t, "decide 12 drop=true backend=0")
	p.ask(3, 13, now)
	p.expect(t, "decide 13 drop=true backend=0", "reject 13")
	p.ask(4, 14, now) // a service whose policies are gone
	p.expect(t, "decide 14 drop=false backend=0", "inject 14")
	p.ask(1, 15, now-staleAfter-1)
	p.ask(1, 16, now)
	p.expect(t, "decide 16 drop=false backend=102", "inject 16")

	u.overload(&maps.Upcall{Service: 1, Source: ap("198.51.100.7:17")})
	u.overload(&maps.Upcall{Service: 3, Source: ap("198.51.100.7:18")})
	p.expect(t, "decide 17 drop=false backend=0", "inject 17")

	p.failing = errors.New("no room")
	p.ask(1, 19, now)
	p.expect(t, "decide 19 drop=false backend=102") // and is not sent, for it would come back
	p.failing = nil
	for port := range uint16(5) {
		p.ask(2, 20+port, now) // what was asked before the end is answered
	}
	if err := u.close(); err != nil {
		t.Error(err)
	}
	p.expect(t, "decide 20 drop=true backend=0", "decide 21 drop=true backend=0", "decide 22 drop=true backend=0",
		"decide 23 drop=true backend=0", "decide 24 drop=true backend=0", "close")
	if got := counts.shown(); got.Asked != 10 || got.Stale != 1 || got.Failed != 1 {
		t.Errorf("counts %+v", got)
	}
	if !p.away || p.beats == 0 {
		t.Errorf("after %d heartbeats, away %v", p.beats, p.away)
	}
	for _, one := range []*policy.Policy{trial, reject, drop} {
		if err := one.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// TestUpcallsFull: a service whose queue is full follows its own rule, and others are
// answered meanwhile.
func TestUpcallsFull(t *testing.T) {
	p := newPlane()
	var counts upcallCounts
	u := startUpcalls(p, p, injection{p}, func() time.Duration { return 0 }, &counts, quiet())
	stuck, other := make(chan *maps.Upcall, 1), make(chan *maps.Upcall) // nobody takes from them
	u.sites.Store(&map[uint32]*site{1: {overload: model.OverloadDrop}, 2: {overload: model.OverloadContinue}})
	p.ask(9, 1, 0) // the reader is past the look at its queues
	p.expect(t, "decide 1 drop=false backend=0", "inject 1")
	u.queues[1], u.queues[2] = stuck, other
	p.ask(1, 2, 0)
	p.ask(1, 3, 0)
	p.ask(2, 4, 0)
	p.ask(9, 5, 0)
	eventually(t, func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		return unless(len(p.said) == 4, "said %q", p.said)
	})
	if err := u.close(); err != nil {
		t.Error(err)
	}
	if got := counts.shown(); got.Overloaded != 2 {
		t.Errorf("counts %+v", got)
	}
}
