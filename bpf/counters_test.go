package bpf_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	xlb "github.com/xlb-io/xlb/pkg/maps"
)

// counters are all that are to move by the packet.
func (w want) counters(length int) map[string]uint64 {
	m := map[string]uint64{}
	add := func(name string) {
		m[name+" packets"]++
		m[name+" bytes"] += uint64(length)
	}
	if w.reason != "" {
		add("reason " + w.reason)
	}
	for _, e := range w.events {
		m["event "+e]++
	}
	for _, o := range w.outcomes {
		name, number, other := strings.Cut(o, "@")
		if !other {
			number = fmt.Sprint(w.backend)
		}
		m[fmt.Sprintf("service %d outcome %s", w.service, name)]++
		m[fmt.Sprintf("backend %s outcome %s", number, name)]++
	}
	if refusals[w.reason] != "" {
		m[fmt.Sprintf("service %d refused %s", w.service, refusals[w.reason])]++
	}
	direction := ""
	switch {
	case strings.HasPrefix(w.reason, "drop_"):
		direction = "dropped"
	case w.reply:
		direction = "reply"
	case w.reason == "tx" || w.reason == "redirect":
		direction = "request"
	}
	for _, owner := range []struct {
		kind   string
		number uint32
	}{{"service", w.service}, {"backend", w.backend}} {
		if owner.number == 0 {
			continue
		}
		name := fmt.Sprintf("%s %d", owner.kind, owner.number)
		if direction != "" {
			add(name + " " + direction)
		}
		if w.begun || slices.Contains(w.events, "flow_created") {
			m[name+" flows"]++
		}
	}
	return m
}

// refusals are the reasons that are counted for each service.
var refusals = map[string]string{
	"drop_denied": "denied", "drop_not_allowed": "not allowed", "drop_rate": "rate",
	"drop_rate_source": "rate per source", "drop_connections": "connections",
}

// counters reads every counter that is not zero.
func (p *plane) counters(t *testing.T) map[string]uint64 {
	t.Helper()
	m := map[string]uint64{}
	add := func(name string, n uint64) {
		if n != 0 {
			m[name] = n
		}
	}
	reasons, err := p.set.Reasons()
	events, err2 := p.set.Events()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, r := range reasons {
		if r.Packets == 0 && r.Bytes == 0 {
			continue
		}
		add("reason "+r.Name+" packets", r.Packets)
		add("reason "+r.Name+" bytes", r.Bytes)
	}
	for _, e := range events {
		add("event "+e.Name, e.Packets)
	}
	for id := range p.raw["service_refused"].MaxEntries() {
		r, err := p.set.Refused(id)
		if err != nil {
			t.Fatal(err)
		}
		for why, n := range map[string]uint64{
			"denied": r.Denied, "not allowed": r.NotAllowed, "rate": r.Rate, "rate per source": r.RatePerSource, "connections": r.Connections,
		} {
			add(fmt.Sprintf("service %d refused %s", id, why), n)
		}
	}
	for kind, read := range map[string]func(uint32) (xlb.Traffic, error){"service": p.set.ServiceTraffic, "backend": p.set.BackendTraffic} {
		for id := range p.raw[kind+"_traffic"].MaxEntries() {
			c, err := read(id)
			if err != nil {
				t.Fatal(err)
			}
			if c == (xlb.Traffic{}) {
				continue
			}
			for direction, n := range map[string]xlb.Count{"request": c.Request, "reply": c.Reply, "dropped": c.Dropped} {
				add(fmt.Sprintf("%s %d %s packets", kind, id, direction), n.Packets)
				add(fmt.Sprintf("%s %d %s bytes", kind, id, direction), n.Bytes)
			}
			add(fmt.Sprintf("%s %d flows", kind, id), c.Flows)
		}
	}
	for kind, read := range map[string]func(uint32) (xlb.Outcomes, error){"service": p.set.ServiceOutcomes, "backend": p.set.BackendOutcomes} {
		for id := range p.raw[kind+"_outcome"].MaxEntries() {
			o, err := read(id)
			if err != nil {
				t.Fatal(err)
			}
			for name, n := range map[string]uint64{
				"attempts": o.Attempts, "answered": o.Answered, "unanswered": o.Unanswered,
				"refused": o.Refused, "reset": o.Reset, "retried": o.Retried,
			} {
				add(fmt.Sprintf("%s %d outcome %s", kind, id, name), n)
			}
		}
	}
	return m
}
