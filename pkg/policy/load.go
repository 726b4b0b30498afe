package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy/wasm"
)

// The defaults and limits of what operators and manifests can say.
const (
	defaultFuel    = 100_000
	maxFuel        = 100_000_000
	defaultMemory  = 16 << 20
	maxMemory      = 1 << 30
	defaultTimeout = time.Second
	maxTimeout     = time.Minute
	page           = 64 << 10
)

// Load opens the bundle at spec.Path and makes a policy of it that is ready to be
// asked: compiled, its tables filled, the configuration valid and given to it.
func (r *Runtime) Load(ctx context.Context, spec model.Policy) (*Policy, error) {
	b, err := Open(spec.Path)
	if err != nil {
		return nil, &Error{Policy: spec.Name, Where: "load", Err: err}
	}
	return r.LoadBundle(ctx, b, spec)
}

// LoadBundle is [Runtime.Load] for a bundle that is open already.
func (r *Runtime) LoadBundle(ctx context.Context, b *Bundle, spec model.Policy) (*Policy, error) {
	p := &Policy{rt: r, bundle: b, spec: withDefaults(spec, &b.Manifest), loaded: r.clock()}
	p.live = map[*instance]struct{}{}
	p.log = newLogger(r.log, spec.Name, r.now)
	p.counters = make([]atomic.Uint64, len(b.Manifest.Counters))
	p.probes.places = make(chan struct{}, maxProbes)
	if err := p.load(ctx); err != nil {
		p.Close(ctx)
		return nil, p.wrap("load", err)
	}
	r.mu.Lock()
	r.policies[p] = struct{}{}
	r.mu.Unlock()
	return p, nil
}

// withDefaults fills in what the operator did not say: first from the manifest.
func withDefaults(s model.Policy, m *Manifest) model.Policy {
	for _, fuel := range []uint64{m.Fuel, defaultFuel} {
		if s.Fuel == 0 {
			s.Fuel = fuel
		}
	}
	for _, memory := range []int{m.Memory, defaultMemory} {
		if s.Memory == 0 {
			s.Memory = memory
		}
	}
	if s.Timeout == 0 {
		s.Timeout = defaultTimeout
	}
	if s.OnError == 0 {
		s.OnError = model.ErrorContinue
	}
	return s
}

func (p *Policy) load(ctx context.Context) error {
	if err := p.checkSpec(); err != nil {
		return err
	}
	config, err := p.bundle.checkConfig(p.spec.Config)
	if err != nil {
		return err
	}
	if err := p.makeTables(); err != nil {
		return err
	}
	if err := p.compile(ctx); err != nil {
		return err
	}
	return p.first(ctx, config)
}

// checkSpec compares the operator's part with the manifest and the limits.
func (p *Policy) checkSpec() error {
	s, m := &p.spec, &p.bundle.Manifest
	switch {
	case s.SHA256 != "" && !strings.EqualFold(s.SHA256, p.bundle.SHA256):
		return fmt.Errorf("the module's sha256 is %s, the configuration says %s", p.bundle.SHA256, s.SHA256)
	case s.Fuel > maxFuel:
		return fmt.Errorf("fuel: %d, of 1 to %d", s.Fuel, maxFuel)
	case s.Memory < page || s.Memory > maxMemory || s.Memory%page != 0:
		return fmt.Errorf("memory: %d, of 65536 to %d bytes in steps of 65536", s.Memory, maxMemory)
	case s.Timeout < time.Millisecond || s.Timeout > maxTimeout:
		return fmt.Errorf("timeout: %v, of 1ms to %v", s.Timeout, maxTimeout)
	}
	tables := make([]string, len(m.Tables))
	for i, t := range m.Tables {
		tables[i] = t.Name
	}
	if err := known("table", s.Tables, tables); err != nil {
		return err
	}
	return known("subset", s.Subsets, m.Subsets)
}

// known refuses names that the manifest does not have.
func known[V any](what string, given map[string]V, names []string) error {
	for name := range given {
		if !slices.Contains(names, name) {
			return fmt.Errorf("the policy has no %s %q (it has: %s)", what, name, orNone(names))
		}
	}
	return nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// compile compiles the rewritten module.
func (p *Policy) compile(ctx context.Context) error {
	module, err := p.rewritten()
	if err != nil {
		return err
	}
	p.fast, p.guarded, err = p.rt.compile(ctx, module, p.bundle.Has(HookFlow))
	if err != nil {
		return fmt.Errorf("the module is not valid: %s", printable(err.Error(), 300))
	}
	return nil
}

// rewritten is the module with the policy's limits.
func (p *Policy) rewritten() ([]byte, error) {
	return p.bundle.decoded.Rewrite(wasm.Options{
		Fuel:        p.spec.Timeout.Microseconds() * fuelPerMicrosecond,
		MemoryPages: uint32(p.spec.Memory / page),
		Unmetered:   p.rt.unmetered,
	})
}

// first starts the instance that is asked all but flow, and gives it the
// configuration. A worker's instance is made at once as well, to know that it can.
func (p *Policy) first(ctx context.Context, config json.RawMessage) error {
	ctx, cancel := p.within(ctx)
	defer cancel()
	c := &configuration{json: config}
	in, err := p.start(ctx, true, nil)
	if err != nil {
		return err
	}
	p.control.in = in
	version, err := in.call(ctx, "xlb_abi_version")
	if err != nil {
		return fmt.Errorf("xlb_abi_version: %w", err)
	}
	if version != ABI {
		return fmt.Errorf("it is written for version %d of the interface, this is version %d", uint32(version), ABI)
	}
	if err := in.validate(ctx, config); err != nil {
		return p.wrap("validate", err)
	}
	if err := in.configure(ctx, c); err != nil {
		return p.wrap("configure", err)
	}
	p.config.Store(c)
	if !p.bundle.Has(HookFlow) {
		return nil
	}
	return p.Warm(ctx, 1)
}

// isCanceled says whether a call was broken off by whoever asked for it.
func isCanceled(err error) bool { return errors.Is(err, context.Canceled) }
