package loader_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/model"
)

// Detach takes everything back: links, pins, sysctls, the nftables table.
func TestDetach(t *testing.T) {
	n := newNetwork(t)
	sysctl := func(iface string) string {
		var v []byte
		err := n.Balancer.Do(func() (err error) {
			v, err = os.ReadFile(filepath.Join("/proc/sys/net/ipv4/conf", iface, "forwarding"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(v))
	}
	for _, iface := range n.Interfaces {
		if err := n.Balancer.Sysctl("net/ipv4/conf/"+iface+"/forwarding", "0"); err != nil {
			t.Fatal(err)
		}
	}
	l := n.open(t, n.settings(model.AttachNative))
	n.fill(t, l)
	n.works(t)
	if got := sysctl("cl0"); got != "1" {
		t.Errorf("forwarding is %s while attached, want 1", got)
	}
	err := n.Balancer.Do(func() error {
		return l.ProtectVIPs([]model.Frontend{{VIP: n.VIP4, Port: 80, Protocol: model.TCP}})
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()

	removed := strings.Join(n.detach(t), "\n")
	for _, want := range []string{"xdp link on cl0", loader.TCHook(t) + " on be0", "nftables table inet xlb", "forwarding set back to 0", "pins under"} {
		if !strings.Contains(removed, want) {
			t.Errorf("removed:\n%s\nwant %q in it", removed, want)
		}
	}
	if got := sysctl("cl0"); got != "0" {
		t.Errorf("forwarding is %s after detach, want 0", got)
	}
	if out := n.runOutside(t, "ip", "-details", "link", "show", "cl0"); strings.Contains(out, "xdp") {
		t.Errorf("cl0 still has a program:\n%s", out)
	}
	if again := n.detach(t); len(again) != 0 {
		t.Errorf("a second detach removed %v", again)
	}
}

func TestDetachNothing(t *testing.T) {
	removed, err := loader.Detach(loader.DefaultPinDir+"-never", slog.Default())
	if err != nil || len(removed) != 0 {
		t.Errorf("removed %v, error %v", removed, err)
	}
}

// The table keeps the frontends' packets, and only theirs, out of conntrack.
func TestProtectVIPs(t *testing.T) {
	n := newNetwork(t)
	l := n.open(t, n.settings(model.AttachTC))
	defer l.Close()
	protect := func(f ...model.Frontend) string {
		t.Helper()
		if err := n.Balancer.Do(func() error { return l.ProtectVIPs(f) }); err != nil {
			t.Fatal(err)
		}
		return n.runOutside(t, "nft", "list", "table", "inet", "xlb")
	}
	both := protect(
		model.Frontend{VIP: n.VIP4, Port: 80, Protocol: model.TCP},
		model.Frontend{VIP: n.VIP6, Port: 53, Protocol: model.UDP})
	for _, want := range []string{
		n.VIP4.String() + " . tcp . 80", n.VIP6.String() + " . udp . 53",
		"ip daddr . meta l4proto . th dport @frontends4 notrack",
		"ip6 saddr . meta l4proto . th sport @frontends6 notrack",
		"hook prerouting priority raw", "hook output priority raw",
	} {
		if !strings.Contains(both, want) {
			t.Errorf("table:\n%s\nwant %q in it", both, want)
		}
	}
	if one := protect(model.Frontend{VIP: n.VIP4, Port: 81, Protocol: model.TCP}); strings.Contains(one, ". 80") || strings.Contains(one, ". 53") {
		t.Errorf("old frontends are left:\n%s", one)
	}
}
