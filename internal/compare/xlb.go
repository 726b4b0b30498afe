package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// xlbRow is xlb with a mode of forwarding and a hook.
func xlbRow(forward, attach string) row {
	return row{
		name: "xlb-" + forward + "-" + attach, what: "xlb, forward: " + forward + ", attach: " + attach,
		way: forwards[forward], nativeXDP: attach == "native",
		start: func(ctx context.Context, s *site) (balancer, error) {
			x := &xlb{site: s, forward: forward, attach: attach}
			// The lab does not know pins, so stop is wanted after a failure too.
			return balancer{account: x.account, stop: x.stop}, x.start(ctx)
		},
	}
}

// xlb is a running daemon.
type xlb struct {
	*site
	forward, attach string
	process         *testlab.Process
	client          *api.Client
	// last is what the daemon had counted at the last account.
	last counted
}

// counted are counters of the data plane.
type counted struct {
	web         api.Traffic
	webBackends []uint64 // request packets
	bulkBytes   uint64   // requests
	dropped     uint64
}

// command is the xlb under test. It has no context: the daemon ends when the
// comparison says so.
func (x *xlb) command(n *testlab.Namespace, args ...string) (*testlab.Process, error) {
	binary, err := filepath.Abs(x.options.XLB)
	if err != nil {
		return nil, err
	}
	return n.Command(context.Background(), binary, args...), nil
}

// prepare makes a backend ready for what a tunnel brings. Its pins go with the
// comparison's directory.
func (x *xlb) prepare(i int, b *testlab.Backend) error {
	hook := "tc"
	if x.nativeXDP {
		hook = "xdp"
	}
	p, err := x.command(b.Namespace, "backend-host", "--forward", x.forward, "--from", x.Source4.String(), "--hook", hook,
		"--vip", x.VIP4.String(), "--vip", x.bulkVIP(i).String(),
		"--state-dir", x.path(b.Name), "--pin-dir", x.pinDir()+"-"+b.Name)
	if err == nil {
		_, err = p.Output()
	}
	return err
}

func (x *xlb) start(ctx context.Context) error {
	if x.forward == "ipip" || x.forward == "gue" {
		for i, b := range x.Backends {
			if err := x.prepare(i, b); err != nil {
				return err
			}
		}
	}
	config, err := x.write("xlb.yaml", x.config())
	if err != nil {
		return err
	}
	p, err := x.command(x.Balancer, "run", "-c", config, "--socket", x.path("xlb.sock"), "--state-dir", x.path("state"), "--pin-dir", x.pinDir())
	if err != nil {
		return err
	}
	log, err := os.Create(x.path("0-" + x.Balancer.Name + "-xlb.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.Cmd.Stdout, p.Cmd.Stderr = log, log
	if err := p.Start(); err != nil {
		return err
	}
	x.process = p
	return x.await(ctx, func() error { return x.ready(ctx) })
}

// config serves the same frontends as everybody's. Health checks are off, as
// they are elsewhere.
func (x *xlb) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [%s]\nattach: %s\nflow_table_size: 262144\ndefaults: {forward: %s, probe: none}\nservices:\n",
		strings.Join(x.Interfaces, ", "), x.attach, x.forward)
	for _, f := range x.frontends() {
		fmt.Fprintf(&b, "  %s:\n    frontends: \"tcp://%s\"\n    backends:\n", f.name, f.at)
		for _, one := range f.backends {
			fmt.Fprintf(&b, "      - %s\n", one)
		}
	}
	return b.String()
}

// ready says what is missing until the daemon serves as it was told.
func (x *xlb) ready(ctx context.Context) error {
	select {
	case <-x.process.Done():
		return fatal{fmt.Errorf("the daemon ended: %w", x.process.Wait())}
	default:
	}
	if x.client == nil {
		client, err := api.Dial(x.path("xlb.sock"))
		if err != nil {
			return err
		}
		x.client = client
	}
	status, err := x.client.Status(ctx)
	if err != nil {
		return err
	}
	if !status.Ready {
		return fmt.Errorf("the daemon is not ready: %v", status.Reasons)
	}
	for _, i := range status.Interfaces {
		if i.Mode != x.attach {
			return fatal{fmt.Errorf("%s is attached by %s, not %s: %s", i.Name, i.Mode, x.attach, i.Why)}
		}
	}
	for _, s := range status.Services {
		if s.Forward != x.forward {
			return fatal{fmt.Errorf("%s forwards by %s, not %s", s.Name, s.Forward, x.forward)}
		}
	}
	return nil
}

// account compares the data plane's counters with what the client did.
func (x *xlb) account(ctx context.Context, w work) error {
	now, err := x.count(ctx)
	if err != nil {
		return err
	}
	was := x.last
	x.last = now
	packets := now.web.Request.Packets - was.web.Request.Packets
	if packets < w.requests {
		return fmt.Errorf("xlb counted %d packets, but there were %d requests", packets, w.requests)
	}
	replies := now.web.Reply.Packets - was.web.Reply.Packets
	if x.forward == "nat" && replies < w.requests {
		return fmt.Errorf("xlb counted %d packets of replies, but there were %d requests", replies, w.requests)
	}
	if now.dropped != was.dropped {
		return fmt.Errorf("xlb dropped %d packets", now.dropped-was.dropped)
	}
	if bytes := now.bulkBytes - was.bulkBytes; bytes < w.uploadBytes {
		return fmt.Errorf("xlb counted %d bytes, but %d were uploaded", bytes, w.uploadBytes)
	}
	for i, n := range now.webBackends {
		if w.everywhere && n == was.webBackends[i] {
			return fmt.Errorf("xlb sent nothing to backend %d", i+1)
		}
	}
	return nil
}

func (x *xlb) count(ctx context.Context) (c counted, err error) {
	stats, err := x.client.Stats(ctx, api.StatsFilter{})
	if err != nil {
		return c, err
	}
	for _, s := range stats.Services {
		c.dropped += s.Dropped.Packets
		if s.Service == "web" {
			c.web = s.Traffic
		} else {
			c.bulkBytes += s.Request.Bytes
		}
	}
	for _, b := range stats.Backends {
		if b.Service == "web" {
			c.webBackends = append(c.webBackends, b.Request.Packets)
		}
	}
	if len(c.webBackends) != backends {
		return c, fmt.Errorf("xlb has counters of %d backends, want %d", len(c.webBackends), backends)
	}
	return c, nil
}

// stop takes the data plane out as a user would.
func (x *xlb) stop() error {
	var errs []error
	if x.client != nil {
		x.client.Close()
	}
	if x.process != nil {
		select {
		case <-x.process.Done(): // by itself, which is among the problems
		default:
			// One that has only just begun does not know the signal yet.
			if err := x.process.Stop(stopWithin); err != nil && !testlab.EndedBy(err, unix.SIGTERM) {
				errs = append(errs, fmt.Errorf("stop the daemon: %w", err))
			}
		}
	}
	if _, err := os.Stat(x.pinDir()); err == nil {
		detach, err := x.command(x.Balancer, "detach", "--pin-dir", x.pinDir())
		if err == nil {
			_, err = detach.Output()
		}
		if err != nil {
			errs = append(errs, err, os.RemoveAll(x.pinDir()))
		}
	}
	return errors.Join(errs...)
}
