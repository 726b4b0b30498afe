package test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// held are connections that must keep their backends.
type held struct {
	*testlab.Held
	n *network
	s service
}

// hold opens connections to the echo servers.
func (n *network) hold(s service, count int) *held {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	h := must(n.Client.HoldTCP(ctx, s.frontend(n), count, 16))(n.t)
	n.t.Cleanup(h.Close)
	return &held{h, n, s}
}

// alive sends bytes over every connection.
func (h *held) alive(when string) {
	h.n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if failed, err := h.Echo(ctx); failed > 0 {
		h.n.t.Errorf("%s: %d of %d connections broke: %v", when, failed, h.Len(), err)
	}
}

// check is alive, and compares the flows with what the servers said when the
// connections began: the service must have no others.
func (h *held) check(when string) {
	h.n.t.Helper()
	h.alive(when)
	byBackend := map[string]int{}
	for _, f := range h.n.flows("--service", h.s.name) {
		for i, b := range h.n.Backends {
			if f.Backend == h.s.backend(h.n, i) {
				byBackend[b.Name]++
			}
		}
	}
	if want := h.Backends(); fmt.Sprint(byBackend) != fmt.Sprint(want) {
		h.n.t.Errorf("%s: connections by backend %v, but flows %v", when, want, byBackend)
	}
}

// reloadNetwork has web and echo servers on three backends.
func reloadNetwork(t *testing.T) *network {
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	for _, b := range n.Backends {
		must(b.StartTCPEcho(echoPort))(t)
	}
	return n
}

