package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) planCommand() *cli.Command {
	return &cli.Command{
		Name:  "plan",
		Usage: "show what a configuration would change",
		Description: "Compares the configuration with what the running daemon has, and prints what a reload would\n" +
			"write: + added, - deleted, ~ changed, and how many slots of a lookup table move. Nothing is\n" +
			"changed. Without --config the daemon reads its own file. If no daemon runs, the comparison is\n" +
			"with the pinned maps or, if there are none, with an empty load balancer.",
		UsageText: "xlb plan\nxlb plan -c new.yaml\nxlb plan --json | jq .count",
		Flags:     []cli.Flag{configFlag(), socketFlag(), pinDirFlag(), stateDirFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			result, err := e.plan(c)
			if err != nil {
				return err
			}
			result.Count = len(result.Changes)
			if c.Bool("json") {
				return e.printJSON(result)
			}
			e.printPlan(result)
			return nil
		},
	}
}

// planResult is the JSON of a plan.
type planResult struct {
	// Against is "daemon", "pins" or "nothing".
	Against string `json:"against"`
	// Count is the number of changes.
	Count int `json:"count"`
	api.Plan
}

func (e *env) plan(c *cli.Context) (result planResult, err error) {
	request := api.PlanRequest{}
	path := c.Path("config")
	if c.IsSet("config") {
		if request.Content, err = e.readText(c.Context, path); err != nil {
			return result, err
		}
		request.Path = path
	}
	err = withDaemon(c, func(ctx context.Context, client *api.Client) (err error) {
		if c.IsSet("config") && request.Content == "" {
			// To the daemon no content means its own file.
			request.Content = "\n"
		}
		result.Against = againstDaemon
		result.Plan, err = client.Plan(ctx, request)
		return wrongConfig(err)
	})
	if errors.Is(err, api.ErrNoDaemon) {
		return e.planWithoutDaemon(c, path, request.Content)
	}
	return result, err
}

// printPlannedWeights prints what policies said of backends.
func (e *env) printPlannedWeights(list []api.PlanWeight) {
	if len(list) == 0 {
		return
	}
	t := &table{columns: []column{
		{name: "SERVICE"}, {name: "BACKEND"}, {name: "BY POLICY: WEIGHT", align: right}, {name: "TIER", align: right},
		{name: "IN TABLE", align: right}, {name: "REASON", shrinks: true},
	}}
	for _, w := range list {
		reason := w.Reason
		if w.Shadow != "" {
			reason = strings.TrimPrefix(reason+"; "+w.Shadow, "; ")
		}
		t.add(w.Service, w.Backend, fmt.Sprint(w.Weight), fmt.Sprint(w.Tier), fmt.Sprint(w.Effective), reason)
	}
	e.printTable(t, "")
}

// readText reads a configuration without judging it.
func (e *env) readText(ctx context.Context, path string) (string, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(e.input(ctx))
	} else {
		data, err = os.ReadFile(path)
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", usagef("cannot read the configuration: %v", err)
	}
	return string(data), nil
}

func (e *env) printPlan(p planResult) {
	switch p.Against {
	case againstPins:
		e.printf("no daemon runs: compared with the pinned maps\n")
	case againstNothing:
		e.printf("no daemon runs and no maps are pinned: compared with an empty load balancer\n")
	}
	e.printChanges(p.Changes)
	for _, r := range p.Restart {
		e.printf("%s %s takes effect when the daemon starts; a reload is refused until then\n", e.paint("!", red), r)
	}
	for _, w := range p.Warnings {
		e.printf("%s %s\n", e.paint("!", yellow), printable(w))
	}
	e.printPlannedWeights(p.Weights)
	if len(p.Changes) == 0 {
		e.printf("nothing would change\n")
		return
	}
	e.printf("%s\n", plural(len(p.Changes), "change"))
}
