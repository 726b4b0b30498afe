package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestEveryCommandExplainsItself(t *testing.T) {
	app := (&env{}).app()
	names := map[string]bool{}
	walk(app.Commands, func(path []string, c *cli.Command) {
		name := "xlb " + strings.Join(path, " ")
		names[strings.Join(path, " ")] = true
		if c.Usage == "" || strings.HasSuffix(c.Usage, ".") {
			t.Errorf("%s: usage %q must be a phrase without a full stop", name, c.Usage)
		}
		if !strings.HasSuffix(c.Description, ".") && !strings.Contains(c.Description, "$schema") {
			t.Errorf("%s: the description %q must be sentences", name, c.Description)
		}
		if !strings.Contains(c.UsageText, name) {
			t.Errorf("%s: the examples do not use it:\n%s", name, c.UsageText)
		}
		for _, f := range c.Flags {
			if d, ok := f.(cli.DocGenerationFlag); !ok || d.GetUsage() == "" {
				t.Errorf("%s: %s has no usage", name, dashes(f.Names()[0]))
			} else if d.TakesValue() && !strings.Contains(d.GetUsage(), "`") {
				t.Errorf("%s: %s does not name its value in backquotes", name, dashes(f.Names()[0]))
			}
		}
		for _, line := range strings.Split(c.Description+"\n"+c.UsageText, "\n") {
			if len(line) > 100 {
				t.Errorf("%s: a line of the help has %d columns: %s", name, len(line), line)
			}
		}
	})
	for _, want := range []string{
		"run", "check", "plan", "reload", "status", "service ls", "service show", "backend ls", "backend show", "backend drain", "backend undrain",
		"backend weight", "backend add", "backend rm", "backend disable", "backend enable", "service add", "service rm", "zone ls", "zone disable", "zone enable", "overrides ls", "overrides clear", "map ls", "map dump", "map load", "flows", "stats", "detach", "demo", "policy new", "policy build", "policy inspect", "policy test", "policy bench", "policy run", "import nginx", "import haproxy", "import keepalived", "import ipvs", "config schema", "version", "completion bash",
	} {
		if !names[want] {
			t.Errorf("there is no command %q", want)
		}
	}
}

// The examples must be command lines that are accepted.
func TestExamplesParse(t *testing.T) {
	app := (&env{}).app()
	walk(app.Commands, func(path []string, c *cli.Command) {
		for _, example := range lines(c.UsageText) {
			example = strings.TrimPrefix(example, "systemctl stop xlb && ")
			_, rest, _ := strings.Cut(example, "xlb ")
			rest = strings.NewReplacer("2>&1", "", "'", "").Replace(rest)
			rest, _, _ = strings.Cut(rest, " | ")
			rest, _, _ = strings.Cut(rest, " && ")
			rest, _, _ = strings.Cut(rest, " > ")
			rest, _, _ = strings.Cut(rest, " < ")
			l := parseLine(app, strings.Fields(strings.TrimRight(rest, ")")))
			if err := l.check(app); err != nil {
				t.Errorf("%s: %v", example, err)
			} else if cmd := l.command(); len(cmd.Subcommands) == 0 {
				if err := checkArguments(path, cmd.ArgsUsage, l.arguments); err != nil {
					t.Errorf("%s: %v", example, err)
				}
			}
		}
	})
}

// What shows something must be able to show it to programs.
func TestWhatShowsHasJSON(t *testing.T) {
	// These print something that is one format by nature.
	without := []string{"run", "config schema", "config reference", "completion bash", "completion zsh", "completion fish"}
	walk((&env{}).app().Commands, func(path []string, c *cli.Command) {
		name := strings.Join(path, " ")
		if len(c.Subcommands) == 0 && !slices.Contains(without, name) && findFlag(c.Flags, "json") == nil {
			t.Errorf("xlb %s has no --json", name)
		}
	})
}

func TestHelp(t *testing.T) {
	whole := xlb(t, "--help").ok(t)
	for _, args := range [][]string{{"help"}, {"-h"}, {"help", "--help"}} {
		same(t, xlb(t, args...).ok(t), whole)
	}
	if !regexp.MustCompile(`(?m)^  backend ls\|show\|add\|rm\|drain\|undrain\|disable\|enable\|weight +show and steer backends$`).MatchString(whole) {
		t.Errorf("the overview does not list commands:\n%s", whole)
	}
	drain := xlb(t, "backend", "drain", "--help").ok(t)
	for _, args := range []string{"help backend drain", "backend help drain", "backend drain -h web", "-h backend drain"} {
		same(t, xlb(t, strings.Fields(args)...).ok(t), drain)
	}
	same(t, xlb(t, "flows", "help").ok(t), xlb(t, "flows", "--help").ok(t))
	same(t, drain, `
xlb backend drain: take a backend out of service gently

The backend gets no new flows; those it has stay until they end (watch them with
"xlb backend ls"), or until the deadline: then they move to others. Without one the
service's drain_timeout holds. Take it back with "xlb backend undrain".

With --wait it returns when the last flow has ended or the deadline has passed, and fails if
that takes longer than the timeout, which is at least a minute more than the deadline if you
say none. The backend stays drained in any case.

Usage:
  xlb backend drain [OPTIONS] SERVICE ADDRESS

Options:
  --deadline TIME  move the flows that are left after a TIME, 0 for never
  --wait           return when it has no flows any more
  --timeout TIME   with --wait: fail after a TIME (default 10m0s)
  --socket PATH    PATH of the daemon's socket (default /run/xlb/xlb.sock, $XLB_SOCKET)
  --json           print JSON, for programs

Examples:
  xlb backend drain web 10.0.0.11:8080
  xlb backend drain --deadline 5m web 10.0.0.11:8080
  xlb backend drain --deadline 5m --wait web 10.0.0.11:8080
`)
	// Without a command the help is the answer to a mistake.
	for _, args := range [][]string{nil, {"backend"}} {
		r := xlb(t, args...)
		if r.status != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, "Usage:\n") {
			t.Errorf("xlb %s: %+v", strings.Join(args, " "), r)
		}
	}
}
