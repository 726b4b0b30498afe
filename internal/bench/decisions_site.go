package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// self is this program, also if its file was replaced meanwhile.
const self = "/proc/self/exe"

const decisionDirs = testlab.OwnDirs("xlb-bench-")

// decisionSite is a network with a running daemon: a client, a balancer, a backend.
type decisionSite struct {
	lab          *testlab.Lab
	net          *testlab.Topology
	plain, asked netip.AddrPort
	ethernet     testlab.Ethernet
	wire         *testlab.Wire
	dir, pins    string
	daemon       *testlab.Process
	client       *api.Client
}

func newDecisionSite(ctx context.Context, attach string) (s *decisionSite, err error) {
	s = &decisionSite{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.lab, err = testlab.New("decide"); err != nil {
		return s, err
	}
	options := testlab.TopologyOptions{Shape: testlab.Routed, Backends: 1, KeepOffloads: attach == "tc"}
	if s.net, err = s.lab.Topology(options); err != nil {
		return s, err
	}
	s.plain, s.asked = netip.AddrPortFrom(s.net.VIP4, 80), netip.AddrPortFrom(s.net.VIP4, 81)
	if _, err = s.net.Backends[0].StartTCPEcho(backendPort); err != nil {
		return s, err
	}
	if err = s.openWire(); err != nil {
		return s, err
	}
	if err = decisionDirs.Sweep(); err != nil {
		return s, err
	}
	s.dir, s.pins = decisionDirs.In(testlab.RunParent), decisionDirs.In(testlab.PinParent)
	if err = os.Mkdir(s.dir, 0o700); err != nil {
		return s, err
	}
	if err = s.writeFiles(attach); err != nil {
		return s, err
	}
	return s, s.start(ctx)
}

func (s *decisionSite) openWire() (err error) {
	if s.wire, err = s.net.Client.Wire(link); err != nil {
		return err
	}
	near, err := s.net.Balancer.MAC(s.net.Interfaces[0])
	if err != nil {
		return err
	}
	mine, err := s.net.Client.MAC(link)
	s.ethernet = testlab.Ethernet{Dst: testlab.MAC(near), Src: testlab.MAC(mine)}
	return err
}

func (s *decisionSite) path(name string) string { return filepath.Join(s.dir, name) }

// writeFiles writes the configuration: dnat, for with nat the flows of a second would
// use up the source ports towards one backend.
func (s *decisionSite) writeFiles(attach string) error {
	config := fmt.Sprintf(`interfaces: [%s, %s]
attach: %s
policy_rate: 900000
policy_rate_per_source: 900000
policies: {continues: {path: continues.wasm}}
defaults: {probe: none, forward: dnat}
services:
  plain: {frontends: "tcp://%s", backends: "%s"}
  asked: {frontends: "tcp://%s", backends: "%s", policies: continues}
`, s.net.Interfaces[0], s.net.Interfaces[1], attach,
		s.plain, netip.AddrPortFrom(s.net.Backends[0].IP4, backendPort), s.asked, netip.AddrPortFrom(s.net.Backends[0].IP4, backendPort))
	return errors.Join(
		os.WriteFile(s.path("continues.wasm"), continues, 0o600),
		os.WriteFile(s.path("xlb.yaml"), []byte(config), 0o600))
}

// start starts the daemon and waits until it is ready.
func (s *decisionSite) start(ctx context.Context) error {
	s.daemon = s.xlb("run", "--state-dir", s.path("state"), "--log-level", "error")
	s.daemon.Cmd.Stderr = os.Stderr
	if err := s.daemon.Start(); err != nil {
		s.daemon = nil
		return err
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		select {
		case <-s.daemon.Done():
			return fmt.Errorf("the daemon ended: %w", s.daemon.Wait())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if s.client == nil {
			s.client, _ = api.Dial(s.path("xlb.sock")) // not yet
		}
		if s.client != nil {
			if status, err := s.client.Status(ctx); err == nil && status.Ready {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return errors.New("the daemon is not ready after 30 s")
		}
	}
}

// xlb prepares a command of this program in the balancer's namespace. No context:
// it is to end when the benchmark says so.
func (s *decisionSite) xlb(args ...string) *testlab.Process {
	p := s.net.Balancer.Command(context.Background(), self, args...)
	p.Cmd.Args[0] = "xlb"
	p.Cmd.Env = append(os.Environ(), "XLB_CONFIG="+s.path("xlb.yaml"), "XLB_SOCKET="+s.path("xlb.sock"), "XLB_PIN_DIR="+s.pins)
	return p
}

// close removes all, whatever was made.
func (s *decisionSite) close() error {
	var errs []error
	if s.client != nil {
		s.client.Close()
	}
	if s.daemon != nil {
		errs = append(errs, s.daemon.Stop(10*time.Second))
		errs = append(errs, s.xlb("detach").Run())
	}
	if s.wire != nil {
		errs = append(errs, s.wire.Close())
	}
	if s.lab != nil {
		errs = append(errs, s.lab.Close())
	}
	for _, dir := range []string{s.dir, s.pins} {
		if dir != "" {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}
