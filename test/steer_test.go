package test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestAdditions builds a service and the backends of another one by command while
// requests go on, drains a backend with a deadline, and kills the daemon in between:
// what was said holds, and in the end all of it is taken back.
func TestAdditions(t *testing.T) {
	t.Parallel()
	n := reloadNetwork(t)
	web := service{name: "web", weights: []int{1, -1, -1}, more: "probe: {type: tcp, interval: 500ms}"}
	echo := service{name: "echo", port: echoPort, weights: []int{1, 1, 1}}
	d := n.run(n.config("attach: native", web))
	load := n.startLoad(web.frontend(n))

	b := decode[api.ServiceBackend](n, "backend", "add", "web", web.backend(n, 1).String(), "--weight", "2", "--zone", "b")
	if !b.Added || b.Weight != 2 || b.Zone != "b" {
		t.Errorf("after backend add: %+v", b)
	}
	n.awaitBackend(web, 1, "added", func(b *api.Backend) bool { return b != nil && b.State == api.StateHealthy })
	n.spread("with an added backend", load.since(150), []int{1, 2})

	args := []string{"service", "add", "echo", "--frontend", "tcp://" + echo.frontend(n).String(), "--set", "probe=none"}
	for i := range n.Backends {
		args = append(args, "--backend", echo.backend(n, i).String())
	}
	n.xlb(args...)
	connections := n.hold(echo, 60)
	connections.check("on an added service")

	d.crash()
	d = n.start()
	connections.check("after a crash")
	n.spread("after a crash", load.since(150), []int{1, 2})
	if _, stderr, code := n.try("service", "rm", "web"); code != 1 || !strings.Contains(stderr, n.configPath()) {
		t.Errorf("removing a service of the file: exit status %d, %q", code, stderr)
	}

	// The drain ends by itself, though the daemon that was told of it is gone.
	began := time.Now()
	n.xlb("backend", "drain", "echo", echo.backend(n, 0).String(), "--deadline", "6s")
	connections.check("while one drains")
	d.stop()
	n.start()
	if took := time.Since(began); took < 5*time.Second {
		connections.check("while one drains, after a restart")
	}
	n.awaitBackend(echo, 0, "drain is over", func(b *api.Backend) bool { return strings.Contains(b.Reason, "its flows moved") })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	drained := connections.Backends()[n.Backends[0].Name]
	if failed, _ := connections.Echo(ctx); failed != drained || drained == 0 {
		t.Errorf("%d connections broke when the drain was over, %d were with the backend", failed, drained)
	}
	connections.Close()
	more := n.hold(echo, 40)
	if got := more.Backends()[n.Backends[0].Name]; got != 0 {
		t.Errorf("%d new connections on a drained backend", got)
	}
	more.Close()

	if list := decode[[]api.Override](n, "overrides", "ls"); len(list) != 3 {
		t.Errorf("what was said: %+v", list)
	}
	n.xlb("service", "rm", "echo")
	if _, err := n.Client.HoldTCP(ctx, echo.frontend(n), 1, 1); err == nil {
		t.Error("the frontend of a removed service is answered")
	}
	n.xlb("overrides", "clear")
	n.spread("as configured", load.since(150), []int{1})
	load.finish()
	if s := decode[api.Status](n, "status"); len(s.Services) != 1 || len(s.Reasons) > 0 || fmt.Sprint(s.Warnings) != "[]" {
		t.Errorf("at the end: %d services, reasons %v, warnings %v", len(s.Services), s.Reasons, s.Warnings)
	}
}

// TestSelection fails over between tiers of real backends, and back when that has
// been good for a while; a zone is taken out on the way.
func TestSelection(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	web := service{
		name: "web", weights: []int{1, 1, 1}, tiers: []int{0, 0, 1}, zones: []string{"a", "b", "b"},
		more: "probe: {type: http, path: /health, interval: 200ms, rise: 1, fall: 1}\ntiers: {min_healthy: 60%, return_after: 3s}",
	}
	n.run(n.config("", web))
	load := n.startLoad(web.frontend(n))
	serves := func(how string, shares ...int) {
		t.Helper()
		for i, w := range shares {
			n.awaitBackend(web, i, how, func(b *api.Backend) bool { return (b.Slots > 0) == (w > 0) })
		}
		n.spread(how, load.since(120), shares)
	}
	serves("the first tier", 1, 1, 0)
	// The flows of a backend that becomes unhealthy move, and with TCP that breaks them.
	load.finish()
	n.http[0].SetHealthy(false)
	n.awaitBackend(web, 0, "sick", func(b *api.Backend) bool { return b.State == api.StateUnhealthy })
	load = n.startLoad(web.frontend(n))
	serves("half of the first tier is too little", 0, 0, 1)
	n.http[0].SetHealthy(true)
	back := time.Now()
	serves("it takes its time to come back", 0, 0, 1)
	serves("and comes back", 1, 1, 0)
	if took := time.Since(back); took < 3*time.Second {
		t.Errorf("the first tier is back after %s", took)
	}
	n.xlb("zone", "disable", "a")
	serves("a zone is disabled", 0, 1, 0)
	n.xlb("zone", "enable", "a")
	serves("and enabled", 1, 1, 0)
	load.finish()
}
