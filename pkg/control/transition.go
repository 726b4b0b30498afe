package control

import (
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// A table changes by merging the new one into the old, so that no connection to
// a backend that serves ever moves, though most flows are not recorded. What the
// data plane does in marked and unmarked slots is told at [maps.Table]. A flow
// lives while it has been idle for no longer than its timeout; T is the longest
// timeout that a flow of the service can have. These hold at all times:
//
//	(1) every live flow of an unmarked slot has the present backend;
//	(2) every live flow of a marked slot that is not recorded has the previous
//	    backend.
//
// From them it follows that no live flow moves: unmarked, its packets go to the
// present backend; marked, to the recorded or else to the previous one. And they
// are kept by these rules:
//
//   - An unmarked slot whose backend P becomes Q is marked, with P as previous:
//     (1) becomes (2). If P is 0, the slot has no live flow, and no mark is needed;
//     except in the first table of a subset, which is asked some time after it is
//     written. Flows begin by the service's own table until then, and if that has Q
//     by now and the subset R, the slot is marked with Q.
//   - A marked slot keeps its previous backend however often the present one
//     changes: a connection that began since the mark is recorded, as its SYN was.
//   - T after the mark was written every live flow of the previous backend has
//     spoken since, and is recorded. (2) says nothing any more, so previous
//     becomes present ("settled"), and the backend that it was can go.
//   - A mark is removed from a slot whose previous and present backend are the
//     same if a survey of the flow table that began after both were written finds
//     no live flow of the slot recorded with another: then recorded or not, all
//     have the present one, which is (1).
//
// What is recorded while the survey runs, or between it and the write that
// removes the mark, does no harm: a flow that is not known gets the present
// backend whether it begins or goes on, and a record that names another backend
// was there when the survey began, as long as the slot did not change; if it
// did, the survey does not count for it. A plan may remove a mark and give the
// slot another backend at once; that is the first rule. Times are taken after
// the write returned: the kernel has then waited until no CPU uses the old table.
//
// When a service begins to trust unmarked slots (its tracking becomes auto) flows
// may be recorded with any backend, so all slots are marked. Tables are written
// before services, so marks come before they are needed, and when they are no
// longer, they go in a plan of their own. After a restart the marks are read back from the kernel,
// and count from then. Records that are evicted, and a SYN that is sent again
// after its slot changed, are outside of this: such a flow may move.

// tracking says which flows of a service are recorded; the less a table's marks
// matter, the greater.
type tracking uint8

const (
	tracksAll    tracking = iota // and replies need the record: marks have no use
	tracksMarked                 // those in marked slots
	tracksAlways                 // all; marks tell where unknown ones belong
	tracksNever
)

func trackingOf(s maps.Service) tracking {
	switch {
	case s.Forward.RewritesPorts():
		return tracksAll
	case s.Track == model.TrackAlways:
		return tracksAlways
	case s.Track == model.TrackNever:
		return tracksNever
	}
	return tracksMarked
}

// longestTimeout is T: after it a flow that has not spoken does not live.
func longestTimeout(s model.Service) (longest time.Duration) {
	for _, f := range s.Frontends {
		if f.Protocol == model.UDP {
			longest = max(longest, s.Timeouts.UDP)
		} else {
			longest = max(longest, s.Timeouts.TCPSyn, s.Timeouts.TCPEstablished, s.Timeouts.TCPFin, s.Timeouts.TCPClosed)
		}
	}
	return longest
}

// unwritten stands for the time at which a plan will have been written.
const unwritten = time.Duration(-1)

// markTime is what is known of a marked slot beyond the table itself, by the
// reconciler's clock.
type markTime struct {
	since   time.Duration // it was marked
	changed time.Duration // its present or previous backend became what it is
}

// transition holds the times of a table's marked slots, in their order. It is
// shared and never changed once its plan was written.
type transition []markTime

// survey is what a look through the flow table found.
type survey struct {
	began time.Duration
	// strays are, by service number, the slots in which a live flow is recorded
	// with another backend than the present one. Services that are not here
	// were not looked at.
	strays map[uint32]maps.Slots
}

// The data plane counts in ticks of a millisecond, of a clock that is some
// milliseconds late.
const clockSlack = time.Second

// A table is written again when this part of its marks can go, so that a
// transition of many flows takes a few writes and not one at every sweep.
const clearedAtOnce = 8

// merging is the step of one service's table from one plan to the next.
type merging struct {
	tracking tracking
	// begins: the service did not trust unmarked slots until now.
	begins bool
	now    time.Duration
	lasts  time.Duration // T
	// surveyed is when the survey began; unwritten if there was none.
	surveyed time.Duration
	strays   maps.Slots
	// meanwhile, if any, is the table by which flows begin after this one is
	// written and before it is asked.
	meanwhile []uint32
}

// merge returns the table that replaces old and sends new flows to present.
// What does not change is the same memory.
func (m merging) merge(old maps.Table, times transition, present []uint32) (maps.Table, transition) {
	unchanged := sameSlots(old.Present, present)
	if unchanged {
		present = old.Present // one copy in memory is enough, and comparing is free
	}
	if m.tracking == tracksAll || m.tracking == tracksNever || len(old.Present) != len(present) {
		return maps.Table{Present: present}, nil
	}
	if len(times) != len(old.Marked) {
		times = slices.Repeat(transition{{m.now, m.now}}, len(old.Marked)) // marked by an earlier daemon
	}
	if unchanged && !m.begins && !m.due(old, times) {
		return old, times
	}
	out := maps.Table{Present: present}
	var outTimes transition
	mark := func(slot int, previous uint32, t markTime) {
		if m.tracking == tracksAlways && previous == present[slot] {
			return // tells nothing
		}
		out.Marked = append(out.Marked, maps.Mark{Slot: uint32(slot), Previous: previous})
		outTimes = append(outTimes, t)
	}
	clearing := m.clears(old, times)
	next := 0 // of old.Marked
	for slot, now := range present {
		before := old.Present[slot]
		if next < len(old.Marked) && int(old.Marked[next].Slot) == slot {
			previous, t := old.Marked[next].Previous, times[next]
			clear := clearing && m.clearable(old, next, t)
			next++
			if !clear {
				settles := previous != now && m.settled(t)
				if settles {
					previous = now
				}
				if settles || before != now {
					t.changed = unwritten
				}
				mark(slot, previous, t)
				continue
			}
		}
		switch {
		case before != now && before != 0:
			mark(slot, before, markTime{unwritten, unwritten})
		case before == 0 && len(m.meanwhile) == len(present) && m.meanwhile[slot] != now && m.meanwhile[slot] != 0:
			mark(slot, m.meanwhile[slot], markTime{unwritten, unwritten})
		case m.begins:
			mark(slot, now, markTime{unwritten, unwritten})
		}
	}
	return out, outTimes
}

// due says whether time or a survey alone change the table.
func (m merging) due(t maps.Table, times transition) bool {
	if m.tracking == tracksNever {
		return len(t.Marked) > 0
	}
	for i, mark := range t.Marked {
		if mark.Previous != t.Present[mark.Slot] && m.settled(times[i]) {
			return true
		}
	}
	return m.clears(t, times)
}

// settled: every live flow has spoken since the slot was marked.
func (m merging) settled(t markTime) bool {
	return t.since != unwritten && m.now-t.since > m.lasts+clockSlack
}

// clears says whether enough marks can go.
func (m merging) clears(t maps.Table, times transition) bool {
	if m.surveyed == unwritten && m.tracking != tracksAlways {
		return false
	}
	n := 0
	for i := range t.Marked {
		if m.clearable(t, i, times[i]) {
			n++
		}
	}
	return n > 0 && n*clearedAtOnce >= len(t.Marked)
}

// clearable: all live flows of the marked slot have the present backend, or are
// looked up though it is not marked.
func (m merging) clearable(t maps.Table, i int, at markTime) bool {
	mark := t.Marked[i]
	if mark.Previous != t.Present[mark.Slot] {
		return false
	}
	return m.tracking == tracksAlways || at.changed != unwritten && at.changed < m.surveyed && !m.strays.Has(mark.Slot)
}

func sameSlots(a, b []uint32) bool {
	if len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] {
		return true
	}
	return slices.Equal(a, b)
}

// settles is the time after which all marks are settled; 0 if they are.
func (t transition) settles(of maps.Table, lasts time.Duration) (last time.Duration) {
	for i, m := range of.Marked {
		if m.Previous != of.Present[m.Slot] {
			last = max(last, t[i].since+lasts+clockSlack)
		}
	}
	return last
}

// stamp replaces the times of what was just written.
func (t transition) stamp(now time.Duration) {
	for i := range t {
		if t[i].since == unwritten {
			t[i].since = now
		}
		if t[i].changed == unwritten {
			t[i].changed = now
		}
	}
}
