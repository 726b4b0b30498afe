package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/demo"
)

func (e *env) demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show on this machine what xlb does",
		Description: "Builds a small network of namespaces (a client, a balancer, three backends of the weights 1, 1\n" +
			"and 3, IPv4 and IPv6), runs a daemon in it, and shows with real clients and servers how it\n" +
			"balances, takes out a dead backend, drains one, and outlives a kill -9 of its daemon. Takes\n" +
			"about 20 seconds, needs root and no file, and removes all it made, also after Ctrl-C.\n\n" +
			"Exit status 1 if a promise was broken; it says which, with the end of the daemon's log.",
		UsageText: "xlb demo\nxlb demo --attach tc\nxlb demo --json | jq .failover_ms",
		Flags: []cli.Flag{
			choiceFlag("attach", "hook of the data plane", "XLB_ATTACH", "auto", "auto", "native", "generic", "tc"),
			&cli.BoolFlag{Name: "json", Usage: "print the figures as JSON, and nothing else"},
		},
		Action: e.demo,
	}
}

func (e *env) demo(c *cli.Context) error {
	// A closed terminal or pipe ends the demo, not its cleaning up.
	ctx, stop := signal.NotifyContext(c.Context, unix.SIGHUP, unix.SIGPIPE)
	defer stop()
	var o demo.Options
	// The flag admits only words that the model knows.
	if err := o.Attach.UnmarshalText([]byte(c.Generic("attach").(*choice).value)); err != nil {
		panic(err)
	}
	screen := &demoScreen{env: e}
	if !c.Bool("json") {
		o.Screen = screen
		e.printf("xlb demo: HTTP and UDP through the real data plane, with a real daemon.\n")
	}
	result, err := demo.Run(ctx, o)
	screen.flush()
	switch {
	case err == nil:
		return e.demoOutcome(result, c.Bool("json"))
	case c.Context.Err() == nil && errors.Is(err, context.Canceled):
		return failf("interrupted: the terminal or the pipe was closed")
	case ctx.Err() == nil:
		e.printDaemonLog(result.Log)
	case e.isTerminal:
		e.printf("\n") // the terminal shows ^C
	}
	return err
}

// demoOutcome prints the figures and fails if a promise is broken.
func (e *env) demoOutcome(r demo.Result, asJSON bool) error {
	if asJSON {
		if err := e.printJSON(r.Figures); err != nil {
			return err
		}
	} else {
		e.printFigures(r.Figures)
	}
	if len(r.Figures.Problems) == 0 {
		return nil
	}
	e.printDaemonLog(r.Log)
	for _, p := range r.Figures.Problems {
		fmt.Fprintf(e.stderr, "xlb: a promise is broken: %s\n", oneLine(p))
	}
	return errSilent
}

func (e *env) printDaemonLog(log string) {
	if log != "" {
		fmt.Fprintf(e.stderr, "the end of the daemon's log:\n%s\n", log)
	}
}

func (e *env) printFigures(f demo.Figures) {
	t := &table{columns: []column{
		{name: "STEP"}, {name: "REQUESTS", align: right}, {name: "FAILED", align: right}, {name: "RESULT"},
	}}
	t.add("balance", f.Requests, f.Failed, "weights 1:1:3 got "+demoShares(f))
	t.add("failover", f.FailoverRequests, f.FailoverFailed, fmt.Sprintf("the dead backend was out of service after %d ms", f.FailoverMS))
	t.add("return", f.ReturnRequests, f.ReturnFailed, "the dead backend serves again")
	t.add("drain", f.DrainRequests, f.DrainFailed, fmt.Sprintf("%s of the draining backend finished", plural(f.DrainDownloads-f.DrainInterrupted, "download")))
	t.add("crash", f.CrashRequests, f.CrashFailed, fmt.Sprintf("%d of %s interrupted, %d ms without a daemon",
		f.CrashInterrupted, plural(f.CrashDownloads, "download"), f.CrashMS))
	e.printf("\n%s\n", e.paint("Figures", bold))
	e.printTable(t, "   ")
	e.printf("\n   Hook: %s. %.0f seconds. All that the demo made is removed.\n", f.AttachText(), f.Seconds)
}
