package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// daemon is a running `xlb run`.
type daemon struct {
	*testlab.Process
	n   *network
	log string // path
}

func (n *network) socket() string { return filepath.Join(n.dir, "sock") }

// command is an xlb inside the balancer, told by the environment where its
// files are.
func (n *network) command(ctx context.Context, args ...string) *testlab.Process {
	p := n.Balancer.Command(ctx, binary, args...)
	p.Cmd.Env = n.environment()
	return p
}

func (n *network) environment() []string {
	// Without the pause that the race detector makes at every exit.
	return append(os.Environ(), "GORACE=atexit_sleep_ms=0", "XLB_CONFIG="+n.configPath(), "XLB_SOCKET="+n.socket(),
		"XLB_PIN_DIR="+n.pins, "XLB_STATE_DIR="+filepath.Join(n.dir, "state"))
}

// launch starts the daemon and returns at once.
func (n *network) launch() *daemon {
	n.t.Helper()
	d := &daemon{Process: n.command(context.Background(), "run", "--log-level", "debug"), n: n}
	d.log = filepath.Join(n.dir, fmt.Sprintf("log%d", len(n.daemons)))
	f := must(os.Create(d.log))(n.t)
	defer f.Close()
	d.Cmd.Stderr = f
	if err := d.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.daemons = append(n.daemons, d)
	return d
}

// start starts the daemon and waits until it is ready.
func (n *network) start() *daemon {
	n.t.Helper()
	d := n.launch()
	n.eventually("start of the daemon", func() string {
		select {
		case <-d.Done():
			n.t.Fatalf("the daemon ended: %v\n%s", d.Wait(), d.logged())
		default:
		}
		s, err := n.poll()
		if err != nil {
			return err.Error()
		}
		if s.PID != d.Pid() || !s.Ready {
			return fmt.Sprintf("process %d, ready %v, reasons %v", s.PID, s.Ready, s.Reasons)
		}
		return ""
	})
	return d
}

// run starts the daemon with a configuration.
func (n *network) run(config string) *daemon {
	n.t.Helper()
	n.write(config)
	return n.start()
}

func (d *daemon) logged() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// crash kills the daemon as a crash would.
func (d *daemon) crash() {
	d.n.t.Helper()
	if err := d.Signal(unix.SIGKILL); err != nil {
		d.n.t.Fatal(err)
	}
	<-d.Done()
}

// stop ends the daemon in the regular way, which must succeed.
func (d *daemon) stop() {
	d.n.t.Helper()
	if err := d.Stop(10 * time.Second); err != nil {
		d.n.t.Errorf("the daemon stopped with %v", err)
	}
}

// finish stops what may still run, looks for races and shows the log of a
// failed test.
func (d *daemon) finish() {
	select {
	case <-d.Done():
	default:
		d.stop()
	}
	log := d.logged()
	if strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic:") {
		d.n.t.Error("the daemon has a race or panicked")
	}
	if d.n.t.Failed() {
		d.n.t.Logf("log of daemon %d:\n%s", d.Pid(), log)
	}
}

// poll is the status without a command of its own, for loops.
func (n *network) poll() (api.Status, error) {
	client, err := api.Dial(n.socket())
	if err != nil {
		return api.Status{}, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return client.Status(ctx)
}

// pollFlows are the live flows without a command of its own, for loops.
func (n *network) pollFlows(filter api.FlowFilter) (flows []api.Flow, err error) {
	client, err := api.Dial(n.socket())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for f, err := range client.Flows(ctx, filter) {
		if err != nil {
			return nil, err
		}
		flows = append(flows, f)
	}
	return flows, nil
}

// backends are the backends of a service by their position in the network; nil
// for those it has not.
func (n *network) backends(status api.Status, s service) []*api.Backend {
	out := make([]*api.Backend, len(n.Backends))
	for _, one := range status.Services {
		for i := range out {
			for _, b := range one.Backends {
				if one.Name == s.name && b.Address == s.backend(n, i) {
					out[i] = &b
				}
			}
		}
	}
	return out
}

// awaitBackend waits until ok holds for a backend of a service, nil if it has
// none such.
func (n *network) awaitBackend(s service, i int, what string, ok func(*api.Backend) bool) {
	n.t.Helper()
	n.eventually(what, func() string {
		status, err := n.poll()
		if err != nil {
			return err.Error()
		}
		if b := n.backends(status, s)[i]; !ok(b) {
			return fmt.Sprintf("%+v", b)
		}
		return ""
	})
}

// try runs the command line and returns what it printed and its exit status.
func (n *network) try(args ...string) (stdout, stderr string, code int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	p := n.command(ctx, args...)
	p.Cmd.Stdout, p.Cmd.Stderr = &out, &errs
	err := p.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		n.t.Fatalf("xlb %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), code
}

// xlb runs a command that must succeed in silence but for its output.
func (n *network) xlb(args ...string) string {
	n.t.Helper()
	stdout, stderr, code := n.try(args...)
	if code != 0 || stderr != "" {
		n.t.Fatalf("xlb %s: status %d: %s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// decode runs a command with --json and decodes its one document.
func decode[T any](n *network, args ...string) (v T) {
	n.t.Helper()
	out := n.xlb(append(args, "--json")...)
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil || d.More() {
		n.t.Fatalf("xlb %s --json: %v in\n%.2000s", strings.Join(args, " "), err, out)
	}
	return v
}

// flows is `xlb flows --json`, with further flags.
func (n *network) flows(args ...string) (flows []api.Flow) {
	n.t.Helper()
	d := json.NewDecoder(strings.NewReader(n.xlb(append([]string{"flows", "--json"}, args...)...)))
	for d.More() {
		var f api.Flow
		if err := d.Decode(&f); err != nil {
			n.t.Fatal(err)
		}
		flows = append(flows, f)
	}
	return flows
}

// counter is a counter of `xlb stats` by its name.
func (n *network) counter(list []api.Counter, name string) uint64 {
	n.t.Helper()
	for _, c := range list {
		if c.Name == name {
			return c.Packets
		}
	}
	n.t.Fatalf("no counter %q in %+v", name, list)
	return 0
}
