package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) backendShow() *cli.Command {
	return &cli.Command{
		Name:  "show",
		Usage: "show one backend in full",
		Description: "State and role with reason and since when, weight and whose it is, probe with its last result,\n" +
			"flows, traffic, and the last changes, the latest first.",
		UsageText: "xlb backend show web 10.0.0.11:8080",
		ArgsUsage: "SERVICE ADDRESS",
		Flags:     []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				service := c.Args().First()
				address, err := findBackend(ctx, client, service, c.Args().Get(1))
				if err != nil {
					return err
				}
				detail, err := client.Backend(ctx, service, address)
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return e.printJSON(detail)
				}
				e.printBackend(detail)
				return nil
			})
		},
	}
}

func (e *env) printBackend(b api.BackendDetail) {
	line := func(name, format string, args ...any) {
		e.printf("%s  %s\n", e.paint(fmt.Sprintf("%-9s", name), bold), printable(fmt.Sprintf(format, args...)))
	}
	line("backend", "%s of %s (number %d)", b.Address, b.Service, b.ID)
	since := ""
	if b.Since != nil {
		since = " since " + humanDuration(e.now().Sub(*b.Since))
	}
	e.printf("%s  %s%s\n", e.paint(fmt.Sprintf("%-9s", "state"), bold), e.paint(printable(b.State), stateStyle(b.State)), since)
	if b.Reason != "" {
		line("reason", "%s", b.Reason)
	}
	if b.Role != "" {
		line("role", "%s", b.Role)
	}
	line("weight", "%s", weightText(b))
	line("flows", "%s now, %s created%s", humanCount(uint64(b.Flows)), humanCount(b.Traffic.FlowsCreated), keepsText(b))
	var place []string
	if b.Zone != "" {
		place = append(place, "zone "+b.Zone)
	}
	place = append(place, fmt.Sprintf("tier %d", b.Tier))
	if len(b.Tags) > 0 {
		place = append(place, "tags "+strings.Join(b.Tags, ", "))
	}
	line("placement", "%s", strings.Join(place, ", "))
	if b.Shadow != "" {
		line("shadow", "%s", b.Shadow)
	}
	e.printProbe(line, b.Probe)
	if b.Said != nil {
		line("operator", "%s", e.saidOf(*b.Said))
	}
	line("requests", "%s", packetsAndBytes(b.Traffic.Request))
	if b.Traffic.Reply.Packets > 0 {
		line("replies", "%s", packetsAndBytes(b.Traffic.Reply))
	}
	line("dropped", "%s", packetsAndBytes(b.Traffic.Dropped))
	e.printf("\n")
	e.printHistory(b.History)
}

// weightText says whose the weight is, and what the table makes of it.
func weightText(b api.BackendDetail) string {
	text := fmt.Sprintf("%d by the %s", b.Weight, b.WeightFrom)
	if b.Weight != b.ConfiguredWeight {
		text += fmt.Sprintf(" (configured %d)", b.ConfiguredWeight)
	}
	if b.Slots == 0 {
		return text + "; not in the table"
	}
	return text + fmt.Sprintf("; %d in the table, %d of %d slots (%.1f%%)", b.EffectiveWeight, b.Slots, b.TableSize, 100*float64(b.Slots)/float64(max(b.TableSize, 1)))
}

func keepsText(b api.BackendDetail) string {
	if b.Serves {
		return ""
	}
	return "; those that it has move to others"
}

// printProbe says how the backend is probed and what came of it.
func (e *env) printProbe(line func(name, format string, args ...any), p api.BackendProbe) {
	if p.Type == "none" {
		line("probe", "none")
		return
	}
	via := ""
	if p.Via != "" {
		via = " via the VIP"
	}
	line("probe", "%s to %s%s %s", p.Type, orDash(p.To), via, paceText(p.ServiceProbe))
	if p.Sharers > 1 {
		line("", "the same check is for %d backends of services", p.Sharers)
	}
	if p.Result == "" {
		line("result", "none yet")
		return
	}
	checked := ""
	if p.Checked != nil {
		checked = ", " + humanDuration(e.now().Sub(*p.Checked)) + " ago"
	}
	next := ""
	if p.Next != nil {
		if wait := p.Next.Sub(e.now()); wait > 0 {
			next = ", next in " + humanDuration(wait)
		} else {
			next = ", next under way"
		}
	}
	line("result", "%s %d in a row%s%s; %s failed in all", p.Result, p.Streak, checked, next, humanCount(p.Failures))
	line("latency", "%s, smoothed %s", exactly(p.LatencySeconds), exactly(p.SmoothedSeconds))
}

// paceText says how often a probe runs, and what decides.
func paceText(p api.ServiceProbe) string {
	text := fmt.Sprintf("every %s", exactly(p.IntervalSeconds))
	if p.JitterPercent > 0 {
		text += fmt.Sprintf(" ±%d%%", p.JitterPercent)
	}
	if p.FailingSeconds > 0 {
		text += fmt.Sprintf(", when failing %s", exactly(p.FailingSeconds))
	}
	if p.BackoffSeconds > 0 {
		text += fmt.Sprintf(", back-off to %s", exactly(p.BackoffSeconds))
	}
	return text + fmt.Sprintf(", timeout %s, rise %d, fall %d", exactly(p.TimeoutSeconds), p.Rise, p.Fall)
}

// exactly is a time to the microsecond: 1.5s, 2m, 230µs.
func exactly(s float64) string {
	text := time.Duration(s * float64(time.Second)).Round(time.Microsecond).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

func (e *env) printHistory(history []api.Change) {
	if len(history) == 0 {
		e.printf("no changes since the daemon started\n")
		return
	}
	t := &table{columns: []column{{name: "CHANGED", align: right}, {name: "BY"}, {name: "FROM"}, {name: "TO"}, {name: "REASON", shrinks: true}}}
	for _, c := range history {
		to := cell{orDash(c.To), plain}
		if c.Kind != api.ChangeRole {
			to.style = stateStyle(c.To)
		}
		if strings.HasPrefix(c.To, "weight ") {
			to.style = plain
		}
		t.add(humanDuration(e.now().Sub(c.At))+" ago", c.Kind, orDash(c.From), to, c.Reason)
	}
	e.printTable(t, "")
}
