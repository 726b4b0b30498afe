package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
)

// forwardText is how a service forwards and, where there is a choice, which
// flows it records. A daemon of before has no word on that.
func forwardText(s api.Service) string {
	if s.Forward == "nat" || s.Forward == "dnat" || s.Track == "" {
		return s.Forward
	}
	return s.Forward + ", track " + s.Track
}

// roleText says which backends a service wants by their role, and whether it has
// them; empty if roles do not count.
func roleText(s api.Service) string {
	if s.Role == "" {
		return ""
	}
	text := "role " + s.Role
	if s.RoleFallback != "none" {
		text += ", else " + s.RoleFallback
	}
	if s.StandsIn {
		text += ": none is usable, the others stand in"
	}
	return text
}

// scheduleText is how a service chooses the backend of a new flow.
func scheduleText(s api.Service) string {
	text := s.Schedule
	if s.Hash != "" {
		text += " by " + s.Hash
	}
	if s.OnePacket {
		text += ", ops"
	}
	if s.Affinity != nil {
		text += ", affinity " + seconds(s.Affinity.TimeoutSeconds)
	}
	if s.QUIC != nil {
		text += ", quic"
	}
	return text
}

// markedText says what is left of the last changes of a service's table.
func markedText(s api.Service) string {
	slots := "slots"
	if s.MarkedSlots == 1 {
		slots = "slot"
	}
	text := fmt.Sprintf("%d %s, whose flows are recorded", s.MarkedSlots, slots)
	if s.SettlesSeconds > 0 {
		return text + "; older ones are all known in " + seconds(s.SettlesSeconds)
	}
	return text + " until those with former backends end"
}

// noBackendsText is what becomes of flows to a service that lists no backends.
func noBackendsText(s api.Service) string {
	if s.Starting {
		return "the daemon starts: flows go where they went before"
	}
	return "no backends: new flows are dropped"
}

// serviceNote says what a service without a usable backend does.
func serviceNote(s api.Service) string {
	configured := slices.ContainsFunc(s.Backends, func(b api.Backend) bool { return b.State != api.StateRetired })
	switch {
	case s.FailOpen:
		return "all down: fail open, all are used"
	case s.Panic:
		return "few usable: panic, the others are used too"
	case !configured:
		return noBackendsText(s)
	}
	return "none usable: new flows are dropped"
}

func (e *env) printService(s api.ServiceDetail) {
	line := func(name, format string, args ...any) {
		e.printf("%s  %s\n", e.paint(fmt.Sprintf("%-10s", name), bold), printable(fmt.Sprintf(format, args...)))
	}
	line("service", "%s (number %d)", s.Name, s.ID)
	for i, f := range s.Frontends {
		name := "frontends"
		if i > 0 {
			name = ""
		}
		line(name, "%s", f)
	}
	printForwarding(s, line)
	line("fail", "%s", s.Fail)
	for _, l := range placementLines(s) {
		line(l[0], "%s", l[1])
	}
	if s.Critical {
		line("critical", "without a usable backend xlb is not ready")
	}
	if text := roleText(s.Service); text != "" {
		line("role", "%s", strings.TrimPrefix(text, "role "))
	}
	line("probe", "%s", probeText(s))
	var timeouts []string
	for _, name := range []string{"tcp_syn", "tcp_established", "tcp_fin", "tcp_closed", "udp"} {
		if v, ok := s.Timeouts[name]; ok {
			timeouts = append(timeouts, name+" "+seconds(v))
		}
	}
	line("timeouts", "%s", strings.Join(timeouts, ", "))
	for _, l := range failingLines(s.Failing) {
		line(l[0], "%s", l[1])
	}
	e.printRules(s, line)
	printTraffic(s, line)
	e.printf("\n")
	e.printSources(s.Sources, "")
	if len(s.Sources) > 0 {
		e.printf("\n")
	}
	e.printMembers(s)
}

