package test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestQUIC: real QUIC connections stay with their server when the client's address
// changes, by its own decision or behind its back; and when servers are added and
// removed meanwhile.
func TestQUIC(t *testing.T) {
	t.Parallel()
	for _, forward := range []string{"nat", "l2dsr"} {
		for _, mode := range []string{"native", "tc"} {
			for _, ipv6 := range []bool{false, true} {
				t.Run(fmt.Sprint(forward, "/", mode, "/", map[bool]string{false: "ipv4", true: "ipv6"}[ipv6]), func(t *testing.T) {
					testQUIC(t, forward, mode, ipv6)
				})
			}
		}
	}
}

func testQUIC(t *testing.T, forward, mode string, ipv6 bool) {
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 3, BackendsHoldVIPs: forward == "l2dsr"})
	for i := range n.Backends {
		n.startQUIC(i)
	}
	s := service{name: "quic", protocol: "udp", ipv6: ipv6, port: quicPort, weights: []int{1, 1, 1}, more: "probe: none\nforward: " + forward +
		fmt.Sprintf("\nquic: {server_id_length: %d, config_rotation: %d}", quicIDLength, quicRotation)}
	config := func(weights ...int) string {
		text := n.config("attach: "+mode, service{name: s.name, protocol: s.protocol, ipv6: ipv6, port: quicPort, weights: weights, more: s.more})
		if !ipv6 {
			return text
		}
		// Their IDs are made of their IPv4 addresses.
		for i := range n.Backends {
			id := n.address(i, false).As4()
			text = strings.ReplaceAll(text, fmt.Sprintf("{address: \"%s\", ", s.backend(n, i)), fmt.Sprintf("{address: \"%s\", server_id: \"%x\", ", s.backend(n, i), id))
		}
		return text
	}
	n.run(config(1, 1, 1))
	home, away := n.client(ipv6), n.elsewhere(ipv6)
	open := n.openAll(s, 12)
	if !slices.ContainsFunc(open, func(c *homed) bool { return c.server != open[0].server }) {
		t.Fatalf("all connections are with %s", open[0].server)
	}
	for round := range 3 {
		for i, c := range open {
			if err := c.socket.rebind([]netip.Addr{home, away}[round%2]); err != nil {
				t.Fatal(err)
			}
			c.expect(t, fmt.Sprint("connection ", i, ", rebound for the ", round+1, ". time"))
		}
	}
	for i, c := range open {
		if err := c.migrate(n, away); err != nil {
			t.Fatalf("connection %d cannot move: %v", i, err)
		}
		c.expect(t, fmt.Sprint("connection ", i, ", moved"))
	}

	// The first server is drained, and then removed: its connections stay.
	n.write(config(0, 1, 1))
	n.xlb("reload")
	for i, c := range open {
		c.expect(t, fmt.Sprint("connection ", i, ", its server drained"))
	}
	n.write(config(-1, 1, 1))
	n.xlb("reload")
	for i, c := range open {
		if err := c.migrate(n, home); err != nil {
			t.Fatalf("connection %d cannot move, its server removed: %v", i, err)
		}
		c.expect(t, fmt.Sprint("connection ", i, ", its server removed"))
	}
	first := n.Backends[0].Name
	for _, c := range n.openAll(s, 6) {
		if c.server == first {
			t.Error("a new connection is with a server that was removed")
		}
	}
	detail := decode[api.ServiceDetail](n, "service", "show", s.name)
	if q := detail.QUIC; q == nil || q.ServerIDLength != quicIDLength || q.ConfigRotation != quicRotation {
		t.Errorf("service %+v", detail)
	}
	for i := range n.Backends {
		id := fmt.Sprintf("%x", n.address(i, false).As4())
		if !slices.ContainsFunc(detail.Backends, func(b api.Backend) bool { return b.Address == s.backend(n, i) && b.ServerID == id }) {
			t.Errorf("no backend %s with the server ID %s: %+v", s.backend(n, i), id, detail.Backends)
		}
	}
}

// homed is a connection and the server that it began with.
type homed struct {
	*quicClient
	server string
}

func (c *homed) expect(t *testing.T, what string) {
	t.Helper()
	server, err := c.ask(what)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if server != c.server {
		t.Fatalf("%s: %s answers, not %s", what, server, c.server)
	}
}

// openAll opens connections, which are closed when the test ends.
func (n *network) openAll(s service, count int) (open []*homed) {
	n.t.Helper()
	for range count {
		c := must(n.dialQUIC(s.frontend(n)))(n.t)
		n.t.Cleanup(func() {
			if err := c.end(); err != nil {
				n.t.Error(err)
			}
		})
		server := must(c.ask("who are you"))(n.t)
		open = append(open, &homed{c, server})
	}
	return open
}

// TestQUICNeedsIDs is the control: without the servers' IDs a connection does not
// survive another port.
func TestQUICNeedsIDs(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 3})
	for i := range n.Backends {
		n.startQUIC(i)
	}
	s := service{name: "quic", protocol: "udp", port: quicPort, weights: []int{1, 1, 1}, more: "probe: none"}
	n.run(n.config("", s))
	const tries = 12
	for range tries { // one in three gets its own server again
		c := n.openAll(s, 1)[0]
		if err := c.socket.rebind(n.Client4); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ask("still there?"); err != nil {
			return
		}
	}
	t.Errorf("%d connections survived another port", tries)
}
