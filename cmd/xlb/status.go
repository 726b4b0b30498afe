package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "show the daemon, its interfaces, services and backends",
		Description: "The first line says whether the data plane holds what the configuration wants, and what is\n" +
			"wrong. The JSON has the same as \"ready\" and, in words for programs, \"reasons\".",
		UsageText: "xlb status\nxlb status --json | jq .ready",
		Flags:     []cli.Flag{socketFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return withDaemon(c, func(ctx context.Context, client *api.Client) error {
				status, err := client.Status(ctx)
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return e.printJSON(status)
				}
				e.printStatus(status)
				return nil
			})
		},
	}
}

func (e *env) printStatus(s api.Status) {
	word, st := "ready", green
	if !s.Ready {
		word, st = "not ready", red
	} else if len(s.Reasons) > 0 {
		st = yellow
	}
	e.printf("%s", e.paint(word, st))
	if s.Ready && len(s.Reasons) > 0 {
		e.printf(", but")
	}
	for i, r := range s.Reasons {
		e.printf("%s %s", []string{":", ","}[min(i, 1)], printable(reasonText(r)))
	}
	e.printf("\n")
	start := ""
	if s.Adopted {
		start = ", took over the maps of an earlier run"
	}
	e.printf("xlb %s, process %d, up %s%s\n", printable(s.Version), s.PID, humanDuration(e.now().Sub(s.Since)), start)
	if s.LastReload.OK {
		e.printf("configuration %s, read %s ago\n", printable(s.Config), humanDuration(e.now().Sub(s.LastReload.At)))
	} else {
		e.printf("%s\n", e.paint(fmt.Sprintf("configuration %s refused %s ago, the one before holds:", printable(s.Config), humanDuration(e.now().Sub(s.LastReload.At))), red))
		e.printIndented(s.LastReload.Error)
	}
	if s.Problem != "" {
		e.printf("%s\n", e.paint("problem:", red))
		e.printIndented(s.Problem)
	}
	e.printNotes(s.Warnings)
	e.printf("\n")
	e.printInterfaces(s.Interfaces)
	e.printf("\n")
	if len(s.Services) == 0 {
		e.printf("no services are configured\n")
		return
	}
	overridden := false
	for i, service := range s.Services {
		if i > 0 {
			e.printf("\n")
		}
		probed := ""
		if service.ProbeVia != "" {
			probed = ", probed via the VIP"
		}
		if service.Critical {
			probed += ", critical"
		}
		e.printf("%s  %s  %s, %s, fail %s%s\n", e.paint(printable(service.Name), bold), printable(strings.Join(service.Frontends, " ")), forwardText(service), scheduleText(service), service.Fail, probed)
		if text := roleText(service); text != "" {
			e.printf("  %s\n", text)
		}
		if service.FailOpen || service.Panic {
			e.printf("  %s\n", e.paint(serviceNote(service), red))
		}
		e.printSources(service.Sources, "  ")
		if len(service.Backends) == 0 {
			e.printf("  %s\n", noBackendsText(service))
			continue
		}
		t := backendTable(false)
		for _, b := range service.Backends {
			t.add(e.backendRow("", b, 0)[1:]...)
			overridden = overridden || b.Override
		}
		e.printTable(t, "  ")
	}
	if overridden {
		e.printf("\n* steered by an operator, not by the configuration alone\n")
	}
}

// reasonText puts a word of [api.Status] into words. One that a newer daemon
// may have stays as it is.
func reasonText(reason string) string {
	word, service, _ := strings.Cut(reason, ":")
	text, known := map[string]string{
		"starting":         "the daemon starts",
		"apply_failed":     "the maps cannot be written",
		"maps_unreadable":  "the maps cannot be read",
		"plan_failed":      "the configuration does not fit into the maps",
		"probes_pending":   "first probes are under way",
		"config_invalid":   "the last configuration was refused",
		"vips_unprotected": "the firewall rules cannot be set",
		"probes_unrouted":  "the way of probes via the VIP cannot be set up",
		"service_down":     "no usable backend for",
		"panic":            "few usable backends for",
		"no_source":        "no source address for",
		"no_tunnel_source": "no outer source address for",
		"critical_down":    "critical, and down:",
		"hook_failing":     "changes of backends could not be told to",
		"discovery_failed": "no news of the backends of",
		"rules_stale":      "a file of rules is wrong, and what it held before stays in force, for",
		"policy_failing":   "failing policy:",
	}[word]
	if !known {
		return reason
	}
	if service != "" {
		text += " " + service
	}
	return text
}

func (e *env) printInterfaces(interfaces []api.Interface) {
	if len(interfaces) == 0 {
		e.printf("no interfaces are attached\n")
		return
	}
	t := &table{columns: []column{{name: "INTERFACE"}, {name: "MODE"}, {name: "HOOK"}, {name: "WHY"}}}
	for _, i := range interfaces {
		t.add(i.Name, i.Mode, i.Hook, i.Why)
	}
	e.printTable(t, "")
}

// printNotes prints things to know, a line each.
func (e *env) printNotes(notes []string) {
	for _, n := range notes {
		e.printf("%s %s\n", e.paint("note:", yellow), printable(n))
	}
}

func (e *env) printIndented(lines string) {
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		e.printf("  %s\n", printable(line))
	}
}
