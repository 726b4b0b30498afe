package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/policy"
)

func (e *env) policyLs() *cli.Command {
	return &cli.Command{
		Name:        "ls",
		Aliases:     []string{"list"},
		Usage:       "list the policies of the running daemon",
		Description: "One line per policy: what it answers, who uses it, how often it was asked and failed.",
		UsageText:   "xlb policy ls",
		Flags:       []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				all, err := client.Policies(ctx)
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return e.printJSON(nonNil(all))
				}
				e.printPolicies(all)
				return nil
			})
		},
	}
}

func (e *env) policyShow() *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show a policy of the running daemon in full",
		Description: "Calls, verdicts with their reasons, errors, times, the module's own counters, and tables.",
		UsageText:   "xlb policy show canary",
		ArgsUsage:   "POLICY",
		Flags:       []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				p, err := findPolicy(ctx, client, c.Args().First())
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return e.printJSON(p)
				}
				e.printPolicy(p)
				return nil
			})
		},
	}
}

func (e *env) policyReload() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "make the daemon load a policy's module again",
		Description: "Reads the bundle, its tables and the configuration file again, and returns when the new\n" +
			"module is asked. No flow is lost. If anything is wrong the old one goes on and the exit\n" +
			"status is 2. The module's memory begins anew; counts and tables set by hand stay.",
		UsageText: "xlb policy reload canary",
		ArgsUsage: "POLICY",
		Flags:     []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				name := c.Args().First()
				if _, err := findPolicy(ctx, client, name); err != nil {
					return err
				}
				if err := client.ReloadPolicy(ctx, name); err != nil {
					return wrongConfig(err)
				}
				p, err := findPolicy(ctx, client, name)
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return e.printJSON(p)
				}
				e.printf("reloaded %s: %s\n", name, p.SHA256)
				return nil
			})
		},
	}
}

func (e *env) policyTable() *cli.Command {
	return &cli.Command{
		Name:  "table",
		Usage: "fill a table of a policy of the running daemon",
		Description: "Replaces all entries of the table by the lines of FILE, or of standard input if it is \"-\":\n" +
			"a key and, after a space, a value (1 if it is left out), as in a table file. Tables that the\n" +
			"configuration fills from files are not touched: edit the file, then \"xlb reload\".",
		UsageText: "xlb policy table cidr-filter denied blocked.txt\necho 192.0.2.0/24 | xlb policy table cidr-filter denied -",
		ArgsUsage: "POLICY TABLE FILE",
		Flags:     []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			entries, err := e.tableEntries(c.Context, c.Args().Get(2))
			if err != nil {
				return err
			}
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				name, table := c.Args().Get(0), c.Args().Get(1)
				if _, err := findPolicy(ctx, client, name); err != nil {
					return err
				}
				if err := client.SetTable(ctx, name, table, entries); err != nil {
					return err
				}
				if c.Bool("json") {
					return e.printJSON(tableResult{name, table, entries})
				}
				e.printf("%s of %s holds %s\n", table, name, plural(len(entries), "line"))
				return nil
			})
		},
	}
}

type tableResult struct {
	Policy  string              `json:"policy"`
	Table   string              `json:"table"`
	Entries []policy.TableEntry `json:"entries"`
}

