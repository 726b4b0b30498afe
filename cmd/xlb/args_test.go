package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestFlagsStandAnywhere(t *testing.T) {
	app := (&env{}).app()
	for _, c := range []struct{ args, want string }{
		{"flows --service web", "flows --service web"},
		{"--service web flows", "flows --service web"},
		{"--json map ls", "map ls --json"},
		{"map dump backends --json", "map dump --json -- backends"},
		{"backend --json drain web 10.0.0.1:80", "backend drain --json -- web 10.0.0.1:80"},
		{"backend drain web --socket /s 10.0.0.1:80 --json", "backend drain --socket /s --json -- web 10.0.0.1:80"},
		{"backend drain web 10.0.0.1:80 --socket=/s", "backend drain --socket=/s -- web 10.0.0.1:80"},
		{"backend weight web a -1", "backend weight -- web a -1"},
		{"check -", "check -- -"},
		{"check -c -", "check -c -"},
		{"check --json -- --odd", "check --json -- --odd"},
		{"--socket status status", "status --socket status"},
		{"stats -w 2s", "stats -w -- 2s"},
	} {
		l := parseLine(app, strings.Fields(c.args))
		if err := l.check(app); err != nil {
			t.Errorf("xlb %s: %v", c.args, err)
			continue
		}
		if got := strings.Join(l.ordered(), " "); got != c.want {
			t.Errorf("xlb %s: ordered as %q, want %q", c.args, got, c.want)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	noDaemon(t)
	for _, c := range []struct{ args, want string }{
		{"statsu", `unknown command "statsu" (did you mean "xlb status"?)`},
		{"sta", `unknown command "sta" (did you mean "xlb status"?)`},
		{"frobnicate", `unknown command "frobnicate" (see "xlb --help")`},
		{"schema", `unknown command "xlb schema" (did you mean "xlb config schema"?)`},
		{"drain web a", `unknown command "xlb drain" (did you mean "xlb backend drain"?)`},
		{"backend wieght", `unknown command "wieght" (did you mean "xlb backend weight"?)`},
		{"backend frobnicate", `unknown command "xlb backend frobnicate" (known: ls, show, add, rm, drain, undrain, disable, enable, weight)`},
		{"flows --limt 3", `"xlb flows" has no option --limt (did you mean --limit?)`},
		{"flows --frobnicate", `"xlb flows" has no option --frobnicate (see "xlb flows --help")`},
		{"--json", `option --json stands without a command (see "xlb --help")`},
		{"map --json", `option --json stands without a subcommand (see "xlb map --help")`},
		{"flows --limit x", `"x" is not a valid value for --limit (stop after N flows, 0 for all)`},
		{"flows --limit", `--limit needs a value (stop after N flows, 0 for all)`},
		{"backend show web 10.0.0.1 --socket", `--socket needs a value (PATH of the daemon's socket)`},
		{"flows --service --json", `--service needs a value (only flows of the service NAME)`},
		{"flows --limit -1", `--limit -1 is negative`},
		{"flows --client 300.1.1.1", `--client "300.1.1.1" is not an address or a network (for example 192.0.2.7 or 192.0.2.0/24)`},
		{"flows --backend web-1", `--backend "web-1" is not an address (for example 10.0.0.11, 10.0.0.11:8080 or [2001:db8::11]:8080)`},
		{"flows --json=maybe", `"maybe" is not a valid value for --json (print JSON, for programs)`},
		{"flows web", `unexpected argument "web" (see "xlb flows --help")`},
		{"check -c a b", `give the file once: as argument or with --config`},
		{"run --log-level loud", `"loud" is not a valid value for --log-level (least level that is logged: debug|info|warn|error)`},
		{"run -c -", `the daemon needs a configuration file, not standard input: a reload reads it again`},
		{"stats 5s", `interval "5s" goes with --watch only`},
		{"stats --watch 5", `interval "5": give a time of at least 100ms, such as 1s or 500ms`},
		{"stats --watch 1ms", `interval "1ms": give a time of at least 100ms, such as 1s or 500ms`},
		{"completion tcsh", `unknown command "xlb completion tcsh" (known: bash, zsh, fish)`},
	} {
		t.Run(c.args, func(t *testing.T) {
			xlb(t, strings.Fields(c.args)...).fails(t, exitUsage, "xlb: "+c.want)
		})
	}
	xlb(t, "service", "show", "").fails(t, exitUsage, `xlb: SERVICE is empty (usage: xlb service show [OPTIONS] SERVICE)`)
}

func TestNearest(t *testing.T) {
	known := []string{"status", "stats", "service", "backend", "h"}
	for word, want := range map[string]string{
		"stauts": "status", "stat": "stats", "servcie": "service", "back": "backend", "x": "", "xyzzy": "", "": "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest(%q) is %q, want %q", word, got, want)
		}
	}
}

func TestCheckArguments(t *testing.T) {
	for _, c := range []struct {
		usage, args string
		ok          bool
	}{
		{"", "", true}, {"", "a", false},
		{"A", "", false}, {"A", "a", true}, {"A", "a b", false},
		{"A [B]", "a", true}, {"A [B]", "a b", true}, {"A [B]", "a b c", false}, {"A [B]", "", false},
		{"A...", "", false}, {"A...", "a", true}, {"A...", "a b c", true}, {"[A...]", "", true}, {"[A...]", "a b", true}, {"[A]", "a b", false},
	} {
		if err := checkArguments([]string{"x"}, c.usage, strings.Fields(c.args)); (err == nil) != c.ok {
			t.Errorf("arguments %q for %q: %v", c.args, c.usage, err)
		}
	}
}

// A flag must take a value in all commands or in none: it may stand before the
// command is known.
func TestFlagsAgree(t *testing.T) {
	takes := map[string][]string{}
	walk((&env{}).app().Commands, func(path []string, c *cli.Command) {
		for _, f := range c.Flags {
			for _, name := range f.Names() {
				kind := "switch"
				if takesValue(f) {
					kind = "value"
				}
				if !slices.Contains(takes[name], kind) {
					takes[name] = append(takes[name], kind)
				}
			}
		}
	})
	for name, kinds := range takes {
		if len(kinds) > 1 {
			t.Errorf("%s is a switch in one command and takes a value in another", dashes(name))
		}
	}
}
