package main

import (
	"context"
	"embed"
	"strings"

	"github.com/urfave/cli/v2"
)

//go:embed completion
var completionScripts embed.FS

func (e *env) completionCommand() *cli.Command {
	shell := func(name, install string) *cli.Command {
		return &cli.Command{
			Name:        name,
			Usage:       "print the script for " + name,
			Description: "Completes commands, options, and what the daemon knows: services, backends, maps.",
			UsageText:   install,
			Action: func(*cli.Context) error {
				script, err := completionScripts.ReadFile("completion/xlb." + name)
				if err != nil {
					return err
				}
				e.printf("%s", script)
				return nil
			},
		}
	}
	return &cli.Command{
		Name:        "completion",
		Usage:       "print a script that completes xlb in a shell",
		Description: "Completes commands, options, and what the daemon knows: services, backends, maps.",
		UsageText:   "source <(xlb completion bash)",
		Subcommands: []*cli.Command{
			shell("bash", "xlb completion bash > /etc/bash_completion.d/xlb\nsource <(xlb completion bash)"),
			shell("zsh", "xlb completion zsh > \"${fpath[1]}/_xlb\""),
			shell("fish", "xlb completion fish > ~/.config/fish/completions/xlb.fish"),
		},
	}
}

// completionFlag, as the last word, asks for the words that could stand in the
// place of the word before it.
const completionFlag = "--generate-bash-completion"

func completionRequest(args []string) ([]string, bool) {
	if len(args) == 0 || args[len(args)-1] != completionFlag {
		return nil, false
	}
	return args[:len(args)-1], true
}

// complete prints the words that could stand in the place of the last one, one
// a line. It never fails: a shell has no place for errors.
func (e *env) complete(ctx context.Context, app *cli.App, words []string) {
	current := ""
	if len(words) > 0 {
		current, words = words[len(words)-1], words[:len(words)-1]
	}
	for _, candidate := range e.candidates(ctx, app, words, current) {
		if strings.HasPrefix(candidate, current) {
			e.printf("%s\n", candidate)
		}
	}
}

func (e *env) candidates(ctx context.Context, app *cli.App, words []string, current string) (out []string) {
	l := parseLine(app, words)
	if l.wants != nil {
		return e.flagValues(ctx, l, l.wants)
	}
	commands := app.Commands
	if c := l.command(); c != nil {
		commands = c.Subcommands
	}
	if l.command() == nil || len(commands) > 0 {
		if len(l.arguments) > 0 { // an unknown command
			return nil
		}
		for _, c := range commands {
			if !c.Hidden {
				out = append(out, c.Name)
			}
		}
		if l.command() == nil {
			out = append(out, "help")
		}
		return out
	}
	if strings.HasPrefix(current, "-") {
		for _, f := range l.command().Flags {
			if given := l.given(f.Names()); given == nil {
				out = append(out, dashes(f.Names()[0]))
			}
		}
		return append(out, "--help")
	}
	return e.argumentValues(ctx, l)
}
