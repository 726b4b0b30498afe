package control

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/model"
)

const direct = "  dsr: {frontends: 'tcp://203.0.113.9:80', forward: l2dsr, probe: {type: tcp, via: vip}, backends: ['10.0.0.1', '10.0.0.2']}\n"

// The host leads probes via the VIPs of the services that ask for it, once, and
// no longer when none does.
func TestProbeRoutes(t *testing.T) {
	d := start(t, newMemory(), direct+web)
	routed := func(want string) func() string {
		return func() string {
			d.host.mu.Lock()
			defer d.host.mu.Unlock()
			got := fmt.Sprint(d.host.routed)
			return unless(got == want, "routed %s, want %s", got, want)
		}
	}
	eventually(t, routed("[[203.0.113.9]]"))
	for _, services := range []string{strings.Replace(direct, "via: vip", "via: direct", 1) + web, web} {
		d.write(t, services)
		if err := d.Client.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, routed("[[203.0.113.9] []]"))
	}
}

// What the host can not set up is shown, and tried again.
func TestProbeRoutesRepeated(t *testing.T) {
	d := start(t, newMemory(), web)
	eventually(t, func() string { s := d.status(t); return unless(s.Ready, "not ready: %v", s.Reasons) })
	d.host.mu.Lock()
	d.host.unroutable = errors.New("no rules")
	d.host.mu.Unlock()
	d.write(t, direct)
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		s := d.status(t)
		return unless(strings.Contains(strings.Join(s.Reasons, " "), reasonProbeRoute) && strings.Contains(d.problem(), "no rules"), "reasons %v, %q", s.Reasons, d.problem())
	})
	d.host.mu.Lock()
	d.host.unroutable = nil
	d.host.mu.Unlock()
	eventually(t, func() string {
		s := d.status(t)
		return unless(!strings.Contains(strings.Join(s.Reasons, " "), reasonProbeRoute), "reasons %v", s.Reasons)
	})
}

// Where the host could not be prepared, nothing is sent: the state stays, and the
// reason says why.
func TestProbeWithoutRoutes(t *testing.T) {
	d := start(t, newMemory(), web)
	d.host.mu.Lock()
	d.host.unroutable = errors.New("no rules")
	d.host.mu.Unlock()
	d.write(t, direct)
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		for _, s := range d.status(t).Services {
			if s.ProbeVia != "vip" {
				return fmt.Sprintf("probes via %q", s.ProbeVia)
			}
			for _, b := range s.Backends {
				if b.State != api.StateUnknown || !strings.Contains(b.Reason, "not probed: the way via the VIP") {
					return fmt.Sprintf("%s is %s: %s", b.Address, b.State, b.Reason)
				}
			}
		}
		return ""
	})
}

// The host is told again when a VIP becomes its own, for it must then let in what
// comes from there.
func TestProbeRoutesToLocalVIP(t *testing.T) {
	d := start(t, newMemory(), direct)
	told := func(n int) func() string {
		return func() string {
			d.host.mu.Lock()
			defer d.host.mu.Unlock()
			return unless(len(d.host.routed) == n, "told %v, want %d times", d.host.routed, n)
		}
	}
	eventually(t, told(1))
	d.host.move(map[netip.Addr]string{addr("10.9.9.9"): "eth0"})
	d.host.move(map[netip.Addr]string{addr("203.0.113.9"): "lo"})
	eventually(t, told(2))
	d.host.move(map[netip.Addr]string{})
	eventually(t, told(3))
}

// A backend answers to an address of the VIP's family that is no VIP.
func TestReturnAddress(t *testing.T) {
	h := &machine{local: map[netip.Addr]string{}}
	for _, a := range []string{"192.0.2.7", "192.0.2.2", "192.0.2.3", "203.0.113.9", "2001:db8::3", "fe80::1"} {
		h.local[addr(a)] = "eth0"
	}
	h.local[addr("192.0.2.1")] = "eth1"
	cfg := &model.Config{Settings: model.Settings{Interfaces: []string{"eth0"}}}
	c := &controller{parts: parts{host: h}, cfg: cfg, towards: map[netip.Addr]netip.Addr{}}
	vips := func(list ...string) {
		cfg.Services = nil
		for _, v := range list {
			cfg.Services = append(cfg.Services, model.Service{Frontends: []model.Frontend{{VIP: addr(v)}}})
		}
	}
	expect := func(vip, backend, want string) {
		t.Helper()
		var wanted netip.Addr
		if want != "" {
			wanted = addr(want)
		}
		if got := c.returnAddresses().address(addr(vip), addr(backend)); got != wanted {
			t.Errorf("%s on %s answers to %v, want %s", vip, backend, got, want)
		}
	}
	vips("203.0.113.9", "2001:db8:1::9", "192.0.2.2")
	expect("203.0.113.9", "10.0.0.1", "192.0.2.250")   // what the kernel would use
	expect("203.0.113.9", "2001:db8::11", "192.0.2.3") // the other family's tunnel
	expect("2001:db8:1::9", "10.0.0.1", "2001:db8::3") // no link-local address
	expect("2001:db8:1::9", "2001:db8::11", "2001:db8::250")
	vips("192.0.2.250", "192.0.2.2")
	expect("192.0.2.250", "10.0.0.1", "192.0.2.3") // the kernel's choice is a VIP
	cfg.Settings.Sources = []netip.Addr{addr("198.51.100.1"), addr("192.0.2.7")}
	expect("192.0.2.250", "10.0.0.1", "192.0.2.7") // a configured source that is the host's
	cfg.Settings.TunnelSources = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}
	expect("192.0.2.250", "10.0.0.1", "192.0.2.1")
	cfg.Settings.TunnelSources, cfg.Settings.Sources, h.local = nil, nil, map[netip.Addr]string{addr("192.0.2.250"): "eth0"}
	expect("192.0.2.250", "10.0.0.1", "")
}
