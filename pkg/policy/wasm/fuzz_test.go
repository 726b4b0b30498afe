package wasm

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

func seeds(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.wasm")
	for _, file := range files {
		f.Add(read(f, filepath.Base(file)))
	}
	f.Add(fuelExporter())
	f.Add(globalExporter())
	f.Add(newProgram(1))
	f.Add(module(nil, nil, []byte{0xfd, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, opDrop, opEnd}))
}

// FuzzDecode: whatever the bytes, Decode and Rewrite return a module or an error,
// and what is rewritten can be read again.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		out, err := m.Rewrite(Options{Fuel: 1000, MemoryPages: 16})
		if err != nil {
			return
		}
		again, err := Decode(out)
		if err != nil {
			t.Fatalf("the rewritten module: %v", err)
		}
		if len(again.Exports) != len(m.Exports)+1 || again.globals != m.globals+1 || len(again.bodies) != len(m.bodies) {
			t.Errorf("the rewritten module has other contents")
		}
	})
}

// FuzzRewrite: wazero accepts a rewritten module exactly if it accepts the original;
// the rewritten one, compiled, then does what the original does in the interpreter.
func FuzzRewrite(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		out, err := m.Rewrite(Options{Fuel: 10000, MemoryPages: 16})
		if err != nil {
			return
		}
		before, after := accept(t, interpreter().WithMemoryLimitPages(16), b), accept(t, compiler().WithMemoryLimitPages(16), out)
		if before.err != nil || after.err != nil {
			if (before.err == nil) != (after.err == nil) {
				t.Fatalf("the original: %v; rewritten: %v", before.err, after.err)
			}
			return
		}
		compare(t, before, after, 1)
	})
}

// FuzzProgram is FuzzRewrite for valid modules, made from a seed.
func FuzzProgram(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		b := newProgram(seed)
		before, after := accept(t, interpreter(), b), accept(t, compiler(), rewrite(t, b, 10000))
		if before.err != nil || after.err != nil {
			t.Fatalf("the original: %v; rewritten: %v", before.err, after.err)
		}
		compare(t, before, after, seed)
	})
}

type accepted struct {
	rt  wazero.Runtime
	c   wazero.CompiledModule
	err error
}

func accept(t *testing.T, config wazero.RuntimeConfig, b []byte) accepted {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, config)
	t.Cleanup(func() { rt.Close(ctx) })
	c, err := rt.CompileModule(ctx, b)
	return accepted{rt, c, err}
}

// start instantiates a, without running start functions of the name "_start". nil:
// it needs imports that are not there, or traps.
func (a accepted) start(t *testing.T) api.Module {
	ctx := context.Background()
	for _, i := range a.c.ImportedFunctions() {
		module, name, _ := i.Import()
		if module != "host" || name != "f" || len(i.ParamTypes())+len(i.ResultTypes()) > 0 {
			return nil
		}
	}
	host := a.rt.NewHostModuleBuilder("host")
	host.NewFunctionBuilder().WithFunc(func() {}).Export("f")
	if _, err := host.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	mod, err := a.rt.InstantiateModule(ctx, a.c, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil
	}
	return mod
}

// compare calls all functions of both modules. The rewritten one is first: what it
// finishes within its fuel, the original finishes too.
func compare(t *testing.T, before, after accepted, seed uint64) {
	ctx := context.Background()
	got := after.start(t)
	if got == nil {
		return
	}
	want := before.start(t)
	if want == nil {
		t.Fatal("the original does not start, the rewritten module does")
	}
	fuel := got.ExportedGlobal(FuelExport).(api.MutableGlobal)
	r := rand.New(rand.NewPCG(seed, 2))
	for name, def := range got.ExportedFunctionDefinitions() {
		for range 8 {
			args := arguments(r, def)
			fuel.Set(10000)
			g, gerr := got.ExportedFunction(name).Call(ctx, args...)
			if int64(fuel.Get()) < 0 {
				return // from here on they differ
			}
			w, werr := want.ExportedFunction(name).Call(ctx, args...)
			if (gerr == nil) != (werr == nil) {
				t.Fatalf("%s%x: %v, want %v", name, args, gerr, werr)
			}
			for i := range w {
				if g[i] != w[i] && !nan(def.ResultTypes()[i]) {
					t.Fatalf("%s%x: %x, want %x", name, args, g, w)
				}
			}
		}
	}
	if len(after.c.ExportedMemories()) > 0 {
		g, _ := got.Memory().Read(0, got.Memory().Size())
		w, _ := want.Memory().Read(0, want.Memory().Size())
		if !bytes.Equal(g, w) {
			t.Fatal("their memories differ")
		}
	}
}

// nan says whether values of the type may differ in the bits of a NaN, or are
// addresses of the host.
func nan(vt api.ValueType) bool { return vt != api.ValueTypeI32 && vt != api.ValueTypeI64 }

func arguments(r *rand.Rand, def api.FunctionDefinition) []uint64 {
	var args []uint64
	for _, vt := range def.ParamTypes() {
		v := uint64(edges[r.IntN(len(edges))])
		if r.IntN(2) == 0 {
			v = r.Uint64()
		}
		switch vt {
		case api.ValueTypeI32, api.ValueTypeF32:
			v = uint64(uint32(v))
		case api.ValueTypeI64, api.ValueTypeF64:
		default:
			v = 0
		}
		args = append(args, v)
	}
	return args
}
