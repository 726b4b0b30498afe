package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) statsCommand() *cli.Command {
	return &cli.Command{
		Name:  "stats",
		Usage: "show counters, or rates with --watch",
		Description: "Every packet is counted under one reason: how it left the data plane. With --watch the rates\n" +
			"of the last INTERVAL (default 1s) are shown until Ctrl-C; on a terminal the screen is drawn\n" +
			"anew each time. Without a daemon the pinned maps are read, and services go by number (#1).",
		UsageText: "xlb stats\nxlb stats --watch\nxlb stats --watch 5s --service web\nxlb stats --watch --json",
		ArgsUsage: "[INTERVAL]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "show rates, again and again"},
			&cli.StringFlag{Name: "service", Usage: "only the service `NAME`"},
			&cli.BoolFlag{Name: "no-backends", Usage: "leave out single backends"},
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "show reasons and events that never happened, too"},
			jsonFlag(), socketFlag(), pinDirFlag(),
		},
		Action: func(c *cli.Context) error {
			interval := time.Second
			if text := c.Args().First(); text != "" {
				if !c.Bool("watch") {
					return usagef("interval %q goes with --watch only", text)
				}
				var err error
				if interval, err = time.ParseDuration(text); err != nil || interval < leastInterval {
					return usagef("interval %q: give a time of at least %s, such as 1s or 500ms", text, humanDuration(leastInterval))
				}
			}
			if c.Bool("watch") {
				return e.watch(c, interval)
			}
			s, err := e.stats(c)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return e.printJSON(s)
			}
			e.printTotals(s, c.Bool("all"))
			return nil
		},
	}
}

const leastInterval = 100 * time.Millisecond

func (e *env) stats(c *cli.Context) (s api.Stats, err error) {
	filter := api.StatsFilter{Service: c.String("service"), NoBackends: c.Bool("no-backends")}
	err = e.fallBack(c, func(ctx context.Context, client *api.Client) (err error) {
		s, err = client.Stats(ctx, filter)
		return unknownService(ctx, client, filter.Service, err)
	}, func(o *offline) (err error) {
		s, err = o.stats(e, filter)
		return err
	})
	return s, err
}

func (e *env) printTotals(s api.Stats, all bool) {
	reasons := &table{columns: []column{{name: "REASON"}, {name: "PACKETS", align: right}, {name: "BYTES", align: right}}}
	for _, r := range s.Reasons {
		if all || r.Packets > 0 {
			reasons.add(cell{r.Name, reasonStyle(r.Name)}, humanCount(r.Packets), humanBytes(r.Bytes))
		}
	}
	if len(reasons.rows) == 0 {
		e.printf("no packets were seen\n")
	} else {
		e.printTable(reasons, "")
	}
	events := &table{columns: []column{{name: "EVENT"}, {name: "COUNT", align: right}}}
	for _, v := range s.Events {
		if all || v.Packets > 0 {
			events.add(v.Name, humanCount(v.Packets))
		}
	}
	for _, v := range s.Upcalls.Counts() {
		if all || v.Packets > 0 {
			events.add("upcall_"+v.Name, humanCount(v.Packets))
		}
	}
	for _, v := range probeEvents(s.Probes) {
		if all || v.Packets > 0 {
			events.add(v.Name, humanCount(v.Packets))
		}
	}
	e.printSection(events)
	e.printSection(hookTable(s.Hooks))
	services := trafficTable("BYTES", column{name: "SERVICE", shrinks: true})
	for _, v := range s.Services {
		services.add(append([]any{v.Service}, totalsRow(v.Flows, v.Traffic)...)...)
	}
	e.printSection(services)
	backends := trafficTable("BYTES", column{name: "SERVICE", shrinks: true}, column{name: "BACKEND"})
	for _, v := range s.Backends {
		backends.add(append([]any{orDash(v.Service), v.Address}, totalsRow(v.Flows, v.Traffic)...)...)
	}
	e.printSection(backends)
	e.printOutcomes(s)
}

// printSection prints a table after an empty line, unless it is empty.
func (e *env) printSection(t *table) {
	if len(t.rows) > 0 {
		e.printf("\n")
		e.printTable(t, "")
	}
}

func trafficTable(size string, first ...column) *table {
	t := &table{columns: first}
	for _, name := range []string{"FLOWS", "NEW", "REQUESTS", size, "REPLIES", size, "DROPPED"} {
		t.columns = append(t.columns, column{name: name, align: right})
	}
	return t
}

func totalsRow(flows int, t api.Traffic) []any {
	return []any{
		humanCount(uint64(flows)), humanCount(t.FlowsCreated),
		humanCount(t.Request.Packets), humanBytes(t.Request.Bytes),
		humanCount(t.Reply.Packets), humanBytes(t.Reply.Bytes), dropped(t.Dropped.Packets, humanCount(t.Dropped.Packets)),
	}
}

func dropped(n uint64, text string) cell {
	if n > 0 {
		return cell{text, red}
	}
	return cell{text: text}
}

// probeEvents are the counters of health checks, as other events are shown.
func probeEvents(p api.ProbeStats) []api.Counter {
	late := uint64(0)
	for _, l := range p.Late {
		if l.UpToSeconds == 0 || l.UpToSeconds > lateProbe.Seconds() {
			late += l.Checks
		}
	}
	var out []api.Counter
	for _, c := range []struct {
		name  string
		count uint64
	}{{"probe_passed", p.Passed}, {"probe_failed", p.Failed}, {"probe_skipped", p.Skipped}, {"probe_late", late}} {
		out = append(out, api.Counter{Name: c.name, Count: api.Count{Packets: c.count}})
	}
	return out
}

// lateProbe is from when on a check that starts later than due is worth a word.
const lateProbe = 256 * time.Millisecond

// hookTable shows who is told of changes.
func hookTable(hooks []api.HookStats) *table {
	t := &table{columns: []column{
		{name: "HOOK"}, {name: "TOLD", align: right}, {name: "FAILED", align: right}, {name: "RETRIED", align: right},
		{name: "DROPPED", align: right}, {name: "WAITING", align: right}, {name: "ERROR", shrinks: true},
	}}
	for _, h := range hooks {
		t.add(h.Hook, humanCount(h.Told), dropped(h.Failed, humanCount(h.Failed)), humanCount(h.Retried),
			dropped(h.Dropped, humanCount(h.Dropped)), humanCount(uint64(h.Waiting)), h.Error)
	}
	return t
}
