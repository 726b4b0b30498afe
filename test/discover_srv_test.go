package test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// nameServer is a BIND in a namespace that serves the zone xlb.test.
type nameServer struct {
	n       *network
	host    *testlab.Backend
	process *testlab.Process
	dir     string
	serial  int
}

func (n *network) startNameServer(host *testlab.Backend, records string) *nameServer {
	n.t.Helper()
	const named = "/usr/sbin/named"
	if _, err := os.Stat(named); err != nil {
		n.t.Skip("named is not installed (test/deps test)")
	}
	s := &nameServer{n: n, host: host, dir: filepath.Join(n.dir, "named")}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		n.t.Fatal(err)
	}
	s.write("conf", fmt.Sprintf(`
options { directory %q; listen-on { %s; }; listen-on-v6 { none; }; pid-file none; session-keyfile none; recursion no; };
controls { };
zone "xlb.test" { type primary; file "zone"; };
`, s.dir, host.IP4))
	s.zone(records)
	s.start()
	return s
}

func (s *nameServer) start() {
	s.n.t.Helper()
	s.process = s.host.Command(context.Background(), "/usr/sbin/named", "-g", "-n", "1", "-c", filepath.Join(s.dir, "conf"))
	if err := s.process.Start(); err != nil {
		s.n.t.Fatal(err)
	}
}

func (s *nameServer) write(name, text string) {
	s.n.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.n.t.Fatal(err)
	}
}

// zone makes the records those of the zone; a server that runs is to be told.
func (s *nameServer) zone(records string) {
	s.n.t.Helper()
	s.serial++
	head := fmt.Sprintf("$ORIGIN xlb.test.\n$TTL 1\n@ IN SOA ns root %d 3600 600 86400 1\n@ IN NS ns\nns IN A %s\n", s.serial, s.host.IP4)
	for i, b := range s.n.Backends {
		head += fmt.Sprintf("b%d IN A %s\n", i+1, b.IP4)
	}
	s.write("zone", head+records)
}

func (s *nameServer) change(records string) {
	s.n.t.Helper()
	s.zone(records)
	if err := s.process.Signal(unix.SIGHUP); err != nil {
		s.n.t.Fatal(err)
	}
}

func record(priority, weight, backend int) string {
	return fmt.Sprintf("_web._tcp IN SRV %d %d %d b%d\n", priority, weight, httpPort, backend)
}

// awaitService waits until a service has these backends, as address/weight/effective weight.
func (n *network) awaitService(name string, want ...string) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("backends %v", want), func() string {
		status, err := n.poll()
		if err != nil {
			return err.Error()
		}
		for _, s := range status.Services {
			if s.Name != name {
				continue
			}
			var got []string
			for _, b := range s.Backends {
				if b.State != api.StateRetired {
					got = append(got, fmt.Sprintf("%s/%d/%d", b.Address, b.Weight, b.EffectiveWeight))
				}
			}
			if strings.Join(got, " ") == strings.Join(want, " ") {
				return ""
			}
			return fmt.Sprintf("they are %v; sources %+v", got, s.Sources)
		}
		return "there is no service"
	})
}

// TestServiceRecords: backends come from a real name server, traffic follows
// its records, and goes on when it is away.
func TestServiceRecords(t *testing.T) {
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	dns := n.startNameServer(n.Backends[2], record(10, 1, 1)+record(10, 3, 2)+record(20, 1, 3))
	web := service{name: "web"}
	d := n.run(fmt.Sprintf(`interfaces: [%s]
table_size: 1009
services:
  web:
    frontends: "tcp://%s"
    discover: {type: srv, name: _web._tcp.xlb.test, servers: "%s", min_ttl: 100ms, timeout: 500ms}
`, strings.Join(n.Interfaces, ", "), web.frontend(n), netip.AddrPortFrom(n.Backends[2].IP4, 53)))
	backend := func(i, weight, effective int) string {
		return fmt.Sprintf("%s/%d/%d", web.backend(n, i-1), weight, effective)
	}

	n.awaitService("web", backend(1, 1, 1), backend(2, 3, 3), backend(3, 1, 0))
	n.spread("found", n.sendAll(web, 200), []int{1, 3, 0})
	dns.change(record(10, 1, 1) + record(10, 1, 3))
	n.awaitService("web", backend(1, 1, 1), backend(3, 1, 1))
	n.spread("changed", n.sendAll(web, 200), []int{1, 0, 1})

	// Without the server its last word holds, also in the next daemon.
	if err := dns.process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-dns.process.Done()
	n.eventually("failure of the source", func() string {
		s, err := n.poll()
		if err != nil || len(s.Services) != 1 || len(s.Services[0].Sources) != 1 {
			return fmt.Sprintf("%v, %+v", err, s.Services)
		}
		if source := s.Services[0].Sources[0]; source.State != api.SourceFailing || !strings.Contains(source.Error, "connection refused") {
			return fmt.Sprintf("%+v", source)
		}
		return ""
	})
	d.stop()
	n.start()
	n.awaitService("web", backend(1, 1, 1), backend(3, 1, 1))
	n.spread("without the server", n.sendAll(web, 200), []int{1, 0, 1})

	dns.zone(record(10, 1, 2))
	dns.start()
	n.awaitService("web", backend(2, 1, 1))
	n.spread("and back", n.sendAll(web, 50), []int{0, 1, 0})
}
