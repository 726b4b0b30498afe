package test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// probePort is where backends answer probes though they refuse work.
const probePort = 8090

// separateProbe is a probe of that port.
const separateProbe = "probe: {type: http, port: 8090, path: /health, interval: 200ms, rise: 1, fall: 1}\n"

// startProbed starts servers that answer probes alone.
func (n *network) startProbed() {
	n.t.Helper()
	for _, b := range n.Backends {
		must(b.StartHTTP(probePort))(n.t)
	}
}

// hush lets a backend drop the SYNs that come to its port for traffic, and returns
// what ends it.
func (n *network) hush(i int) (end func() error) {
	n.t.Helper()
	nft := func(text string) error {
		_, err := n.Backends[i].Command(context.Background(), "nft", text).Output()
		return err
	}
	if err := nft(fmt.Sprintf("add table inet hush; add chain inet hush in { type filter hook input priority 0; }; add rule inet hush in tcp dport %d tcp flags & (syn|ack) == syn drop", httpPort)); err != nil {
		n.t.Fatal(err)
	}
	return func() error { return nft("delete table inet hush") }
}

// attempts begins connections again and again, whatever becomes of them, until the
// test says that it has seen enough.
func (n *network) attempts(to netip.AddrPort, timeout time.Duration) (enough func()) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = n.get(to, timeout)
				select {
				case <-ctx.Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
	enough = sync.OnceFunc(func() { stop(); wg.Wait() })
	n.t.Cleanup(enough)
	return enough
}

// TestEjection: a backend that answers its probe but refuses work, or is silent, is
// found by what becomes of its connections. It comes back half open when it is mended,
// and nobody's connection fails meanwhile.
func TestEjection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		forward, words string
		shape          testlab.Shape
		fail           func(n *network) (mend func() error)
	}{
		{"nat", "refused", testlab.Routed, func(n *network) func() error { return n.stop(0) }},
		{"nat", "not answered", testlab.OneArm, func(n *network) func() error { return n.hush(0) }},
		{"l2dsr", "not finished", testlab.OneArm, func(n *network) func() error { return n.stop(0) }},
		{"l2dsr", "not answered", testlab.OneArm, func(n *network) func() error { return n.hush(0) }},
	} {
		t.Run(c.forward+" "+c.words, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, testlab.TopologyOptions{Shape: c.shape, Backends: 3, BackendsHoldVIPs: c.forward == "l2dsr"})
			n.startProbed()
			web := service{name: "web", weights: []int{1, 1, 1}, more: separateProbe + "forward: " + c.forward +
				"\neject: {time: 4s, window: 10s, min_attempts: 5, consecutive: 3, trials: 3, trial_weight: 50%}"}
			n.run(n.config("", web))
			trusted := func(b *api.Backend) bool {
				return b.State == api.StateHealthy && !b.HalfOpen && b.EffectiveWeight > 0 && b.Reason == ""
			}
			n.awaitBackend(web, 0, "first probe", trusted)
			mend := c.fail(n)
			enough := n.attempts(web.frontend(n), 2500*time.Millisecond)
			var why string
			n.awaitBackend(web, 0, "ejection", func(b *api.Backend) bool {
				why = b.Reason
				return b.State == api.StateEjected && b.EffectiveWeight == 0 && strings.Contains(b.Reason, c.words) && b.EjectedUntil != nil
			})
			enough()
			t.Log(why)
			n.checkEjected(why)
			// While it is out nobody meets it; it is let in again and fails again.
			n.spread("ejected", n.sendAll(web, 60), []int{0, 1, 1})
			enough = n.attempts(web.frontend(n), 2500*time.Millisecond)
			n.awaitBackend(web, 0, "second ejection", func(b *api.Backend) bool { return b.State == api.StateEjected && b.Ejections >= 2 })
			enough()
			if err := mend(); err != nil {
				t.Fatal(err)
			}
			load := n.startLoad(web.frontend(n))
			n.awaitBackend(web, 0, "return", trusted)
			n.spread("mended", load.since(120), []int{1, 1, 1})
			load.finish()
			log := n.daemons[0].logged()
			for _, want := range []string{"a backend is ejected, for its connections fail", "takes a few connections, to be tried", "is trusted again"} {
				if !strings.Contains(log, want) {
					t.Errorf("the log does not say %q", want)
				}
			}
		})
	}
}

