package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) serviceCommand() *cli.Command {
	return &cli.Command{
		Name:        "service",
		Aliases:     []string{"services"},
		Usage:       "show, add and remove services",
		Description: "A service is a set of frontends (VIP, protocol, port) that share backends.",
		UsageText:   "xlb service ls\nxlb service show web",
		Subcommands: []*cli.Command{
			{
				Name:        "ls",
				Aliases:     []string{"list"},
				Usage:       "list the services",
				Description: "One line per service: where it is reached, how it forwards, how many backends take new flows.",
				UsageText:   "xlb service ls",
				Flags:       []cli.Flag{socketFlag(), jsonFlag()},
				Action: func(c *cli.Context) error {
					return withDaemon(c, func(ctx context.Context, client *api.Client) error {
						services, err := client.Services(ctx)
						if err != nil {
							return err
						}
						if c.Bool("json") {
							return e.printJSON(nonNil(services))
						}
						e.printServices(services)
						return nil
					})
				},
			},
			{
				Name:        "show",
				Usage:       "show one service in full",
				Description: "Frontends, probe, timeouts, traffic, and the backends with their share of the lookup table.",
				UsageText:   "xlb service show web",
				ArgsUsage:   "SERVICE",
				Flags:       []cli.Flag{socketFlag(), jsonFlag()},
				Action: func(c *cli.Context) error {
					return withDaemon(c, func(ctx context.Context, client *api.Client) error {
						name := c.Args().First()
						detail, err := client.Service(ctx, name)
						if err != nil {
							return unknownService(ctx, client, name, err)
						}
						if c.Bool("json") {
							return e.printJSON(detail)
						}
						e.printService(detail)
						return nil
					})
				},
			},
			e.serviceAdd(),
			e.serviceRemove(),
		},
	}
}

func (e *env) printServices(services []api.Service) {
	if len(services) == 0 {
		e.printf("no services are configured\n")
		return
	}
	t := &table{columns: []column{
		{name: "SERVICE"}, {name: "FRONTENDS", shrinks: true}, {name: "FORWARD"}, {name: "SCHEDULE"},
		{name: "SERVING", align: right}, {name: "FLOWS", align: right}, {name: "NOTE"},
	}}
	for _, s := range services {
		serving, configured, flows := 0, 0, 0
		for _, b := range s.Backends {
			flows += b.Flows
			if b.State != api.StateRetired {
				configured++
			}
			if b.EffectiveWeight > 0 && !s.FailOpen {
				serving++
			}
		}
		st := green
		if serving < configured {
			st = yellow
		}
		note := cell{}
		if serving == 0 || s.FailOpen || s.Panic {
			st = red
			note = cell{serviceNote(s), red}
		}
		t.add(s.Name, strings.Join(s.Frontends, " "), s.Forward, scheduleText(s),
			cell{fmt.Sprintf("%d/%d", serving, configured), st}, humanCount(uint64(flows)), note)
	}
	e.printTable(t, "")
}

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

// serviceNote says what a service without a usable backend does.
func serviceNote(s api.Service) string {
	configured := slices.ContainsFunc(s.Backends, func(b api.Backend) bool { return b.State != api.StateRetired })
	switch {
	case s.FailOpen:
		return "all down: fail open, all are used"
	case s.Panic:
		return "few usable: panic, the others are used too"
	case !configured:
		return "no backends: new flows are dropped"
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
	if p := s.Probe; p.Type == "none" {
		line("probe", "none")
	} else {
		via := ""
		if s.ProbeVia != "" {
			via = " via the VIP"
		}
		line("probe", "%s%s %s", p.Type, via, paceText(p))
	}
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
	line("requests", "%s", packetsAndBytes(s.Traffic.Request))
	if s.Forward == "nat" || s.Forward == "dnat" || s.Traffic.Reply.Packets > 0 {
		line("replies", "%s", packetsAndBytes(s.Traffic.Reply))
	}
	line("dropped", "%s", packetsAndBytes(s.Traffic.Dropped))
	if text := refusedText(s.Refused); text != "" {
		line("refused", "%s", text)
	}
	line("flows", "%s created", humanCount(s.Traffic.FlowsCreated))
	e.printf("\n")
	e.printSources(s.Sources, "")
	if len(s.Sources) > 0 {
		e.printf("\n")
	}
	if len(s.Backends) == 0 {
		e.printf("no backends: new flows are dropped\n")
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

// nonNil makes an empty list print as [] and not as null.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
