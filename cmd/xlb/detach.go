package main

import (
	"errors"
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/loader"
)

func (e *env) detachCommand() *cli.Command {
	return &cli.Command{
		Name:  "detach",
		Usage: "remove the data plane from the kernel; traffic stops",
		Description: "Removes the programs from the interfaces, the pinned maps with all flows, the nftables table and\n" +
			"the settings that xlb changed on this host, and lists what it removed. Refused while a daemon\n" +
			"runs. Drains and weights said on the command line are kept.",
		UsageText: "systemctl stop xlb && xlb detach",
		Flags:     []cli.Flag{pinDirFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			removed, err := loader.Detach(c.Path("pin-dir"), slog.New(slog.DiscardHandler))
			if errors.Is(err, loader.ErrLocked) {
				return failf("a daemon runs: %w", err)
			}
			if c.Bool("json") {
				return errors.Join(err, e.printJSON(struct {
					Removed []string `json:"removed"`
				}{nonNil(removed)}))
			}
			for _, r := range removed {
				e.printf("removed %s\n", r)
			}
			if err == nil && len(removed) == 0 {
				e.printf("nothing is attached or pinned under %s\n", c.Path("pin-dir"))
			}
			return needsRoot(err)
		},
	}
}
