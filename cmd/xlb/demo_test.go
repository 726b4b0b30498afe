package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/demo"
	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// demoProcess is a demo in a process of its own.
type demoProcess struct {
	*exec.Cmd
	output io.Reader
	stderr bytes.Buffer
}

func startDemo(t *testing.T, args ...string) *demoProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &demoProcess{Cmd: exec.Command(self, append([]string{"demo"}, args...)...)}
	d.Env = append(os.Environ(), asCommand+"=1")
	d.Stderr = &d.stderr
	if d.output, err = d.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	return d
}

// readTo reads the output up to a step, or a sentence in it.
func (d *demoProcess) readTo(t *testing.T, text string) {
	t.Helper()
	lines := bufio.NewScanner(d.output)
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			go func() { _, _ = io.Copy(io.Discard, d.output) }() // until Wait closes it
			return
		}
	}
	t.Fatalf("the demo ended before %q: %v\n%s", text, d.Wait(), &d.stderr)
}

// demoTraces lists what there is of the demo of a process: files, pins,
// namespaces and processes.
func demoTraces(t *testing.T, pid int) (found []string) {
	t.Helper()
	dir := fmt.Sprintf("xlb-demo-%d", pid)
	for _, pattern := range []string{"/run/" + dir, "/sys/fs/bpf/" + dir, "/run/netns/" + dir + "-*"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, names...)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		line, err := os.ReadFile(p) // of one that is gone: nothing
		if err == nil && bytes.Contains(line, []byte("/"+dir+"/")) {
			found = append(found, p)
		}
	}
	return found
}

func noTraces(t *testing.T, pid int) {
	t.Helper()
	if found := demoTraces(t, pid); len(found) > 0 {
		t.Errorf("the demo left %s", strings.Join(found, ", "))
	}
}

func checkFigures(t *testing.T, f demo.Figures, mode string) {
	t.Helper()
	if f.AttachMode != mode || len(f.Problems) > 0 {
		t.Errorf("attached by %s, want %s; problems %q", f.AttachMode, mode, f.Problems)
	}
	answered := 0
	for a, weight := range map[string]float64{"10.20.0.11": 1, "10.20.0.12": 1, "10.20.0.13": 3} {
		n := f.PerBackend[netip.MustParseAddr(a)]
		answered += n
		if got, want := float64(n), float64(f.Requests)*weight/5; got < 0.7*want || got > 1.3*want {
			t.Errorf("%d of %d requests went to %s of weight %.0f", n, f.Requests, a, weight)
		}
	}
	if f.Requests < 400 || answered != f.Requests || len(f.PerBackend) != 3 {
		t.Errorf("%d requests, by backend %v", f.Requests, f.PerBackend)
	}
	if f.Failed+f.ReturnFailed+f.DrainFailed+f.CrashFailed+f.CrashInterrupted != 0 {
		t.Errorf("failures where there may be none: %+v", f)
	}
	// A backend that dies under load takes requests with it; none would mean
	// that it was not killed.
	if f.FailoverFailed < 1 || f.FailoverFailed >= f.FailoverRequests || f.FailoverMS < 1 || f.FailoverMS > 20_000 {
		t.Errorf("failover: %d of %d requests failed in %d ms", f.FailoverFailed, f.FailoverRequests, f.FailoverMS)
	}
	if f.ReturnRequests == 0 || f.DrainRequests == 0 || f.DrainDownloads == 0 || f.CrashRequests == 0 || f.CrashDownloads == 0 || f.CrashMS == 0 || f.Seconds <= 0 {
		t.Errorf("a step did nothing: %+v", f)
	}
}

