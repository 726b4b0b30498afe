package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) overridesCommand() *cli.Command {
	return &cli.Command{
		Name:  "overrides",
		Usage: "show and take back what was said on the command line",
		Description: "Drains, weights, disabled backends and zones, and what was added: it wins over the configuration\n" +
			"file, and outlives the daemon.",
		UsageText: "xlb overrides ls\nxlb overrides clear web",
		Subcommands: []*cli.Command{
			{
				Name:        "ls",
				Aliases:     []string{"list"},
				Usage:       "list all that was said",
				Description: "What is about something that is not there is kept, and holds when it returns.",
				UsageText:   "xlb overrides ls",
				Flags:       []cli.Flag{socketFlag(), jsonFlag()},
				Action: func(c *cli.Context) error {
					return withDaemon(c, func(ctx context.Context, client *api.Client) error {
						list, err := client.Overrides(ctx)
						if err != nil {
							return err
						}
						if c.Bool("json") {
							return e.printJSON(nonNil(list))
						}
						if len(list) == 0 {
							e.printf("nothing was said: the configuration alone holds\n")
							return nil
						}
						e.printOverrides(list)
						return nil
					})
				},
			},
			{
				Name:  "clear",
				Usage: "take back what was said, of all, of a service or of a backend",
				Description: "Backends and services that were added go, too. Without a service everything is taken back: the\n" +
					"configuration alone holds again.",
				UsageText: "xlb overrides clear\nxlb overrides clear web\nxlb overrides clear web 10.0.0.11:8080",
				ArgsUsage: "[SERVICE] [ADDRESS]",
				Flags:     []cli.Flag{socketFlag(), jsonFlag()},
				Action:    e.clearOverrides,
			},
		},
	}
}

func (e *env) clearOverrides(c *cli.Context) error {
	return withDaemon(c, func(ctx context.Context, client *api.Client) error {
		f := api.OverrideFilter{Service: c.Args().First()}
		if typed := c.Args().Get(1); typed != "" {
			var err error
			if f.Backend, err = saidBackend(ctx, client, f.Service, typed); err != nil {
				return err
			}
		}
		cleared, err := client.ClearOverrides(ctx, f)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return e.printJSON(nonNil(cleared))
		}
		if len(cleared) == 0 {
			e.printf("nothing was said\n")
			return nil
		}
		e.printf("taken back:\n")
		e.printOverrides(cleared)
		return nil
	})
}

func (e *env) printOverrides(list []api.Override) {
	t := &table{columns: []column{{name: "SERVICE"}, {name: "OF", shrinks: true}, {name: "SAID"}, {name: "NOTE", shrinks: true}}}
	for _, o := range list {
		of, note := "the service", o.Problem
		switch {
		case o.Zone != "":
			of = "zone " + o.Zone
		case o.Backend.IsValid():
			of = o.Backend.String()
		}
		if note == "" && !o.Known {
			note = "not there now"
		}
		if lines := strings.Split(note, "\n"); len(lines) > 1 {
			note = fmt.Sprintf("%s (and %d more)", lines[0], len(lines)-1)
		}
		service := o.Service
		if service == "" {
			service = "all"
		}
		t.add(service, of, e.saidOf(o), note)
	}
	e.printTable(t, "")
}

// saidOf puts into words what was said.
func (e *env) saidOf(o api.Override) string {
	var words []string
	if o.Added {
		words = append(words, "added"+asText(o.As))
	}
	if o.Zone != "" || o.Disabled {
		words = append(words, "disabled")
	}
	if o.Drain != nil {
		text := "not drained"
		if *o.Drain {
			text = "drained"
			if o.Deadline != nil {
				text += e.leftText(*o.Deadline)
			}
		}
		words = append(words, text)
	}
	if o.Weight != nil {
		words = append(words, fmt.Sprintf("weight %d", *o.Weight))
	}
	return strings.Join(words, ", ")
}

// asText says what an added backend was added as, but for what is usual; nil of a
// service.
func asText(r *api.BackendRequest) string {
	if r == nil {
		return ""
	}
	var words []string
	if r.Weight != nil && *r.Weight != 1 {
		words = append(words, fmt.Sprintf("weight %d", *r.Weight))
	}
	if r.Priority != 0 {
		words = append(words, fmt.Sprintf("tier %d", r.Priority))
	}
	for _, one := range []struct{ what, text string }{{"zone ", r.Zone}, {"tags ", strings.Join(r.Tags, " ")}, {"server ID ", r.ServerID}} {
		if one.text != "" {
			words = append(words, one.what+one.text)
		}
	}
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}

// leftText says how long it is until then.
func (e *env) leftText(at time.Time) string {
	if left := at.Sub(e.now()); left > 0 {
		return " for another " + humanDuration(left)
	}
	return ", and the time is over"
}
