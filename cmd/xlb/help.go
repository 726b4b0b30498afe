package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// help prints what a command does: what for, usage, options, examples. The
// examples are the command's UsageText.
func (e *env) help(w io.Writer, app *cli.App, path []*cli.Command) {
	name := commandLine(path)
	c := &cli.Command{Usage: app.Usage, Description: app.Description, UsageText: app.UsageText, Subcommands: app.Commands}
	if len(path) > 0 {
		c = path[len(path)-1]
	}
	fmt.Fprintf(w, "%s: %s\n", name, c.Usage)
	if c.Description != "" {
		fmt.Fprintf(w, "\n%s\n", c.Description)
	}
	fmt.Fprintf(w, "\nUsage:\n  %s\n", usageLine(name, c))
	printCommands(w, c.Subcommands)
	printFlags(w, c.Flags)
	if c.UsageText != "" {
		fmt.Fprintf(w, "\nExamples:\n  %s\n", strings.ReplaceAll(strings.TrimSpace(c.UsageText), "\n", "\n  "))
	}
	if len(c.Subcommands) > 0 {
		fmt.Fprintf(w, "\n\"%s COMMAND --help\" tells more.\n", name)
	}
}

func usageLine(name string, c *cli.Command) string {
	if len(c.Subcommands) > 0 {
		return name + " COMMAND [OPTIONS] [ARGUMENTS]"
	}
	if len(c.Flags) > 0 {
		name += " [OPTIONS]"
	}
	if c.ArgsUsage != "" {
		name += " " + c.ArgsUsage
	}
	return name
}

// printCommands lists commands under their categories, in order of appearance.
func printCommands(w io.Writer, commands []*cli.Command) {
	var categories []string
	lines := map[string][][2]string{}
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		category := cmp.Or(c.Category, "Commands")
		if lines[category] == nil {
			categories = append(categories, category)
		}
		name := c.Name
		if len(c.Subcommands) > 0 {
			var below []string
			for _, s := range c.Subcommands {
				below = append(below, s.Name)
			}
			name += " " + strings.Join(below, "|")
		}
		lines[category] = append(lines[category], [2]string{name, c.Usage})
	}
	width := 0
	for _, list := range lines {
		width = max(width, columnWidth(list))
	}
	for _, category := range categories {
		fmt.Fprintf(w, "\n%s:\n", category)
		printPairs(w, lines[category], width)
	}
}

func printFlags(w io.Writer, flags []cli.Flag) {
	var lines [][2]string
	for _, f := range flags {
		if f == cli.HelpFlag {
			continue
		}
		var names []string
		for _, n := range f.Names() {
			names = append(names, dashes(n))
		}
		left := strings.Join(names, ", ")
		d, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		usage := d.GetUsage()
		if d.TakesValue() {
			value := "VALUE"
			if before, rest, ok := strings.Cut(usage, "`"); ok {
				quoted, after, _ := strings.Cut(rest, "`")
				value, usage = quoted, before+quoted+after
			}
			left += " " + value
		}
		var notes []string
		if text := d.GetDefaultText(); d.TakesValue() && text != "" && text != `""` && text != "0" && text != "0s" {
			notes = append(notes, "default "+strings.Trim(text, `"`))
		}
		for _, v := range d.GetEnvVars() {
			notes = append(notes, "$"+v)
		}
		if len(notes) > 0 {
			usage += " (" + strings.Join(notes, ", ") + ")"
		}
		lines = append(lines, [2]string{left, usage})
	}
	if len(lines) > 0 {
		fmt.Fprintf(w, "\nOptions:\n")
		printPairs(w, lines, columnWidth(lines))
	}
}

func columnWidth(lines [][2]string) (width int) {
	for _, l := range lines {
		width = max(width, len(l[0]))
	}
	return width
}

func printPairs(w io.Writer, lines [][2]string, width int) {
	for _, l := range lines {
		fmt.Fprintf(w, "  %-*s  %s\n", width, l[0], l[1])
	}
}
