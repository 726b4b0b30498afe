package maps

import (
	"cmp"
	"fmt"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/model"
)

// Selection is how the data plane chooses the backend of a new flow. The zero
// value is the table, by the flow's five-tuple.
type Selection struct {
	// Schedule; zero counts as [model.Maglev].
	Schedule model.Schedule `json:"schedule,omitzero"`
}

var schedules = map[model.Schedule]uint8{
	model.Maglev: bpf.ScheduleTable, model.SourceHash: bpf.ScheduleTable,
	model.Random: bpf.ScheduleRandom, model.RoundRobin: bpf.ScheduleRoundRobin,
	model.LeastConnections: bpf.ScheduleLeastConnections, model.LeastLatency: bpf.ScheduleLeastLatency,
}

// encode puts what is beside the usual into a service.
func (s Selection) encode(out *bpf.Service) error {
	var ok bool
	if out.Schedule, ok = schedules[cmp.Or(s.Schedule, model.Maglev)]; !ok {
		return fmt.Errorf("the data plane has no schedule %v", s.Schedule)
	}
	if out.Schedule != bpf.ScheduleTable {
		out.Options |= bpf.OptionSchedule
	}
	return nil
}

// decodeSelection is the inverse of [Selection.encode].
func decodeSelection(s bpf.Service) Selection {
	var out Selection
	if s.Options&bpf.OptionSchedule != 0 {
		out.Schedule = keyOf(schedules, s.Schedule)
	}
	return out
}
