package test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/internal/testlab/servers"
	"github.com/xlb-io/xlb/pkg/api"
)

// nameServer starts a BIND beside a backend, or skips the test.
func (n *network) nameServer(host *testlab.Backend, records ...string) *servers.BIND {
	n.t.Helper()
	if _, err := os.Stat("/usr/sbin/named"); err != nil {
		n.t.Skip("named is not installed (test/deps test)")
	}
	return must(servers.StartBIND(host.Namespace, 53, "xlb.test", n.hosts(records)...))(n.t)
}

// hosts adds the addresses of the backends, as b1 and so on.
func (n *network) hosts(records []string) []string {
	for i, b := range n.Backends {
		records = append(records, fmt.Sprintf("b%d IN A %s", i+1, b.IP4))
	}
	return records
}

func record(priority, weight, backend int) string {
	return fmt.Sprintf("_web._tcp IN SRV %d %d %d b%d", priority, weight, httpPort, backend)
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
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
	dns := n.nameServer(n.Backends[2], record(10, 1, 1), record(10, 3, 2), record(20, 1, 3))
	change := func(records ...string) {
		t.Helper()
		if err := dns.SetRecords(n.hosts(records)...); err != nil {
			t.Fatal(err)
		}
	}
	web := service{name: "web"}
	d := n.run(fmt.Sprintf(`interfaces: [%s]
table_size: 1009
services:
  web:
    frontends: "tcp://%s"
    discover: {type: srv, name: _web._tcp.xlb.test, servers: "%s", min_ttl: 100ms, timeout: 500ms}
`, strings.Join(n.Interfaces, ", "), web.frontend(n), dns.At(n.Backends[2].IP4)))
	backend := func(i, weight, effective int) string {
		return fmt.Sprintf("%s/%d/%d", web.backend(n, i-1), weight, effective)
	}

	n.awaitService("web", backend(1, 1, 1), backend(2, 3, 3), backend(3, 1, 0))
	n.spread("found", n.sendAll(web, 200), []int{1, 3, 0})
	change(record(10, 1, 1), record(10, 1, 3))
	n.awaitService("web", backend(1, 1, 1), backend(3, 1, 1))
	n.spread("changed", n.sendAll(web, 200), []int{1, 0, 1})

	// Without the server its last word holds, also in the next daemon.
	if err := dns.Kill(); err != nil {
		t.Fatal(err)
	}
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

	change(record(10, 1, 2))
	if err := dns.Start(); err != nil {
		t.Fatal(err)
	}
	n.awaitService("web", backend(2, 1, 1))
	n.spread("and back", n.sendAll(web, 50), []int{0, 1, 0})
}
