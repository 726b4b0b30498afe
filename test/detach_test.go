package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xlb-io/xlb/internal/testlab"
)

// inBalancer runs a program of the host inside the balancer.
func (n *network) inBalancer(name string, args ...string) (string, error) {
	out, err := n.Balancer.Command(n.t.Context(), name, args...).Output()
	return string(out), err
}

var forwardingKeys = []string{"net/ipv4/conf/%s/forwarding", "net/ipv6/conf/%s/forwarding", "net/ipv6/conf/%s/accept_ra"}

// sysctls are the settings of the interfaces that xlb may change.
func (n *network) sysctls() string {
	n.t.Helper()
	var b strings.Builder
	err := n.Balancer.Do(func() error {
		for _, i := range n.Interfaces {
			for _, k := range forwardingKeys {
				v, err := os.ReadFile(filepath.Join("/proc/sys", fmt.Sprintf(k, i)))
				if err != nil {
					return err
				}
				fmt.Fprintf(&b, k+"=%s", i, v)
			}
		}
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return b.String()
}

// hooked are the interfaces with an XDP program, and with one at TC.
func (n *network) hooked() (xdp, tc []string) {
	n.t.Helper()
	h := must(n.Balancer.Handle())(n.t)
	for _, i := range n.Interfaces {
		l := must(h.LinkByName(i))(n.t)
		if x := l.Attrs().Xdp; x != nil && x.Attached {
			xdp = append(xdp, i)
		}
		var found *link.QueryResult
		err := n.Balancer.Do(func() (err error) {
			found, err = link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: ebpf.AttachTCXIngress})
			return err
		})
		if err != nil {
			n.t.Fatal(err)
		}
		if len(found.Programs) > 0 {
			tc = append(tc, i)
		}
	}
	return xdp, tc
}

// TestDetach: detach leaves the host as it was before the first start.
func TestDetach(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"native", "tc"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 1})
			// A host that does not forward yet.
			for _, i := range n.Interfaces {
				for _, k := range []string{"net/ipv4/conf/" + i + "/forwarding", "net/ipv6/conf/" + i + "/forwarding"} {
					if err := n.Balancer.Sysctl(k, "0"); err != nil {
						t.Fatal(err)
					}
				}
			}
			settings := n.sysctls()
			if _, err := n.inBalancer("nft", "list", "table", "inet", "xlb"); err == nil {
				t.Error("there is an nftables table before the start")
			}
			var services []service
			for _, f := range families {
				services = append(services,
					service{name: "web" + f.name, ipv6: f.ipv6, weights: []int{1}, more: "probe: none"},
					service{name: "udp" + f.name, ipv6: f.ipv6, protocol: "udp", weights: []int{1}})
			}
			d := n.run(n.config("attach: "+mode, services...))
			table, err := n.inBalancer("nft", "list", "table", "inet", "xlb")
			if err != nil {
				t.Error(err)
			}
			for _, want := range []string{
				n.VIP4.String() + " . tcp . 8080", n.VIP4.String() + " . udp . 8080",
				n.VIP6.String() + " . tcp . 8080", n.VIP6.String() + " . udp . 8080", "notrack",
			} {
				if !strings.Contains(table, want) {
					t.Errorf("nftables lack %q:\n%s", want, table)
				}
			}
			for _, s := range services[:1] {
				if _, err := n.get(s.frontend(n), 5*time.Second); err != nil {
					t.Error(err)
				}
			}
			if xdp, tc := n.hooked(); (len(xdp) == 2) != (mode != "tc") || len(tc) != 2 {
				t.Errorf("mode %s, XDP on %v, TC on %v", mode, xdp, tc)
			}
			if n.sysctls() == settings {
				t.Error("forwarding was not enabled, so that nothing shows whether it is set back")
			}

			if _, stderr, code := n.try("detach"); code != 1 || !strings.Contains(stderr, fmt.Sprintf("process %d", d.Pid())) {
				t.Errorf("detach under a daemon: exit status %d, %q", code, stderr)
			}
			// The end of the daemon is not the end of the traffic.
			d.stop()
			if _, err := n.get(services[0].frontend(n), 5*time.Second); err != nil {
				t.Errorf("after SIGTERM: %v", err)
			}
			if _, err := n.inBalancer("nft", "list", "table", "inet", "xlb"); err != nil {
				t.Errorf("after SIGTERM: %v", err)
			}
			type result struct {
				Removed []string `json:"removed"`
			}
			if r := decode[result](n, "detach"); len(r.Removed) < 4 {
				t.Errorf("detach removed %v", r.Removed)
			}
			if _, err := n.get(services[0].frontend(n), 300*time.Millisecond); err == nil {
				t.Error("after the detach traffic flows on")
			}
			if xdp, tc := n.hooked(); len(xdp)+len(tc) > 0 {
				t.Errorf("programs are left: XDP on %v, TC on %v", xdp, tc)
			}
			if _, err := n.inBalancer("nft", "list", "table", "inet", "xlb"); err == nil {
				t.Error("the nftables table is left")
			}
			if _, err := os.Stat(n.pins); !os.IsNotExist(err) {
				t.Errorf("pins are left: %v", err)
			}
			if now := n.sysctls(); now != settings {
				t.Errorf("settings were\n%sand are\n%s", settings, now)
			}
			if r := decode[result](n, "detach"); len(r.Removed) != 0 {
				t.Errorf("a second detach removed %v", r.Removed)
			}
			if text := n.xlb("detach"); !strings.Contains(text, "nothing") {
				t.Errorf("a second detach says %q", text)
			}
			if _, _, code := n.try("status"); code != 1 {
				t.Errorf("status after all: exit status %d", code)
			}
			// And from the beginning.
			if s := n.start(); s.Pid() == d.Pid() {
				t.Error("not a new daemon")
			}
			if _, err := n.get(services[0].frontend(n), 5*time.Second); err != nil {
				t.Errorf("after a new start: %v", err)
			}
		})
	}
}
