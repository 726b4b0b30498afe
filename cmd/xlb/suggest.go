package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func unknownCommand(app *cli.App, path []*cli.Command, word string) error {
	commands, prefix := app.Commands, "xlb"
	for _, c := range path {
		commands, prefix = c.Subcommands, prefix+" "+c.Name
	}
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	// The word may be right, one level away: xlb dump.
	var elsewhere string
	walk(app.Commands, func(path []string, c *cli.Command) {
		if c.Name == word && elsewhere == "" {
			elsewhere = strings.Join(path, " ")
		}
	})
	if elsewhere != "" {
		return usagef("unknown command %q (did you mean \"xlb %s\"?)", prefix+" "+word, elsewhere)
	}
	if near := nearest(word, names); near != "" {
		return usagef("unknown command %q (did you mean \"%s %s\"?)", word, prefix, near)
	}
	if len(path) == 0 {
		return usagef("unknown command %q (see \"xlb --help\")", word)
	}
	return usagef("unknown command %q (known: %s)", prefix+" "+word, strings.Join(names, ", "))
}

func unknownFlag(l *line, f givenFlag) error {
	c := l.command()
	if c == nil {
		return usagef("option %s stands without a command (see \"xlb --help\")", dashes(f.name))
	}
	if len(c.Subcommands) > 0 {
		return usagef("option %s stands without a subcommand (see \"%s --help\")", dashes(f.name), commandLine(l.path))
	}
	var names []string
	for _, known := range c.Flags {
		names = append(names, known.Names()...)
	}
	if near := nearest(f.name, names); near != "" {
		return usagef("\"%s\" has no option %s (did you mean %s?)", commandLine(l.path), dashes(f.name), dashes(near))
	}
	return usagef("\"%s\" has no option %s (see \"%s --help\")", commandLine(l.path), dashes(f.name), commandLine(l.path))
}

func commandLine(path []*cli.Command) string {
	words := []string{"xlb"}
	for _, c := range path {
		words = append(words, c.Name)
	}
	return strings.Join(words, " ")
}

// dashes writes a flag's name as it is typed.
func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// valueHelp says what a flag wants.
func valueHelp(c *cli.Command, name string) string {
	if d, ok := findFlag(c.Flags, name).(cli.DocGenerationFlag); ok {
		return strings.ReplaceAll(d.GetUsage(), "`", "")
	}
	return fmt.Sprintf("see \"%s --help\"", c.HelpName)
}

// nearest returns the candidate that word most likely misspells; empty if none
// is close.
func nearest(word string, candidates []string) string {
	best, limit := "", max(1, len(word)/3)
	for _, c := range candidates {
		if d := distance(word, c); len(c) > 1 && d <= limit {
			best, limit = c, d-1
		}
	}
	if best != "" || len(word) < 2 {
		return best
	}
	// A beginning is as good as a typo.
	for _, c := range candidates {
		if strings.HasPrefix(c, word) {
			return c
		}
	}
	return ""
}

// distance is the number of insertions, deletions, substitutions and swaps of
// neighbours between a and b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
