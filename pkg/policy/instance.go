package policy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/xlb-io/xlb/pkg/policy/wasm"
)

const (
	// plenty is the fuel of a call that has a time instead.
	plenty = math.MaxInt64 / 2
	// fuelPerMicrosecond makes a time a budget where nothing can end a call in time:
	// where a worker's instance starts and is configured. It is less than the
	// time here (some 2 ns a loop iteration).
	fuelPerMicrosecond = 100
	// freshStack: a call of more fuel may have made the stack large, which a new
	// function does not have.
	freshStack = 10000
)

// instance is a module at work. It belongs to one goroutine at a time.
type instance struct {
	p       *Policy
	mod     api.Module
	fuel    api.MutableGlobal
	flow    api.Function
	guarded bool
	// config is what it was last configured with.
	config *configuration
	std    [2]lines
	probe  *probeCall // while it probes
	// memory is its size when it was last looked at, in bytes.
	memory atomic.Uint64
	stack  [flowParams]uint64
	calls  callContext // of flow, made once
}

// start makes an instance and configures it. One that is guarded is ended with ctx;
// any other has only fuel.
func (p *Policy) start(ctx context.Context, guarded bool, c *configuration) (*instance, error) {
	in := &instance{p: p, guarded: guarded}
	in.calls = callContext{context.Background(), in}
	if !p.join(in) {
		return nil, p.wrap("start", ErrClosed)
	}
	if err := in.run(ctx); err != nil {
		in.close()
		return nil, p.wrap("start", err)
	}
	if err := in.configure(ctx, c); err != nil {
		in.close()
		return nil, p.wrap("configure", err)
	}
	return in, nil
}

func (in *instance) run(ctx context.Context) error {
	p := in.p
	rt, code := p.rt.fast, p.fast
	if in.guarded {
		rt, code = p.rt.guarded, p.guarded
	}
	// Without a name any number can be there at the same time; "_initialize" is called
	// below, where its fuel can be seen.
	mod, err := rt.InstantiateModule(&callContext{ctx, in}, code, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return in.explainStart(err)
	}
	in.mod = mod
	in.fuel = mod.ExportedGlobal(wasm.FuelExport).(api.MutableGlobal)
	in.flow = mod.ExportedFunction(string(HookFlow))
	if p.bundle.exports("_initialize") {
		if _, err := in.call(ctx, "_initialize"); err != nil {
			return err
		}
	}
	in.look()
	return nil
}

// explainStart is explain for a start function: whether it ran out of fuel cannot be
// seen any more.
func (in *instance) explainStart(err error) error {
	out := strings.Contains(err.Error(), "wasm error: unreachable")
	err = explain(err, 0, 0, in.p.spec.Timeout)
	if out && !in.guarded {
		return trap{fmt.Errorf("%w, or out of fuel (%d)", err, in.budget())}
	}
	return err
}

// budget is the fuel of a call other than flow.
func (in *instance) budget() int64 {
	if in.guarded {
		return plenty
	}
	return in.p.spec.Timeout.Microseconds() * fuelPerMicrosecond
}

// call calls a function other than flow.
func (in *instance) call(ctx context.Context, name string, args ...uint64) (uint64, error) {
	budget := in.budget()
	in.fuel.Set(uint64(budget))
	limit := remaining(ctx, in.p.spec.Timeout)
	results, err := in.mod.ExportedFunction(name).Call(&callContext{ctx, in}, args...)
	if err != nil {
		return 0, explain(err, budget, int64(in.fuel.Get()), limit)
	}
	if len(results) == 0 {
		return 0, nil
	}
	return results[0], nil
}

// ask calls flow and returns what it returned, and the fuel it took.
func (in *instance) ask(f *FlowInput) (result, used uint64, err error) {
	budget := in.p.spec.Fuel
	in.fuel.Set(budget)
	f.write(&in.stack)
	err = in.flow.CallWithStack(&in.calls, in.stack[:])
	left := int64(in.fuel.Get())
	if err != nil {
		return 0, budget - uint64(max(left, 0)), explain(err, int64(budget), left, 0)
	}
	if used = budget - uint64(left); used > freshStack {
		in.flow = in.mod.ExportedFunction(string(HookFlow))
	}
	return in.stack[0], used, nil
}

