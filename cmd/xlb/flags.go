package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// The names of files that scripts rely on.
const (
	defaultConfig   = "/etc/xlb/xlb.yaml"
	defaultSocket   = "/run/xlb/xlb.sock"
	defaultPinDir   = "/sys/fs/bpf/xlb"
	defaultStateDir = "/var/lib/xlb"
)

// urfave/cli keeps the parsed value in the flag, so every command has its own.

func configFlag() cli.Flag {
	return &cli.PathFlag{
		Name: "config", Aliases: []string{"c"}, Usage: "configuration `FILE`",
		Value: defaultConfig, EnvVars: []string{"XLB_CONFIG"},
	}
}

func socketFlag() cli.Flag {
	return &cli.PathFlag{
		Name: "socket", Usage: "`PATH` of the daemon's socket",
		Value: defaultSocket, EnvVars: []string{"XLB_SOCKET"},
	}
}

func pinDirFlag() cli.Flag {
	return &cli.PathFlag{
		Name: "pin-dir", Usage: "`DIR` of the pinned maps, on a BPF file system",
		Value: defaultPinDir, EnvVars: []string{"XLB_PIN_DIR"},
	}
}

func stateDirFlag() cli.Flag {
	return &cli.PathFlag{
		Name: "state-dir", Usage: "`DIR` for what outlives the daemon: what operators said, sources found, backends were",
		Value: defaultStateDir, EnvVars: []string{"XLB_STATE_DIR"},
	}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON, for programs"}
}

// choice is the value of a flag that takes one of a few words.
type choice struct {
	value string
	words []string
}

// Set implements [cli.Generic].
func (c *choice) Set(s string) error {
	for _, w := range c.words {
		if w == s {
			c.value = s
			return nil
		}
	}
	return fmt.Errorf("must be one of %s", strings.Join(c.words, ", "))
}

func (c *choice) String() string { return c.value }

func choiceFlag(name, usage, envVar, value string, words ...string) cli.Flag {
	return &cli.GenericFlag{
		Name: name, Usage: usage + ": `" + strings.Join(words, "|") + "`",
		Value: &choice{value: value, words: words}, EnvVars: []string{envVar},
	}
}

// choices is the value of a flag that may be repeated, each time with one of a
// few words.
type choices struct{ values, words []string }

// Set implements [cli.Generic].
func (c *choices) Set(s string) error {
	if err := (&choice{words: c.words}).Set(s); err != nil {
		return err
	}
	if !slices.Contains(c.values, s) {
		c.values = append(c.values, s)
	}
	return nil
}

func (c *choices) String() string { return strings.Join(c.values, ",") }

// choicesFlag wants the usage to name the value, as in "only this `HOOK`".
func choicesFlag(name, usage string, words []string) cli.Flag {
	return &cli.GenericFlag{
		Name: name, Usage: usage + ", repeatable: " + strings.Join(words, ", "), Value: &choices{words: words},
	}
}

// textList is the value of a flag that may be repeated. Unlike urfave's own it does
// not take a text apart at commas.
type textList struct{ values []string }

// Set implements [cli.Generic].
func (t *textList) Set(s string) error {
	t.values = append(t.values, s)
	return nil
}

func (t *textList) String() string { return strings.Join(t.values, ",") }

func textsFlag(name, usage string) cli.Flag {
	return &cli.GenericFlag{Name: name, Usage: usage, Value: &textList{}}
}

// texts are the values of a [textsFlag].
func texts(c *cli.Context, name string) []string {
	if t, ok := c.Generic(name).(*textList); ok {
		return t.values
	}
	return nil
}

// typed says whether the command line itself gives a path, not the environment.
func typed(c *cli.Context, name string) bool {
	v, ok := environment(findFlag(c.Command.Flags, name))
	return c.IsSet(name) && (!ok || c.Path(name) != v)
}
