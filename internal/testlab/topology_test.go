package testlab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestTopologyRefusesBadSizes(t *testing.T) {
	l := newLab(t)
	for _, n := range []int{-1, 0, 101} {
		if _, err := l.Topology(TopologyOptions{Backends: n}); err == nil {
			t.Errorf("%d backends were accepted", n)
		}
	}
}

// Without a balancer program the kernel forwards: every server is reached at
// its own address, over IPv4 and IPv6, by TCP and UDP.
func TestTopologyCarriesPackets(t *testing.T) {
	for _, o := range []TopologyOptions{
		{Shape: Routed, Backends: 2},
		{Shape: Routed, Backends: 1, KeepOffloads: true},
		{Shape: OneArm, Backends: 2, BackendsHoldVIPs: true},
	} {
		t.Run(fmt.Sprintf("%s-%d", o.Shape, o.Backends), func(t *testing.T) {
			l := newLab(t)
			net, err := l.Topology(o)
			must(t, err)
			for i, b := range net.Backends {
				web, err := b.StartHTTP(8080)
				must(t, err)
				echo, err := b.StartUDPEcho(9000)
				must(t, err)
				for _, ip := range []netip.Addr{b.IP4, b.IP6} {
					ctx := deadline(t)
					client, err := net.Client.HTTPClient(false, 0)
					must(t, err)
					got, err := Get(ctx, client, "http://"+netip.AddrPortFrom(ip, 8080).String()+"/")
					must(t, err)
					if want := fmt.Sprintf("backend%d", i+1); got != want {
						t.Errorf("%s answered %q, want %q", ip, got, want)
					}
					name, sent, err := net.Client.AskUDP(ctx, netip.AddrPortFrom(ip, 9000), []byte("hello you"), 5, time.Second)
					must(t, err)
					if name != b.Name || sent != 1 {
						t.Errorf("%s echoed as %q after %d datagrams", ip, name, sent)
					}
				}
				if web.Requests() != 2 || web.Connections() != 2 || echo.Requests() != 2 {
					t.Errorf("%s counted %d requests, %d connections, %d datagrams", b.Name, web.Requests(), web.Connections(), echo.Requests())
				}
			}
		})
	}
}

// Features and programs are what native XDP needs at every end.
func TestTopologyIsReadyForXDP(t *testing.T) {
	for _, shape := range []Shape{Routed, OneArm} {
		t.Run(shape.String(), func(t *testing.T) {
			l := newLab(t)
			net, err := l.Topology(TopologyOptions{Shape: shape, Backends: 1})
			must(t, err)
			for _, n := range net.Namespaces() {
				h, err := n.Handle()
				must(t, err)
				links, err := h.LinkList()
				must(t, err)
				for _, link := range links {
					name := link.Attrs().Name
					if link.Type() != "veth" {
						continue
					}
					if f, err := n.Features(name); err != nil || f != *ForXDP {
						t.Errorf("%s/%s: %+v, %v", n.Name, name, f, err)
					}
				}
			}
			peers := map[Shape][]port{
				Routed: {{net.Client, "eth0"}, {net.Switch, "be0"}},
				OneArm: {{net.Switch, "lb0"}},
			}[shape]
			for _, p := range peers {
				_, link, err := p.namespace.link(p.link)
				must(t, err)
				if x := link.Attrs().Xdp; x == nil || !x.Attached || x.AttachMode != 1 {
					t.Errorf("%s/%s has no native program: %+v", p.namespace.Name, p.link, x)
				}
			}
		})
	}
}

