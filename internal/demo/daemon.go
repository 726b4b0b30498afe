package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// self is this program, also if its file was replaced meanwhile.
const self = "/proc/self/exe"

// readyWithin is ample: most of it is the kernel's verifier.
const readyWithin = 30 * time.Second

// state is the daemon's view of a backend, over all services.
type state struct {
	state, reason string
	// up: every service gives it new flows. out: none does.
	up, out bool
}

// xlb prepares a command of this program in the balancer's namespace.
func (d *demo) xlb(args ...string) *testlab.Process {
	// No context: it is to end when the demo says so, not when ctx does.
	p := d.net.Balancer.Command(context.Background(), self, args...)
	p.Cmd.Args[0] = "xlb"
	return p
}

// startDaemon starts the daemon and waits until it is ready and has found all
// backends up.
func (d *demo) startDaemon(ctx context.Context) (api.Status, error) {
	d.process = d.xlb("run", "-c", d.path("xlb.yaml"), "--socket", d.path("xlb.sock"), "--state-dir", d.path("state"),
		"--pin-dir", d.pinDir, "--log-level", "info", "--log-format", "text")
	d.process.Cmd.Stderr = &d.log
	if err := d.process.Start(); err != nil {
		d.process = nil
		return api.Status{}, err
	}
	var status api.Status
	err := d.until(ctx, "the daemon is ready", readyWithin, func() (bool, error) {
		select {
		case <-d.process.Done():
			return false, fmt.Errorf("the daemon ended (%w), see the end of its log", d.process.Wait())
		default:
		}
		if d.client == nil {
			client, err := api.Dial(d.path("xlb.sock"))
			if err != nil {
				return false, nil // not yet
			}
			d.client = client
		}
		var err error
		if status, err = d.client.Status(ctx); err != nil || !status.Ready {
			return false, nil
		}
		d.note(status.Services)
		return d.every(func(s state) bool { return s.up && s.state == api.StateHealthy }), nil
	})
	return status, err
}

// look asks the daemon for the states of the backends.
func (d *demo) look(ctx context.Context) error {
	if d.client == nil {
		return api.ErrNoDaemon
	}
	services, err := d.client.Services(ctx)
	if err != nil {
		return err
	}
	d.note(services)
	return nil
}

func (d *demo) note(services []api.Service) {
	states := make([]state, len(d.net.Backends))
	for i := range states {
		states[i] = state{state: api.StateHealthy, up: true, out: true}
	}
	for _, s := range services {
		for _, b := range s.Backends {
			i := d.net.indexOf(b.Address.Addr())
			if i < 0 {
				continue
			}
			one := &states[i]
			if b.State != api.StateHealthy {
				one.state, one.reason = b.State, b.Reason
			}
			one.up = one.up && b.EffectiveWeight > 0
			one.out = one.out && b.EffectiveWeight == 0
		}
	}
	d.states = states
}

func (d *demo) every(is func(state) bool) bool {
	for _, s := range d.states {
		if !is(s) {
			return false
		}
	}
	return true
}

// steer does something to a backend in every service.
func (d *demo) steer(ctx context.Context, backend int, do func(service string, b api.Backend) error) error {
	services, err := d.client.Services(ctx)
	if err != nil {
		return err
	}
	for _, s := range services {
		for _, b := range s.Backends {
			if d.net.indexOf(b.Address.Addr()) != backend {
				continue
			}
			if err := do(s.Name, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// attachMode is the one mode of all interfaces, or all of them.
func attachMode(interfaces []api.Interface) string {
	var modes []string
	for _, i := range interfaces {
		if len(modes) == 0 || modes[0] != i.Mode {
			modes = append(modes, i.Mode)
		}
	}
	return strings.Join(modes, "+")
}
