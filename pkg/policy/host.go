package policy

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/xlb-io/xlb/pkg/policy/wasm"
)

// hostModule is what the functions are imported from that hosts offer.
const hostModule = "xlb"

// hostFunction is one of them. It takes its arguments from the stack and leaves its
// result there. A panic with an error is a trap with its text.
type hostFunction struct {
	signature wasm.FuncType
	call      func(in *instance, stack []uint64)
}

var hostFunctions = map[string]hostFunction{
	"log":          {signature("iii", ""), hostLog},
	"now":          {signature("", "l"), hostNow},
	"random":       {signature("", "l"), hostRandom},
	"count":        {signature("il", ""), hostCount},
	"table_lookup": {signature("ill", "l"), hostLookup},
	"conn_read":    {signature("ii", "i"), hostRead},
	"conn_write":   {signature("ii", "i"), hostWrite},
	"set_reason":   {signature("ii", ""), hostReason},
	"set_role":     {signature("ii", ""), hostRole},
}

// instanceKey finds the instance that calls the host, in the context of the call.
type instanceKey struct{}

// callContext is a context with the instance that is called.
type callContext struct {
	context.Context
	in *instance
}

// Value implements [context.Context].
func (c *callContext) Value(key any) any {
	if key == (instanceKey{}) {
		return c.in
	}
	return c.Context.Value(key)
}

func caller(ctx context.Context) *instance { return ctx.Value(instanceKey{}).(*instance) }

func instantiateHost(ctx context.Context, rt wazero.Runtime) error {
	b := rt.NewHostModuleBuilder(hostModule)
	for name, f := range hostFunctions {
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, _ api.Module, stack []uint64) {
			f.call(caller(ctx), stack)
		}), valueTypes(f.signature.Params), valueTypes(f.signature.Results)).Export(name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

func valueTypes(types []wasm.ValueType) []api.ValueType {
	list := make([]api.ValueType, len(types))
	for i, t := range types {
		list[i] = api.ValueType(t)
	}
	return list
}

func hostLog(in *instance, stack []uint64) {
	level, text := uint32(stack[0]), in.argument("log", stack[1], stack[2])
	if int(level) >= len(levels) {
		panic(fmt.Errorf("log: level %d of 0 to %d", level, len(levels)-1))
	}
	in.p.log.write(levels[level], text)
}

func hostNow(in *instance, stack []uint64) { stack[0] = uint64(in.p.rt.now()) }

func hostRandom(_ *instance, stack []uint64) { stack[0] = rand.Uint64() }

func hostCount(in *instance, stack []uint64) {
	i := uint32(stack[0])
	if int64(i) >= int64(len(in.p.counters)) {
		panic(fmt.Errorf("count: counter %d of %d in the manifest (they count from 0)", i, len(in.p.counters)))
	}
	in.p.counters[i].Add(stack[1])
}

func hostLookup(in *instance, stack []uint64) {
	i := uint32(stack[0])
	if int64(i) >= int64(len(in.p.tables)) {
		panic(fmt.Errorf("table_lookup: table %d of %d in the manifest (they count from 0)", i, len(in.p.tables)))
	}
	v, ok := in.p.tables[i].contents.Load().lookup(stack[1], stack[2])
	if !ok {
		v = -1
	}
	stack[0] = uint64(v)
}
