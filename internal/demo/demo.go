package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
)

// dirs are the directories of demos, one for the sockets and one for the pins.
const dirs = testlab.OwnDirs("xlb-demo-")

// Options of Run.
type Options struct {
	// Attach is the hook the daemon is asked to use.
	Attach model.AttachMode
	// Screen shows what happens; nil shows nothing.
	Screen Screen
}

// Result is what came of a demo.
type Result struct {
	Figures Figures
	// Log is the end of the daemon's log, one entry a line.
	Log string
}

// demo is one run.
type demo struct {
	Options
	lab *testlab.Lab
	net *network
	// dir holds the configuration, the socket and the operator's state.
	dir, pinDir string

	log     tail
	process *testlab.Process
	client  *api.Client
	states  []state
	view    view
	// background are the downloads.
	background sync.WaitGroup

	figures Figures
}

// Run runs the demo, about 20 seconds, and removes all it made before it
// returns. A broken promise is no error: it is among the figures' Problems and
// the demo goes on. The error says why the demo could not be run to its end; it
// is context.Canceled if ctx was.
//
// Of one process, one demo may run at a time.
func Run(ctx context.Context, o Options) (r Result, err error) {
	if os.Geteuid() != 0 {
		return r, errors.New("the demo makes network namespaces and loads BPF programs (run as root)")
	}
	if o.Screen == nil {
		o.Screen = blank{}
	}
	begin := time.Now()
	d := &demo{Options: o, dir: dirs.In(testlab.RunParent), pinDir: dirs.In(testlab.PinParent)}
	d.figures.Problems = []string{}
	if err := dirs.Sweep(); err != nil {
		return r, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer func() {
		interrupted := ctx.Err()
		stop()
		if interrupted != nil {
			err = interrupted // whatever failed, failed by that
		}
		if left := d.cleanUp(); left != nil {
			err = fmt.Errorf("the demo left something behind: %w", left)
		}
		d.figures.Seconds = float64(time.Since(begin).Milliseconds()) / 1000
		r = Result{Figures: d.figures, Log: d.log.String()}
	}()
	if err := d.setUp(ctx); err != nil {
		return r, err
	}
	for _, step := range []func(context.Context) error{d.balance, d.failover, d.drain, d.crash} {
		if err := step(ctx); err != nil {
			return r, err
		}
	}
	return r, nil
}

// setUp builds the network and starts the daemon.
func (d *demo) setUp(ctx context.Context) error {
	d.Screen.Step("A network on this machine: client, balancer and three backends, dual stack")
	var err error
	if d.lab, err = testlab.New("demo"); err != nil {
		return err
	}
	if d.net, err = buildNetwork(d.lab); err != nil {
		return fmt.Errorf("build the network: %w", err)
	}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(d.path("xlb.yaml"), []byte(d.net.config(d.Attach)), 0o600); err != nil {
		return err
	}
	if _, err := d.startDaemon(ctx); err != nil {
		return err
	}
	status, err := d.client.Status(ctx)
	if err != nil {
		return err
	}
	d.figures.AttachMode = attachMode(status.Interfaces)
	d.Screen.Say(fmt.Sprintf("The daemon runs: %s on %s.", d.figures.AttachText(), strings.Join(d.net.Interfaces, " and ")))
	return nil
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

// cleanUp removes all that was made, in reverse, whatever of it there is. It
// takes the data plane out as a user would, by `xlb detach`.
func (d *demo) cleanUp() error {
	var errs []error
	if d.client != nil {
		d.client.Close()
	}
	if d.process != nil {
		if err := d.process.Signal(unix.SIGKILL); err != nil {
			errs = append(errs, err)
		}
		<-d.process.Done()
	}
	d.background.Wait()
	if _, err := os.Stat(d.pinDir); err == nil {
		detach := d.xlb("detach", "--pin-dir", d.pinDir)
		if _, err := detach.Output(); err != nil {
			errs = append(errs, fmt.Errorf("xlb detach: %w", err), os.RemoveAll(d.pinDir))
		}
	}
	if d.lab != nil {
		errs = append(errs, d.lab.Close())
	}
	errs = append(errs, os.RemoveAll(d.dir))
	return errors.Join(errs...)
}
