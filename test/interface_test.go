package test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestInterfaceComesBack removes the interface towards the backends and makes
// it anew. The daemon outlives that, and the next one takes the new interface.
func TestInterfaceComesBack(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"native", "tc"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
			web := service{name: "web", weights: []int{1, 1}, more: "probe: {type: tcp, interval: 200ms, rise: 1, fall: 1}"}
			d := n.run(n.config("attach: "+mode, web))
			up := func(b *api.Backend) bool { return b.State == api.StateHealthy }
			for i := range n.Backends {
				n.awaitBackend(web, i, "first probe", up)
			}
			n.spread("before", n.sendAll(web, 50), web.weights)

			h := must(n.Balancer.Handle())(t)
			old := must(h.LinkByName("be0"))(t)
			if err := h.LinkDel(old); err != nil {
				t.Fatal(err)
			}
			for i := range n.Backends {
				n.awaitBackend(web, i, "probe without the interface", func(b *api.Backend) bool {
					return b.State == api.StateUnhealthy && b.Reason != ""
				})
			}
			err := n.lab.Veth(
				testlab.End{Namespace: n.Balancer, Name: "be0", Features: testlab.ForXDP,
					Addresses: []netip.Prefix{netip.PrefixFrom(n.Source4, 24), netip.PrefixFrom(n.Source6, 64)}},
				testlab.End{Namespace: n.Switch, Name: "be0", Features: testlab.ForXDP, Bridge: "br0"})
			if err != nil {
				t.Fatal(err)
			}
			if err := n.Switch.AttachPass("be0"); err != nil {
				t.Fatal(err)
			}
			for i := range n.Backends {
				n.awaitBackend(web, i, "probe over the new interface", up)
			}

			d.stop()
			d = n.start()
			status := decode[api.Status](n, "status")
			if !status.Adopted || len(status.Interfaces) != 2 {
				t.Errorf("adopted %v, interfaces %+v", status.Adopted, status.Interfaces)
			}
			for _, i := range status.Interfaces {
				if i.Mode != mode {
					t.Errorf("interface %+v, want mode %s", i, mode)
				}
			}
			n.spread("after", n.sendAll(web, 50), web.weights)

			// The interface that is gone for good is an error that names it.
			d.stop()
			if err := h.LinkDel(must(h.LinkByName("be0"))(t)); err != nil {
				t.Fatal(err)
			}
			if _, stderr, code := n.try("run"); code != 1 || !strings.Contains(stderr, `"be0"`) {
				t.Errorf("start without the interface: exit status %d, %q", code, stderr)
			}
		})
	}
}
