package main

import (
	"log/slog"
	"os"
	"os/signal"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/control"
)

func (e *env) runCommand() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "run the daemon",
		Description: "Attaches the data plane to the interfaces of the configuration, keeps the backends probed and\n" +
			"the maps up to date, and answers the other commands. Stays in the foreground; logs go to\n" +
			"standard error. SIGHUP, \"xlb reload\" or a change of the file reload the configuration.\n\n" +
			"When it ends, by SIGTERM or by a crash, the traffic goes on as it was; the next start takes it\n" +
			"over. \"xlb detach\" is what stops the traffic.",
		UsageText: "xlb run -c /etc/xlb/xlb.yaml\nxlb run -c lab.yaml --pin-dir /sys/fs/bpf/lab --socket /run/lab.sock --state-dir /var/lib/lab",
		Flags: []cli.Flag{
			configFlag(), socketFlag(), pinDirFlag(), stateDirFlag(),
			choiceFlag("log-level", "least level that is logged", "XLB_LOG_LEVEL", "info", "debug", "info", "warn", "error"),
			choiceFlag("log-format", "form of the log", "XLB_LOG_FORMAT", "text", "text", "json"),
		},
		Action: func(c *cli.Context) error {
			path := c.Path("config")
			if path == "-" {
				return usagef("the daemon needs a configuration file, not standard input: a reload reads it again")
			}
			if _, err := e.loadConfig(c.Context, path); err != nil {
				return err
			}
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, unix.SIGHUP)
			defer signal.Stop(hangup)
			release, _ := buildVersion()
			return needsRoot(control.Run(c.Context, control.Options{
				ConfigPath: path,
				PinDir:     c.Path("pin-dir"),
				StateDir:   c.Path("state-dir"),
				Socket:     c.Path("socket"),
				Version:    release,
				Hangup:     hangup,
				Log:        e.logger(c),
			}))
		},
	}
}

func (e *env) logger(c *cli.Context) *slog.Logger {
	var level slog.Level
	// The flag admits only words that slog knows.
	if err := level.UnmarshalText([]byte(c.Generic("log-level").(*choice).value)); err != nil {
		panic(err)
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Generic("log-format").(*choice).value == "json" {
		return slog.New(slog.NewJSONHandler(e.stderr, options))
	}
	return slog.New(slog.NewTextHandler(e.stderr, options))
}
