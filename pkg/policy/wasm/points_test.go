package wasm

import (
	"context"
	"testing"
)

func TestUnmetered(t *testing.T) {
	m, err := Decode(read(t, "cost.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Rewrite(Options{Fuel: 7, MemoryPages: 4, Unmetered: true})
	if err != nil {
		t.Fatal(err)
	}
	mod := instantiate(t, compiler(), out)
	for f, arg := range map[string]uint64{"loop": 1000, "recurse": 99, "fill": 65536, "indirect": 1} {
		if _, err := mod.ExportedFunction(f).Call(context.Background(), arg); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	if left := mod.ExportedGlobal(FuelExport).Get(); left != 7 {
		t.Errorf("%d of 7 left", left)
	}
}

func TestFuelPoints(t *testing.T) {
	m, err := Decode(read(t, "cost.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	// Ten functions, three loops, three calls, three operations on memory.
	if n, err := m.FuelPoints(); n != 19 || err != nil {
		t.Errorf("%d points (%v), want 19", n, err)
	}
}