// tableEntries reads the lines of a table file.
func (e *env) tableEntries(ctx context.Context, path string) ([]policy.TableEntry, error) {
	in := e.input(ctx)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, usagef("%v", err)
		}
		defer f.Close()
		in = f
	}
	out := []policy.TableEntry{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		switch len(words) {
		case 0:
		case 1:
			out = append(out, policy.TableEntry{Key: words[0]})
		case 2:
			out = append(out, policy.TableEntry{Key: words[0], Value: words[1]})
		default:
			return nil, usagef("%s: %q is not a key and a value", path, strings.TrimSpace(text))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return out, nil
}

// findPolicy returns one of the policies in force.
func findPolicy(ctx context.Context, client *api.Client, name string) (api.Policy, error) {
	all, err := client.Policies(ctx)
	if err != nil {
		return api.Policy{}, err
	}
	var names []string
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	hint := "the configuration names none"
	if len(names) > 0 {
		hint = "there are " + strings.Join(names, ", ")
	}
	return api.Policy{}, failf("no policy %q (%s)", name, hint)
}

func (e *env) printPolicies(all []api.Policy) {
	if len(all) == 0 {
		e.printf("no policies are configured\n")
		return
	}
	t := &table{columns: []column{
		{name: "POLICY"}, {name: "HOOKS"}, {name: "SERVICES", shrinks: true}, {name: "CALLS", align: right},
		{name: "ERRORS", align: right}, {name: "P99", align: right}, {name: "STATE"}, {name: "LAST ERROR", shrinks: true},
	}}
	for _, p := range all {
		var calls, failed uint64
		var p99 time.Duration
		last, state := policy.HookStats{}, cell{"ok", green}
		for _, h := range p.Stats.Hooks {
			calls, failed, p99 = calls+h.Calls, failed+h.Errors, max(p99, h.P99)
			if h.LastErrorAt.After(last.LastErrorAt) {
				last = h
			}
			if h.Ejected {
				state = cell{"ejected", red}
			}
		}
		t.add(p.Name, hookNames(p.HookNames), usesText(p.Uses), humanCount(calls), humanCount(failed), humanNano(p99), state, last.LastError)
	}
	e.printTable(t, "")
}

// humanNano is a short time; nothing if it is not known.
func humanNano(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func hookNames(hooks []policy.Hook) string {
	var names []string
	for _, h := range hooks {
		names = append(names, string(h))
	}
	return strings.Join(names, ",")
}

func usesText(uses []api.PolicyUse) string {
	var out []string
	for _, u := range uses {
		switch {
		case u.As == "probe":
			out = append(out, u.Service+" (probe)")
		case u.Mode == "shadow":
			out = append(out, u.Service+" (shadow)")
		default:
			out = append(out, u.Service)
		}
	}
	return orDash(strings.Join(out, " "))
}

func (e *env) printPolicy(p api.Policy) {
	line := func(name, format string, args ...any) {
		e.printf("%s  %s\n", e.paint(fmt.Sprintf("%-10s", name), bold), printable(fmt.Sprintf(format, args...)))
	}
	line("policy", "%s", strings.TrimSpace(p.Name+" "+p.Version))
	if p.Description != "" {
		line("", "%s", p.Description)
	}
	line("path", "%s", p.Path)
	line("sha256", "%s", p.SHA256)
	line("loaded", "%s ago", humanDuration(e.now().Sub(p.Loaded)))
	line("used by", "%s", usesText(p.Uses))
	line("on error", "%s", p.OnError)
	line("memory", "%s in %s, %s each at most", humanBytes(p.Memory), plural(p.Instances, "instance"), humanBytes(p.MemoryLimit))
	for _, h := range p.HookNames {
		e.printHook(line, h, p)
	}
	if p.LogLines+p.LogSuppressed > 0 {
		line("log", "%s lines, %s more suppressed", humanCount(p.LogLines), humanCount(p.LogSuppressed))
	}
	if p.ConfigError != "" {
		line("config", "refused: %s", p.ConfigError)
	}
	e.printVerdicts(p)
	e.printCounters(p)
}

func (e *env) printHook(line func(string, string, ...any), name policy.Hook, p api.Policy) {
	h := p.Stats.Hooks[name]
	text := fmt.Sprintf("%s calls, %s failed", humanCount(h.Calls), humanCount(h.Errors))
	if h.Skipped > 0 {
		text += fmt.Sprintf(", %s skipped", humanCount(h.Skipped))
	}
	if h.P50 > 0 {
		text += fmt.Sprintf("; p50 %s, p99 %s, at most %s", h.P50, h.P99, h.Max)
	}
	if name == policy.HookFlow && p.FuelMost > 0 {
		text += fmt.Sprintf("; fuel %d of %d", p.FuelMost, p.Fuel)
	}
	line(string(name), "%s", text)
	if h.LastError != "" {
		line("", "last error, %s ago: %s", humanDuration(e.now().Sub(h.LastErrorAt)), h.LastError)
	}
	if h.Ejected {
		line("", "ejected for another %s", humanDuration(h.EjectedUntil.Sub(e.now())))
	}
}

func (e *env) printVerdicts(p api.Policy) {
	if len(p.Verdicts) == 0 {
		return
	}
	t := &table{columns: []column{
		{name: "VERDICT"}, {name: "MODE"}, {name: "REASON", align: right}, {name: "FLOWS", align: right}, {name: "MEANING", shrinks: true},
	}}
	for _, v := range p.Verdicts {
		t.add(v.Action, v.Mode.String(), fmt.Sprint(v.Reason), humanCount(v.Count), v.Text)
	}
	e.printf("\n")
	e.printTable(t, "")
}

func (e *env) printCounters(p api.Policy) {
	if len(p.Counters) > 0 {
		t := &table{columns: []column{{name: "COUNTER"}, {name: "COUNT", align: right}}}
		for _, name := range sortedKeys(p.Counters) {
			t.add(name, humanCount(p.Counters[name]))
		}
		e.printf("\n")
		e.printTable(t, "")
	}
	if len(p.Tables) == 0 {
		return
	}
	t := &table{columns: []column{
		{name: "TABLE"}, {name: "KIND"}, {name: "ENTRIES", align: right}, {name: "FROM", shrinks: true}, {name: "ERROR", shrinks: true},
	}}
	for _, one := range p.Tables {
		entries := "?"
		if one.Entries >= 0 {
			entries = humanCount(uint64(one.Entries))
		}
		t.add(one.Name, string(one.Kind), entries, orDash(one.Source), one.Error)
	}
	e.printf("\n")
	e.printTable(t, "")
}
