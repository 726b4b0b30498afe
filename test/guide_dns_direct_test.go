package test

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestGuideDNSDirect follows the guide's other way, in which servers answer clients
// directly and each datagram gets its server by itself.
func TestGuideDNSDirect(t *testing.T) {
	t.Parallel()
	needs(t, "named", "dig")
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 3})
	n.patience = 60 * time.Second
	g := n.guide("dns.md")
	for _, b := range n.Backends {
		h := &host{t, b, []string{"--state-dir", filepath.Join(n.dir, b.Name), "--pin-dir", n.pins + "-" + b.Name}}
		t.Cleanup(func() { h.must(0, "--undo") })
		for line := range strings.Lines(g.blocks("sh server", 1)[0]) {
			h.must(0, strings.Fields(line)[2:]...)
		}
	}
	g.start(g.blocks("yaml l2dsr", 1)[0])
	g.sees()

	// One port, and each server is asked.
	conn := must(n.Client.Dial(t.Context(), "udp", netip.AddrPortFrom(n.VIP4, 53).String()))(t)
	defer conn.Close()
	seen := map[string]int{}
	for range 60 {
		name, err := question(conn)
		if err != nil {
			t.Fatal(err)
		}
		seen[name]++
	}
	n.spread("questions from one port", seen, []int{1, 1, 1})
	for _, f := range n.flows() {
		if f.Protocol == "udp" {
			t.Errorf("a flow of UDP is kept: %+v", f)
		}
	}
	g.steps(1)
	n.awaitStateAt(0, api.StateDraining, "")
	u, c := n.askAll("udp"), n.askAll("tcp")
	u.others(0, "drained")
	c.others(0, "drained")
	u.finish()
	c.finish()
}
