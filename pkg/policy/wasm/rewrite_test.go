package wasm

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// TestFuel counts what calls take, in the compiler as in the interpreter.
func TestFuel(t *testing.T) {
	tests := []struct {
		f    string
		args []uint64
		want int64
	}{
		{"nothing", nil, 1},
		{"loop", []uint64{1}, 2},
		{"loop", []uint64{1000}, 1001},
		{"recurse", []uint64{0}, 1},
		{"recurse", []uint64{99}, 100},
		{"host", nil, 3},
		{"indirect", []uint64{0}, 2}, // an import through a table
		{"indirect", []uint64{1}, 3},
		{"fill", []uint64{4095}, 2},
		{"fill", []uint64{65536}, 18},
		{"copy", []uint64{8192}, 4},
		{"grow", []uint64{2}, 4},
		{"params", []uint64{10}, 11},
	}
	b := rewrite(t, read(t, "cost.wasm"), 0)
	for _, engine := range []string{"interpreter", "compiler"} {
		config := interpreter()
		if engine == "compiler" {
			config = compiler()
		}
		mod := instantiate(t, config, b)
		fuel := mod.ExportedGlobal(FuelExport).(api.MutableGlobal)
		for _, tt := range tests {
			fuel.Set(uint64(tt.want))
			if _, err := mod.ExportedFunction(tt.f).Call(context.Background(), tt.args...); err != nil {
				t.Errorf("%s: %s%v with just enough: %v", engine, tt.f, tt.args, err)
			}
			if left := int64(fuel.Get()); left != 0 {
				t.Errorf("%s: %s%v took %d, want %d", engine, tt.f, tt.args, tt.want-left, tt.want)
			}
			fuel.Set(uint64(tt.want - 1))
			_, err := mod.ExportedFunction(tt.f).Call(context.Background(), tt.args...)
			if err == nil || !strings.Contains(err.Error(), "unreachable") || int64(fuel.Get()) >= 0 {
				t.Errorf("%s: %s%v with too little: %v, %d left", engine, tt.f, tt.args, err, int64(fuel.Get()))
			}
		}
	}
}

// TestFuelOfLongCode: instructions in a row are paid for as well.
func TestFuelOfLongCode(t *testing.T) {
	code := make([]byte, 0, 3000)
	for range 1000 {
		code = append(code, opI32Const, 0, opDrop)
	}
	b := rewrite(t, module(nil, nil, append(code, opEnd)), 7)
	mod := instantiate(t, compiler(), b)
	if _, err := mod.ExportedFunction("f").Call(context.Background()); err == nil {
		t.Error("2,001 instructions ran with 7 units of fuel")
	}
	mod.ExportedGlobal(FuelExport).(api.MutableGlobal).Set(1 + 2001/span)
	if _, err := mod.ExportedFunction("f").Call(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestMiscompile: what the compiler gets wrong in the original, it gets right in
// the rewritten module. If this version gets the original right, guard.go can go.
func TestMiscompile(t *testing.T) {
	b := read(t, "miscompile.wasm")
	want := instantiate(t, interpreter(), b)
	before := instantiate(t, compiler(), b)
	after := instantiate(t, compiler(), rewrite(t, b, 1<<40))
	wrong := 0
	for name := range want.ExportedFunctionDefinitions() {
		for _, args := range [][]uint64{{0, 0}, {1, 1}, {3, 2}, {0xffffffff, 0x80000000}, {0x7fffffff, 0x80000000}} {
			call := func(m api.Module) uint64 {
				r, err := m.ExportedFunction(name).Call(context.Background(), args...)
				if err != nil {
					t.Fatal(err)
				}
				return r[0]
			}
			w := call(want)
			if call(before) != w {
				wrong++
			}
			if got := call(after); got != w {
				t.Errorf("%s%x: %d, want %d", name, args, got, w)
			}
		}
	}
	t.Logf("the original is wrong %d times", wrong)
	if wrong == 0 && runtime.GOARCH == "amd64" {
		t.Error("wazero compiles the original rightly: remove guard.go")
	}
}

// TestMemoryLimit: a memory grows to the limit and no further.
func TestMemoryLimit(t *testing.T) {
	m, err := Decode(read(t, "cost.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Rewrite(Options{MemoryPages: 0}); err == nil || !strings.Contains(err.Error(), "starts with 64 KiB") {
		t.Errorf("less than it starts with: %v", err)
	}
	b, err := m.Rewrite(Options{Fuel: 1000, MemoryPages: 3})
	if err != nil {
		t.Fatal(err)
	}
	mod := instantiate(t, compiler(), b)
	for _, tt := range []struct{ by, want uint64 }{{3, 0xffffffff}, {2, 1}, {1, 0xffffffff}} {
		if r, err := mod.ExportedFunction("grow").Call(context.Background(), tt.by); err != nil || r[0] != tt.want {
			t.Errorf("grow by %d: %v %v, want %d", tt.by, r, err, tt.want)
		}
	}
}

// TestNoWayToTheFuel: a module can not name what the rewriting adds.
func TestNoWayToTheFuel(t *testing.T) {
	tests := map[string]struct {
		b    []byte
		want string
	}{
		"global":        {module(nil, nil, []byte{opI64Const, 0, opGlobalSet, 0, opEnd}), "global 0 of 0"},
		"local":         {module(nil, []byte{1, 1, 0x7f}, []byte{opLocalGet, 1, opDrop, opEnd}), "local 1 of 1"},
		"exported name": {fuelExporter(), "the host's name"},
		"global export": {globalExporter(), "global 0 of 0"},
		"long opcode":   {module(nil, nil, []byte{0xfd, 0x8c, 0x80, 0, opEnd}), "unknown instruction"},
		"tail call":     {module(nil, nil, []byte{0x12, 0, opEnd}), "unknown instruction 0x12"},
		"after the end": {module(nil, nil, []byte{opEnd, opNop}), "code after the end"},
		"no end":        {module(nil, nil, []byte{opBlock, 0x40, opEnd}), "unexpected end"},
	}
	for name, tt := range tests {
		m, err := Decode(tt.b)
		if err == nil {
			_, err = m.Rewrite(Options{MemoryPages: 1})
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
