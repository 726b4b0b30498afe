package main

import (
	"context"
	"fmt"
	"strings"

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

// nonNil makes an empty list print as [] and not as null.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
