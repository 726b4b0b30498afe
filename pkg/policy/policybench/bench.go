// Package policybench measures what a policy costs.
package policybench

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

const (
	// rounds of calls are measured, and so many instances made.
	rounds = 7
	// roundTime is about how long a round takes.
	roundTime = 100 * time.Millisecond
	// madeUp is how many flows there are if the caller has none.
	madeUp = 4096
)

// Report is what a policy costs on this machine.
type Report struct {
	Policy string `json:"policy"`
	Bytes  int    `json:"bytes"`
	// Load is the time to read, rewrite, compile, start and configure the module,
	// LoadCached the same with what was compiled before.
	Load       time.Duration `json:"load_ns"`
	LoadCached time.Duration `json:"load_cached_ns"`
	// Memory is that of an instance, in bytes.
	Memory uint64 `json:"memory_bytes"`
	// Flow is nil if the policy does not answer it.
	Flow *Flow `json:"flow,omitempty"`
}

// Flow is what a call costs.
type Flow struct {
	// Instance is the median time to make one more instance, of which each worker has
	// one.
	Instance time.Duration `json:"instance_ns"`
	// Flows were asked about in turn; Given says that the caller gave them.
	Flows int  `json:"flows"`
	Given bool `json:"given"`
	// WithFuel is a call as the daemon makes it, WithoutFuel one of the module
	// without the code that takes fuel.
	WithFuel    Figures `json:"with_fuel"`
	WithoutFuel Figures `json:"without_fuel"`
	// FuelMost is the most that a call took, of Fuel.
	FuelMost uint64 `json:"fuel_most"`
	Fuel     uint64 `json:"fuel"`
}

// Figures are nanoseconds a call: of the median, best and worst round.
type Figures struct {
	MedianNS float64 `json:"median_ns"`
	MinNS    float64 `json:"min_ns"`
	MaxNS    float64 `json:"max_ns"`
}

// Run measures the policy. Its flows are asked about in turn; without any, made-up
// ones are.
func Run(ctx context.Context, b *policy.Bundle, spec model.Policy, flows []policy.FlowInput) (*Report, error) {
	cache, err := os.MkdirTemp("", "xlb-policybench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(cache)
	r := &Report{Policy: b.Manifest.Name, Bytes: len(b.Module)}
	first, err := load(ctx, b, spec, policy.Options{CacheDir: cache})
	if err != nil {
		return nil, err
	}
	r.Load = first.took
	first.close(ctx)
	metered, err := load(ctx, b, spec, policy.Options{CacheDir: cache})
	if err != nil {
		return nil, err
	}
	defer metered.close(ctx)
	r.LoadCached = metered.took
	if stats := metered.policy.Stats(); stats.Instances > 0 {
		r.Memory = stats.Memory / uint64(stats.Instances)
	}
	if !b.Has(policy.HookFlow) {
		return r, nil
	}
	free, err := load(ctx, b, spec, policy.Options{Unmetered: true})
	if err != nil {
		return nil, err
	}
	defer free.close(ctx)
	r.Flow, err = measureFlow(ctx, metered.policy, free.policy, flows)
	return r, err
}

// subject is a loaded policy.
type subject struct {
	runtime *policy.Runtime
	policy  *policy.Policy
	took    time.Duration
}

func load(ctx context.Context, b *policy.Bundle, spec model.Policy, o policy.Options) (*subject, error) {
	r, err := policy.NewRuntime(ctx, o)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	p, err := r.LoadBundle(ctx, b, spec)
	if err != nil {
		r.Close(context.WithoutCancel(ctx))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return &subject{r, p, time.Since(began)}, nil
}

func (s *subject) close(ctx context.Context) {
	s.policy.Close(context.WithoutCancel(ctx))
	s.runtime.Close(context.WithoutCancel(ctx))
}

// timeInstance returns the median time to make one more instance.
func timeInstance(ctx context.Context, p *policy.Policy) (time.Duration, error) {
	var workers []*policy.Worker
	defer func() {
		for _, w := range workers {
			w.Close(context.WithoutCancel(ctx))
		}
	}()
	var times []time.Duration
	for range rounds + 1 {
		began := time.Now()
		w, err := p.NewWorker(ctx)
		if err != nil {
			return 0, err
		}
		times = append(times, time.Since(began))
		workers = append(workers, w)
	}
	// The first one may have been there already, from loading.
	times = times[1:]
	slices.Sort(times)
	return times[rounds/2], nil
}

func measureFlow(ctx context.Context, metered, free *policy.Policy, flows []policy.FlowInput) (*Flow, error) {
	f := &Flow{Flows: len(flows), Given: len(flows) > 0, Fuel: metered.Spec().Fuel}
	if !f.Given {
		flows = Flows(madeUp)
		f.Flows = len(flows)
	}
	var err error
	if f.Instance, err = timeInstance(ctx, metered); err != nil {
		return nil, err
	}
	var workers [2]*policy.Worker
	for i, p := range []*policy.Policy{metered, free} {
		w, err := p.NewWorker(ctx)
		if err != nil {
			return nil, err
		}
		defer w.Close(context.WithoutCancel(ctx))
		workers[i] = w
	}
	calls, err := calibrate(ctx, workers[0], flows)
	if err != nil {
		return nil, err
	}
	var times [2][]float64
	for range rounds {
		// In turn, so that a slow moment of the machine hits both.
		for i, w := range workers {
			took, err := ask(ctx, w, flows, calls)
			if err != nil {
				return nil, err
			}
			times[i] = append(times[i], float64(took)/float64(calls))
		}
	}
	f.WithFuel, f.WithoutFuel = figures(times[0]), figures(times[1])
	f.FuelMost = metered.Stats().FuelMost
	return f, nil
}

// calibrate returns how many calls fill a round: each flow once at least.
func calibrate(ctx context.Context, w *policy.Worker, flows []policy.FlowInput) (int, error) {
	for calls := len(flows); ; calls *= 2 {
		took, err := ask(ctx, w, flows, calls)
		if err != nil || took >= roundTime/2 {
			return calls, err
		}
	}
}

// ask makes calls, about the flows in turn.
func ask(ctx context.Context, w *policy.Worker, flows []policy.FlowInput, calls int) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	began := time.Now()
	for i := 0; i < calls; {
		for j := range flows {
			if _, err := w.Flow(&flows[j]); err != nil {
				return 0, fmt.Errorf("the policy fails for the flow from %s to %s: %w", flows[j].Source, flows[j].Destination, err)
			}
			if i++; i == calls {
				break
			}
		}
	}
	return time.Since(began), nil
}

func figures(times []float64) Figures {
	slices.Sort(times)
	return Figures{MedianNS: times[len(times)/2], MinNS: times[0], MaxNS: times[len(times)-1]}
}

// Flows makes up n flows of different clients, always the same.
func Flows(n int) []policy.FlowInput {
	vip := netip.MustParseAddrPort("203.0.113.10:80")
	flows := make([]policy.FlowInput, n)
	for i := range flows {
		// The benchmarking network, 198.18.0.0/15 (RFC 2544).
		h := mix(uint64(i))
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 198<<24|18<<16|uint32(h)&0x1ffff)
		flows[i] = policy.FlowInput{
			Source:      netip.AddrPortFrom(netip.AddrFrom4(a), 1024+uint16(h>>32)%64000),
			Destination: vip, Protocol: model.TCP, TCPFlags: 2, Hash: mix(h), Backends: 16,
		}
	}
	return flows
}

// mix spreads numbers: the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
