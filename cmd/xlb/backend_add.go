package main

import (
	"context"
	"net/netip"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) backendAdd() *cli.Command {
	return &cli.Command{
		Name:  "add",
		Usage: "add a backend to a service",
		Description: "The backend stands beside those of the configuration file and of discovery until \"xlb backend\n" +
			"rm\". If these get it too, what they say of it counts. Without a port it has the frontends' port.",
		UsageText: "xlb backend add web 10.0.0.14:8080\nxlb backend add --weight 3 --zone eu-1a --tag canary web 10.0.0.14",
		ArgsUsage: "SERVICE ADDRESS",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "weight", Usage: "share of new flows relative to the others, `N` of 0 to 65535", Value: 1},
			&cli.StringFlag{Name: "zone", Usage: "its `ZONE`"},
			textsFlag("tag", "a `TAG` of it, repeatable"),
			&cli.IntFlag{Name: "priority", Usage: "its tier, `N` of 0 to 255"},
			&cli.StringFlag{Name: "server-id", Usage: "what connection IDs of QUIC call it, in `HEX` (default: the end of its address)"},
			socketFlag(), jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			weight := c.Int("weight")
			r := api.BackendRequest{Weight: &weight, Zone: c.String("zone"), Tags: texts(c, "tag"), Priority: c.Int("priority"), ServerID: c.String("server-id")}
			return e.steerFound(c, newBackend, func(ctx context.Context, client *api.Client, service string, b netip.AddrPort) (string, error) {
				return "added", client.AddBackend(ctx, service, b, r)
			})
		},
	}
}

// newBackend resolves what the user typed for a backend that is not there.
func newBackend(ctx context.Context, client *api.Client, service, typed string) (netip.AddrPort, error) {
	if exact, err := netip.ParseAddrPort(typed); err == nil {
		if exact.Port() == 0 {
			return exact, usagef("%q has port 0 (without a port it is the frontends')", typed)
		}
		return exact, nil
	}
	address, err := netip.ParseAddr(strings.Trim(typed, "[]"))
	if err != nil {
		return netip.AddrPort{}, usagef("%q is not a backend address (for example 10.0.0.11:8080 or [2001:db8::11]:8080)", typed)
	}
	detail, err := client.Service(ctx, service)
	if err != nil {
		return netip.AddrPort{}, unknownService(ctx, client, service, err)
	}
	port := uint16(0)
	for _, f := range detail.Frontends {
		text, _, _ := strings.Cut(f, "/")
		front, err := netip.ParseAddrPort(text)
		if err != nil || port != 0 && front.Port() != port {
			return netip.AddrPort{}, usagef("%s has no port, and the frontends of %s have several (write %s)", typed, service, netip.AddrPortFrom(address, max(port, 1)))
		}
		port = front.Port()
	}
	return netip.AddrPortFrom(address, port), nil
}

func (e *env) backendRemove() *cli.Command {
	return &cli.Command{
		Name:    "rm",
		Aliases: []string{"remove"},
		Usage:   "remove a backend that was added",
		Description: "It gets no new flows and serves those it has until they end. What was said of it is forgotten.\n" +
			"A backend of the configuration file is removed there.",
		UsageText: "xlb backend rm web 10.0.0.14:8080",
		ArgsUsage: "SERVICE ADDRESS",
		Flags:     []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				service, typed := c.Args().First(), c.Args().Get(1)
				address, err := saidBackend(ctx, client, service, typed)
				if err != nil {
					return err
				}
				if err := client.RemoveBackend(ctx, service, address); err != nil {
					return unknownService(ctx, client, service, err)
				}
				if !c.Bool("json") {
					e.printf("%s %s: removed\n", service, address)
					return nil
				}
				left, err := client.Backends(ctx, service)
				if err != nil {
					return err
				}
				return e.printJSON(nonNil(left))
			})
		},
	}
}
