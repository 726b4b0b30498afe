package main

import (
	"fmt"
	"maps"
	"os/signal"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/bench"
	"github.com/xlb-io/xlb/pkg/model"
)

func (e *env) benchCommand() *cli.Command {
	usual := bench.Defaults()
	var forwards []string
	for _, f := range bench.Forwards() {
		forwards = append(forwards, f.String())
	}
	return &cli.Command{
		Name:  "bench",
		Usage: "measure what a packet costs on this machine",
		Description: "Nanoseconds that the data plane's programs take for a packet, by BPF_PROG_TEST_RUN, without\n" +
			"touching an interface. Each repetition brings a packet of the next flow; 100 backends. The cost\n" +
			"of an empty program in the same run (the floor) is subtracted. RATIO is how much longer than\n" +
			"the empty program it takes, BARE RATIO how much longer than the bare table look-up beside it,\n" +
			"the least a balancer can do: compare these between machines. A scenario whose packets did not\n" +
			"all end as its name says is an error. Takes some minutes and needs root.",
		UsageText: "xlb bench\nxlb bench --quick\nxlb bench --hook xdp --forward nat --scenario tcp4-hit-1 --scenario tcp4-hit-100k\n" +
			"xlb bench --json | jq '.results[] | {scenario, median_ns}'",
		Flags: []cli.Flag{
			choicesFlag("hook", "only this `HOOK`", bench.Hooks()),
			choicesFlag("forward", "only this `MODE`", forwards),
			choicesFlag("scenario", "only this `NAME`", bench.Scenarios()),
			&cli.IntFlag{Name: "rounds", Usage: "measure `N` times, 1 to 1000", Value: usual.Rounds},
			&cli.IntFlag{Name: "repeat", Usage: "send `N` packets a time, 1000 to 1000000000", Value: usual.Repeat},
			&cli.BoolFlag{Name: "decisions", Usage: "only what it costs that policies decide: connects, and decisions a second"},
			&cli.BoolFlag{Name: "quick", Usage: "one round and few packets: does it work at all"},
			jsonFlag(),
		},
		Action: e.bench,
	}
}

func (e *env) bench(c *cli.Context) error {
	o, err := benchOptions(c)
	if err != nil {
		return err
	}
	// A closed terminal or pipe ends the measuring, not its cleaning up.
	ctx, stop := signal.NotifyContext(c.Context, unix.SIGHUP, unix.SIGPIPE)
	defer stop()
	if e.isTerminal && !c.Bool("json") {
		o.Round = func(hook string, f model.Forward, round int) {
			fmt.Fprintf(e.stderr, "%s %s: round %d of %d\n", hook, f, round, o.Rounds)
		}
		o.Done = func(r bench.Result) {
			fmt.Fprintf(e.stderr, "%s %s %s: %.0f ns\n", r.Hook, r.Forward, r.Scenario, r.MedianNS)
		}
	}
	report, err := bench.Run(ctx, o)
	if err != nil {
		if c.Context.Err() == nil && ctx.Err() != nil {
			return failf("interrupted: the terminal or the pipe was closed")
		}
		if len(report.Results) > 0 && ctx.Err() == nil && !c.Bool("json") {
			e.printBench(report)
		}
		return needsRoot(err)
	}
	if c.Bool("json") {
		return e.printJSON(report)
	}
	e.printBench(report)
	return nil
}

func benchOptions(c *cli.Context) (bench.Options, error) {
	o := bench.Defaults()
	if c.Bool("quick") {
		o = bench.Quick()
	}
	if c.IsSet("rounds") {
		o.Rounds = c.Int("rounds")
	}
	if c.IsSet("repeat") {
		o.Repeat = c.Int("repeat")
	}
	if o.Rounds < 1 || o.Rounds > 1000 {
		return o, usagef("--rounds is %d (want 1 to 1000)", o.Rounds)
	}
	if o.Repeat < 1000 || o.Repeat > 1_000_000_000 {
		return o, usagef("--repeat is %d (want 1000 to 1000000000)", o.Repeat)
	}
	o.Hooks = c.Generic("hook").(*choices).values
	o.Scenarios = c.Generic("scenario").(*choices).values
	for _, name := range c.Generic("forward").(*choices).values {
		var f model.Forward
		// The flag admits only words that the model knows.
		if err := f.UnmarshalText([]byte(name)); err != nil {
			panic(err)
		}
		o.Forwards = append(o.Forwards, f)
	}
	chosen := len(o.Hooks)+len(o.Scenarios)+len(o.Forwards) > 0
	o.Only = c.Bool("decisions")
	o.Decisions = o.Only || !chosen
	if o.Only && chosen {
		return o, usagef("--decisions measures no packets: give it without --hook, --forward and --scenario")
	}
	if o.Empty() {
		asked := slices.Concat(o.Hooks, c.Generic("forward").(*choices).values, o.Scenarios)
		return o, usagef("nothing to measure: %s do not go together (nat and dnat alone have replies, ipip and gue are measured at xdp only)",
			strings.Join(asked, ", "))
	}
	return o, nil
}

func (e *env) printDecisions(list []bench.Decisions) {
	if len(list) == 0 {
		return
	}
	t := &table{columns: []column{
		{name: "ATTACH"}, {name: "DECISIONS/s", align: right}, {name: "CONNECT p50 µs", align: right}, {name: "p99", align: right},
		{name: "ASKED p50 µs", align: right}, {name: "p99", align: right}, {name: "ADDED p50", align: right}, {name: "p99", align: right},
	}}
	us := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	for _, d := range list {
		t.add(d.Attach, humanCount(uint64(d.PerSecond)), us(d.PlainP50US), us(d.PlainP99US), us(d.AskedP50US), us(d.AskedP99US), us(d.AddedP50US), us(d.AddedP99US))
	}
	e.printTable(t, "")
	e.printf("\n")
}

func (e *env) printBench(r bench.Report) {
	e.printDecisions(r.Decisions)
	if len(r.Results) == 0 {
		return
	}
	t := &table{columns: []column{
		{name: "HOOK"}, {name: "FORWARD"}, {name: "SCENARIO"}, {name: "MEDIAN ns", align: right},
		{name: "MIN", align: right}, {name: "MAX", align: right}, {name: "FLOOR", align: right}, {name: "RATIO", align: right},
		{name: "BARE", align: right}, {name: "BARE RATIO", align: right},
	}}
	ns := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	ratio := func(v float64) string { return fmt.Sprintf("%.2f", v) }
	for _, x := range r.Results {
		t.add(x.Hook, x.Forward, x.Scenario, ns(x.MedianNS), ns(x.MinNS), ns(x.MaxNS), ns(x.FloorNS), ratio(x.Ratio),
			ns(x.BareNS), ratio(x.BareRatio))
	}
	e.printTable(t, "")
	e.printf("\n")
	for _, hook := range slices.Sorted(maps.Keys(r.BareNS)) {
		l2, ipip := r.BareNS[hook], r.BareIPIPNS[hook]
		e.printf("bare table look-up at %s: %s ns with 1 flow, %s with 100k; with an outer header %s, %s\n",
			hook, ns(l2["1"]), ns(l2["100k"]), ns(ipip["1"]), ns(ipip["100k"]))
	}
	e.printf("%s, %s, of %d packets each; Linux %s, %s\n", plural(len(r.Results), "result"), plural(r.Rounds, "round"), r.Repeat, r.Kernel, r.CPU)
}
