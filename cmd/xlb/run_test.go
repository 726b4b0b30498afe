package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

const daemonConfig = `interfaces: in
attach: generic
sources: [10.9.0.1]
flow_table_size: 1024
table_size: 31
max_services: 8
max_frontends: 8
max_backends: 16
max_sources: 4
defaults: {probe: none}
services:
  web:
    frontends: tcp://203.0.113.10:80
    backends: [10.9.0.2, 10.9.0.3]
`

// until polls a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// TestDaemon steers a real daemon, on an interface of its own network
// namespace, through its whole life.
func TestDaemon(t *testing.T) {
	needsKernel(t)
	dir := testPinDir(t)
	lab, err := testlab.New("cmd")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	}()
	balancer, err := lab.Namespace("lb")
	if err != nil {
		t.Fatal(err)
	}
	client, err := lab.Namespace("client")
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Veth(
		testlab.End{Namespace: balancer, Name: "in", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}},
		testlab.End{Namespace: client, Name: "out", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}},
	); err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, daemonConfig)
	t.Setenv("XLB_CONFIG", file)
	t.Setenv("XLB_STATE_DIR", filepath.Join(t.TempDir(), "state"))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := &testlab.Buffer{}
	daemon := balancer.Command(context.Background(), self, "run", "--log-level", "debug", "--log-format=json")
	daemon.Cmd.Env = append(os.Environ(), asCommand+"=1")
	daemon.Cmd.Stderr = log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", log)
		}
	}()
	until(t, "the daemon is ready", func() bool {
		select {
		case <-daemon.Done():
			t.Fatalf("the daemon ended: %v", daemon.Wait())
		default:
		}
		r := xlb(t, "status", "--json")
		return r.status == exitOK && decode[api.Status](t, r.stdout).Ready
	})

	status := xlb(t, "status").ok(t)
	for _, want := range []string{"ready\n", "in         generic  xdp link", "10.9.0.2:80", "web  203.0.113.10:80/tcp  nat, maglev, fail open"} {
		if !strings.Contains(status, want) {
			t.Errorf("status lacks %q:\n%s", want, status)
		}
	}
	same(t, xlb(t, "plan").ok(t), "nothing would change")

	// The operator.
	xlb(t, "backend", "drain", "web", "10.9.0.2").ok(t)
	if out := xlb(t, "backend", "ls").ok(t); !strings.Contains(out, "draining") {
		t.Errorf("not drained:\n%s", out)
	}
	xlb(t, "backend", "undrain", "web", "10.9.0.2").ok(t)
	xlb(t, "backend", "weight", "web", "10.9.0.2", "7").ok(t)
	same(t, xlb(t, "flows").ok(t), "there are no flows")
	xlb(t, "stats").ok(t)
	if out := xlb(t, "map", "dump", "backends").ok(t); !strings.Contains(out, "10.9.0.3:80") {
		t.Errorf("map dump:\n%s", out)
	}

	// A second daemon, and what only works without one.
	second := filepath.Join(t.TempDir(), "second")
	if r := xlb(t, "run", "--socket", second); r.status != exitFailed || !strings.Contains(r.stderr, "pin directory is in use") {
		t.Errorf("a second daemon: %+v", r)
	}
	if r := xlb(t, "detach"); r.status != exitFailed || !strings.HasPrefix(r.stderr, "xlb: a daemon runs: ") {
		t.Errorf("detach: %+v", r)
	}

	// Reload, by command and by signal; the file watch may come first.
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(daemonConfig, "10.9.0.3", "10.9.0.300", 1))
	if r := xlb(t, "reload"); r.status != exitUsage || !strings.HasPrefix(r.stderr, file+":14:") {
		t.Errorf("reload of a wrong file: %+v", r)
	}
	if out := xlb(t, "status").ok(t); !strings.Contains(out, "refused") {
		t.Errorf("the status does not tell of the refused file:\n%s", out)
	}
	write(strings.Replace(daemonConfig, "generic", "tc", 1))
	if r := xlb(t, "reload"); r.status != exitUsage || !strings.Contains(r.stderr, "attach") {
		t.Errorf("reload of what needs a restart: %+v", r)
	}
	write(strings.Replace(daemonConfig, "10.9.0.3]", "10.9.0.3, 10.9.0.4]", 1))
	same(t, xlb(t, "reload").ok(t), "reloaded "+file+": 1 service, 3 backends")
	write(daemonConfig)
	if err := daemon.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "the signal reloads the configuration", func() bool {
		s := decode[[]api.ServiceBackend](t, xlb(t, "backend", "ls", "--json").ok(t))
		for _, b := range s {
			if b.Address.Addr() == netip.MustParseAddr("10.9.0.4") && b.State != api.StateRetired {
				return false
			}
		}
		return true
	})

	// The daemon goes, the data plane stays.
	if err := daemon.Stop(20 * time.Second); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	for _, line := range lines(log.String()) {
		decode[map[string]any](t, line)
	}
	// The weight that the operator gave is in the maps and in the plan.
	if got := decode[planResult](t, xlb(t, "plan", "--json").ok(t)); got.Against != againstPins || got.Count != 0 || len(got.Warnings) != 0 {
		t.Errorf("plan: %+v", got)
	}
	same(t, xlb(t, "flows").ok(t), "there are no flows")
	var removed string
	if err := balancer.Do(func() error { removed = xlb(t, "detach").ok(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(removed, "removed xdp link on in\n") || !strings.Contains(removed, dir) {
		t.Errorf("detach removed\n%s", removed)
	}
}
