package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// env is the world around a command, so that tests can put theirs in its place.
//
// A command is made by a method of env. Its Action gets the context of the run
// by [cli.Context].Context; it is cancelled by Ctrl-C and SIGTERM.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// isTerminal: a person reads stdout.
	isTerminal bool
	// stdinIsTerminal: a person can answer a question.
	stdinIsTerminal bool
	// width of the terminal in columns; 0 if stdout is none.
	width int
	now   func() time.Time
}

// run executes the command line (without the program's name) and returns the
// exit status: 0 done, 1 what was asked for failed, 2 wrong usage or
// configuration.
func run(ctx context.Context, e env, args []string) int {
	app := e.app()
	if words, ok := completionRequest(args); ok {
		e.complete(ctx, app, words)
		return 0
	}
	line := parseLine(app, args)
	if err := line.check(app); err != nil {
		return e.exitStatus(ctx, err)
	}
	switch c := line.command(); {
	case line.help:
		e.help(e.stdout, app, line.path)
		return exitOK
	case c == nil || len(c.Subcommands) > 0:
		e.help(e.stderr, app, line.path)
		return exitUsage
	}
	return e.exitStatus(ctx, app.RunContext(ctx, append([]string{app.Name}, line.ordered()...)))
}

// terminalWidth returns the columns of the terminal that f is.
func terminalWidth(f *os.File) (columns int, ok bool) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	if size.Col == 0 { // a serial console does not say
		return 80, true
	}
	return int(size.Col), true
}

// printf writes to stdout.
func (e *env) printf(format string, args ...any) { fmt.Fprintf(e.stdout, format, args...) }

// app is the whole command tree.
func (e *env) app() *cli.App {
	app := &cli.App{
		Name:  "xlb",
		Usage: "a layer-4 load balancer for Linux",
		Description: "Packets are balanced in the kernel. \"xlb run\" is the daemon that decides where they\n" +
			"go; every other command shows or steers it. Traffic outlives the daemon.\n\n" +
			"Exit status: 0 done, 1 what was asked for failed, 2 wrong usage or configuration.",
		UsageText:       "xlb check -c xlb.yaml\nxlb run -c xlb.yaml\nxlb status",
		HideHelpCommand: true,
		HideVersion:     true,
		Commands:        e.commands(),
		Writer:          e.stdout,
		ErrWriter:       e.stderr,
		// run decides the exit status, and tests go on.
		ExitErrHandler: func(*cli.Context, error) {},
	}
	walk(app.Commands, func(path []string, c *cli.Command) {
		c.HideHelpCommand = true
		c.OnUsageError = onUsageError
		if len(c.Subcommands) > 0 {
			return
		}
		action := c.Action
		c.Action = func(ctx *cli.Context) error {
			if err := checkArguments(path, c.ArgsUsage, ctx.Args().Slice()); err != nil {
				return err
			}
			return action(ctx)
		}
	})
	return app
}
