package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// line is a command line taken apart.
type line struct {
	path      []*cli.Command
	flags     []givenFlag
	arguments []string
	// help was asked for, by word or by flag.
	help bool
	// wants is the flag whose value is still to come.
	wants cli.Flag
}

// givenFlag is a flag as it was typed: with its value if it has one.
type givenFlag struct {
	name  string
	words []string
	// valueless: the flag takes a value, but another flag follows, or nothing.
	valueless bool
}

// check finds unknown commands and flags, where a good answer can be given.
func (l *line) check(app *cli.App) error {
	c := l.command()
	if len(l.arguments) > 0 && (c == nil || len(c.Subcommands) > 0) {
		return unknownCommand(app, l.path, l.arguments[0])
	}
	for _, f := range l.flags {
		if l.flag(f.name) == nil {
			return unknownFlag(l, f)
		}
		if f.valueless {
			return usagef("%s needs a value (%s)", dashes(f.name), valueHelp(c, f.name))
		}
	}
	return nil
}

// ordered is the line in the one order that urfave/cli understands: command,
// subcommand, flags, "--", arguments.
func (l *line) ordered() []string {
	var out []string
	for _, c := range l.path {
		out = append(out, c.Name)
	}
	for _, f := range l.flags {
		out = append(out, f.words...)
	}
	if len(l.arguments) > 0 {
		out = append(append(out, "--"), l.arguments...)
	}
	return out
}

// command is the innermost command given, nil if there is none.
func (l *line) command() *cli.Command {
	if len(l.path) == 0 {
		return nil
	}
	return l.path[len(l.path)-1]
}

// flag returns the flag of that name of the command, nil if there is none.
func (l *line) flag(name string) cli.Flag {
	if c := l.command(); c != nil {
		return findFlag(c.Flags, name)
	}
	return nil
}

// parseLine takes a command line apart. Flags may stand before the command,
// after it, and after its arguments.
func parseLine(app *cli.App, args []string) *line {
	l := &line{}
	if len(args) == 1 && (args[0] == "--version" || args[0] == "-v") {
		args = []string{"version"}
	}
	below := app.Commands
	for i := 0; i < len(args); i++ {
		word := args[i]
		switch {
		case word == "--":
			l.arguments = append(l.arguments, args[i+1:]...)
			return l
		case isFlag(word):
			name, _, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
			if isHelp(name) {
				l.help = true
				continue
			}
			f := givenFlag{name: name, words: []string{word}}
			if known := lookUpFlag(app, l, name); known != nil && takesValue(known) && !hasValue {
				switch {
				case i+1 == len(args):
					l.wants, f.valueless = known, true
				case strings.HasPrefix(args[i+1], "--"):
					// Rather a forgotten value than one that looks so;
					// --flag=--value is the way to say it.
					f.valueless = true
				default:
					i++
					f.words = append(f.words, args[i])
				}
			}
			l.flags = append(l.flags, f)
		case word == "help" && len(l.arguments) == 0 && (l.command() == nil || l.command().ArgsUsage == ""):
			l.help = true
		default:
			c := findCommand(below, word)
			if c == nil || len(l.arguments) > 0 {
				l.arguments = append(l.arguments, word)
				continue
			}
			l.path = append(l.path, c)
			below = c.Subcommands
		}
	}
	return l
}

// value is the word after the flag, or what stands after "=".
func (f *givenFlag) value() string {
	if len(f.words) > 1 {
		return f.words[1]
	}
	_, v, _ := strings.Cut(f.words[0], "=")
	return v
}

// environment returns the value that an environment variable gives to a flag.
func environment(f cli.Flag) (string, bool) {
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return "", false
	}
	for _, name := range d.GetEnvVars() {
		if v, ok := os.LookupEnv(name); ok {
			return v, true
		}
	}
	return "", false
}

// repeated ends the name of an argument that may be given several times. It is
// the last one.
const repeated = "..."

func isRepeated(usage string) bool {
	return strings.HasSuffix(strings.TrimSuffix(usage, "]"), repeated)
}

// argumentName returns the name of the n-th argument (from 0) in an ArgsUsage.
func argumentName(usage string, n int) string {
	words := strings.Fields(usage)
	if isRepeated(usage) {
		n = min(n, len(words)-1)
	}
	if n >= len(words) {
		return ""
	}
	return strings.TrimSuffix(strings.Trim(words[n], "[]"), repeated)
}

// isFlag tells flags from arguments: "-" is standard input, "-1" a number.
func isFlag(word string) bool {
	return len(word) > 1 && word[0] == '-' && (word[1] < '0' || word[1] > '9')
}

func isHelp(name string) bool { return name == "help" || name == "h" }

// lookUpFlag finds a flag of the command or, as long as there is none yet, of
// any command: that a flag takes a value is the same wherever it appears.
func lookUpFlag(app *cli.App, l *line, name string) cli.Flag {
	if f := l.flag(name); f != nil {
		return f
	}
	var found cli.Flag
	commands := app.Commands
	if c := l.command(); c != nil {
		commands = c.Subcommands
	}
	walk(commands, func(_ []string, c *cli.Command) {
		if f := findFlag(c.Flags, name); f != nil && found == nil {
			found = f
		}
	})
	return found
}

// walk calls f for every command with the names that lead to it.
func walk(commands []*cli.Command, f func(path []string, c *cli.Command)) {
	var visit func(prefix []string, commands []*cli.Command)
	visit = func(prefix []string, commands []*cli.Command) {
		for _, c := range commands {
			path := append(prefix[:len(prefix):len(prefix)], c.Name)
			f(path, c)
			visit(path, c.Subcommands)
		}
	}
	visit(nil, commands)
}

func findCommand(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}

// checkArguments compares arguments with an ArgsUsage such as
// "SERVICE ADDRESS [WEIGHT]" or "PATH...", one or more of them.
func checkArguments(path []string, usage string, args []string) error {
	words := strings.Fields(usage)
	see := fmt.Sprintf("(usage: xlb %s [OPTIONS] %s)", strings.Join(path, " "), usage)
	if len(words) == 0 {
		see = fmt.Sprintf("(see \"xlb %s --help\")", strings.Join(path, " "))
	}
	for i, w := range words {
		if i >= len(args) && !strings.HasPrefix(w, "[") {
			return usagef("%s is missing %s", strings.TrimSuffix(w, repeated), see)
		}
	}
	for i, a := range args {
		if w := argumentName(usage, i); w != "" && a == "" {
			return usagef("%s is empty %s", w, see)
		}
	}
	if len(args) > len(words) && !isRepeated(usage) {
		return usagef("unexpected argument %q %s", args[len(words)], see)
	}
	return nil
}