// pay takes fuel for work that the host does.
func (in *instance) pay(units uint32) {
	left := int64(in.fuel.Get()) - int64(units)
	in.fuel.Set(uint64(left))
	if left < 0 {
		panic(errors.New("out of fuel"))
	}
}

// read returns a part of the module's memory, not copied.
func (in *instance) read(pointer uint64, size uint32) ([]byte, bool) {
	if !in.p.bundle.decoded.HasMemory() {
		return nil, false
	}
	return in.mod.Memory().Read(uint32(pointer), size)
}

// argument is read for a function of the host, where it must be right.
func (in *instance) argument(function string, pointer, size uint64) []byte {
	b, ok := in.read(pointer, uint32(size))
	if !ok {
		panic(fmt.Errorf("%s: %w", function, in.outside(pointer, size)))
	}
	return b
}

func (in *instance) outside(pointer, size uint64) error {
	return fmt.Errorf("%d bytes at %#x are not in the module's memory", uint32(size), uint32(pointer))
}

// alloc returns size bytes of the module's memory and their address.
func (in *instance) alloc(ctx context.Context, size int) (uint64, []byte, error) {
	pointer, err := in.call(ctx, "alloc", uint64(size))
	if err != nil {
		return 0, nil, fmt.Errorf("alloc: %w", err)
	}
	if uint32(pointer) == 0 {
		return 0, nil, fmt.Errorf("alloc: no memory for %d bytes", size)
	}
	b, ok := in.read(pointer, uint32(size))
	if !ok {
		return 0, nil, fmt.Errorf("alloc: %w", in.outside(pointer, uint64(size)))
	}
	if pointer%8 != 0 {
		return 0, nil, fmt.Errorf("alloc: %#x is not a multiple of 8", pointer)
	}
	return pointer, b, nil
}

// give writes data into memory of the module.
func (in *instance) give(ctx context.Context, data []byte) (uint64, error) {
	pointer, b, err := in.alloc(ctx, len(data))
	copy(b, data)
	return pointer, err
}

// configure gives the module c, if it has not got it already.
func (in *instance) configure(ctx context.Context, c *configuration) error {
	if in.config == c {
		return nil
	}
	if !in.p.bundle.exports("configure") {
		in.config = c
		return nil
	}
	pointer, err := in.give(ctx, c.json)
	if err != nil {
		return err
	}
	now, wall := in.p.rt.now(), in.p.rt.clock()
	code, err := in.call(ctx, "configure", pointer, uint64(len(c.json)), uint64(wall.UnixNano()), uint64(now))
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("the configuration is refused with error %d", uint32(code))
	}
	in.config = c
	return nil
}

// maxText is the longest text that validate may return, in bytes.
const maxText = 4096

// validate asks the module what it has against a configuration.
func (in *instance) validate(ctx context.Context, config []byte) error {
	if !in.p.bundle.exports("validate") {
		return nil
	}
	pointer, err := in.give(ctx, config)
	if err != nil {
		return err
	}
	answer, err := in.call(ctx, "validate", pointer, uint64(len(config)))
	if err != nil || answer == 0 {
		return err
	}
	at, size := answer>>32, uint64(uint32(answer))
	if size == 0 || size > maxText {
		return fmt.Errorf("the answer is a text of %d bytes, of 1 to %d", size, maxText)
	}
	text, ok := in.read(at, uint32(size))
	if !ok {
		return fmt.Errorf("the answer: %w", in.outside(at, size))
	}
	return refusal{errors.New(printable(string(text), maxText))}
}

// refusal is what a module has against a configuration; it is in order itself.
type refusal struct{ error }

// look takes note of the memory's size.
func (in *instance) look() {
	if in.p.bundle.decoded.HasMemory() {
		in.memory.Store(uint64(in.mod.Memory().Size()))
	}
}

func (in *instance) close() {
	if in.mod != nil {
		in.mod.Close(context.Background())
	}
	in.p.leave(in)
}

// within bounds a call of the module by the policy's time.
func (p *Policy) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, p.spec.Timeout)
}

// remaining is how long ctx lasts: all, unless whoever asks has much less time.
func remaining(ctx context.Context, all time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < all*3/4 {
		return time.Until(end)
	}
	return all
}

// broken says whether an instance can not be used after err.
func broken(err error) bool {
	_, ok := errors.AsType[trap](err)
	return ok
}

// sampled is how many calls of flow there are for each that is timed.
const sampled = 16
