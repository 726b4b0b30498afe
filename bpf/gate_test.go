package bpf_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// limits gives a service limits.
func (p *plane) limits(t *testing.T, service uint32, l xlb.Limits) {
	t.Helper()
	x := world{p.held}.clone()
	s := x.Services[service]
	s.Limits = l
	x.Services[service] = s
	p.hold(t, x)
	p.refill(t)
}

// refill makes all buckets full.
func (p *plane) refill(t *testing.T) {
	t.Helper()
	for i := range p.raw["service_rates"].MaxEntries() {
		p.put(t, "service_rates", i, uint64(0))
	}
	var key bpf.RateKey
	for p.raw["source_rates"].NextKey(nil, &key) == nil {
		if err := p.raw["source_rates"].Delete(key); err != nil {
			t.Fatal(err)
		}
	}
}

// precise is the clock of the buckets.
func precise(t *testing.T) uint64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return uint64(ts.Nano()) << 4
}

// slow is a rate of which nothing comes back within a test.
func slow(burst uint32) xlb.Rate { return xlb.Rate{PerSecond: 1, Burst: burst} }

// molds that begin a flow: without records a datagram begins none that one knows.
func beginnings(tracked bool) []mold {
	if tracked {
		return []mold{segment(syn), datagram()}
	}
	return []mold{segment(syn)}
}

// As many flows as the burst begin, whatever their sources, and then none; those
// that are known go on, and time lets more begin.
func TestRate(t *testing.T) {
	eachRuled(t, func(t *testing.T, p *plane, w way, tracked bool) {
		for _, m := range beginnings(tracked) {
			p.forget(t)
			p.limits(t, w.service, xlb.Limits{Rate: slow(3)})
			for port := range uint16(3) {
				p.expectBegun(t, w.fromPort(40000+port), m, tracked)
			}
			far := w.fromPort(40009)
			far.client = netip.AddrPortFrom(w.client.Addr().Next(), 40009)
			p.expectRefused(t, far, m, "drop_rate")
			if tracked {
				p.expectGoesOn(t, w, m, tracked)
			} else {
				p.expectGoesOn(t, w, segment(ack), tracked)
			}
			p.expectRequest(t, wayTo(w.service%4+1), m, "flow_created")
			p.put(t, "service_rates", w.service, precise(t)+2<<4*uint64(time.Second))
			p.expectBegun(t, far, m, tracked)
			p.expectRefused(t, far.fromPort(40010), m, "drop_rate")
		}
	})
}

// A packet in the middle of a connection that is not known begins none.
func TestRateMidstream(t *testing.T) {
	eachRuled(t, func(t *testing.T, p *plane, w way, tracked bool) {
		p.limits(t, w.service, xlb.Limits{Rate: slow(1), RatePerSource: slow(1), IPv4: 32, IPv6: 128})
		p.expectBegun(t, w.fromPort(40001), segment(syn), tracked)
		p.expectRefused(t, w.fromPort(40002), segment(syn), "drop_rate_source")
		p.expectBegun(t, w, segment(ack), tracked)
	})
}

// A source that asks too much takes nothing of others, nor of the service. What a
// source is, the prefixes' lengths say.
func TestRatePerSource(t *testing.T) {
	eachRuled(t, func(t *testing.T, p *plane, w way, tracked bool) {
		m := segment(syn)
		from := func(host string) way {
			x := w
			x.client = netip.AddrPortFrom(netip.MustParseAddr(host), w.client.Port())
			return x
		}
		first, sibling, stranger := from("10.10.0.2"), from("10.10.0.3"), from("10.10.1.2")
		if w.family() == 6 {
			first, sibling, stranger = from("fd10:10::2"), from("fd10:10::1:0:0:3"), from("fd10:10:0:1::2")
		}
		p.limits(t, w.service, xlb.Limits{Rate: slow(4), RatePerSource: slow(2), IPv4: 24, IPv6: 64})
		p.expectBegun(t, first, m, tracked)
		p.expectBegun(t, sibling, m, tracked)
		for range 5 {
			p.expectRefused(t, first.fromPort(40001), m, "drop_rate_source")
			p.expectRefused(t, sibling.fromPort(40001), m, "drop_rate_source")
		}
		p.expectBegun(t, stranger, m, tracked)
		p.expectBegun(t, stranger.fromPort(40001), m, tracked)
		p.expectRefused(t, stranger.fromPort(40002), m, "drop_rate_source")

		p.forget(t)
		p.limits(t, w.service, xlb.Limits{RatePerSource: slow(1), IPv4: 32, IPv6: 128})
		p.expectBegun(t, first, m, tracked)
		p.expectBegun(t, sibling, m, tracked)
		p.expectRefused(t, first.fromPort(40001), m, "drop_rate_source")
	})
}

// Who waits because a limit was low waits no longer than the new one says.
func TestRateRaised(t *testing.T) {
	eachRuled(t, func(t *testing.T, p *plane, w way, tracked bool) {
		p.limits(t, w.service, xlb.Limits{Rate: xlb.Rate{PerSecond: 1000, Burst: 1}})
		p.put(t, "service_rates", w.service, precise(t)+1000<<4*uint64(time.Second))
		p.expectRefused(t, w, segment(syn), "drop_rate")
		deadline := time.Now().Add(5 * time.Second)
		for {
			verdict, _, err := p.run(w.request(segment(syn)))
			if err != nil {
				t.Fatal(err)
			}
			if verdict != "drop" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("a thousand a second let none in within 5 s")
			}
		}
	})
}