// TestReload changes the configuration in every way there is while requests
// and long connections go on.
func TestReload(t *testing.T) {
	t.Parallel()
	n := reloadNetwork(t)
	// A backend that was removed stays in the maps until its last flow is forgotten.
	const quickProbe = "probe: {type: tcp, interval: 200ms, rise: 1, fall: 5}\ntimeouts: {tcp_closed: 5m}"
	web := func(w ...int) service { return service{name: "web", weights: w, more: quickProbe} }
	echo := func(w ...int) service {
		return service{name: "echo", port: echoPort, weights: w, more: "probe: none"}
	}
	config := func(w ...int) string { return n.config("attach: native", web(w...), echo(w...)) }
	d := n.run(config(1, 1))
	load := n.startLoad(web().frontend(n))
	connections := n.hold(echo(), 60)
	connections.check("at the start")

	// serves waits until the data plane has the weights, and looks at the load.
	serves := func(how string, weights ...int) {
		t.Helper()
		for i, w := range weights {
			n.awaitBackend(web(), i, how, func(b *api.Backend) bool {
				if w < 0 {
					return b == nil || b.State == api.StateRetired
				}
				return b != nil && b.EffectiveWeight == w
			})
		}
		n.spread(how, load.since(120), weights)
		connections.check(how)
	}
	serves("at the start", 1, 1, -1)

	n.write(config(1, 1, 2))
	signal := func() {
		t.Helper()
		if err := d.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	signal()
	serves("added by SIGHUP", 1, 1, 2)
	at := decode[api.Status](n, "status").LastReload.At
	signal()
	n.eventually("SIGHUP without a change", func() string {
		if s, err := n.poll(); err != nil || !s.LastReload.At.After(at) || !s.LastReload.OK {
			return fmt.Sprintf("last reload %+v, %v", s.LastReload, err)
		}
		return ""
	})

	n.write(config(-1, 1, 2))
	serves("removed by a replaced file", -1, 1, 2)
	if err := os.WriteFile(n.configPath(), []byte(config(-1, 3, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	serves("reweighted by a file written in place", -1, 3, 1)

	n.write(config(2, -1, 1))
	reload := decode[api.Reload](n, "reload")
	if !reload.OK || reload.Error != "" {
		t.Errorf("reload: %+v", reload)
	}
	status := decode[api.Status](n, "status")
	if b := n.backends(status, web()); b[0] == nil || b[0].State == api.StateRetired || b[1] != nil && b[1].State != api.StateRetired {
		t.Errorf("xlb reload returned before the data plane had it: %+v", b)
	}
	serves("swapped by xlb reload", 2, -1, 1)

	n.checkRefused(config(2, -1, 1))
	serves("after a refused file", 2, -1, 1)
	load.finish()
	if status := decode[api.Status](n, "status"); status.PID != d.Pid() || !status.LastReload.OK || len(status.Reasons) > 0 {
		t.Errorf("at the end: %+v", status)
	}
}

// checkRefused reloads files that are wrong, and in the end a good one.
func (n *network) checkRefused(good string) {
	n.t.Helper()
	place := regexp.MustCompile(`^` + regexp.QuoteMeta(n.configPath()) + `:\d+:\d+: `)
	before := n.dumps()
	for _, c := range []struct{ from, to, want string }{
		{"weight: 2", "weight: -1", "weight"},
		{"weight: 2", "wieght: 2", "wieght"},
		{"tcp://", "sctp://", "sctp"},
		{"services:", "services: [", ""},
		{"table_size: 1009", "table_size: 2003", "table_size"},
	} {
		n.write(strings.Replace(good, c.from, c.to, 1))
		_, stderr, code := n.try("reload")
		// A setting for the start stands nowhere in particular.
		if code != 2 || !strings.Contains(stderr, c.want) || c.want != "table_size" && !place.MatchString(stderr) {
			n.t.Errorf("%s: reload ended with %d and says %q, want 2 and file:line:column", c.to, code, stderr)
		}
		status := decode[api.Status](n, "status")
		if status.LastReload.OK || !strings.Contains(status.LastReload.Error, c.want) || !slices.Contains(status.Reasons, "config_invalid") || !status.Ready {
			n.t.Errorf("%s: status %+v, reasons %v, ready %v", c.to, status.LastReload, status.Reasons, status.Ready)
		}
		if text := n.xlb("status"); !strings.Contains(text, "refused") {
			n.t.Errorf("%s: status says nothing of it:\n%s", c.to, text)
		}
	}
	after := n.dumps()
	for name, was := range before {
		if after[name] != was {
			n.t.Errorf("refused files changed map %s", name)
		}
	}
	n.write(good)
	n.xlb("reload")
}

// TestOperator drains and weights backends by command while requests go on.
// What was said outlives the daemon.
func TestOperator(t *testing.T) {
	t.Parallel()
	n := reloadNetwork(t)
	web := service{name: "web", weights: []int{1, 1, 1}, more: "probe: {type: tcp, interval: 500ms}"}
	echo := service{name: "echo", port: echoPort, weights: []int{1, 1, 1}, more: "probe: none"}
	d := n.run(n.config("attach: native", web, echo))
	load := n.startLoad(web.frontend(n))
	connections := n.hold(echo, 60)
	to := func(s service, i int) string { return s.backend(n, i).String() }

	for _, s := range []service{web, echo} {
		b := decode[api.ServiceBackend](n, "backend", "drain", s.name, to(s, 0))
		if b.State != api.StateDraining || b.EffectiveWeight != 0 || !b.Override || b.Reason == "" {
			t.Errorf("after the drain: %+v", b)
		}
	}
	n.spread("drained", load.since(150), []int{0, 1, 1})
	connections.check("drained")
	more := n.hold(echo, 40)
	if got := more.Backends()[n.Backends[0].Name]; got != 0 {
		t.Errorf("%d new connections on a drained backend", got)
	}
	more.Close()

	n.xlb("backend", "weight", "web", to(web, 1), "3")
	n.spread("weighted", load.since(150), []int{0, 3, 1})

	d.stop()
	d = n.start()
	status := decode[api.Status](n, "status")
	if b := n.backends(status, web); b[0].State != api.StateDraining || b[1].Weight != 3 || !b[1].Override || b[2].Override {
		t.Errorf("after a restart: %+v %+v %+v", b[0], b[1], b[2])
	}
	n.spread("after a restart", load.since(150), []int{0, 3, 1})
	d.crash()
	n.start()
	n.spread("after a crash", load.since(150), []int{0, 3, 1})

	b := decode[api.ServiceBackend](n, "backend", "undrain", "web", to(web, 0))
	if b.EffectiveWeight != 1 {
		t.Errorf("after the undrain: %+v", b)
	}
	n.xlb("backend", "weight", "web", to(web, 1), "reset")
	n.spread("as configured", load.since(150), []int{1, 1, 1})
	for _, args := range [][]string{
		{"backend", "drain", "web", netip.AddrPortFrom(n.VIP4, 1).String()},
		{"backend", "weight", "nosuch", to(web, 1), "3"},
	} {
		if _, stderr, code := n.try(args...); code != 1 || stderr == "" {
			t.Errorf("xlb %v: exit status %d, %q", args, code, stderr)
		}
	}
	connections.alive("at the end")
	load.finish()
}
