package control

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/schedule"
)

// tableWorkers bounds the tables computed at the same time: a plan must not
// take the whole machine from the packets.
const tableWorkers = 2

// tableJob asks for a table of plan.Services[service]: its own or, if subset is not
// -1, that of the subset with this index. id is the table's number.
type tableJob struct {
	service, subset int
	id              uint32
}

// tableEntry is what a table depends on, per backend.
type tableEntry struct {
	address netip.AddrPort
	id      uint32
	weight  uint16
}

// builtTable is where new flows go, with what it was built from. Nothing of it
// is changed.
type builtTable struct {
	turns   bool         // in the order of round robin
	entries []tableEntry // sorted by address
	present []uint32
	slots   map[uint32]int // by backend number
}

// buildTables computes where new flows of services go whose entries changed,
// merges it into the tables, and forgets those of services that are gone.
func (p *Planner) buildTables(r *round) error {
	built := make([]builtTable, len(r.jobs))
	var group errgroup.Group
	group.SetLimit(tableWorkers)
	for i, job := range r.jobs {
		s := &r.plan.Services[job.service]
		entries := entriesOf(s.Backends)
		if job.subset >= 0 && !s.Subsets[job.subset].FallsBack {
			entries = s.Subsets[job.subset].entries
		}
		known := p.tables[job.id]
		turns := s.Selection.Schedule == model.RoundRobin
		if len(known.present) == r.Sizes.Table && known.turns == turns && slices.Equal(known.entries, entries) {
			built[i] = known
			continue
		}
		group.Go(func() error {
			t, err := build(entries, turns, r.Sizes.Table)
			if err != nil {
				return fmt.Errorf("service %q: %w", s.Name, err)
			}
			built[i] = t
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	tables := p.tables
	if !r.partial {
		tables = make(map[uint32]builtTable, len(built))
	}
	var own []uint32 // the table of the job's service, whose job comes before its subsets'
	for i, job := range r.jobs {
		t, s := built[i], &r.plan.Services[job.service]
		if job.subset < 0 {
			own = t.present
		}
		before, since, first := r.tableBefore(job)
		m := r.merging(s)
		if first && m.tracking == tracksMarked {
			m.meanwhile = own
		}
		table, times := m.merge(before, since, t.present)
		t.present = table.Present
		tables[job.id] = t
		r.plan.Contents.Tables[job.id] = table
		if len(times) > 0 {
			r.plan.transitions[job.id] = times
			s.Marked += len(times)
		}
		for _, m := range table.Marked {
			if m.Previous != 0 {
				r.plan.inherited[m.Previous] = true
			}
		}
		for k := range s.Backends {
			if job.subset >= 0 {
				break
			}
			s.Backends[k].Slots = t.slots[s.Backends[k].ID]
		}
	}
	p.tables = tables
	return nil
}

// entriesOf are the backends that are in the table.
func entriesOf(backends []BackendState) []tableEntry {
	entries := make([]tableEntry, 0, len(backends))
	for _, b := range backends {
		if b.Effective > 0 {
			entries = append(entries, tableEntry{b.Address, b.ID, b.Effective})
		}
	}
	return entries
}

// merging is the step from the present table of a service to the plan's.
func (in *Input) merging(s *ServiceState) merging {
	m := merging{tracking: s.tracking, lasts: s.lasts, now: in.Now, surveyed: unwritten}
	if before, ok := in.Present.Services[s.ID]; ok {
		was := trackingOf(before)
		if s.tracking == tracksMarked {
			m.begins = was != tracksMarked
		} else {
			m.tracking = min(was, s.tracking) // the service is written after its table
		}
	}
	if in.Survey != nil {
		if strays, ok := in.Survey.strays[s.ID]; ok {
			m.surveyed, m.strays = in.Survey.began, strays
		}
	}
	return m
}

func build(entries []tableEntry, turns bool, size int) (builtTable, error) {
	in := make([]schedule.Entry, len(entries))
	for i, e := range entries {
		in[i] = schedule.Entry{Key: entryKey(e.address), ID: e.id, Weight: uint32(e.weight)}
	}
	fill := schedule.Maglev
	if turns {
		fill = schedule.RoundRobin
	}
	table, err := fill(in, size)
	if err != nil {
		return builtTable{}, err
	}
	out := builtTable{turns: turns, entries: entries, present: table, slots: map[uint32]int{}}
	for _, id := range table {
		out.slots[id]++
	}
	return out, nil
}
