package wasm

import "testing"

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
