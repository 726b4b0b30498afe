package bench

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
)

// Each flow table makes a flow at its first packet, finds it with the same answer
// at the next, and has room for as many as it says and no more.
func TestFlowTables(t *testing.T) {
	const room = 1024
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpus, err := testlab.CPUs(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, design := range flowTables {
		t.Run(design.program, func(t *testing.T) {
			err := testlab.OnCPU(cpus[0], func() error {
				testFlowTable(t, design, room)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func testFlowTable(t *testing.T, design flowTable, room int) {
	l, err := loadFlowTable(design, room)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	send := func(ends []end) tableCounts {
		t.Helper()
		d, err := newTableDriver(ends)
		if err != nil {
			t.Fatal(err)
		}
		defer d.close()
		before, err := l.counts()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.run(d, len(ends)); err != nil {
			t.Fatal(err)
		}
		after, err := l.counts()
		if err != nil {
			t.Fatal(err)
		}
		return after.less(before)
	}
	known, others := firstEnds(room/8, false), firstEnds(9*room, false)[room:]
	if got, want := send(known), (tableCounts{Made: uint64(len(known))}); got != want {
		t.Errorf("new flows: %+v, want %+v", got, want)
	}
	if got, want := send(known), (tableCounts{Found: uint64(len(known))}); got != want {
		t.Errorf("known flows: %+v, want %+v", got, want)
	}
	got, want := send(others), tableCounts{Made: uint64(len(others))}
	if design.program == "hash" {
		want.Made = uint64(room - len(known))
		want.Refused = uint64(len(others)) - want.Made
	}
	if got != want {
		t.Errorf("more flows than room: %+v, want %+v", got, want)
	}
	// From the last on, because each that is not found may take another's place.
	slices.Reverse(others)
	if stayed := int(send(others).Found); stayed < room/2 || stayed > room {
		t.Errorf("%d flows are in a table with room for %d", stayed, room)
	}
}

// Every table has its figure for each task.
func TestRunFlowTables(t *testing.T) {
	o := Options{Rounds: 2, FlowTable: 1 << 14, Scenarios: []string{"hit-1", "hit-1k", "new", "full"}}
	r, err := RunFlowTables(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(flowTables) * len(o.Scenarios); len(r.Results) != want {
		t.Errorf("%d results, want %d", len(r.Results), want)
	}
	for _, x := range r.Results {
		if x.MinNS > x.MedianNS || x.MedianNS > x.MaxNS || x.Bytes < 16 || x.Refused && x.Task != "full" {
			t.Errorf("%+v", x)
		}
	}
	var text strings.Builder
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, design := range flowTables {
		if !strings.Contains(text.String(), "\n"+design.program+" ") {
			t.Errorf("%s is not in the table:\n%s", design.program, text.String())
		}
	}
	if _, err := RunFlowTables(t.Context(), Options{Rounds: 1, Scenarios: []string{"hit-2"}}); err == nil {
		t.Error("accepted a task that does not exist")
	}
}

// A task that was not what it says is an error, not a figure.
func TestTableCheck(t *testing.T) {
	hits, full := tableTasks[0], tableTasks[len(tableTasks)-1]
	lines, hash := flowTables[0], flowTables[len(flowTables)-1]
	if err := hits.check(lines, tableCounts{Found: 10}, 10); err != nil {
		t.Error(err)
	}
	if hits.check(lines, tableCounts{Found: 9, Made: 1}, 10) == nil {
		t.Error("accepted a hit that was none")
	}
	if err := full.check(hash, tableCounts{Refused: 10}, 10); err != nil {
		t.Error(err)
	}
	if full.check(lines, tableCounts{Made: 9, Refused: 1}, 10) == nil {
		t.Error("accepted a flow that was not recorded")
	}
}
