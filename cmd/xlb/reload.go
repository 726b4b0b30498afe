package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) reloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "make the daemon read its configuration file again",
		Description: "Returns when the data plane holds the new configuration. A file with a mistake changes\n" +
			"nothing: the mistakes are printed, the exit status is 2, and the daemon goes on as before.",
		UsageText: "xlb reload\nxlb plan && xlb reload",
		Flags:     []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				if err := client.Reload(ctx); err != nil {
					return wrongConfig(err)
				}
				status, err := client.Status(ctx)
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return e.printJSON(status.LastReload)
				}
				backends := 0
				for _, s := range status.Services {
					for _, b := range s.Backends {
						if b.State != api.StateRetired {
							backends++
						}
					}
				}
				e.printf("reloaded %s: %s, %s\n", printable(status.Config), plural(len(status.Services), "service"), plural(backends, "backend"))
				e.printNotes(status.Warnings)
				return nil
			})
		},
	}
}
