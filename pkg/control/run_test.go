package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
)

// insideVariable tells the child of TestRun that it is in its own network.
const insideVariable = "XLB_TEST_CONTROL_INSIDE"

// TestRun runs the whole daemon on the real kernel, in a process with a network
// namespace of its own.
func TestRun(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if os.Getenv(insideVariable) != "" {
		t.Skip("is the child")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestInside$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), insideVariable+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestInside") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// running is a daemon started by Run.
type running struct {
	*api.Client
	cancel context.CancelFunc
	over   chan error
	hangup chan os.Signal
}

func run(t *testing.T, o Options) *running {
	t.Helper()
	hangup := make(chan os.Signal)
	o.Hangup = hangup
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, over: make(chan error, 1), hangup: hangup}
	go func() { r.over <- Run(ctx, o) }()
	eventually(t, func() string {
		select {
		case err := <-r.over:
			t.Fatalf("the daemon ended: %v", err)
		default:
		}
		var err error
		if r.Client, err = api.Dial(o.Socket); err != nil {
			return err.Error()
		}
		s, err := r.Status(t.Context())
		if err != nil || !s.Ready {
			r.Client.Close()
			return fmt.Sprint(s.Reasons, s.Problem, err)
		}
		return ""
	})
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.Client.Close()
	r.cancel()
	if err := <-r.over; err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
}

func TestInside(t *testing.T) {
	dir := os.Getenv(insideVariable)
	if dir == "" {
		t.Skip("is run by TestRun")
	}
	pins := fmt.Sprintf("/sys/fs/bpf/xlb-test-control-%d", os.Getpid())
	t.Cleanup(func() {
		if _, err := loader.Detach(pins, quiet()); err != nil {
			t.Errorf("detach: %v", err)
		}
	})
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "xlb0"}, PeerName: "xlb1"}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	address, _ := netlink.ParseAddr("10.0.0.254/24")
	if err := netlink.AddrAdd(veth, address); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"xlb0", "xlb1", "lo"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
	}
	d := &daemon{path: filepath.Join(dir, "xlb.yaml")}
	text := strings.Replace(document(web), "eth0", "xlb0", 1) + "  six: {forward: l2dsr, frontends: 'udp://[2001:db8::1]:53', probe: none, backends: ['[2001:db8::2]:53']}\n" +
		"  far: {forward: gue, frontends: 'udp://[2001:db8::1]:54', probe: none, backends: ['10.0.0.9:54']}\n"
	d.writeText(t, text)
	o := Options{ConfigPath: d.path, PinDir: pins, StateDir: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "xlb.sock"),
		Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}

	r := run(t, o)
	s, err := r.Status(t.Context())
	if err != nil || s.Adopted || len(s.Interfaces) != 1 || s.Interfaces[0].Name != "xlb0" || len(s.Services) != 3 || len(s.Reasons) != 0 {
		t.Errorf("status %+v, %v", s, err)
	}
	other := o
	other.Socket = filepath.Join(dir, "other.sock")
	if err := Run(t.Context(), other); !errors.Is(err, loader.ErrLocked) {
		t.Errorf("a second daemon: %v", err)
	}
	if err := r.Drain(t.Context(), "web", ap("10.0.0.1:80")); err != nil {
		t.Fatal(err)
	}
	if p, err := r.Plan(t.Context(), api.PlanRequest{}); err != nil || len(p.Changes) != 0 {
		t.Errorf("plan of what runs: %+v, %v", p.Changes, err)
	}
	if _, err := r.Stats(t.Context(), api.StatsFilter{}); err != nil {
		t.Errorf("stats: %v", err)
	}
	for f, err := range r.Flows(t.Context(), api.FlowFilter{}) {
		t.Errorf("flow %+v, %v without traffic", f, err)
	}
	before := contents(t, pins)
	if got := before.Sources; len(got) != 1 || got[0] != addr("10.0.0.254") {
		t.Errorf("sources %v, want the interface's address", got)
	}
	if got := before.Tunnels; len(got) != 1 || got[0].Source != addr("10.0.0.254") || got[0].GUEPort != 6080 {
		t.Errorf("tunnels %v, want the interface's address", got)
	}
	r.stop(t)

	r = run(t, o)
	if s, err = r.Status(t.Context()); err != nil || !s.Adopted {
		t.Errorf("the second daemon did not adopt: %+v, %v", s, err)
	}
	if n := maps.Diff(before, contents(t, pins)).Len(); n != 0 {
		t.Errorf("the second daemon changed %d entries", n)
	}
	d.writeText(t, strings.Replace(text, "'10.0.0.2:80'", "'10.0.0.2:80', '10.0.0.3:80'", 1))
	r.hangup <- syscall.SIGHUP
	eventually(t, func() string { n := len(contents(t, pins).Backends); return unless(n == 5, "%d backends", n) })

	own, _ := netlink.ParseAddr("10.0.0.3/32")
	if err := netlink.AddrAdd(veth, own); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		b, err := r.Backends(t.Context(), "web")
		return unless(err == nil && len(b) == 3 && strings.HasPrefix(b[2].Reason, "address of this host: xlb0"), "%+v, %v", b, err)
	})
	r.stop(t)
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "backend 10.0.0.3:80 is an address of this host (xlb0)") {
		t.Errorf("start with itself as backend: %v", err)
	}

	d.writeText(t, "services: [")
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "xlb.yaml:1:") {
		t.Errorf("start with a wrong file: %v", err)
	}
}

// contents reads the pinned maps.
func contents(t *testing.T, pins string) maps.Contents {
	t.Helper()
	set, err := loader.OpenMaps(pins)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	c, err := set.Read()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