// printForwarding says where a packet goes, and what decides.
func printForwarding(s api.ServiceDetail, line func(name, format string, args ...any)) {
	line("forward", "%s", forwardText(s.Service))
	if len(s.TunnelSources) > 0 {
		to := ""
		if s.GUEPort != 0 {
			to = fmt.Sprintf(" to UDP port %d", s.GUEPort)
		}
		line("tunnel", "from %s%s", strings.Join(s.TunnelSources, ", "), to)
	}
	line("schedule", "%s, %d slots", scheduleText(s.Service), s.TableSize)
	if a := s.Affinity; a != nil {
		line("affinity", "a client is /%d of IPv4, /%d of IPv6; forgotten %s after its last new flow", a.IPv4, a.IPv6, seconds(a.TimeoutSeconds))
	}
	if q := s.QUIC; q != nil {
		line("quic", "server IDs of %d octets in connection IDs of configuration %d", q.ServerIDLength, q.ConfigRotation)
	}
	if s.MarkedSlots > 0 {
		line("marked", "%s", markedText(s.Service))
	}
}

// probeText is how a service's backends are probed.
func probeText(s api.ServiceDetail) string {
	if s.Probe.Type == "none" {
		return "none"
	}
	via := ""
	if s.ProbeVia != "" {
		via = " via the VIP"
	}
	return s.Probe.Type + via + " " + paceText(s.Probe)
}

func printTraffic(s api.ServiceDetail, line func(name, format string, args ...any)) {
	line("requests", "%s", packetsAndBytes(s.Traffic.Request))
	if s.Forward == "nat" || s.Forward == "dnat" || s.Traffic.Reply.Packets > 0 {
		line("replies", "%s", packetsAndBytes(s.Traffic.Reply))
	}
	line("dropped", "%s", packetsAndBytes(s.Traffic.Dropped))
	if text := refusedText(s.Refused); text != "" {
		line("refused", "%s", text)
	}
	line("flows", "%s created", humanCount(s.Traffic.FlowsCreated))
}

// printMembers prints the backends of a service.
func (e *env) printMembers(s api.ServiceDetail) {
	if len(s.Backends) == 0 {
		e.printf("%s\n", noBackendsText(s.Service))
		return
	}
	if s.FailOpen {
		e.printf("%s\n", e.paint("no backend is usable: fail open, all are used", red))
	}
	if s.Panic {
		e.printf("%s\n", e.paint("few backends are usable: the others are used too", red))
	}
	e.printTable(e.selectionTable(s), "")
}

// selectionTable is a service's backends with what its way to choose among them
// looks at.
func (e *env) selectionTable(s api.ServiceDetail) *table {
	type extra struct {
		name string
		of   func(api.Backend) string
	}
	var extras []extra
	switch s.Schedule {
	case "least-connections":
		extras = append(extras, extra{"OPEN", func(b api.Backend) string { return humanCount(uint64(b.Connections)) }})
	case "least-latency":
		extras = append(extras, extra{"LATENCY", func(b api.Backend) string {
			return orDash(latencyText(b.LatencySeconds))
		}})
	}
	if s.QUIC != nil {
		extras = append(extras, extra{"SERVER ID", func(b api.Backend) string { return orDash(b.ServerID) }})
	}
	t := backendTable(false)
	const behind = 6 // SHARE
	for i, x := range extras {
		t.columns = slices.Insert(t.columns, behind+i, column{name: x.name, align: right})
	}
	for _, b := range s.Backends {
		row := e.backendRow("", b, s.TableSize)[1:]
		for i, x := range extras {
			row = slices.Insert(row, behind+i, any(x.of(b)))
		}
		t.add(row...)
	}
	return t
}

// latencyText has three digits; empty if it is not known.
func latencyText(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d <= 0:
		return ""
	case d < time.Millisecond:
		return d.Round(100 * time.Nanosecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

func packetsAndBytes(c api.Count) string {
	if c.Packets == 0 {
		return "none"
	}
	return fmt.Sprintf("%s packets, %s", humanCount(c.Packets), humanBytes(c.Bytes))
}

func seconds(s float64) string { return humanDuration(time.Duration(s * float64(time.Second))) }
