package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/control"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
)

func (e *env) mapLoad() *cli.Command {
	return &cli.Command{
		Name:  "load",
		Usage: "write a dump back into a map",
		Description: "Takes the JSON of \"xlb map dump\" for vips, services, tables, backends, sources, tunnels or\n" +
			"features. FILE - is standard input. The dump is checked against the other maps, the difference\n" +
			"is shown, and nothing is written before you agree, on the terminal or by --yes.\n\n" +
			"A running daemon decides what the maps hold and would soon undo the change, so load is refused\n" +
			"while one runs. --force writes all the same, for experiments.",
		UsageText: "xlb map load backends backends.json\nxlb map load backends - --yes < backends.json",
		ArgsUsage: "MAP FILE",
		Flags: []cli.Flag{
			pinDirFlag(),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "write without asking"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "show the difference, write nothing"},
			&cli.BoolFlag{Name: "force", Usage: "write although a daemon runs"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			name, path := c.Args().Get(0), c.Args().Get(1)
			if slices.Contains(maps.Names(), name) && !slices.Contains(maps.Loadable(), name) {
				return usagef("map %s cannot be loaded: the data plane writes it (these can: %s)", name, strings.Join(maps.Loadable(), ", "))
			}
			if err := knownMap(name, maps.Loadable()); err != nil {
				return err
			}
			dump, err := e.readDump(c.Context, path)
			if err != nil {
				return err
			}
			if dump.Map != name {
				return usagef("%s is a dump of map %q, not of %q", path, dump.Map, name)
			}
			mayAsk := e.stdinIsTerminal && path != "-" && !c.Bool("json")
			if !c.Bool("yes") && !c.Bool("dry-run") && !mayAsk {
				return usagef("add --yes to write, or --dry-run to see the difference: nobody can be asked here")
			}
			unlock, err := lockForLoad(c)
			if err != nil {
				return err
			}
			defer unlock()
			return withMaps(c, func(set *maps.Set) error { return e.load(c, set, dump) })
		},
	}
}

func (e *env) readDump(ctx context.Context, path string) (maps.Dump, error) {
	in, what := e.input(ctx), "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return maps.Dump{}, usagef("cannot read the dump: %v", err)
		}
		defer f.Close()
		in, what = f, path
	}
	dump, err := maps.ParseDump(in)
	if ctx.Err() != nil {
		return dump, ctx.Err()
	}
	if err != nil {
		return dump, usagef("%s: %v", what, err)
	}
	return dump, nil
}

// lockForLoad keeps daemons away while maps are written.
func lockForLoad(c *cli.Context) (unlock func() error, err error) {
	if c.Bool("dry-run") {
		return func() error { return nil }, nil
	}
	unlock, err = loader.Lock(c.Path("pin-dir"))
	switch {
	case err == nil:
		return unlock, nil
	case errors.Is(err, os.ErrNotExist):
		return func() error { return nil }, nil // withMaps says what is missing
	case !errors.Is(err, loader.ErrLocked):
		return nil, needsRoot(err)
	case c.Bool("force"):
		return func() error { return nil }, nil
	}
	return nil, failf("a daemon runs and would undo the change: %w; --force writes all the same", err)
}

// load shows the difference and, if agreed, writes it.
func (e *env) load(c *cli.Context, set *maps.Set, dump maps.Dump) error {
	have, err := set.Read()
	if err != nil {
		return err
	}
	want, err := dump.Contents(have)
	if err != nil {
		return usagef("%s cannot be loaded: %v", c.Args().Get(1), err)
	}
	diff := maps.Diff(have, want)
	result := loadResult{Map: dump.Map, Changes: control.Describe(diff, control.Words{})}
	apply := !c.Bool("dry-run") && diff.Len() > 0
	if !c.Bool("json") {
		e.printChanges(result.Changes)
		if diff.Len() == 0 {
			e.printf("map %s holds exactly this: nothing to change\n", dump.Map)
		}
		if apply && !c.Bool("yes") && !e.agrees(c.Context, fmt.Sprintf("write %s to map %s?", plural(diff.Len(), "change"), dump.Map)) {
			e.printf("nothing was written\n")
			return errSilent
		}
	}
	if apply {
		if err := set.Apply(diff); err != nil {
			return err
		}
		result.Applied = true
	}
	switch {
	case c.Bool("json"):
		return e.printJSON(result)
	case apply:
		e.printf("wrote %s\n", plural(diff.Len(), "change"))
	case diff.Len() > 0:
		e.printf("dry run: nothing was written\n")
	}
	return nil
}

type loadResult struct {
	Map     string           `json:"map"`
	Changes []api.PlanChange `json:"changes"`
	Applied bool             `json:"applied"`
}

// agrees asks; only a plain yes is one.
func (e *env) agrees(ctx context.Context, question string) bool {
	fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	answer, err := bufio.NewReader(e.input(ctx)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) || err != nil && answer == "" {
		fmt.Fprintln(e.stderr)
		return false
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}
