package test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
)

// The ports of the servers that every backend runs, and of the frontends.
const (
	httpPort = 8080
	echoPort = 7
)

// network is a topology, and the files of the one xlb that runs on its
// balancer.
type network struct {
	*testlab.Topology
	t   *testing.T
	lab *testlab.Lab
	// http and udp are the backends' servers on httpPort.
	http []*testlab.HTTPServer
	udp  []*testlab.UDPEcho
	// dir holds the configuration, the socket, the state and the logs.
	dir, pins string
	daemons   []*daemon
	patience  time.Duration // of eventually
}

func newNetwork(t *testing.T, o testlab.TopologyOptions) *network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	lab, err := testlab.New("e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	top, err := lab.Topology(o)
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: a socket's path has at most 108 bytes.
	dir, err := os.MkdirTemp("", "xlb-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := &network{Topology: top, t: t, lab: lab, dir: dir, pins: pinPrefix + filepath.Base(dir), patience: 40 * time.Second}
	for _, b := range top.Backends {
		n.http = append(n.http, must(b.StartHTTP(httpPort))(t))
		n.udp = append(n.udp, must(b.StartUDPEcho(httpPort))(t))
	}
	t.Cleanup(n.end)
	return n
}

// must takes the result of a call that a test cannot go on without.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// end stops the daemons and removes what they left in the kernel.
func (n *network) end() {
	for _, d := range n.daemons {
		d.finish()
	}
	if out, stderr, code := n.try("detach"); code != 0 {
		n.t.Errorf("detach at the end: status %d: %s%s", code, out, stderr)
	}
	if _, err := os.Stat(n.pins); !os.IsNotExist(err) {
		n.t.Errorf("pin directory is left: %v", err)
	}
}

// vip is the VIP of a family.
func (n *network) vip(ipv6 bool) netip.Addr {
	if ipv6 {
		return n.VIP6
	}
	return n.VIP4
}

// address is the i-th backend's of a family.
func (n *network) address(i int, ipv6 bool) netip.Addr {
	if ipv6 {
		return n.Backends[i].IP6
	}
	return n.Backends[i].IP4
}

// service is a service of the configuration file.
type service struct {
	name     string
	protocol string // tcp if empty
	ipv6     bool
	port     uint16   // of frontend and backends; httpPort if 0
	weights  []int    // of the first backends; 0 is given as such, -1 leaves one out
	tags     []string // of the first backends; "" is none
	zones    []string
	tiers    []int
	more     string // further keys, as in YAML's { }
}

func (s service) frontend(n *network) netip.AddrPort {
	return netip.AddrPortFrom(n.vip(s.ipv6), s.backendPort())
}

func (s service) backendPort() uint16 {
	if s.port == 0 {
		return httpPort
	}
	return s.port
}

func (s service) backend(n *network, i int) netip.AddrPort {
	return netip.AddrPortFrom(n.address(i, s.ipv6), s.backendPort())
}

func (s service) yaml(n *network) string {
	protocol := s.protocol
	if protocol == "" {
		protocol = "tcp"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %s:\n    frontends: \"%s://%s\"\n    backends:\n", s.name, protocol, s.frontend(n))
	for i, w := range s.weights {
		if w >= 0 {
			tags := ""
			if i < len(s.tags) && s.tags[i] != "" {
				tags = ", tags: " + s.tags[i]
			}
			if i < len(s.zones) {
				tags += ", zone: " + s.zones[i]
			}
			if i < len(s.tiers) {
				tags += fmt.Sprintf(", priority: %d", s.tiers[i])
			}
			fmt.Fprintf(&b, "      - {address: \"%s\", weight: %d%s}\n", s.backend(n, i), w, tags)
		}
	}
	for line := range strings.SplitSeq(s.more, "\n") {
		if line != "" {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	return b.String()
}

// config is a configuration file. The keys are those of its top level, and the
// table is small: a thousand slots are exact enough and quickly written.
func (n *network) config(keys string, services ...service) string {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [%s]\ntable_size: 1009\n%s\nservices:\n", strings.Join(n.Interfaces, ", "), keys)
	for _, s := range services {
		b.WriteString(s.yaml(n))
	}
	return b.String()
}

func (n *network) configPath() string { return filepath.Join(n.dir, "xlb.yaml") }

// write replaces the configuration file, as an editor does.
func (n *network) write(text string) {
	n.t.Helper()
	next := n.configPath() + ".new"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(next, n.configPath()); err != nil {
		n.t.Fatal(err)
	}
}

// eventually polls until ok returns nothing to complain about.
func (n *network) eventually(what string, ok func() (complaint string)) {
	n.t.Helper()
	deadline := time.Now().Add(n.patience)
	for {
		complaint := ok()
		if complaint == "" {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%s: not within %s: %s", what, n.patience, complaint)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// ask is one datagram, or more if they get lost, on a flow of its own.
func (n *network) ask(to netip.AddrPort, tries int) (backend string, err error) {
	backend, _, err = n.Client.AskUDP(context.Background(), to, []byte("ask"), tries, 2*time.Second)
	return backend, err
}

// get is one request over a connection of its own.
func (n *network) get(to netip.AddrPort, timeout time.Duration) (backend string, err error) {
	client, err := n.Client.HTTPClient(false, timeout)
	if err != nil {
		return "", err
	}
	defer client.CloseIdleConnections()
	return testlab.Get(context.Background(), client, "http://"+to.String()+"/")
}
