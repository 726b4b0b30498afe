package control

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// table has one slot a backend; marks are pairs of slot and previous backend.
func table(present []uint32, marks ...[2]uint32) maps.Table {
	t := maps.Table{Present: present}
	for _, m := range marks {
		t.Marked = append(t.Marked, maps.Mark{Slot: m[0], Previous: m[1]})
	}
	return t
}

func strays(slots ...uint32) maps.Slots {
	s := maps.NewSlots(8)
	for _, slot := range slots {
		s.Add(slot)
	}
	return s
}

func TestMerge(t *testing.T) {
	const T, now = time.Minute, time.Hour
	fresh, young, old := markTime{unwritten, unwritten}, markTime{now - T, now - T}, markTime{now - 2*T, now - T}
	auto := merging{tracking: tracksMarked, now: now, lasts: T, surveyed: unwritten}
	meanwhile := auto
	meanwhile.meanwhile = []uint32{1, 2, 3, 0}
	surveyed := auto
	surveyed.surveyed = now - time.Second
	for _, c := range []struct {
		name    string
		how     merging
		old     maps.Table
		times   transition
		present []uint32
		want    maps.Table
		at      transition
	}{
		{"first table", auto, maps.Table{}, nil, []uint32{1, 2}, table([]uint32{1, 2}), nil},
		{"nothing new", auto, table([]uint32{1, 2}), nil, []uint32{1, 2}, table([]uint32{1, 2}), nil},
		{"marked where it changes", auto, table([]uint32{1, 2, 3}), nil, []uint32{1, 3, 3}, table([]uint32{1, 3, 3}, [2]uint32{1, 2}), transition{fresh}},
		{"a slot of nobody", auto, table([]uint32{0, 1}), nil, []uint32{2, 0}, table([]uint32{2, 0}, [2]uint32{1, 1}), transition{fresh}},
		{"asked some time after it is written", meanwhile, table([]uint32{0, 0, 1, 0}), nil, []uint32{1, 1, 2, 2},
			table([]uint32{1, 1, 2, 2}, [2]uint32{1, 2}, [2]uint32{2, 1}), transition{fresh, fresh}},
		{"previous stays", auto, table([]uint32{2}, [2]uint32{0, 1}), transition{young}, []uint32{3},
			table([]uint32{3}, [2]uint32{0, 1}), transition{{young.since, unwritten}}},
		{"there and back", auto, table([]uint32{2}, [2]uint32{0, 1}), transition{young}, []uint32{1},
			table([]uint32{1}, [2]uint32{0, 1}), transition{{young.since, unwritten}}},
		{"not settled yet", auto, table([]uint32{2}, [2]uint32{0, 1}), transition{young}, []uint32{2}, table([]uint32{2}, [2]uint32{0, 1}), transition{young}},
		{"settled", auto, table([]uint32{2}, [2]uint32{0, 1}), transition{old}, []uint32{2},
			table([]uint32{2}, [2]uint32{0, 2}), transition{{old.since, unwritten}}},
		{"settled and changed", auto, table([]uint32{2}, [2]uint32{0, 1}), transition{old}, []uint32{3},
			table([]uint32{3}, [2]uint32{0, 3}), transition{{old.since, unwritten}}},
		{"not written yet", auto, table([]uint32{2}, [2]uint32{0, 1}), transition{fresh}, []uint32{2}, table([]uint32{2}, [2]uint32{0, 1}), transition{fresh}},
		{"no survey", auto, table([]uint32{2}, [2]uint32{0, 2}), transition{old}, []uint32{2}, table([]uint32{2}, [2]uint32{0, 2}), transition{old}},
		{"cleared", surveyed, table([]uint32{2}, [2]uint32{0, 2}), transition{old}, []uint32{2}, table([]uint32{2}), nil},
		{"cleared and changed", surveyed, table([]uint32{2}, [2]uint32{0, 2}), transition{old}, []uint32{3}, table([]uint32{3}, [2]uint32{0, 2}), transition{fresh}},
		{"changed since the survey", surveyed, table([]uint32{2}, [2]uint32{0, 2}), transition{{old.since, now}}, []uint32{2},
			table([]uint32{2}, [2]uint32{0, 2}), transition{{old.since, now}}},
		{"a stray", merging{tracksMarked, false, now, T, now, strays(0), nil}, table([]uint32{2, 2}, [2]uint32{0, 2}, [2]uint32{1, 2}), transition{old, old}, []uint32{2, 2},
			table([]uint32{2, 2}, [2]uint32{0, 2}), transition{old}},
		{"too few to write", merging{tracksMarked, false, now, T, now, strays(0, 1, 2, 3, 4, 5, 6, 7), nil},
			table([]uint32{2, 2, 2, 2, 2, 2, 2, 2, 2}, [2]uint32{0, 2}, [2]uint32{1, 2}, [2]uint32{2, 2}, [2]uint32{3, 2}, [2]uint32{4, 2}, [2]uint32{5, 2}, [2]uint32{6, 2}, [2]uint32{7, 2}, [2]uint32{8, 2}),
			transition{old, old, old, old, old, old, old, old, old}, []uint32{2, 2, 2, 2, 2, 2, 2, 2, 2},
			table([]uint32{2, 2, 2, 2, 2, 2, 2, 2, 2}, [2]uint32{0, 2}, [2]uint32{1, 2}, [2]uint32{2, 2}, [2]uint32{3, 2}, [2]uint32{4, 2}, [2]uint32{5, 2}, [2]uint32{6, 2}, [2]uint32{7, 2}, [2]uint32{8, 2}),
			transition{old, old, old, old, old, old, old, old, old}},
		{"marks of an earlier daemon", auto, table([]uint32{2}, [2]uint32{0, 1}), nil, []uint32{2}, table([]uint32{2}, [2]uint32{0, 1}), transition{{now, now}}},
		{"begins to trust", merging{tracksMarked, true, now, T, unwritten, nil, nil}, table([]uint32{1, 0, 2}), nil, []uint32{1, 3, 4},
			table([]uint32{1, 3, 4}, [2]uint32{0, 1}, [2]uint32{1, 3}, [2]uint32{2, 2}), transition{fresh, fresh, fresh}},
		{"always: no survey needed", merging{tracking: tracksAlways, now: now, lasts: T, surveyed: unwritten}, table([]uint32{2}, [2]uint32{0, 2}), transition{old}, []uint32{2}, table([]uint32{2}), nil},
		{"never: no marks", merging{tracking: tracksNever, now: now, lasts: T, surveyed: unwritten}, table([]uint32{2}, [2]uint32{0, 1}), transition{old}, []uint32{3}, table([]uint32{3}), nil},
		{"nat: no marks", merging{tracking: tracksAll, now: now, lasts: T, surveyed: unwritten}, table([]uint32{2}), nil, []uint32{3}, table([]uint32{3}), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			// An old table is in the maps, and shared.
			before := table(append([]uint32(nil), c.old.Present...))
			before.Marked = append(before.Marked, c.old.Marked...)
			got, at := c.how.merge(c.old, c.times, c.present)
			if d := cmp.Diff(c.want, got, compare...); d != "" {
				t.Errorf("table (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.at, at, append(compare, cmp.AllowUnexported(markTime{}))...); d != "" {
				t.Errorf("times (-want +got):\n%s", d)
			}
			if !before.Equal(c.old) {
				t.Error("the old table was changed in place")
			}
		})
	}
}

