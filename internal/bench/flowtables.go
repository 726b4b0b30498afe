package bench

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// flowTable is a design of a flow table; see flowtables.bpf.c.
type flowTable struct {
	program, what string
	maps          map[string]int // its maps, and how many flows an entry has room for
	perCPU        bool           // a CPU uses only its share
}

var flowTables = []flowTable{
	{"lines", "sets of four records, each a cache line: the data plane's own", map[string]int{"flows": 4}, false},
	{"prints", "sets of four fingerprints in a cache line, which are believed", map[string]int{"fingerprints": 4}, false},
	{"prints_records", "the same, and a record for each", map[string]int{"fingerprints": 4, "records": 1}, false},
	{"lru", "BPF_MAP_TYPE_LRU_HASH", map[string]int{"lru_map": 1}, false},
	{"lru_lists", "the same with BPF_F_NO_COMMON_LRU", map[string]int{"lru_lists_map": 1}, true},
	{"lru_percpu", "BPF_MAP_TYPE_LRU_PERCPU_HASH", map[string]int{"lru_percpu_map": 1}, false},
	{"hash", "BPF_MAP_TYPE_HASH", map[string]int{"hash_map": 1}, false},
}

// tableTask is what the packets of a measurement ask of a flow table.
type tableTask struct {
	name  string
	kind  kind // hit, newFlow or flood
	flows int
}

var tableTasks = []tableTask{
	{"hit-1", hit, one},
	{"hit-1k", hit, few},
	{"hit-10k", hit, 10_000},
	{"hit-100k", hit, many},
	{"hit-1m", hit, million},
	{"new", newFlow, 0},
	{"full", flood, 0},
}

// packets of a measurement. New flows fill no more than an eighth of the table.
func (t tableTask) packets(room int) int {
	if t.kind == newFlow {
		return room / 8
	}
	return room
}

// room is for how many flows the table is made.
func (t tableTask) room(flowTable int) int {
	if t.flows > many {
		return largerBy * flowTable
	}
	return flowTable
}

// FlowTableTasks are the tasks by name, in the order of a report.
func FlowTableTasks() []string {
	names := make([]string, len(tableTasks))
	for i, t := range tableTasks {
		names[i] = t.name
	}
	return names
}

// RunFlowTables measures flow tables of several designs: Rounds times, with room
// for FlowTable flows, the tasks named by Scenarios. Tables take turns in each
// round. Other options are not used.
func RunFlowTables(ctx context.Context, o Options) (FlowTableReport, error) {
	r := FlowTableReport{Rounds: o.Rounds, Room: o.FlowTable, Kernel: testlab.Kernel(), CPU: testlab.CPU()}
	for _, name := range o.Scenarios {
		if !slices.Contains(FlowTableTasks(), name) {
			return r, fmt.Errorf("unknown task %q (want %s)", name, strings.Join(FlowTableTasks(), ", "))
		}
	}
	if os.Geteuid() != 0 {
		return r, fmt.Errorf("the comparison loads BPF programs: %w", fs.ErrPermission)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Some of the kernel's maps belong to the CPU that wrote them.
	cpus, err := testlab.CPUs(1)
	if err != nil {
		return r, err
	}
	err = testlab.OnCPU(cpus[0], func() error {
		for _, t := range tableTasks {
			if !wanted(o.Scenarios, t.name) {
				continue
			}
			more, err := t.measure(ctx, o)
			if err != nil {
				return fmt.Errorf("measure flow tables, %s: %w", t.name, err)
			}
			r.Results = append(r.Results, more...)
		}
		return nil
	})
	return r, err
}

func (t tableTask) measure(ctx context.Context, o Options) (results []FlowTableResult, err error) {
	room := t.room(o.FlowTable)
	var ends []end
	if t.kind == hit {
		ends = shuffled(firstEnds(t.flows, false))
	}
	d, err := newTableDriver(ends)
	if err != nil {
		return nil, err
	}
	defer d.close()
	none, err := loadFlowTable(flowTable{program: "none"}, room)
	if err != nil {
		return nil, err
	}
	defer none.close()
	all := make([]*loadedTable, len(flowTables))
	defer func() {
		for _, l := range all {
			l.close()
		}
	}()
	costs := make([][]float64, len(flowTables))
	for round := range o.Rounds {
		for i, design := range flowTables {
			if all[i] == nil || t.kind == newFlow {
				all[i].close()
				if all[i], err = loadFlowTable(design, room); err != nil {
					return nil, err
				}
				if err := t.prepare(ctx, all[i], d); err != nil {
					return nil, fmt.Errorf("%s: %w", design.program, err)
				}
			}
			cost, err := t.piece(ctx, d, none, all[i])
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", design.program, round+1, err)
			}
			costs[i] = append(costs[i], cost)
		}
	}
	for i, l := range all {
		size, err := l.bytes()
		if err != nil {
			return nil, err
		}
		results = append(results, FlowTableResult{
			Table: l.program, What: l.what, Task: t.name,
			MedianNS: tenths(median(costs[i])), MinNS: slices.Min(costs[i]), MaxNS: slices.Max(costs[i]),
			Refused: t.kind == flood && l.program == "hash",
			Bytes:   tenths(size / float64(room)),
		})
	}
	return results, nil
}

func newTableDriver(ends []end) (*driver, error) {
	return (&stage{}).newDriver(traffic{
		hook: "xdp", protocol: model.TCP, flags: testlab.SYN,
		from: client(0, false), to: netip.AddrPortFrom(foreign, vipPort), ends: ends,
	})
}

// prepare brings a table into the state in which it is measured. Flows are made in
// another order than they are looked up in, for the kernel's maps give them places
// one after the other.
func (t tableTask) prepare(ctx context.Context, l *loadedTable, d *driver) error {
	switch t.kind {
	case hit:
		filler, err := newTableDriver(firstEnds(t.flows, false))
		if err != nil {
			return err
		}
		defer filler.close()
		return uninterrupted(ctx, func() error {
			_, err := l.run(filler, t.flows)
			return err
		})
	case flood:
		return uninterrupted(ctx, func() error {
			_, err := l.run(d, fillings*l.room)
			return err
		})
	}
	return nil
}

// piece returns what a packet costs more than without a table.
func (t tableTask) piece(ctx context.Context, d *driver, none, l *loadedTable) (cost float64, err error) {
	n := t.packets(l.room)
	err = uninterrupted(ctx, func() error {
		floor, err := none.run(d, n)
		if err != nil {
			return err
		}
		before, err := l.counts()
		if err != nil {
			return err
		}
		whole, err := l.run(d, n)
		if err != nil {
			return err
		}
		after, err := l.counts()
		if err != nil {
			return err
		}
		cost = whole - floor
		return t.check(l.flowTable, after.less(before), uint64(n))
	})
	return cost, err
}

// check compares what n packets met with what the task says.
func (t tableTask) check(design flowTable, c tableCounts, n uint64) error {
	want := tableCounts{Made: n}
	switch {
	case t.kind == hit:
		want = tableCounts{Found: n}
	case t.kind == flood && design.program == "hash":
		want = tableCounts{Refused: n}
	}
	if c != want {
		return fmt.Errorf("of %d packets: %+v, not %+v", n, c, want)
	}
	return nil
}

// tableCounts are the counters of flowtables.bpf.c.
type tableCounts struct{ Found, Made, Refused uint64 }

func (c tableCounts) less(b tableCounts) tableCounts {
	return tableCounts{c.Found - b.Found, c.Made - b.Made, c.Refused - b.Refused}
}
