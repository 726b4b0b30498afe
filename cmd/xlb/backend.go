package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) backendCommand() *cli.Command {
	return &cli.Command{
		Name:    "backend",
		Aliases: []string{"backends"},
		Usage:   "show and steer backends",
		Description: "What is said here wins over the configuration file and holds until it is taken back,\n" +
			"also over restarts of the daemon.",
		UsageText: "xlb backend ls\nxlb backend show web 10.0.0.11:8080\nxlb backend drain web 10.0.0.11:8080\nxlb backend weight web 10.0.0.11:8080 50",
		Subcommands: []*cli.Command{
			e.backendList(),
			e.backendShow(),
			e.backendAdd(),
			e.backendRemove(),
			e.backendDrain(),
			e.backendUndrain(),
			e.backendVerb("disable", "take a backend out of service at once",
				"The backend gets no flows at all: those it has move to others, where their clients begin anew.\n"+
					"It is not used even if no other is usable and the service fails open. Take it back with \"xlb\nbackend enable\".",
				func(ctx context.Context, client *api.Client, service string, b netip.AddrPort) (string, error) {
					return "disabled: no flows, old ones move", client.Disable(ctx, service, b)
				}),
			e.backendVerb("enable", "let a disabled backend take flows again",
				"Ends \"xlb backend disable\".",
				func(ctx context.Context, client *api.Client, service string, b netip.AddrPort) (string, error) {
					return "enabled", client.Enable(ctx, service, b)
				}),
			e.backendWeight(),
		},
	}
}

func (e *env) backendList() *cli.Command {
	return &cli.Command{
		Name:    "ls",
		Aliases: []string{"list"},
		Usage:   "list backends with their state",
		Description: "The reason is the text of the probe's last failure, or why a backend gets no new flows.\n" +
			"A star (*) after the weight marks what an operator said on the command line.",
		UsageText: "xlb backend ls\nxlb backend ls web",
		ArgsUsage: "[SERVICE]",
		Flags:     []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				service := c.Args().First()
				backends, err := client.Backends(ctx, service)
				if err != nil {
					return unknownService(ctx, client, service, err)
				}
				if c.Bool("json") {
					return e.printJSON(nonNil(backends))
				}
				if len(backends) == 0 {
					e.printf("no backends are configured\n")
					return nil
				}
				t := backendTable(true)
				for _, b := range backends {
					t.add(e.backendRow(b.Service, b.Backend, 0)...)
				}
				e.printTable(t, "")
				return nil
			})
		},
	}
}

func (e *env) backendVerb(name, usage, description string, do func(context.Context, *api.Client, string, netip.AddrPort) (string, error)) *cli.Command {
	return &cli.Command{
		Name:        name,
		Usage:       usage,
		Description: description,
		UsageText:   "xlb backend " + name + " web 10.0.0.11:8080",
		ArgsUsage:   "SERVICE ADDRESS",
		Flags:       []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return e.steer(c, do)
		},
	}
}

func (e *env) backendWeight() *cli.Command {
	return &cli.Command{
		Name:  "weight",
		Usage: "set a backend's weight",
		Description: "The weight is the backend's share of new flows relative to the others, 0 to 65535; 0 gives\n" +
			"it none. \"reset\" returns to the weight of the configuration.",
		UsageText: "xlb backend weight web 10.0.0.11:8080 50\nxlb backend weight web 10.0.0.11:8080 reset",
		ArgsUsage: "SERVICE ADDRESS WEIGHT",
		Flags:     []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			text := c.Args().Get(2)
			weight, err := strconv.ParseUint(text, 10, 16)
			if err != nil && text != "reset" {
				return usagef("weight %q: give a whole number from 0 to 65535, or reset", text)
			}
			return e.steer(c, func(ctx context.Context, client *api.Client, service string, b netip.AddrPort) (string, error) {
				if text == "reset" {
					return "weight as configured", client.ResetWeight(ctx, service, b)
				}
				return "weight " + text, client.SetWeight(ctx, service, b, int(weight))
			})
		},
	}
}

// steer does something to the backend of the first two arguments and shows
// what it is then.
func (e *env) steer(c *cli.Context, do func(context.Context, *api.Client, string, netip.AddrPort) (string, error)) error {
	return e.steerFound(c, findBackend, do)
}

// steerFound is steer with another way to find the backend.
func (e *env) steerFound(c *cli.Context, find func(context.Context, *api.Client, string, string) (netip.AddrPort, error), do func(context.Context, *api.Client, string, netip.AddrPort) (string, error)) error {
	return withDaemon(c, func(ctx context.Context, client *api.Client) error {
		service := c.Args().First()
		address, err := find(ctx, client, service, c.Args().Get(1))
		if err != nil {
			return err
		}
		said, err := do(ctx, client, service, address)
		if err != nil {
			return unknownService(ctx, client, service, err)
		}
		if !c.Bool("json") {
			e.printf("%s %s: %s\n", service, address, said)
			return nil
		}
		backends, err := client.Backends(ctx, service)
		if err != nil {
			return err
		}
		for _, b := range backends {
			if b.Address == address {
				return e.printJSON(b)
			}
		}
		return failf("service %s has no backend %s any more", service, address)
	})
}

// backendTable's share is that of the lookup table; it is left out where the
// table's size is not known.
func backendTable(withService bool) *table {
	t := &table{columns: []column{
		{name: "BACKEND"}, {name: "WEIGHT", align: right}, {name: "STATE"}, {name: "SINCE", align: right},
		{name: "FLOWS", align: right}, {name: "SHARE", align: right}, {name: "ZONE", shrinks: true}, {name: "REASON", shrinks: true},
	}}
	if withService {
		t.columns = append([]column{{name: "SERVICE"}}, t.columns...)
	}
	return t
}

// backendRow is a row of a [backendTable] with service. A table size of 0 is
// unknown.
func (e *env) backendRow(service string, b api.Backend, tableSize int) []any {
	weight := strconv.Itoa(b.Weight)
	if b.Override {
		weight += "*"
	}
	since := ""
	if b.Since != nil {
		since = humanDuration(e.now().Sub(*b.Since))
	}
	share := ""
	if tableSize > 0 {
		share = fmt.Sprintf("%.1f%%", 100*float64(b.Slots)/float64(tableSize))
	}
	state := b.State
	if b.Role != "" {
		state += " " + b.Role
	}
	reason := b.Reason
	if b.DrainsUntil != nil && b.DrainsUntil.After(e.now()) {
		reason += e.leftText(*b.DrainsUntil)
	}
	if b.Shadow != "" {
		reason = strings.TrimPrefix(reason+"; "+b.Shadow, "; ")
	}
	return []any{
		orDash(service), b.Address, weight, cell{state, stateStyle(b.State)}, since,
		humanCount(uint64(b.Flows)), share, b.Zone, reason,
	}
}

func stateStyle(state string) style {
	switch state {
	case api.StateHealthy:
		return green
	case api.StateUnhealthy:
		return red
	case api.StateRetired:
		return faint
	}
	return yellow
}
