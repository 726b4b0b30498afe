package loader_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// hooks are the ways to attach, where packets leave by another interface and
// by the same, and how clients behave there: before TC they leave checksums to
// their device.
var hooks = []struct {
	mode         model.AttachMode
	shape        testlab.Shape
	keepOffloads bool
}{
	{model.AttachNative, testlab.Routed, false}, {model.AttachNative, testlab.OneArm, false},
	{model.AttachGeneric, testlab.Routed, false},
	{model.AttachTC, testlab.Routed, false}, {model.AttachTC, testlab.Routed, true}, {model.AttachTC, testlab.OneArm, true},
}

func onEachHook(t *testing.T, f func(t *testing.T, n *network, l *loader.Loader, mode model.AttachMode)) {
	for _, h := range hooks {
		t.Run(fmt.Sprintf("%v %v offloads %t", h.mode, h.shape, h.keepOffloads), func(t *testing.T) {
			n := newNetworkOf(t, testlab.TopologyOptions{Shape: h.shape, Backends: 2, KeepOffloads: h.keepOffloads})
			l := n.open(t, n.settings(h.mode))
			t.Cleanup(func() { l.Close() })
			f(t, n, l, h.mode)
		})
	}
}

// Each new flow goes to the daemon and on to the backend that it names, and the
// client notices nothing: it sends one SYN, or one datagram.
func TestInject(t *testing.T) {
	onEachHook(t, func(t *testing.T, n *network, l *loader.Loader, mode model.AttachMode) {
		d := n.startDaemon(t, l, func(u *maps.Upcall) answer {
			if u.XDP != (mode != model.AttachTC) {
				t.Errorf("the packet is from XDP: %t", u.XDP)
			}
			// The second backend of the service's two.
			return answer{decision: maps.Decision{Backend: u.Service * 2}}
		})
		client, err := n.Client.HTTPClient(false, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer client.CloseIdleConnections()
		const connections = 20
		for _, vip := range []netip.Addr{n.VIP4, n.VIP6} {
			to, out := netip.AddrPortFrom(vip, 80), newTap(t, n.Client, "eth0")
			for range connections {
				body, err := testlab.Get(context.Background(), client, "http://"+to.String()+"/")
				if err != nil || body != n.Backends[1].Name {
					t.Fatalf("%v: answered by %q, error %v", to, body, err)
				}
			}
			if got := out.syns(to); got != connections {
				t.Errorf("%v: %d SYNs for %d connections", to, got, connections)
			}
			for range connections {
				f, err := n.Client.UDPFlow(context.Background(), to)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close() // not before, so that each has a port of its own
				by, _, err := f.Ask(context.Background(), []byte("ask"), 1, 5*time.Second)
				if err != nil || by != n.Backends[1].Name {
					t.Fatalf("%v: answered by %q, error %v", to, by, err)
				}
			}
		}
		c := counts(t, l.Maps())
		if flows := uint64(4 * connections); d.asked.Load() != flows || c["upcall"] != flows || c["decided"] != flows || c["flow_created"] != flows {
			t.Errorf("%d upcalls read of %d flows; counted %v", d.asked.Load(), flows, c)
		}
		if bad := failures(c); len(bad) != 0 {
			t.Errorf("counted %v", bad)
		}
	})
}

// The daemon may let the table choose, by the flow's hash or by another one.
func TestInjectByTable(t *testing.T) {
	onEachHook(t, func(t *testing.T, n *network, l *loader.Loader, _ model.AttachMode) {
		var hash atomic.Pointer[uint32]
		n.startDaemon(t, l, func(*maps.Upcall) answer { return answer{decision: maps.Decision{Hash: hash.Load()}} })
		n.works(t) // every backend has some
		hash.Store(new(uint32(0)))
		client, err := n.Client.HTTPClient(false, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer client.CloseIdleConnections()
		for range 20 {
			body, err := testlab.Get(context.Background(), client, "http://"+netip.AddrPortFrom(n.VIP4, 80).String()+"/")
			if err != nil || body != n.Backends[0].Name {
				t.Fatalf("answered by %q, error %v", body, err)
			}
		}
	})
}

// A rejected client learns at once, and does not try again.
func TestReject(t *testing.T) {
	onEachHook(t, func(t *testing.T, n *network, l *loader.Loader, _ model.AttachMode) {
		n.startDaemon(t, l, func(*maps.Upcall) answer {
			return answer{reject: true, decision: maps.Decision{Drop: true}}
		})
		for vip, prohibited := range map[netip.Addr]error{n.VIP4: unix.EHOSTUNREACH, n.VIP6: unix.EACCES} {
			to, out := netip.AddrPortFrom(vip, 80), newTap(t, n.Client, "eth0")
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			begun := time.Now()
			_, err := n.Client.Dial(ctx, "tcp", to.String())
			// A SYN is sent again after a second.
			if took := time.Since(begun); !errors.Is(err, unix.ECONNREFUSED) || took > 900*time.Millisecond {
				t.Errorf("%v: error %v after %v", to, err, took)
			}
			if got := out.syns(to); got != 1 {
				t.Errorf("%v: %d SYNs", to, got)
			}
			if err := n.askOnce(ctx, to); !errors.Is(err, prohibited) {
				t.Errorf("%v: UDP: %v", to, err)
			}
		}
		c := counts(t, l.Maps())
		if c["upcall"] != 4 || c["decided"] != 0 || len(failures(c)) != 0 {
			t.Errorf("counted %v", c)
		}
	})
}

// askOnce sends one datagram and waits for what the socket says to it.
func (n *network) askOnce(ctx context.Context, to netip.AddrPort) error {
	c, err := n.Client.Dial(ctx, "udp", to.String())
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.SetDeadline(time.Now().Add(5 * time.Second))
	if err == nil {
		_, err = c.Write([]byte("ask"))
	}
	if err == nil {
		_, err = c.Read(make([]byte, 16))
	}
	return err
}

// onLo are the programs at the egress of lo.
func (n *network) onLo(t *testing.T) (count int) {
	t.Helper()
	hook := loader.TCHook(t)
	err := n.Balancer.Do(func() error {
		if hook == "clsact filter" {
			lo, err := netlink.LinkByIndex(1)
			if err == nil {
				// An error tells that there is no clsact qdisc.
				filters, _ := netlink.FilterList(lo, netlink.HANDLE_MIN_EGRESS)
				count = len(filters)
			}
			return err
		}
		found, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXEgress})
		if err == nil {
			count = len(found.Programs)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// The way through lo stands beside that of probes, and each goes without the
// other; what a run left that did not end well, the next start or detach removes.
func TestInjectorLife(t *testing.T) {
	n := newNetwork(t)
	l := n.open(t, n.settings(model.AttachTC))
	inject := func() (i *loader.Injector) {
		t.Helper()
		if err := n.Balancer.Do(func() (err error) { i, err = l.Injector(); return err }); err != nil {
			t.Fatalf("%+v", err)
		}
		return i
	}
	expect := func(want int) {
		t.Helper()
		if got := n.onLo(t); got != want {
			t.Errorf("%d programs at the egress of lo, want %d", got, want)
		}
	}
	closes := func(i *loader.Injector) {
		t.Helper()
		if err := n.Balancer.Do(i.Close); err != nil {
			t.Error(err)
		}
	}
	expect(0)
	i := inject()
	expect(1)
	n.routeProbes(t, l, n.VIP4)
	expect(2)
	closes(i)
	expect(1)
	i = inject()
	n.routeProbes(t, l)
	expect(1)
	closes(i)
	expect(0)

	inject()
	l.Close() // as if it had been killed
	expect(1)
	l = n.open(t, n.settings(model.AttachTC))
	expect(0)
	inject()
	l.Close()
	n.detach(t)
	expect(0)
}
