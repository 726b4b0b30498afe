package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/pkg/model"
)

// counters are all of the data plane's that a scenario may or may not move.
type counters map[string]uint64

func (m *measurement) counters() (counters, error) {
	c := counters{}
	reasons, err := m.room.set.Reasons()
	if err != nil {
		return nil, err
	}
	for _, r := range reasons {
		c[r.Name] = r.Packets
	}
	events, err := m.room.set.Events()
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		c[e.Name] = e.Packets
	}
	t, err := m.room.set.ServiceTraffic(m.service())
	if err != nil {
		return nil, err
	}
	c["requests"], c["replies"], c["service_flows"] = t.Request.Packets, t.Reply.Packets, t.Flows
	return c, nil
}

// expected are the counters that n packets of a scenario move, all of them.
func (m *measurement) expected(n uint64) counters {
	switch m.kind {
	case noVIP:
		return counters{"pass_not_vip": n}
	case reply:
		return counters{"tx": n, "replies": n}
	case hit:
		return counters{"tx": n, "requests": n}
	case asked:
		return counters{"upcall": n}
	case refused:
		return counters{"drop_denied": n}
	case unknown:
		return counters{
			"tx": n, "requests": n, "service_flows": n,
			"flow_created": n, "flow_midstream": n, "flow_inherited": n,
		}
	}
	c := counters{"tx": n, "requests": n}
	if m.records() {
		c["flow_created"] = n
	}
	if m.records() || m.protocol == model.TCP {
		c["service_flows"] = n
	}
	return c
}

// wrong allows evictions for one new flow in a hundred that has room, and as
// many to find room in a table that is full. Which clients come again is not known.
func (m *measurement) wrong(name string, moved, want, n uint64) bool {
	if name == "flow_evicted" && m.records() {
		switch m.kind {
		case newFlow, unknown:
			return moved > n/100
		case flood:
			return moved < n-n/100
		}
	}
	if name == "affinity" && m.variant == bound {
		return moved > n
	}
	return moved != want
}

// check compares what moved with what the scenario says. The verdict is the
// last packet's.
func (m *measurement) check(before, after counters, n int, verdict uint32) error {
	want := m.expected(uint64(n))
	var errs []string
	for name, value := range after {
		moved := value - before[name]
		if m.wrong(name, moved, want[name], uint64(n)) {
			errs = append(errs, fmt.Sprintf("%s moved by %d, not %d", name, moved, want[name]))
		}
	}
	returns := hookSpec[m.hook].sends
	switch m.kind {
	case noVIP:
		returns = hookSpec[m.hook].passes
	case asked, refused:
		returns = hookSpec[m.hook].nothing
	}
	if verdict != returns {
		errs = append(errs, fmt.Sprintf("the program returned %d, not %d", int32(verdict), int32(returns)))
	}
	if len(errs) == 0 {
		return nil
	}
	slices.Sort(errs)
	return fmt.Errorf("%s is not what it says, of %d packets: %w", m, n, errors.New(strings.Join(errs, ", ")))
}