// The first demo is killed, so that it cannot clean up; the second removes
// what it left, and nothing of its own stays in this very process.
func TestDemo(t *testing.T) {
	needsKernel(t)
	killed := startDemo(t)
	killed.readTo(t, "Balance:")
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	if len(demoTraces(t, killed.Process.Pid)) == 0 {
		t.Error("the killed demo left nothing to remove")
	}

	before, err := testlab.TakeSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(asCommand, "1") // for the daemon, which is this program
	checkFigures(t, decode[demo.Figures](t, xlb(t, "demo", "--json").ok(t)), "tc")
	until(t, "the killed demo's remains are gone", func() bool { return len(demoTraces(t, killed.Process.Pid)) == 0 })
	noTraces(t, os.Getpid())
	if err := before.Leaks(5 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestDemoNative(t *testing.T) {
	needsKernel(t)
	d := startDemo(t, "--attach", "native", "--json")
	out, err := io.ReadAll(d.output)
	if err = errors.Join(err, d.Wait()); err != nil || d.stderr.Len() > 0 {
		t.Fatalf("%v\n%s", err, &d.stderr)
	}
	checkFigures(t, decode[demo.Figures](t, string(out)), "native")
	noTraces(t, d.Process.Pid)
}

func TestDemoInterrupted(t *testing.T) {
	needsKernel(t)
	steps := []string{"A network", "Balance:", "Failover:", "Drain:", "Crash:"}
	step := steps[rand.IntN(len(steps))]
	within := rand.N(1500 * time.Millisecond)
	signal := []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP}[rand.IntN(3)]
	t.Logf("%v %s after %q", signal, within, step)
	d := startDemo(t)
	d.readTo(t, step)
	<-time.After(within)
	if err := d.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if err := d.Wait(); d.ProcessState.ExitCode() != exitFailed || !strings.HasPrefix(d.stderr.String(), "xlb: interrupted") {
		t.Errorf("the demo ended with %v and said %q", err, &d.stderr)
	}
	noTraces(t, d.Process.Pid)
}

func TestDemoBrokenPromise(t *testing.T) {
	r := demo.Result{Log: "level=INFO msg=hello", Figures: demo.Figures{Problems: []string{"3 requests failed\nsomewhere"}}}
	var stdout, stderr bytes.Buffer
	e := &env{stdout: &stdout, stderr: &stderr}
	if status := e.exitStatus(t.Context(), e.demoOutcome(r, true)); status != exitFailed {
		t.Errorf("exit status %d", status)
	}
	same(t, stderr.String(), "the end of the daemon's log:\nlevel=INFO msg=hello\nxlb: a promise is broken: 3 requests failed; somewhere")
	if f := decode[demo.Figures](t, stdout.String()); len(f.Problems) != 1 {
		t.Errorf("figures: %+v", f)
	}
}

func TestDemoScreen(t *testing.T) {
	table := func(n int, state string) demo.Table {
		return demo.Table{Counts: []string{"HTTP4"}, Note: fmt.Sprintf("%d requests, 0 failed", n), Rows: []demo.Row{
			{Name: "backend1", Address: netip.MustParseAddr("10.20.0.11"), Weight: 1, State: state, Reason: "why", Counts: []int{n}, Share: 1},
		}}
	}
	show := func(e *env) {
		s := &demoScreen{env: e}
		s.Step("Balance")
		s.Table(table(1, api.StateHealthy))
		s.Table(table(2, api.StateHealthy))
		s.Say("Balanced.")
		s.Table(table(3, api.StateUnhealthy))
		s.flush()
	}
	var paper bytes.Buffer
	show(&env{stdout: &paper})
	same(t, paper.String(), `
1  Balance
   BACKEND   ADDRESS     WEIGHT  STATE    HTTP4   SHARE
   backend1  10.20.0.11       1  healthy      2  100.0%
   2 requests, 0 failed
   Balanced.

   BACKEND   ADDRESS     WEIGHT  STATE      HTTP4   SHARE  REASON
   backend1  10.20.0.11       1  unhealthy      3  100.0%  why
   3 requests, 0 failed
`)
	t.Setenv("NO_COLOR", "1")
	var terminal bytes.Buffer
	show(&env{stdout: &terminal, isTerminal: true, width: 80})
	// Only the second table covers another: three lines.
	if text := terminal.String(); strings.Count(text, "requests") != 3 || strings.Count(text, "\x1b[3A\x1b[J") != 1 || strings.Count(text, "A\x1b[J") != 1 {
		t.Errorf("on a terminal:\n%q", text)
	}
}
