package bpf_test

import (
	"net/netip"
	"testing"
	"time"

	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// bound is an affinity by whole IPv4 addresses and IPv6 /64.
var bound = xlb.Selection{Schedule: model.RoundRobin, AffinityTimeout: time.Minute, AffinityIPv4: 32, AffinityIPv6: 64}

// from is the same way from another client.
func (w way) from(v4, v6 string) way {
	w.client = either(w.vip, v4, v6)
	return w
}

// A client's flows go where its first went, over changes of the table; another
// client's do not.
func TestAffinity(t *testing.T) {
	eachChoosing(t, bound, func(t *testing.T, p *plane, w way) {
		home := p.settle(t, w, 1000)
		kept := p.event(t, "affinity")
		for i := range uint16(5) {
			if id := p.settle(t, w, 2000+i); id != home {
				t.Fatalf("a second connection went to %d, the first to %d", id, home)
			}
		}
		if n := p.event(t, "affinity") - kept; n != 5 {
			t.Errorf("%d flows are counted, want 5", n)
		}
		// In IPv6 the neighbour in its /64 is the same client.
		neighbour := w.from("10.10.0.3:1000", "[fd10:10::3]:1000")
		stranger := w.from("10.10.0.4:1000", "[fd10:10:0:1::2]:1000")
		if w.family() == 6 && p.chosen(t, neighbour.request(segment(syn))) != home {
			t.Error("a neighbour in the client's /64 is somebody else")
		}
		seen := map[uint32]bool{}
		for i := range byte(3) {
			a := stranger.client.Addr().AsSlice()
			a[len(a)-1] += i
			a[len(a)/2-1] += i * byte(w.family()/6)
			other, _ := netip.AddrFromSlice(a)
			stranger.client = netip.AddrPortFrom(other, 1000)
			seen[p.chosen(t, stranger.request(segment(syn)))] = true
		}
		if len(seen) != 3 {
			t.Errorf("three other clients have %d backends", len(seen))
		}
		// A table without its backend, as after a drain, changes nothing for it.
		drained := choosing(bound)
		drained.table(w.service, w.number+(home-w.number+1)%3)
		p.hold(t, drained)
		if id := p.settle(t, w, 3000); id != home {
			t.Errorf("after a drain a connection went to %d, not %d", id, home)
		}
		if id := p.chosen(t, w.fromPort(3001).request(datagram())); id != home {
			t.Errorf("a datagram went to %d, not %d", id, home)
		}
	})
}

// It ends when the backend no longer serves; then the client gets another home.
func TestAffinityEndsWithBackend(t *testing.T) {
	eachChoosing(t, bound, func(t *testing.T, p *plane, w way) {
		home := p.settle(t, w, 1000)
		down := choosing(bound)
		down.serves(home, false)
		down.table(w.service, w.number+(home-w.number+1)%3, w.number+(home-w.number+2)%3)
		p.hold(t, down)
		lost, kept := p.event(t, "affinity_lost"), p.event(t, "affinity")
		next := p.settle(t, w, 1001)
		if next == home {
			t.Fatal("it went to a backend that does not serve")
		}
		for i := range uint16(5) {
			if id := p.settle(t, w, 2000+i); id != next {
				t.Errorf("it went to %d, not to its new backend %d", id, next)
			}
		}
		if l, k := p.event(t, "affinity_lost")-lost, p.event(t, "affinity")-kept; l != 1 || k != 5 {
			t.Errorf("%d lost and %d kept are counted, want 1 and 5", l, k)
		}
		// The number's next owner is nobody's home.
		gone := choosing(bound)
		delete(gone.Backends, next)
		gone.table(w.service, home)
		p.hold(t, gone)
		if id := p.settle(t, w, 3000); id != home {
			t.Errorf("it went to %d", id)
		}
	})
}

// It ends some time after the last new flow, which each new one begins anew.
func TestAffinityEndsWithTime(t *testing.T) {
	eachChoosing(t, bound, func(t *testing.T, p *plane, w way) {
		home := p.settle(t, w, 1000)
		for i := range uint16(3) {
			p.ageClients(t, 50*time.Second)
			if id := p.settle(t, w, 1001+i); id != home {
				t.Fatalf("it was forgotten too early")
			}
		}
		seen := map[uint32]bool{}
		for i := range uint16(3) {
			p.ageClients(t, 61*time.Second)
			seen[p.settle(t, w, 2000+i)] = true
		}
		if len(seen) != 3 {
			t.Errorf("it was not forgotten: %v", seen)
		}
	})
}

// ageClients makes all clients look as if they had been away for that long.
func (p *plane) ageClients(t *testing.T, d time.Duration) {
	t.Helper()
	type entry struct{ Backend, At uint32 }
	all := map[[24]byte]entry{}
	var k [24]byte
	var v entry
	for it := p.raw["affinities"].Iterate(); it.Next(&k, &v); {
		v.At -= uint32(d >> 20)
		all[k] = v
	}
	for k, v := range all {
		if err := p.raw["affinities"].Put(k, v); err != nil {
			t.Fatal(err)
		}
	}
}

// A client is as many bits of its address as the service says.
func TestAffinityPrefix(t *testing.T) {
	for _, c := range []struct {
		v4, v6         uint8
		near, far      [2]string // in and out of the client's prefix
		near6, distant string
	}{
		{24, 48, [2]string{"10.10.0.9:1", "10.10.0.200:1"}, [2]string{"10.10.1.2:1", "10.11.0.2:1"}, "[fd10:10:0:ffff::2]:1", "[fd10:10:1::2]:1"},
		{9, 120, [2]string{"10.10.200.9:1", "10.127.0.1:1"}, [2]string{"10.130.0.2:1", "11.10.0.2:1"}, "[fd10:10::ff]:1", "[fd10:10::1:2]:1"},
		{32, 128, [2]string{"10.10.0.2:1", "10.10.0.2:9"}, [2]string{"10.10.0.3:1", "10.10.0.1:1"}, "[fd10:10::2]:1", "[fd10:10::3]:1"},
		{1, 1, [2]string{"10.10.0.9:1", "127.255.0.1:1"}, [2]string{"198.51.100.1:1", "203.0.113.1:1"}, "[fe00::1]:1", "[2001:db8:c::1]:1"},
	} {
		s := bound
		s.AffinityIPv4, s.AffinityIPv6 = c.v4, c.v6
		eachChoosing(t, s, func(t *testing.T, p *plane, w way) {
			home := p.settle(t, w, 1000)
			kept := p.event(t, "affinity")
			for _, near := range c.near {
				if id := p.chosen(t, w.from(near, c.near6).request(segment(syn))); id != home {
					t.Errorf("/%d, /%d: %s or %s went to %d, not %d", c.v4, c.v6, near, c.near6, id, home)
				}
			}
			if p.event(t, "affinity") == kept {
				t.Error("nothing was counted")
			}
			kept = p.event(t, "affinity")
			for _, far := range c.far {
				p.forgetClients(t)
				p.settle(t, w, 2000)
				p.chosen(t, w.from(far, c.distant).request(segment(syn)))
			}
			if n := p.event(t, "affinity") - kept; n != 0 {
				t.Errorf("/%d, /%d: %d flows of other clients were kept", c.v4, c.v6, n)
			}
		})
	}
}
