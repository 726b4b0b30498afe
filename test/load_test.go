package test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
)

// load is a stream of requests, each over a connection of its own.
type load struct {
	n    *network
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	answers map[string]int
	failed  int
	first   error
	slowest time.Duration
}

// startLoad sends some 400 requests a second over HTTP until finish.
func (n *network) startLoad(to netip.AddrPort) *load {
	n.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{n: n, stop: stop, answers: map[string]int{}}
	n.t.Cleanup(func() { stop(); l.wg.Wait() })
	for range 4 {
		client := must(n.Client.HTTPClient(false, 10*time.Second))(n.t)
		l.wg.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				begin := time.Now()
				// The end of the load must not cut a request off.
				name, err := testlab.Get(context.Background(), client, "http://"+to.String()+"/")
				l.note(name, err, time.Since(begin))
			}
		})
	}
	return l
}

func (l *load) note(name string, err error, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, took)
	if err != nil {
		l.failed++
		if l.first == nil {
			l.first = err
		}
		return
	}
	l.answers[name]++
}

// counts are the answers so far, by backend.
func (l *load) counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.answers)
}

// progress waits for some more answers from anybody.
func (l *load) progress(more int) {
	l.n.t.Helper()
	start := total(l.counts())
	l.n.eventually(fmt.Sprintf("%d more requests", more), func() string {
		if got := total(l.counts()) - start; got < more {
			return fmt.Sprintf("%d answers", got)
		}
		return ""
	})
}

// since waits for some more answers and returns, by backend, those that came.
// What was under way at the start is left out.
func (l *load) since(more int) map[string]int {
	l.n.t.Helper()
	l.progress(4)
	before := l.counts()
	l.progress(more)
	after := l.counts()
	for name, count := range before {
		if after[name] -= count; after[name] == 0 {
			delete(after, name)
		}
	}
	return after
}

// finish ends the load. No request may have failed.
func (l *load) finish() {
	l.n.t.Helper()
	l.stop()
	l.wg.Wait()
	if l.failed > 0 {
		l.n.t.Errorf("%d of %d requests failed, the first: %v", l.failed, l.failed+total(l.answers), l.first)
	}
	l.n.t.Logf("%d requests, the slowest took %v, by backend %v", total(l.answers), l.slowest, l.answers)
}

func total(counts map[string]int) (sum int) {
	for _, c := range counts {
		sum += c
	}
	return sum
}

// spread compares the answers of the network's backends with their weights.
// Flows choose by hash, so counts are binomial: five standard deviations are
// passed once in millions.
func (n *network) spread(what string, answers map[string]int, weights []int) {
	n.t.Helper()
	all, sum := total(answers), 0
	for _, w := range weights {
		sum += max(w, 0)
	}
	known := 0
	for i, w := range weights {
		p := float64(max(w, 0)) / float64(sum)
		want, deviation := float64(all)*p, math.Sqrt(float64(all)*p*(1-p))
		got := answers[n.Backends[i].Name]
		known += got
		if math.Abs(float64(got)-want) > 5*deviation {
			n.t.Errorf("%s: backend %d answered %d of %d, want %.0f ± %.0f (weights %v, answers %v)",
				what, i+1, got, all, want, 5*deviation, weights, answers)
		}
	}
	if known != all {
		n.t.Errorf("%s: answers by others than the backends: %v", what, answers)
	}
}
