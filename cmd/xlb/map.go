package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
)

func (e *env) mapCommand() *cli.Command {
	return &cli.Command{
		Name:    "map",
		Aliases: []string{"maps"},
		Usage:   "show and restore the BPF maps",
		Description: "The maps are what the data plane really works with. They are pinned, so they can be read with\n" +
			"a daemon or without.",
		UsageText: "xlb map ls\nxlb map dump backends --json > backends.json\nxlb map load backends backends.json",
		Subcommands: []*cli.Command{
			{
				Name:        "ls",
				Aliases:     []string{"list"},
				Usage:       "list the maps",
				Description: "Each map with its type, the size of a key and of a value, entries in use, capacity and memory.",
				UsageText:   "xlb map ls",
				Flags:       []cli.Flag{pinDirFlag(), jsonFlag()},
				Action: func(c *cli.Context) error {
					return withMaps(c, func(set *maps.Set) error {
						list, err := set.List()
						if err != nil {
							return err
						}
						if c.Bool("json") {
							return e.printJSON(list)
						}
						e.printMaps(list)
						return nil
					})
				},
			},
			{
				Name:  "dump",
				Usage: "print a map, decoded",
				Description: "Decodes every entry: addresses, ports, states and times instead of bytes. The JSON is what\n" +
					"\"xlb map load\" takes.",
				UsageText: "xlb map dump backends\nxlb map dump tables --json > tables.json",
				ArgsUsage: "MAP",
				Flags:     []cli.Flag{pinDirFlag(), jsonFlag()},
				Action: func(c *cli.Context) error {
					name := c.Args().First()
					if err := knownMap(name, maps.Names()); err != nil {
						return err
					}
					return withMaps(c, func(set *maps.Set) error {
						dump, err := set.Dump(name)
						if err != nil {
							return err
						}
						if c.Bool("json") {
							return e.printJSON(dump)
						}
						return e.printDump(dump)
					})
				},
			},
			e.mapLoad(),
		},
	}
}

// withMaps calls f with the pinned maps.
func withMaps(c *cli.Context, f func(*maps.Set) error) error {
	set, err := loader.OpenMaps(c.Path("pin-dir"))
	if err != nil {
		return needsRoot(err)
	}
	defer set.Close()
	return f(set)
}

func (e *env) printMaps(list []maps.Info) {
	t := &table{columns: []column{
		{name: "MAP"}, {name: "TYPE"}, {name: "KEY", align: right}, {name: "VALUE", align: right},
		{name: "ENTRIES", align: right}, {name: "CAPACITY", align: right}, {name: "MEMORY", align: right},
	}}
	for _, m := range list {
		entries := "-"
		if m.Entries >= 0 {
			entries = strconv.Itoa(m.Entries)
		}
		t.add(m.Name, m.Type, humanBytes(uint64(m.KeySize)), humanBytes(uint64(m.ValueSize)), entries, m.MaxEntries, humanBytes(m.Bytes))
	}
	e.printTable(t, "")
}

// knownMap refuses a name that is not one of names.
func knownMap(name string, names []string) error {
	if slices.Contains(names, name) {
		return nil
	}
	if near := nearest(name, names); near != "" {
		return usagef("there is no map %q (did you mean %s?)", name, near)
	}
	return usagef("there is no map %q (known: %s)", name, strings.Join(names, ", "))
}