// stop stops a backend's server for traffic, so that its host refuses.
func (n *network) stop(i int) (restart func() error) {
	n.t.Helper()
	if err := n.http[i].Stop(); err != nil {
		n.t.Fatal(err)
	}
	return n.http[i].Restart
}

// checkEjected compares what the commands and metrics say.
func (n *network) checkEjected(why string) {
	n.t.Helper()
	for _, command := range []string{"status", "backend ls"} {
		if text := n.xlb(strings.Fields(command)...); !strings.Contains(text, why) || !strings.Contains(text, "ejected") {
			n.t.Errorf("xlb %s does not say %q:\n%s", command, why, text)
		}
	}
	stats := decode[api.Stats](n, "stats")
	s := stats.Services[0]
	if s.Ejected != 1 || s.Ejections != 1 || s.Outcomes == nil || s.Outcomes.Attempts == 0 || s.Outcomes.Answered == 0 {
		n.t.Errorf("service %+v, outcomes %+v", s, s.Outcomes)
	}
	for i, b := range stats.Backends {
		if o := b.Outcomes; o == nil || o.Attempts == 0 || (o.Answered == 0) != (i == 0) {
			n.t.Errorf("backend %s: outcomes %+v", b.Address, o)
		}
	}
}

// TestSYNRetry: with one backend that refuses and one that is silent every connection
// succeeds all the same, by retries that are counted.
func TestSYNRetry(t *testing.T) {
	for _, mode := range []string{"native", "tc"} {
		t.Run(mode, func(t *testing.T) {
			n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
			n.startProbed()
			web := service{name: "web", weights: []int{1, 1, 1}, more: separateProbe + "syn_retry: 2"}
			web6 := web
			web6.name, web6.ipv6 = "web6", true
			n.run(n.config("attach: "+mode, web, web6))
			for i := range n.Backends {
				n.awaitBackend(web, i, "first probe", func(b *api.Backend) bool { return b.State == api.StateHealthy })
			}
			n.stop(0)
			n.hush(1)
			for _, s := range []service{web, web6} {
				answers := n.getAll(s.frontend(n), 60)
				if answers[n.Backends[2].Name] != 60 {
					t.Errorf("%s: answers %v, want 60 of the third backend", s.name, answers)
				}
			}
			n.checkRetried(web, web6)
		})
	}
}

// getAll is one request over each of so many connections at once; none may fail.
func (n *network) getAll(to netip.AddrPort, count int) map[string]int {
	n.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers := map[string]int{}
	for range count {
		wg.Go(func() {
			name, err := n.get(to, 15*time.Second)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				n.t.Errorf("a connection failed: %v", err)
				return
			}
			answers[name]++
		})
	}
	wg.Wait()
	return answers
}

// checkRetried compares the counters with each other: the first backend refused, the
// second was silent, the third took all.
func (n *network) checkRetried(services ...service) {
	n.t.Helper()
	stats := decode[api.Stats](n, "stats")
	retried := uint64(0)
	for _, s := range stats.Services {
		retried += s.Outcomes.Retried
		if o := s.Outcomes; o.Answered != 60 || o.Attempts != o.Answered+o.Retried {
			n.t.Errorf("service %s: %+v", s.Service, o)
		}
	}
	for i := range n.Backends {
		for _, s := range services {
			for _, b := range stats.Backends {
				if b.Address != s.backend(n, i) {
					continue
				}
				o := b.Outcomes
				bad := [3]bool{
					o.Refused == 0 || o.Refused != o.Retried || o.Answered+o.Unanswered > 0,
					o.Unanswered == 0 || o.Unanswered != o.Retried || o.Answered+o.Refused > 0,
					o.Answered != 60 || o.Refused+o.Unanswered+o.Retried > 0 || o.HandshakeSeconds <= 0,
				}
				if bad[i] {
					n.t.Errorf("service %s, backend %d: %+v", s.name, i+1, o)
				}
			}
		}
	}
	if n.counter(stats.Events, "syn_retried") != retried || n.counter(stats.Reasons, "drop_refusal") == 0 {
		n.t.Errorf("%d retries, events %+v, reasons %+v", retried, stats.Events, stats.Reasons)
	}
}
