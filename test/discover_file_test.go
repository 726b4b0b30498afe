package test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/api"
)

// replace writes a file as one should: whole, beside it, and then renamed.
func (n *network) replace(path, text string) {
	n.t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		n.t.Fatal(err)
	}
}

// awaitSource waits until a source of a service is in a state, and its error
// holds text.
func (n *network) awaitSource(service, source, state, text string) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("source %s %s", source, state), func() string {
		status, err := n.poll()
		if err != nil {
			return err.Error()
		}
		for _, s := range status.Services {
			for _, one := range s.Sources {
				if s.Name == service && one.Name == source && one.State == state && strings.Contains(one.Error, text) {
					return ""
				}
			}
		}
		return fmt.Sprintf("%+v", status.Services)
	})
}

// TestDiscovery: the backends of a service are in the configuration, in a file
// and in what a program prints, and change while requests and long connections
// go on. Nothing is lost, also when sources fail, at a reload and over a crash.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	n := reloadNetwork(t)
	web, echo := service{name: "web"}, service{name: "echo", port: echoPort}
	list, inventory, program := filepath.Join(n.dir, "list.yaml"), filepath.Join(n.dir, "inventory"), filepath.Join(n.dir, "program")
	at := func(i int) netip.AddrPort { return web.backend(n, i) }
	n.replace(list, "[]\n")
	n.replace(inventory, "[]\n")
	n.replace(program, "#!/bin/sh\nif [ -e "+n.dir+"/broken ]; then echo the inventory is away >&2; exit 4; fi\ncat "+inventory+"\n")
	config := func(more string) string {
		return fmt.Sprintf(`interfaces: [%s]
table_size: 1009
services:
  web:
    frontends: "tcp://%s"
    probe: none
    backends: ["%s"]
    discover:
    - {type: file, path: list.yaml, on_empty: accept, debounce: 20ms}
    - {type: exec, command: ./program, interval: 100ms, on_empty: accept, debounce: 0s}
%s  echo:
    frontends: "tcp://%s"
    probe: none
    discover: {type: file, path: list.yaml, port: %d, source: same-file}
`, strings.Join(n.Interfaces, ", "), web.frontend(n), at(0), more, echo.frontend(n), echoPort)
	}
	d := n.run(config(""))
	backend := func(i, weight int) string { return fmt.Sprintf("%s/%d/%d", at(i), weight, weight) }
	n.awaitService("web", backend(0, 1))
	load := n.startLoad(web.frontend(n))

	n.replace(list, fmt.Sprintf("# by hand\n- %s\n", n.Backends[1].IP4))
	n.awaitService("web", backend(0, 1), backend(1, 1))
	n.spread("a file adds one", load.since(150), []int{1, 1, 0})
	n.awaitService("echo", fmt.Sprintf("%s/1/1", echo.backend(n, 1)))
	connections := n.hold(echo, 40)
	n.replace(inventory, fmt.Sprintf(`[{"address": "%s", "weight": 2, "zone": "r2", "tags": ["new"]}, "%s"]`, at(2), at(1)))
	n.awaitService("web", backend(0, 1), backend(1, 1), backend(2, 2))
	n.spread("a program adds one", load.since(200), []int{1, 1, 2})
	status := decode[api.Status](n, "status")
	b := n.backends(status, web)[2]
	if b.Zone != "r2" || !slices.Equal(b.Tags, []string{"new"}) {
		t.Errorf("the program's backend is %+v", b)
	}
	if want := fmt.Sprintf("backend %s of source \"exec\" is left out: source \"file\" has it already, and counts", at(1)); !strings.Contains(strings.Join(status.Warnings, "\n"), want) {
		t.Errorf("warnings %q lack %s", status.Warnings, want)
	}

	// Both fail, and what they said holds.
	n.replace(list, "- [\n")
	n.replace(filepath.Join(n.dir, "broken"), "")
	n.awaitSource("web", "file", api.SourceFailing, list+":1: not YAML")
	n.awaitSource("web", "exec", api.SourceFailing, "exit status 4: the inventory is away")
	if reasons := decode[api.Status](n, "status").Reasons; !slices.Contains(reasons, "discovery_failed:web") || !slices.Contains(reasons, "discovery_failed:echo") {
		t.Errorf("reasons %v", reasons)
	}
	n.awaitService("web", backend(0, 1), backend(1, 1), backend(2, 2))
	if text := n.xlb("service", "show", "web"); !strings.Contains(text, "the inventory is away") || !strings.Contains(text, "failing") {
		t.Errorf("service show says nothing of it:\n%s", text)
	}
	connections.check("while sources fail")

	// So it does for the next daemon.
	d.crash()
	d = n.start()
	n.awaitService("web", backend(0, 1), backend(1, 1), backend(2, 2))
	n.spread("after a crash", load.since(200), []int{1, 1, 2})
	connections.check("after a crash")

	// A reload disturbs neither those that fail nor what they found.
	n.write(config("    fail: closed\n"))
	n.xlb("reload")
	n.awaitService("web", backend(0, 1), backend(1, 1), backend(2, 2))

	if err := os.Remove(filepath.Join(n.dir, "broken")); err != nil {
		t.Fatal(err)
	}
	n.awaitSource("web", "exec", api.SourceOK, "")
	// Backend 1 is in the answer of the program, too: it stays when the file
	// gives it up, and so do its connections in the other service, retired.
	n.replace(list, fmt.Sprintf("backends:\n- {address: %s, weight: 3}\n", n.Backends[2].IP4))
	n.awaitSource("web", "file", api.SourceOK, "")
	n.awaitService("web", backend(0, 1), backend(1, 1), backend(2, 3))
	n.spread("healed", load.since(250), []int{1, 1, 3})
	n.awaitService("echo", fmt.Sprintf("%s/3/3", echo.backend(n, 2)))
	connections.check("moved on")
	more := n.hold(echo, 10)
	if got := more.Backends()[n.Backends[2].Name]; got != 10 {
		t.Errorf("new connections went to %v", more.Backends())
	}
	more.Close()

	// on_empty: accept for web, keep for echo.
	n.replace(list, "[]\n")
	n.replace(inventory, "[]\n")
	n.awaitService("web", backend(0, 1))
	n.awaitSource("echo", "same-file", api.SourceFailing, "answered that there are no backends, which is not believed")
	n.awaitService("echo", fmt.Sprintf("%s/3/3", echo.backend(n, 2)))
	n.spread("only the static one", load.since(60), []int{1, 0, 0})
	connections.alive("at the end")
	load.finish()
	if status := decode[api.Status](n, "status"); status.PID != d.Pid() || !status.Ready {
		t.Errorf("at the end: %+v", status)
	}
}
