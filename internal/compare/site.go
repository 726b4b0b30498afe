package compare

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/xlb-io/xlb/internal/testlab"
)

const (
	backends = 4
	webPort  = 80
	// bulkPort is iperf3's. Its streams must all reach the server of their
	// control connection, so each backend has a VIP of its own for them.
	bulkPort = 5201
	// bulkHost is the host number of the first such VIP.
	bulkHost = 11

	readyWithin = 30 * time.Second
	stopWithin  = 5 * time.Second
)

// site is a balancer with its network, clients and servers.
type site struct {
	row
	options Options
	*testlab.Topology
	lab *testlab.Lab
	// dir holds configurations and logs.
	dir      string
	balancer balancer
	// programs are those that stay.
	programs []*testlab.Process
	problems []string
	measured []measurement
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// pinDir is where the site's xlb pins.
func (s *site) pinDir() string { return filepath.Join(dirs.In(testlab.PinParent), s.name) }

// bulkVIP is the VIP for bulk to a backend.
func (s *site) bulkVIP(backend int) netip.Addr {
	b := s.VIP4.As4()
	b[3] = bulkHost + byte(backend)
	return netip.AddrFrom4(b)
}

// frontend is a VIP with its port and backends.
type frontend struct {
	name     string
	at       netip.AddrPort
	backends []netip.AddrPort
}

// frontends are what every balancer is told to serve.
func (s *site) frontends() []frontend {
	web := frontend{name: "web", at: netip.AddrPortFrom(s.VIP4, webPort)}
	all := []frontend{web}
	for i, b := range s.Backends {
		all[0].backends = append(all[0].backends, netip.AddrPortFrom(b.IP4, webPort))
		all = append(all, frontend{
			name:     fmt.Sprintf("bulk%d", i+1),
			at:       netip.AddrPortFrom(s.bulkVIP(i), bulkPort),
			backends: []netip.AddrPort{netip.AddrPortFrom(b.IP4, bulkPort)},
		})
	}
	return all
}

// build makes the network, starts servers and balancer and verifies that they
// are what the row says.
func (s *site) build(ctx context.Context) error {
	s.dir = filepath.Join(dirs.In(testlab.RunParent), s.name)
	err := os.Mkdir(s.dir, 0o700)
	if err == nil {
		s.lab, err = testlab.New("compare")
	}
	if err != nil {
		return err
	}
	s.Topology, err = s.lab.Topology(testlab.TopologyOptions{
		Shape: s.way.shape, Backends: backends, BackendsHoldVIPs: s.way.holdVIPs, KeepOffloads: !s.nativeXDP,
	})
	if err != nil {
		return err
	}
	if err := s.freePorts(s.Client); err != nil {
		return err
	}
	for i, b := range s.Backends {
		if err := s.serve(i, b); err != nil {
			return err
		}
	}
	if s.balancer, err = s.start(ctx, s); err != nil {
		return fmt.Errorf("start: %w%s", err, s.logged())
	}
	if err := s.identify(ctx); err != nil {
		return fmt.Errorf("%w%s", err, s.logged())
	}
	if s.balancer.account != nil {
		return s.balancer.account(ctx, work{requests: backends})
	}
	return nil
}

// freePorts gives a namespace that opens many connections more ports for them.
func (s *site) freePorts(n *testlab.Namespace) error {
	return errors.Join(n.Sysctl("net.ipv4.ip_local_port_range", "1024 65535"), n.Sysctl("net.ipv4.tcp_tw_reuse", "1"))
}

// serve starts a backend's servers.
func (s *site) serve(i int, b *testlab.Backend) error {
	if s.way.holdVIPs {
		if err := b.AddAddresses("lo", netip.PrefixFrom(s.bulkVIP(i), 32)); err != nil {
			return err
		}
	}
	config, err := s.write(b.Name+".conf", webServer(s.path(b.Name), b.Name))
	if err != nil {
		return err
	}
	if err := s.run(b.Namespace, "nginx", "-e", "stderr", "-c", config); err != nil {
		return err
	}
	return s.run(b.Namespace, "iperf3", "--server", "--port", fmt.Sprint(bulkPort))
}

// write makes a configuration file and returns its path.
func (s *site) write(name, text string) (string, error) {
	return s.path(name), os.WriteFile(s.path(name), []byte(text), 0o600)
}

// run starts a program that stays, with a log of its own, until the site closes.
func (s *site) run(n *testlab.Namespace, name string, args ...string) error {
	log, err := os.Create(s.path(fmt.Sprintf("%d-%s-%s.log", len(s.programs)+1, n.Name, name)))
	if err != nil {
		return err
	}
	defer log.Close()
	p := n.Command(context.Background(), name, args...)
	p.Cmd.Stdout, p.Cmd.Stderr = log, log
	if err := p.Start(); err != nil {
		return err
	}
	s.programs = append(s.programs, p)
	return nil
}

// logged is the end of what the programs in the balancer's place said.
func (s *site) logged() string {
	logs, _ := filepath.Glob(s.path("*-" + s.Balancer.Name + "-*.log")) // the pattern is right
	var text string
	for _, log := range logs {
		b, err := os.ReadFile(log)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		text += "\n" + strings.Join(lines[max(0, len(lines)-5):], "\n")
	}
	return strings.TrimRight(text, "\n")
}

func (s *site) close() error {
	var errs []error
	if s.balancer.stop != nil {
		errs = append(errs, s.balancer.stop())
	}
	// A killed master of nginx would leave its workers for init to bury.
	var group errgroup.Group
	for _, p := range s.programs {
		group.Go(func() error {
			_ = p.Stop(stopWithin) // how it ends is of no interest
			return nil
		})
	}
	_ = group.Wait()
	if s.lab != nil {
		errs = append(errs, s.lab.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// identify asks until every backend has answered, and looks whom they talked to.
func (s *site) identify(ctx context.Context) error {
	client, err := s.Client.HTTPClient(false, 2*time.Second)
	if err != nil {
		return err
	}
	url := fmt.Sprintf("http://%s/who", netip.AddrPortFrom(s.VIP4, webPort))
	met := map[string]bool{}
	return s.await(ctx, func() error {
		answer, err := testlab.Get(ctx, client, url)
		if err != nil {
			return err
		}
		for i, b := range s.Backends {
			want := fmt.Sprintf("%s %s %s", b.Name, s.way.client(s.Topology), s.way.server(s.Topology, i))
			if answer == want {
				met[b.Name] = true
			} else if strings.HasPrefix(answer, b.Name+" ") {
				return fatal{fmt.Errorf("a backend tells its name, client and address as %q, want %q", answer, want)}
			}
		}
		if len(met) < backends {
			return fmt.Errorf("only %d of %d backends answer", len(met), backends)
		}
		return nil
	})
}

// fatal is an error that time does not heal.
type fatal struct{ error }

// await polls until ok returns no error.
func (s *site) await(ctx context.Context, ok func() error) error {
	deadline := time.Now().Add(readyWithin)
	for {
		err := ok()
		if err == nil {
			return nil
		}
		if final, is := errors.AsType[fatal](err); is {
			return final.error
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready within %s: %w", readyWithin, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