// Many CPUs that ask at once get what the bucket holds, and no more.
func TestRateParallel(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		x := standard()
		x.tracks(dsr4, model.TrackAuto)
		p.hold(t, x)
		const workers, burst = 4, 500
		p.limits(t, dsr4, xlb.Limits{Rate: slow(burst), RatePerSource: slow(burst), IPv4: 8, IPv6: 8})
		var passed atomic.Uint64
		var g errgroup.Group
		began := time.Now()
		for worker := range workers {
			g.Go(func() error {
				return balancer.Do(func() error {
					for i := range burst {
						verdict, _, err := p.run(wayTo(dsr4).fromPort(uint16(20000 + worker*burst + i)).request(segment(syn)))
						if err != nil {
							return err
						}
						if verdict != "drop" {
							passed.Add(1)
						}
					}
					return nil
				})
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		// The bucket gets one more each second meanwhile.
		if n, most := passed.Load(), burst+uint64(time.Since(began)/time.Second)+1; n < burst || n > most {
			t.Errorf("%d flows began, of a burst of %d", n, burst)
		}
	})
}

// A service with policies asks the gate once for a flow, not again when its
// packet comes back.
func TestRatePolicies(t *testing.T) {
	policedWays(t, model.OverloadDrop, func(t *testing.T, p *plane, r *xlb.UpcallReader, w way) {
		for _, m := range []mold{segment(syn), datagram()} {
			p.limits(t, w.service, xlb.Limits{Rate: slow(1)})
			p.decide(t, p.expectAsked(t, r, w, m), xlb.Decision{})
			p.expectNotAsked(t, r, w, m, "flow_created", "decided")
			p.expectRefused(t, w.fromPort(40001), m, "drop_rate")
			p.expectSilence(t, r)
		}
	})
}

// What XDP let in, TC behind it sends on, though the bucket is empty.
func TestRateCompanion(t *testing.T) {
	x := standard()
	x.tracks(dsr6, model.TrackAuto)
	x.backend(41, dsr6, "[fd10:20::63]:80") // nobody is there
	p := newPlane(t, settings(), sizes(), x)
	inside(t, "behind xdp", func(t *testing.T) {
		w := wayTo(dsr6)
		w.backend = x.Backends[w.number].Address
		m := keepingMACs(segment(testlab.SYN), w.requestEnds().link)
		p.limits(t, dsr6, xlb.Limits{Rate: slow(1)})
		p.hook = xdpHook
		if verdict, _, err := p.run(w.request(m)); err != nil || verdict != "pass" {
			t.Fatalf("verdict %q, error %v", verdict, err)
		}
		p.hook = companion
		if verdict, _, err := p.run(w.request(m)); err != nil || verdict != "redirect" {
			t.Fatalf("verdict %q, error %v", verdict, err)
		}
		p.hook = xdpHook
		p.expectRefused(t, w.fromPort(40001), m, "drop_rate")
	})
}

// Beyond the most that may be open none begins, until one ends.
func TestMaxConnections(t *testing.T) {
	eachRuled(t, func(t *testing.T, p *plane, w way, tracked bool) {
		if !tracked {
			return // refused by the configuration: nothing counts there
		}
		p.limits(t, w.service, xlb.Limits{MaxConnections: 2})
		p.correct(t)
		p.expectBegun(t, w, segment(syn), tracked)
		p.expectBegun(t, w, datagram(), tracked)
		third := w.fromPort(40002)
		p.expectRefused(t, third, segment(syn), "drop_connections")
		p.expectRefused(t, third, datagram(), "drop_connections")
		p.expectGoesOn(t, w, segment(ack), tracked)
		p.expectGoesOn(t, w, datagram(), tracked)
		p.expectGoesOn(t, w, segment(rst), tracked)
		p.expectBegun(t, third, segment(syn), tracked)
		p.expectRefused(t, w.fromPort(40003), segment(syn), "drop_connections")
		// Flows that ended in silence are found by the daemon's sweep.
		p.age(t, 10*time.Minute)
		p.correct(t)
		p.expectBegun(t, w.fromPort(40003), segment(syn), tracked)
	})
}

// No limit stands in the way of the others' order: what there is no room for takes
// no token.
func TestMaxConnectionsTakesNoToken(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		w := wayTo(nat4)
		p.limits(t, nat4, xlb.Limits{MaxConnections: 1, Rate: slow(2), RatePerSource: slow(2), IPv4: 32, IPv6: 64})
		p.correct(t)
		p.expectBegun(t, w, segment(syn), true)
		for range 5 {
			p.expectRefused(t, w.fromPort(40001), segment(syn), "drop_connections")
		}
		p.expectGoesOn(t, w, segment(rst), true)
		p.expectBegun(t, w.fromPort(40001), segment(syn), true)
	})
}
