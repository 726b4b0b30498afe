package bpf_test

import (
	"testing"

	"github.com/xlb-io/xlb/bpf"
)

// checkPorts compares the two halves of every nat flow, the record and the
// cell of its port: each has the other, and no cell is left over.
func (p *plane) checkPorts(t *testing.T) {
	t.Helper()
	owners := map[uint32]uint32{}
	for i := range p.raw["ports"].MaxEntries() {
		var line bpf.PortLine
		if err := p.raw["ports"].Lookup(i, &line); err != nil {
			t.Fatal(err)
		}
		for c, owner := range line.Cell {
			if owner != 0 {
				owners[i*bpf.PortCells+uint32(c)] = owner
			}
		}
	}
	p.records(t, func(number uint32, f *bpf.Flow) {
		if f.Meta>>40&1 == 1 {
			t.Errorf("record %d is left half-written: %+v", number, *f)
		}
		if f.Tuple == 0 && f.NatPort != 0 {
			t.Errorf("free record %d holds a port: %+v", number, *f)
		}
		if f.Tuple == 0 || f.NatPort == 0 {
			return
		}
		if owners[f.Cell] != number+1 {
			t.Errorf("cell %d of record %d belongs to %d", f.Cell, number, owners[f.Cell])
		}
		delete(owners, f.Cell)
	})
	for cell, owner := range owners {
		t.Errorf("cell %d belongs to record %d, which does not have it", cell, owner-1)
	}
}
