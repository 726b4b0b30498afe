package policy

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/xlb-io/xlb/pkg/model"
)

// Policy is a module that is loaded and configured. It is safe for concurrent use.
type Policy struct {
	rt     *Runtime
	bundle *Bundle
	spec   model.Policy // but for the configuration, which is in config
	loaded time.Time
	log    *logger

	fast, guarded wazero.CompiledModule
	// config is what all instances are to have before their next call.
	config   atomic.Pointer[configuration]
	tables   []*table
	counters []atomic.Uint64
	counts   counts

	// control is the instance that is asked all but flow and probe.
	control struct {
		sync.Mutex
		in *instance
	}
	// configError is why the last configuration was refused.
	configError atomic.Pointer[string]
	probes      probePool

	// mu guards what follows: the instances that there are, those that wait for a
	// worker, and whether there may be more.
	mu     sync.Mutex
	live   map[*instance]struct{}
	spare  []*instance
	closed bool
}

// configuration is known by its address: another one with the same JSON tells the
// module the time anew.
type configuration struct{ json json.RawMessage }

// retired counts policies that were closed, for workers to look for their instances.
var retired atomic.Uint64

// Name is the operator's name for it.
func (p *Policy) Name() string { return p.spec.Name }

// Bundle is what it was loaded from.
func (p *Policy) Bundle() *Bundle { return p.bundle }

// Spec is the operator's part, with the defaults filled in and the configuration
// that is in force.
func (p *Policy) Spec() model.Policy {
	s := p.spec
	s.Config = slices.Clone(p.config.Load().json)
	return s
}

// Subset is what the operator says the manifest's subset i is: without a word of
// his, the backends that have its name as a tag.
func (p *Policy) Subset(i uint32) model.Subset {
	name := p.bundle.Manifest.Subsets[i]
	if s, ok := p.spec.Subsets[name]; ok {
		return s
	}
	return model.Subset{Tag: name}
}

// Warm makes n instances for flow, so that the next n workers need not wait for theirs.
func (p *Policy) Warm(ctx context.Context, n int) error {
	for range n {
		in, err := p.start(ctx, false, p.config.Load())
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.spare = append(p.spare, in)
		p.mu.Unlock()
	}
	return nil
}

// takeSpare returns an instance that waits for a worker, or nil.
func (p *Policy) takeSpare() *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spare) == 0 {
		return nil
	}
	in := p.spare[len(p.spare)-1]
	p.spare = p.spare[:len(p.spare)-1]
	return in
}

// Configure gives the module another configuration, JSON. What its manifest's
// schema or the module itself refuses is an error, and the old one stays. Each
// worker's instance has the new one before its next call. State stays.
func (p *Policy) Configure(ctx context.Context, config json.RawMessage) error {
	p.control.Lock()
	defer p.control.Unlock()
	err := p.reconfigure(ctx, config)
	text := ""
	if err != nil {
		text = err.Error()
	}
	p.configError.Store(&text)
	return err
}

func (p *Policy) reconfigure(ctx context.Context, config json.RawMessage) error {
	config, err := p.bundle.checkConfig(config)
	if err != nil {
		return p.wrap("configure", err)
	}
	ctx, cancel := p.within(ctx)
	defer cancel()
	in, err := p.controlled(ctx)
	if err != nil {
		return err
	}
	if err := in.validate(ctx, config); err != nil {
		p.dropControl(err)
		return p.wrap("validate", err)
	}
	c := &configuration{json: slices.Clone(config)}
	if err := in.configure(ctx, c); err != nil {
		// Half of it may be in force there: the next call begins anew with the old one.
		p.dropControl(trap{err})
		return p.wrap("configure", err)
	}
	p.config.Store(c)
	return nil
}

// controlled returns the control instance with the configuration in force.
func (p *Policy) controlled(ctx context.Context) (*instance, error) {
	c := p.config.Load()
	if p.control.in == nil {
		in, err := p.start(ctx, true, c)
		if err != nil {
			return nil, err
		}
		p.control.in = in
	}
	if err := p.control.in.configure(ctx, c); err != nil {
		p.dropControl(trap{err})
		return nil, p.wrap("configure", err)
	}
	return p.control.in, nil
}

// dropControl ends the control instance if err broke it.
func (p *Policy) dropControl(err error) {
	if broken(err) && p.control.in != nil {
		p.counts.restarts.Add(1)
		p.control.in.close()
		p.control.in = nil
	}
}

// refresh has all instances configured again, for the time's sake.
func (p *Policy) refresh() {
	for {
		c := p.config.Load()
		if p.config.CompareAndSwap(c, &configuration{json: c.json}) {
			return
		}
	}
}

// join counts an instance in; false: the policy is closed.
func (p *Policy) join(in *instance) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.live[in] = struct{}{}
	return true
}

// leave counts it out. The code goes with the last one.
func (p *Policy) leave(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, in)
	p.release()
}

// release frees the code of a closed policy that has no instance any more. The
// caller holds p.mu.
func (p *Policy) release() {
	if !p.closed || len(p.live) > 0 || p.guarded == nil {
		return
	}
	if p.fast != nil {
		p.fast.Close(context.Background())
	}
	p.guarded.Close(context.Background())
	p.fast, p.guarded = nil, nil
}

func (p *Policy) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// Close frees the policy; it must be in no chain any more. Instances of workers
// stay until these are closed, or a [ChainWorker] is next used.
func (p *Policy) Close(context.Context) error {
	p.rt.mu.Lock()
	delete(p.rt.policies, p)
	p.rt.mu.Unlock()

	p.mu.Lock()
	p.closed = true
	spare := p.spare
	p.spare = nil
	p.release()
	p.mu.Unlock()
	retired.Add(1)

	for _, in := range append(spare, p.probes.drain()...) {
		in.close()
	}
	p.control.Lock()
	defer p.control.Unlock()
	if p.control.in != nil {
		p.control.in.close()
		p.control.in = nil
	}
	return nil
}
