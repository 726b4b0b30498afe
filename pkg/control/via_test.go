package control

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

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

// A backend answers to an address of the VIP's family that is not the VIP.
func TestReturnAddress(t *testing.T) {
	h := &machine{local: map[netip.Addr]string{}}
	for _, a := range []string{"192.0.2.7", "192.0.2.3", "203.0.113.9", "2001:db8::3", "fe80::1"} {
		h.local[addr(a)] = "eth0"
	}
	h.local[addr("192.0.2.1")] = "eth1"
	c := &controller{parts: parts{host: h}, cfg: &model.Config{Settings: model.Settings{Interfaces: []string{"eth0"}}}}
	for _, one := range []struct{ vip, backend, want string }{
		{"203.0.113.9", "10.0.0.1", "192.0.2.250"},   // what the kernel would use
		{"192.0.2.250", "10.0.0.1", "192.0.2.3"},     // but not if that is the VIP
		{"203.0.113.9", "2001:db8::11", "192.0.2.3"}, // the other family's tunnel
		{"2001:db8:1::9", "10.0.0.1", "2001:db8::3"}, // no link-local address
		{"2001:db8:1::9", "2001:db8::11", "2001:db8::250"},
	} {
		if got := c.returnAddress(addr(one.vip), addr(one.backend)); got != addr(one.want) {
			t.Errorf("%s on %s answers to %v, want %s", one.vip, one.backend, got, one.want)
		}
	}
}
