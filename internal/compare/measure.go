package compare

import (
	"context"
	"fmt"
)

// measurement is one round of a balancer.
type measurement struct {
	// others is how many CPUs were busy before we did anything.
	others                float64
	connections, requests web
	// upload and download in GB/s.
	upload, download float64
	// shares of the connections that each backend got.
	shares [backends]float64
}

// web is a piece of wrk's.
type web struct {
	rate float64 // per second
	// cpu is microseconds of all CPUs, each; NaN if others disturbed.
	cpu            float64
	p50, p99, p999 float64 // microseconds
}

// measure takes all four pieces and verifies each.
func (s *site) measure(ctx context.Context) (m measurement, err error) {
	if m.others, err = idleCPUs(ctx, idleFor); err != nil {
		return m, err
	}
	if m.connections, m.shares, err = s.measureWeb(ctx, m.others, false); err != nil {
		return m, fmt.Errorf("connections: %w", err)
	}
	if m.requests, _, err = s.measureWeb(ctx, m.others, true); err != nil {
		return m, fmt.Errorf("requests: %w", err)
	}
	if m.upload, err = s.measureBulk(ctx, false); err != nil {
		return m, fmt.Errorf("upload: %w", err)
	}
	if m.download, err = s.measureBulk(ctx, true); err != nil {
		return m, fmt.Errorf("download: %w", err)
	}
	return m, nil
}

func (s *site) measureWeb(ctx context.Context, others float64, keepAlive bool) (w web, shares [backends]float64, err error) {
	before, err := s.served(ctx)
	if err != nil {
		return w, shares, err
	}
	watch, err := startStopwatch()
	if err != nil {
		return w, shares, err
	}
	l, err := s.wrk(ctx, keepAlive)
	if err != nil {
		return w, shares, err
	}
	spent, err := watch.spent(others)
	if err != nil {
		return w, shares, err
	}
	after, err := s.served(ctx)
	if err != nil {
		return w, shares, err
	}
	if shares, err = verify(before, after, l.Requests, keepAlive); err != nil {
		return w, shares, err
	}
	each := func(v float64) float64 { return v / float64(l.Requests) }
	w = web{rate: 1e6 / each(l.Micros), cpu: 1e6 * each(spent), p50: l.P50, p99: l.P99, p999: l.P999}
	return w, shares, s.account(ctx, work{requests: l.Requests, everywhere: !keepAlive})
}

// verify compares what the backends counted with what the client did.
func verify(before, after []served, requests uint64, keepAlive bool) (shares [backends]float64, err error) {
	var all served
	for i := range after {
		// Without the question for the counters itself.
		connections := after[i].connections - before[i].connections - 1
		answers := after[i].requests - before[i].requests - 1
		// Few connections, placed by a hash, may miss a backend.
		if answers == 0 && !keepAlive {
			return shares, fmt.Errorf("backend %d got nothing", i+1)
		}
		all.connections += connections
		all.requests += answers
		shares[i] = float64(answers)
	}
	for i := range shares {
		shares[i] /= float64(max(1, all.requests))
	}
	// When wrk ends, the last requests are answered but not counted by it.
	if all.requests < requests || all.requests > requests+2*webConnections {
		return shares, fmt.Errorf("the backends answered %d requests, the client counted %d", all.requests, requests)
	}
	if keepAlive && all.connections > 2*webConnections {
		return shares, fmt.Errorf("%d connections, want %d that stay", all.connections, webConnections)
	}
	if !keepAlive && all.connections < requests {
		return shares, fmt.Errorf("%d connections for %d requests, want as many", all.connections, requests)
	}
	return shares, nil
}

func (s *site) measureBulk(ctx context.Context, download bool) (rate float64, err error) {
	bytes, rate, err := s.bulk(ctx, download)
	if err != nil {
		return 0, err
	}
	w := work{uploadBytes: bytes}
	if download {
		w = work{}
	}
	return rate / 1e9, s.account(ctx, w)
}

func (s *site) account(ctx context.Context, w work) error {
	if s.balancer.account == nil {
		return nil
	}
	return s.balancer.account(ctx, w)
}
