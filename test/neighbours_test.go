package test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// forget makes the balancer's kernel forget every neighbour, and waits until
// the data plane has forgotten them too.
func (n *network) forget() {
	n.t.Helper()
	h := must(n.Balancer.Handle())(n.t)
	links := must(h.LinkList())(n.t)
	for _, l := range links {
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			for _, neighbour := range must(h.NeighList(l.Attrs().Index, family))(n.t) {
				if neighbour.State&netlink.NUD_NOARP != 0 {
					continue
				}
				// One that has gone by itself is as good.
				_ = h.NeighDel(&neighbour)
			}
		}
	}
	type hop struct {
		Valid bool `json:"valid"`
	}
	n.eventually("the data plane's next hops", func() string {
		for _, e := range decode[dump[json.RawMessage, json.RawMessage]](n, "map", "dump", "next_hops").Entries {
			var v hop
			if err := json.Unmarshal(e.Value, &v); err != nil {
				n.t.Fatal(err)
			}
			if v.Valid {
				return fmt.Sprintf("%s is still valid", e.Value)
			}
		}
		return ""
	})
}

// TestNeighbours: a neighbour that the kernel does not know costs no packet,
// with a daemon or without.
func TestNeighbours(t *testing.T) {
	for _, mode := range []string{"native", "generic", "tc"} {
		for _, forward := range []string{"nat", "l2dsr"} {
			if mode == "generic" && forward == "l2dsr" {
				continue // what TC does for native it does here too
			}
			t.Run(mode+"/"+forward, func(t *testing.T) {
				options := testlab.TopologyOptions{Shape: testlab.Routed, Backends: 1}
				if forward == "l2dsr" {
					options = testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 1, BackendsHoldVIPs: true}
				}
				n := newNetwork(t, options)
				var services []service
				for _, f := range families {
					for _, p := range []string{"tcp", "udp"} {
						services = append(services, service{name: p + f.name, protocol: p, ipv6: f.ipv6, weights: []int{1},
							more: "forward: " + forward + "\nprobe: none"})
					}
				}
				d := n.run(n.config("attach: "+mode, services...))
				check := func(when string) {
					t.Helper()
					for _, s := range services {
						n.forget()
						var err error
						if s.protocol == "udp" {
							_, err = n.ask(s.frontend(n), 1)
						} else {
							// Less than the second after which a SYN is sent again.
							_, err = n.get(s.frontend(n), 900*time.Millisecond)
						}
						if err != nil {
							t.Errorf("%s, %s: %v", when, s.name, err)
						}
					}
				}
				check("with a daemon")
				d.crash()
				check("without a daemon")
				// None was lost, and none went through the host's own routing.
				stats := decode[api.Stats](n, "stats")
				for _, r := range stats.Reasons {
					if r.Packets > 0 && len(r.Name) > 4 && r.Name[:4] == "drop" {
						t.Errorf("dropped: %+v", r)
					}
				}
			})
		}
	}
}