// What a table names as previous backend keeps its number, whatever a sweep says.
func TestPreviousBackendStays(t *testing.T) {
	l2 := func(backends ...string) model.Service {
		s := service("web", "203.0.113.1:80", backends...)
		s.Forward = model.L2DSR
		return s
	}
	first := mustPlan(t, input(maps.Contents{}, l2("10.0.0.1:80", "10.0.0.2:80")))
	gone := first.Services[0].Backends[0].ID
	in := input(first.Contents, l2("10.0.0.2:80", "10.0.0.3:80"))
	second := mustPlan(t, in)
	in = input(second.Contents, l2("10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"))
	in.Idle = map[uint32]bool{gone: true}
	third := mustPlan(t, in)
	if b := third.Contents.Backends[gone]; b != first.Contents.Backends[gone] {
		t.Errorf("the previous backend of marked slots became %+v", b)
	}
	if third.Services[0].Marked == 0 {
		t.Error("no slot is marked")
	}
}

func TestLongestTimeout(t *testing.T) {
	s := service("web", "203.0.113.1:80")
	s.Timeouts = model.Timeouts{TCPSyn: 1, TCPEstablished: 2, TCPFin: 5, TCPClosed: 4, UDP: 9}
	if got := longestTimeout(s); got != 5 {
		t.Errorf("TCP: %d", got)
	}
	s.Frontends[0].Protocol = model.UDP
	if got := longestTimeout(s); got != 9 {
		t.Errorf("UDP: %d", got)
	}
}

// A changed table is marked, shown so, and in time is without marks again.
func TestMarksComeAndGo(t *testing.T) {
	var ahead atomic.Int64
	data := newMemory()
	d := start(t, data, strings.Replace(web, "probe:", "forward: l2dsr, probe:", 1), func(p *parts) {
		p.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	if err := d.Client.Drain(t.Context(), "web", ap("10.0.0.1:80")); err != nil {
		t.Fatal(err)
	}
	s := d.status(t)
	one := s.Services[0]
	if n := one.MarkedSlots; n < 125 || n > 126 || s.MarkedSlots != n || one.SettlesSeconds <= 60 {
		t.Errorf("half of 251 slots moved, %d are marked (%d in all), for %.0f s", n, s.MarkedSlots, one.SettlesSeconds)
	}
	stats, err := d.Client.Stats(t.Context(), api.StatsFilter{})
	if err != nil || stats.Services[0].MarkedSlots != one.MarkedSlots {
		t.Errorf("stats say %+v, %v", stats.Services, err)
	}

	// One slot has a flow with the drained backend still.
	var slot int
	stray := maps.Flow{Service: 1}
	contents, _ := data.Read()
	for _, m := range contents.Tables[1].Marked {
		slot, stray.Backend = int(m.Slot), m.Previous
	}
	stray.Client = netip.AddrPortFrom(addr("198.51.100.7"), uint16(slot))
	data.set(func() { data.flows = []maps.Flow{stray} })
	ahead.Add(int64(time.Duration(one.SettlesSeconds+1) * time.Second))
	eventually(t, func() string {
		s := d.status(t).Services[0]
		return unless(s.MarkedSlots == 1 && s.SettlesSeconds == 0, "%d marked, settle in %g s", s.MarkedSlots, s.SettlesSeconds)
	})
	if contents, _ = data.Read(); contents.Tables[1].Marked[0].Slot != uint32(slot) {
		t.Errorf("the slot with the stray is %d, still marked: %v", slot, contents.Tables[1].Marked)
	}
	data.set(func() { data.flows = nil })
	eventually(t, func() string { n := d.status(t).MarkedSlots; return unless(n == 0, "%d marked", n) })
}
