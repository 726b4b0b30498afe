package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/policy"
	"github.com/xlb-io/xlb/pkg/policy/wasm"
)

func (e *env) policyInspect() *cli.Command {
	return &cli.Command{
		Name:  "inspect",
		Usage: "show what a bundle or a module holds",
		Description: "Manifest, hooks, imports and exports, size and hash, memory and fuel, without running anything.\n" +
			"Memory is what the module starts with and the most it may grow to; fuel is the budget of a call\n" +
			"and the number of places in the code that take some.",
		UsageText: "xlb policy inspect deny-list\nxlb policy inspect module.wasm --json | jq .exports",
		ArgsUsage: "[PATH]",
		Flags:     []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			b, err := openBundle(policyPath(c))
			if err != nil {
				return err
			}
			i, err := inspect(b)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return e.printJSON(i)
			}
			e.printInspection(i)
			return nil
		},
	}
}

// inspection is what there is to say of a bundle.
type inspection struct {
	Path     string            `json:"path"`
	Manifest policy.Manifest   `json:"manifest"`
	Bytes    int               `json:"bytes"`
	SHA256   string            `json:"sha256"`
	Hooks    []policy.Hook     `json:"hooks"`
	Imports  []policy.Function `json:"imports"`
	Exports  []policy.Function `json:"exports"`
	// Memory is in bytes.
	Memory struct {
		Start uint64 `json:"start"`
		Limit uint64 `json:"limit"`
	} `json:"memory"`
	Fuel struct {
		Limit  uint64 `json:"limit"`
		Points int    `json:"points"`
	} `json:"fuel"`
}

func inspect(b *policy.Bundle) (*inspection, error) {
	i := &inspection{
		Path: b.Path, Manifest: b.Manifest, Bytes: len(b.Module), SHA256: b.SHA256,
		Hooks: b.Hooks, Imports: nonNil(b.Imports), Exports: nonNil(b.Exports),
	}
	m, err := wasm.Decode(b.Module)
	if err != nil {
		return nil, err
	}
	if i.Fuel.Points, err = m.FuelPoints(); err != nil {
		return nil, err
	}
	i.Memory.Start = uint64(m.MemoryPages()) * 65536
	fuel, memory := b.Limits()
	i.Fuel.Limit, i.Memory.Limit = fuel, uint64(memory)
	return i, nil
}

func (e *env) printInspection(i *inspection) {
	m := i.Manifest
	title := strings.TrimSpace(m.Name + " " + m.Version)
	if m.Description != "" {
		title += ": " + m.Description
	}
	e.printf("%s\n\n", e.paint(printable(title), bold))
	line := func(name, text string) {
		if text != "" {
			e.printf("%-9s %s\n", name, printable(text))
		}
	}
	line("module", fmt.Sprintf("%s, %s", m.Module, humanBytes(uint64(i.Bytes))))
	line("sha256", i.SHA256)
	line("language", m.Language)
	line("hooks", listed(i.Hooks))
	line("memory", fmt.Sprintf("%s at the start, %s at most", humanBytes(i.Memory.Start), humanBytes(i.Memory.Limit)))
	line("fuel", fmt.Sprintf("%d a call, taken at %s", i.Fuel.Limit, plural(i.Fuel.Points, "place")))
	var tables, reasons []string
	for _, t := range m.Tables {
		tables = append(tables, fmt.Sprintf("%s (%s)", t.Name, t.Kind))
	}
	for _, n := range slices.Sorted(maps.Keys(m.Reasons)) {
		reasons = append(reasons, fmt.Sprintf("%d %s", n, m.Reasons[n]))
	}
	line("tables", listed(tables))
	line("subsets", listed(m.Subsets))
	line("counters", listed(m.Counters))
	line("reasons", listed(reasons))
	line("tests", m.Tests)
	e.printf("\n")
	t := &table{columns: []column{{name: "FUNCTION"}, {name: "TYPE", shrinks: true}}}
	for _, f := range i.Imports {
		t.add("import "+f.Module+"."+f.Name, f.Type)
	}
	for _, f := range i.Exports {
		t.add("export "+f.Name, f.Type)
	}
	e.printTable(t, "")
}

func listed[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return strings.Join(words, ", ")
}
