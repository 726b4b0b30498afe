package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) zoneCommand() *cli.Command {
	verb := func(name, usage, description string, do func(context.Context, *api.Client, string, string) error, said string) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, Description: description,
			UsageText: fmt.Sprintf("xlb zone %s eu-1a\nxlb zone %s eu-1a web", name, name),
			ArgsUsage: "ZONE [SERVICE]",
			Flags:     []cli.Flag{socketFlag(), jsonFlag()},
			Action: func(c *cli.Context) error {
				return withDaemon(c, func(ctx context.Context, client *api.Client) error {
					zone, service := c.Args().First(), c.Args().Get(1)
					if err := do(ctx, client, zone, service); err != nil {
						if service == "" {
							return err
						}
						return unknownService(ctx, client, service, err)
					}
					if c.Bool("json") {
						zones, err := client.Zones(ctx, service)
						if err != nil {
							return err
						}
						return e.printJSON(nonNil(zones))
					}
					of := "all services"
					if service != "" {
						of = service
					}
					e.printf("%s of %s: %s\n", printable(zone), printable(of), said)
					return nil
				})
			},
		}
	}
	return &cli.Command{
		Name:        "zone",
		Aliases:     []string{"zones"},
		Usage:       "show zones, and take them out",
		Description: "A zone is a label of backends: a rack, a data centre. What is said here holds until it is taken\nback, also over restarts of the daemon.",
		UsageText:   "xlb zone ls\nxlb zone disable eu-1a\nxlb zone enable eu-1a",
		Subcommands: []*cli.Command{
			e.zoneList(),
			verb("disable", "let a zone take no new flows", "The backends of the zone drain, of one service or of all. Flows that they have stay until they\nend.",
				func(ctx context.Context, client *api.Client, zone, service string) error {
					return client.DisableZone(ctx, zone, service)
				}, "disabled: no new flows, old ones stay"),
			verb("enable", "let a zone take new flows again", "Ends \"xlb zone disable\"; without a service also what was said of single ones.",
				func(ctx context.Context, client *api.Client, zone, service string) error {
					return client.EnableZone(ctx, zone, service)
				}, "enabled"),
		},
	}
}

func (e *env) zoneList() *cli.Command {
	return &cli.Command{
		Name:        "ls",
		Aliases:     []string{"list"},
		Usage:       "list zones with their part of each service",
		Description: "Usable are the backends that nothing speaks against; the share is that of new flows.",
		UsageText:   "xlb zone ls\nxlb zone ls web",
		ArgsUsage:   "[SERVICE]",
		Flags:       []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				service := c.Args().First()
				zones, err := client.Zones(ctx, service)
				if err != nil {
					return unknownService(ctx, client, service, err)
				}
				if c.Bool("json") {
					return e.printJSON(nonNil(zones))
				}
				if len(zones) == 0 {
					e.printf("no backend is in a zone\n")
					return nil
				}
				t := &table{columns: []column{
					{name: "ZONE", shrinks: true}, {name: "SERVICE"}, {name: "USABLE", align: right}, {name: "SHARE", align: right},
					{name: "FLOWS", align: right}, {name: "NOTE"},
				}}
				for _, z := range zones {
					note := cell{}
					switch {
					case z.Disabled:
						note = cell{"disabled by an operator", yellow}
					case z.Own:
						note = cell{"this balancer's own", plain}
					}
					t.add(z.Zone, z.Service, fmt.Sprintf("%d/%d", z.Usable, z.Backends), fmt.Sprintf("%.1f%%", 100*z.Share), humanCount(uint64(z.Flows)), note)
				}
				e.printTable(t, "")
				return nil
			})
		},
	}
}
