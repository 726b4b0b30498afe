package bench

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// loadedTable is a flow table in the kernel.
type loadedTable struct {
	flowTable
	room       int
	collection *ebpf.Collection
}

// loadFlowTable makes an empty flow table for so many flows, a power of two.
func loadFlowTable(design flowTable, room int) (*loadedTable, error) {
	spec, err := loadFlowTables()
	if err != nil {
		return nil, fmt.Errorf("read compiled flow tables: %w", err)
	}
	spec.Programs = map[string]*ebpf.ProgramSpec{design.program: spec.Programs[design.program]}
	for name, flows := range design.maps {
		entries := room / flows
		if design.perCPU {
			entries *= ebpf.MustPossibleCPU()
		}
		spec.Maps[name].MaxEntries = uint32(entries)
	}
	// The data plane's own ranks flows by their service's timeouts: long ones.
	services := spec.Maps["services"]
	services.MaxEntries = 2
	services.Contents = []ebpf.MapKV{{Key: uint32(1), Value: bytes.Repeat([]byte{0x10}, int(services.ValueSize))}}
	for name, value := range map[string]any{"flow_set_mask": uint32(room/4 - 1), "flow_seed": uint64(0x9e3779b97f4a7c15)} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load %s with room for %d flows: %w", design.program, room, err)
	}
	return &loadedTable{design, room, c}, nil
}

func (l *loadedTable) close() {
	if l != nil {
		l.collection.Close()
	}
}

// run sends n packets and returns the nanoseconds of each.
func (l *loadedTable) run(d *driver, n int) (float64, error) {
	const drop = 1
	verdict, each, err := d.run(l.collection.Programs[l.program], n)
	if err == nil && verdict != drop {
		err = fmt.Errorf("%s returned %d, not %d", l.program, verdict, drop)
	}
	return float64(each), err
}

func (l *loadedTable) counts() (c tableCounts, err error) {
	return c, errors.Join(
		l.collection.Variables["found"].Get(&c.Found),
		l.collection.Variables["made"].Get(&c.Made),
		l.collection.Variables["refused"].Get(&c.Refused),
	)
}

// bytes are what the kernel has set aside for the table.
func (l *loadedTable) bytes() (sum float64, err error) {
	for name := range l.maps {
		info, err := l.collection.Maps[name].Info()
		if err != nil {
			return 0, err
		}
		size, ok := info.Memlock()
		if !ok {
			return 0, fmt.Errorf("the kernel does not tell the size of %s", name)
		}
		sum += float64(size)
	}
	return sum, nil
}
