package loader_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/model"
)

// way is what leads probes on their way: rules, routes, programs at the egress
// of lo, and the settings that let replies in.
func (n *network) way(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(n.runOutside(t, "ip", family, "rule")) {
			if strings.Contains(line, "fwmark") {
				fmt.Fprintf(&b, "%s %s", family, line)
			}
		}
		for line := range strings.Lines(n.runOutside(t, "ip", family, "route", "show", "table", "all")) {
			if strings.Contains(line, "table 7860") {
				fmt.Fprintf(&b, "%s %s", family, line)
			}
		}
	}
	fmt.Fprintf(&b, "programs %d\n", n.onLo(t))
	err := n.Balancer.Do(func() error {
		for _, i := range n.Interfaces {
			for _, k := range []string{"rp_filter", "accept_local"} {
				v, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv4/conf", i, k))
				if err != nil {
					return err
				}
				fmt.Fprintf(&b, "%s %s", k, v)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (n *network) routeProbes(t *testing.T, l *loader.Loader, vips ...netip.Addr) {
	t.Helper()
	if err := n.Balancer.Do(func() error { return l.RouteProbes(vips) }); err != nil {
		t.Fatalf("%+v", err)
	}
}

func (n *network) set(t *testing.T, key, value string) {
	t.Helper()
	for _, i := range append([]string{"all"}, n.Interfaces...) {
		if err := n.Balancer.Sysctl("net/ipv4/conf/"+i+"/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
}

// The way of probes is there while it is needed, survives its owner, is taken
// over whatever is missing of it, and goes without a trace.
func TestRouteProbes(t *testing.T) {
	n := newNetwork(t)
	n.set(t, "rp_filter", "1")
	n.set(t, "accept_local", "0")
	before := n.way(t)

	l := n.open(t, n.settings(model.AttachTC))
	n.routeProbes(t, l)
	if now := n.way(t); now != before {
		t.Errorf("without a VIP:\n%s", now)
	}
	n.routeProbes(t, l, n.VIP4, n.VIP6)
	whole := n.way(t)
	for _, want := range []string{
		"-4 7860:\tfrom all fwmark 0x78600000/0xfff00000 lookup 7860", "-6 7860:\tfrom all fwmark 0x78600000/0xfff00000 lookup 7860",
		"-4 default dev lo table 7860", "-6 local default dev lo table 7860", "programs 1", "rp_filter 2", "accept_local 0",
	} {
		if !strings.Contains(whole, want) {
			t.Errorf("%q is missing in\n%s", want, whole)
		}
	}
	if strings.Contains(whole, "rp_filter 1") {
		t.Errorf("a strict filter is left:\n%s", whole)
	}
	n.routeProbes(t, l, n.VIP4, n.VIP6)
	if now := n.way(t); now != whole {
		t.Errorf("said again:\n%s", now)
	}

	// One family alone; and all of it again.
	n.routeProbes(t, l, n.VIP6)
	if now := n.way(t); strings.Contains(now, "-4") || strings.Contains(now, "rp_filter 2") || !strings.Contains(now, "-6 7860") {
		t.Errorf("IPv6 alone:\n%s", now)
	}
	n.routeProbes(t, l, n.VIP4, n.VIP6)
	if now := n.way(t); now != whole {
		t.Errorf("both again:\n%s", now)
	}

	// The owner is gone, and somebody took half of it away.
	l.Close()
	if now := n.way(t); now != whole {
		t.Errorf("after the end:\n%s", now)
	}
	n.runOutside(t, "ip", "rule", "del", "pref", "7860")
	n.runOutside(t, "ip", "-6", "route", "flush", "table", "7860")
	l = n.open(t, n.settings(model.AttachTC))
	n.routeProbes(t, l, n.VIP4, n.VIP6)
	if now := n.way(t); now != whole {
		t.Errorf("taken over:\n%s", now)
	}

	// A next owner does not need it.
	l.Close()
	l = n.open(t, n.settings(model.AttachTC))
	n.routeProbes(t, l)
	if now := n.way(t); now != before {
		t.Errorf("before:\n%snow\n%s", before, now)
	}

	n.routeProbes(t, l, n.VIP4, n.VIP6)
	l.Close()
	removed := strings.Join(n.detach(t), ", ")
	program := map[string]string{"tcx link": "probe link on lo", "clsact filter": "clsact filter on lo"}[loader.TCHook(t)]
	for _, want := range []string{program, "IPv4 rule", "IPv6 rule", "IPv4 route", "IPv6 route", "rp_filter set back to 1"} {
		if !strings.Contains(removed, want) {
			t.Errorf("detach did not remove %q: %s", want, removed)
		}
	}
	if now := n.way(t); now != before {
		t.Errorf("before:\n%sdetached\n%s", before, now)
	}
}

// The loose filter wants some route to the source: without one the log says why
// every probe will fail.
func TestRouteProbesWithoutRoute(t *testing.T) {
	n := newNetwork(t)
	n.set(t, "rp_filter", "1")
	var log strings.Builder
	var l *loader.Loader
	err := n.Balancer.Do(func() (err error) {
		l, err = loader.Open(loader.Options{PinDir: n.pins, Settings: n.settings(model.AttachTC), Log: slog.New(slog.NewTextHandler(&log, nil))})
		return err
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer l.Close()
	const text = "no route to the VIP"
	unrouted, routed := netip.MustParseAddr("198.18.0.1"), n.Backends[0].IP4
	n.routeProbes(t, l, routed)
	if strings.Contains(log.String(), text) {
		t.Errorf("there is a route: %s", log.String())
	}
	n.routeProbes(t, l, routed, unrouted)
	if !strings.Contains(log.String(), text) || !strings.Contains(log.String(), "vip="+unrouted.String()) {
		t.Errorf("the log says\n%s", log.String())
	}
}

// Packets from an address of this host are let in only while a VIP is one, and a
// filter that is not strict stays as it is.
func TestRouteProbesToLocalVIP(t *testing.T) {
	n := newNetwork(t)
	n.set(t, "rp_filter", "0")
	n.set(t, "accept_local", "0")
	before := n.way(t)
	n.runOutside(t, "ip", "address", "add", n.VIP4.String()+"/32", "dev", "lo")
	l := n.open(t, n.settings(model.AttachTC))
	defer l.Close()
	n.routeProbes(t, l, n.VIP4)
	if now := n.way(t); strings.Contains(now, "accept_local 0") || strings.Contains(now, "rp_filter 2") {
		t.Errorf("with the VIP:\n%s", now)
	}
	n.runOutside(t, "ip", "address", "del", n.VIP4.String()+"/32", "dev", "lo")
	deadline := time.After(10 * time.Second)
	for l.LocalAddresses()[n.VIP4] != "" {
		select {
		case <-l.AddressesChanged():
		case <-deadline:
			t.Fatal("the address is still known after 10 s")
		}
	}
	n.routeProbes(t, l, n.VIP4)
	if now := n.way(t); strings.Contains(now, "accept_local 1") {
		t.Errorf("without the VIP:\n%s", now)
	}
	n.routeProbes(t, l)
	if now := n.way(t); now != before {
		t.Errorf("before:\n%snow\n%s", before, now)
	}
}