// In one arm a VIP reaches a backend by MAC address alone and is answered
// from the VIP; nobody answers ARP for it.
func TestBackendsHoldVIPs(t *testing.T) {
	l := newLab(t)
	net, err := l.Topology(TopologyOptions{Shape: OneArm, Backends: 1, BackendsHoldVIPs: true})
	must(t, err)
	backend := net.Backends[0]
	_, err = backend.StartUDPEcho(9000)
	must(t, err)
	_, err = backend.StartTCPEcho(9000)
	must(t, err)
	mac, err := backend.MAC("eth0")
	must(t, err)
	// The balancer's part, played by a neighbour entry: its address is the
	// client's gateway to the VIPs.
	must(t, net.Client.AddNeighbour("eth0", net.Source4, mac))
	must(t, net.Client.AddNeighbour("eth0", net.Source6, mac))
	ctx := deadline(t)
	for _, vip := range []netip.Addr{net.VIP4, net.VIP6} {
		to := netip.AddrPortFrom(vip, 9000)
		name, _, err := net.Client.AskUDP(ctx, to, []byte("x"), 3, time.Second)
		if err != nil || name != backend.Name {
			t.Errorf("%s by UDP: %q, %v", vip, name, err)
		}
		held, err := net.Client.HoldTCP(ctx, to, 1, 1)
		must(t, err)
		held.Close()
	}
	if state := arpState(t, net.Client, net.VIP4); state != netlink.NUD_FAILED {
		t.Errorf("ARP for the VIP ends in state %#x", state)
	}
	if state := arpState(t, net.Client, backend.IP4); state&(netlink.NUD_REACHABLE|netlink.NUD_DELAY|netlink.NUD_STALE|netlink.NUD_PROBE) == 0 {
		t.Errorf("ARP for the backend ends in state %#x", state)
	}
}

// arpState is how the kernel's search for an address on eth0 ends.
func arpState(t *testing.T, n *Namespace, ip netip.Addr) int {
	t.Helper()
	must(t, n.Sysctl("net.ipv4.neigh.eth0.retrans_time_ms", "20"))
	h, eth0, err := n.link("eth0")
	must(t, err)
	must(t, h.RouteReplace(&netlink.Route{LinkIndex: eth0.Attrs().Index, Dst: ipNet(netip.PrefixFrom(ip, 32)), Scope: netlink.SCOPE_LINK}))
	c, err := n.Dial(t.Context(), "udp", netip.AddrPortFrom(ip, 9).String())
	must(t, err)
	defer c.Close()
	_, err = c.Write([]byte("x"))
	must(t, err)
	state := netlink.NUD_NONE
	waitFor(t, "the end of ARP", func() bool {
		neighs, err := h.NeighList(eth0.Attrs().Index, netlink.FAMILY_V4)
		must(t, err)
		for _, neigh := range neighs {
			if neigh.IP.Equal(ip.AsSlice()) {
				state = neigh.State
			}
		}
		return state&(netlink.NUD_NONE|netlink.NUD_INCOMPLETE) == 0 && state != netlink.NUD_NONE
	})
	return state
}

// An unplugged backend is silent, not refusing, and comes back whole.
func TestUnplug(t *testing.T) {
	l := newLab(t)
	net, err := l.Topology(TopologyOptions{Shape: OneArm, Backends: 1})
	must(t, err)
	backend := net.Backends[0]
	_, err = backend.StartUDPEcho(9000)
	must(t, err)
	ctx := deadline(t)
	for range 2 {
		for _, ip := range []netip.Addr{backend.IP4, backend.IP6} {
			if _, _, err := net.Client.AskUDP(ctx, netip.AddrPortFrom(ip, 9000), []byte("x"), 5, time.Second); err != nil {
				t.Error(err)
			}
		}
		must(t, backend.Unplug())
		for _, ip := range []netip.Addr{backend.IP4, backend.IP6} {
			_, _, err := net.Client.AskUDP(ctx, netip.AddrPortFrom(ip, 9000), []byte("x"), 2, 10*time.Millisecond)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("unplugged: %v", err)
			}
		}
		must(t, backend.Plug(ctx))
	}
}

func TestAttachPassRefusesSecondProgram(t *testing.T) {
	l := newLab(t)
	net, err := l.Topology(TopologyOptions{Shape: OneArm, Backends: 1})
	must(t, err)
	err = net.Switch.AttachPass("lb0")
	if err == nil || !strings.Contains(err.Error(), unix.EBUSY.Error()) {
		t.Errorf("a second program: %v", err)
	}
}
