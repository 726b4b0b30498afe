package backendhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
)

// onKernel makes the package believe that the kernel has a version.
func onKernel(t *testing.T, version uint32) {
	t.Helper()
	real := kernelVersion
	kernelVersion = func() (uint32, error) { return version, nil }
	t.Cleanup(func() { kernelVersion = real })
}

// What older kernels lack has another way, which newer ones go as well.
func TestOldKernel(t *testing.T) {
	onKernel(t, oldKernel)
	for _, out6 := range []bool{false, true} {
		for _, in6 := range []bool{false, true} {
			n := newNetwork(t)
			before := n.everything()
			if r := n.mustApply(tunnelConfig(IPIP)); r.Tunnel.Hook != clsact {
				t.Errorf("attached by %s", r.Tunnel.Hook)
			}
			if r := n.mustApply(nil); len(r.Changed) > 0 {
				t.Errorf("a second run changed %q", r.Changed)
			}
			n.serve()
			encapsulate(t, n.client, "eth0", in6, outer(out6, 0))
			if err := n.talk(clientOf(in6), vipOf(in6), bulk, 8*time.Second); err != nil {
				t.Errorf("%sin%s: %v", familyName(in6), familyName(out6), err)
			}
			if accepted := n.counted("accepted"); accepted > bulk/1400/2 {
				t.Errorf("%d packets: they were cut up", accepted)
			}
			if _, err := n.undo(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(lines(before), lines(n.everything())); diff != "" {
				t.Errorf("undone (-before +after):\n%s", diff)
			}
		}
	}
}

func lines(s string) []string { return strings.Split(s, "\n") }

// Undo brings back what was there, whatever it was; a second run changes nothing.
func TestUndo(t *testing.T) {
	for _, forward := range []string{L2DSR, IPIP, GUE} {
		for _, hook := range []string{HookTC, HookXDP} {
			for name, prepare := range map[string]string{
				"usual": "true",
				"odd": `sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.all.arp_ignore=3 \
					net.ipv4.conf.eth0.arp_ignore=5 net.ipv4.conf.eth0.arp_announce=1
					ip address add 203.0.113.10/32 dev lo; tc qdisc add dev eth0 clsact
					nft 'table inet other { chain c { type filter hook output priority 0; tcp dport 1 drop; }; }'`,
				"ready": `sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
					ip address add 203.0.113.10/32 dev lo; ip address add 2001:db8::10/128 dev lo nodad`,
			} {
				if forward == L2DSR && hook == HookXDP {
					continue
				}
				t.Run(forward+" "+hook+" "+name, func(t *testing.T) {
					n := newNetwork(t)
					n.sh(prepare)
					before := n.everything()
					c := l2dsrConfig()
					if forward != L2DSR {
						c = tunnelConfig(forward)
						c.Hook = hook
					}
					first := n.mustApply(c)
					if ready := forward == L2DSR && name == "ready"; ready != (len(first.Changed) == 0) {
						t.Errorf("the first run changed %q", first.Changed)
					}
					applied := n.everything()
					if second := n.mustApply(c); len(second.Changed) > 0 {
						t.Errorf("the second run changed %q", second.Changed)
					}
					if diff := cmp.Diff(lines(applied), lines(n.everything())); diff != "" {
						t.Errorf("the second run (-before +after):\n%s", diff)
					}
					done, err := n.undo()
					if err != nil {
						t.Fatal(err)
					}
					if len(done) != len(first.Changed) {
						t.Errorf("changed %q, but undid %q", first.Changed, done)
					}
					if diff := cmp.Diff(lines(before), lines(n.everything())); diff != "" {
						t.Errorf("undone (-before +after):\n%s", diff)
					}
					if left, _ := os.ReadDir(n.dirs.State); len(left) > 0 {
						t.Errorf("%v is left", left)
					}
				})
			}
		}
	}
}

// Each thing that can be wrong alone is found alone, and mended by what is said.
func TestFindings(t *testing.T) {
	addVIP6 := "ip address add 2001:db8::10/128 dev lo nodad preferred_lft 0"
	n := newNetwork(t)
	n.sh("sysctl -qw net.ipv4.conf.eth0.rp_filter=1")
	c := tunnelConfig(GUE)
	c.Interface = "eth0"
	n.mustApply(c)
	table := (&tableItem{c.VIPs, SegmentSizes{1412, 1392}}).command()
	again := c.Command(n.dirs)
	for _, b := range []struct {
		name, harm string
		mend       []string
	}{
		{"arp_ignore", "sysctl -qw net.ipv4.conf.eth0.arp_ignore=0", []string{"sysctl -w net.ipv4.conf.eth0.arp_ignore=1"}},
		{"arp_ignore of all", "sysctl -qw net.ipv4.conf.all.arp_ignore=3", []string{"sysctl -w net.ipv4.conf.all.arp_ignore=1"}},
		{"arp_announce", "sysctl -qw net.ipv4.conf.eth0.arp_announce=1", []string{"sysctl -w net.ipv4.conf.eth0.arp_announce=2"}},
		{"rp_filter", "sysctl -qw net.ipv4.conf.eth0.rp_filter=1", []string{"sysctl -w net.ipv4.conf.eth0.rp_filter=2"}},
		{"disable_ipv6", "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1", []string{"sysctl -w net.ipv6.conf.eth0.disable_ipv6=0"}},
		{"disable_ipv6 of lo", "sysctl -qw net.ipv6.conf.lo.disable_ipv6=1", []string{"sysctl -w net.ipv6.conf.lo.disable_ipv6=0", addVIP6}},
		{"no IPv4 VIP", "ip address del 203.0.113.10/32 dev lo", []string{"ip address add 203.0.113.10/32 dev lo"}},
		{"no IPv6 VIP", "ip address del 2001:db8::10/128 dev lo", []string{addVIP6}},
		{"VIP on the interface", "ip address add 203.0.113.10/32 dev eth0", []string{"ip address del 203.0.113.10/32 dev eth0"}},
		{"IPv6 VIP on the interface", "ip address add 2001:db8::10/64 dev eth0 nodad", []string{"ip address del 2001:db8::10/64 dev eth0"}},
		{"a whole network on lo", "ip address del 203.0.113.10/32 dev lo; ip address add 203.0.113.10/24 dev lo",
			[]string{"ip address del 203.0.113.10/24 dev lo && ip address add 203.0.113.10/32 dev lo"}},
		{"no table", "nft delete table inet xlb_backend", []string{table}},
		{"no rules", "nft flush chain inet xlb_backend output", []string{table}},
		{"a rule too many", "nft add rule inet xlb_backend output tcp dport 1 drop", []string{table}},
		{"interface down", "ip link set dev eth0 down", []string{"ip link set dev eth0 up"}},
		{"lo down", "ip link set dev lo down", []string{"ip link set dev lo up", addVIP6}},
		{"program gone", "rm " + n.dirs.link(), []string{again}},
	} {
		t.Run(b.name, func(t *testing.T) {
			n.sh(b.harm)
			var mends []string
			for _, p := range n.problems(nil) {
				mends = append(mends, p.Mend)
				if p.What == "" {
					t.Errorf("%q has no reason", p.Mend)
				}
			}
			// lo keeps an IPv6 address while it is down on some kernels.
			if b.name == "lo down" && len(mends) == 1 {
				b.mend = b.mend[:1]
			}
			if diff := cmp.Diff(b.mend, mends); diff != "" {
				t.Errorf("how to mend (-want +got):\n%s", diff)
			}
			for _, m := range mends {
				if m == again {
					n.mustApply(nil)
				} else {
					n.sh(m)
				}
			}
			for _, p := range n.problems(nil) {
				// Down and up again, the interface lost what it was asked for.
				t.Errorf("still wrong: %+v", p)
				n.sh(p.Mend)
			}
		})
	}
	t.Run("maps", func(t *testing.T) {
		for _, name := range []string{sourcesMap, vipsMap} {
			m, err := ebpf.LoadPinnedMap(n.dirs.pin(name), nil)
			if err != nil {
				t.Fatal(err)
			}
			key, err := m.NextKeyBytes(nil)
			if err == nil {
				err = m.Delete(key)
			}
			if err = errors.Join(err, m.Close()); err != nil {
				t.Fatal(err)
			}
			if p := n.problems(nil); len(p) != 1 || p[0].Mend != again {
				t.Errorf("%s lacks an entry: %+v", name, p)
			}
			n.mustApply(nil)
		}
	})
}

// With another configuration only what differs is changed, and Undo still
// brings back what was there first.
func TestChange(t *testing.T) {
	n := newNetwork(t)
	before := n.everything()
	n.mustApply(tunnelConfig(GUE))
	for _, step := range []struct {
		name   string
		change func(c *Config)
		// changed are what the lines begin with.
		changed []string
	}{
		{"a VIP more", func(c *Config) { c.VIPs = append(c.VIPs, netip.MustParseAddr("203.0.113.11")) },
			[]string{"wrote the nftables table", "updated the decapsulation", "added 203.0.113.11/32"}},
		{"a VIP less", func(c *Config) { c.VIPs = c.VIPs[:1] },
			[]string{"removed 203.0.113.11/32", "removed 2001:db8::10/128", "wrote the nftables table", "updated the decapsulation"}},
		{"another port", func(c *Config) { c.GUEPort = 7000 }, []string{"updated the decapsulation"}},
		{"another source", func(c *Config) { c.From = c.From[:1]; c.MSS = "1300" },
			[]string{"wrote the nftables table", "updated the decapsulation"}},
		{"another hook", func(c *Config) { c.Hook = HookXDP }, []string{"attached the decapsulation program to eth0 by xdp"}},
		{"no MSS", func(c *Config) { c.MSS = MSSOff }, []string{"removed the nftables table"}},
		{"no tunnel", func(c *Config) { *c = Config{VIPs: c.VIPs, Forward: L2DSR, Interface: c.Interface} },
			[]string{"removed the decapsulation program"}},
	} {
		t.Run(step.name, func(t *testing.T) {
			s, err := load(n.dirs)
			if err != nil {
				t.Fatal(err)
			}
			c := s.Config
			step.change(c)
			r := n.mustApply(c)
			ok := len(r.Changed) == len(step.changed)
			for i := range step.changed {
				ok = ok && strings.HasPrefix(r.Changed[i], step.changed[i])
			}
			if !ok {
				t.Errorf("changed %q, want %q", r.Changed, step.changed)
			}
		})
	}
	if _, err := n.undo(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines(before), lines(n.everything())); diff != "" {
		t.Errorf("undone (-before +after):\n%s", diff)
	}
}

// A step that fails takes all others back: at first to what was there, later
// to what was applied before.
func TestNothingHalf(t *testing.T) {
	n := newNetwork(t)
	before := n.everything()
	pins := n.dirs.Pins
	n.dirs.Pins = filepath.Join(t.TempDir(), "pins")
	if _, err := n.apply(tunnelConfig(IPIP)); err == nil || !strings.Contains(err.Error(), "BPF file system") {
		t.Errorf("error %v, want one about the pin directory", err)
	}
	n.dirs.Pins = pins
	if diff := cmp.Diff(lines(before), lines(n.everything())); diff != "" {
		t.Errorf("after a failure (-before +after):\n%s", diff)
	}
	if _, err := os.Stat(n.dirs.file()); err == nil {
		t.Error("the state is left")
	}

	n.mustApply(tunnelConfig(IPIP))
	applied := n.everything()
	foreign := n.foreignXDP()
	c := tunnelConfig(GUE)
	c.Hook = HookXDP
	c.VIPs = append(c.VIPs, netip.MustParseAddr("203.0.113.99"))
	_, err := n.apply(c)
	if err == nil || !strings.Contains(err.Error(), "somebody") || !strings.Contains(err.Error(), "--hook tc") {
		t.Errorf("error %v, want one that names the other program and the way out", err)
	}
	foreign.Close()
	if p := n.problems(nil); len(p) > 0 {
		t.Errorf("after a failure: %+v", p)
	}
	if diff := cmp.Diff(lines(applied), lines(n.everything())); diff != "" {
		t.Errorf("after a failure (-before +after):\n%s", diff)
	}
}

// foreignXDP puts somebody else's program on eth0.
func (n *network) foreignXDP() link.Link {
	n.t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "somebody", Type: ebpf.XDP, License: "MIT", AttachType: ebpf.AttachXDP,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	defer prog.Close()
	index, err := n.backend.Index("eth0")
	if err != nil {
		n.t.Fatal(err)
	}
	var l link.Link
	err = n.backend.Do(func() error {
		l, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: link.XDPDriverMode})
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return l
}

// Somebody else's XDP program stays; TC works beside it.
func TestForeignXDP(t *testing.T) {
	n := newNetwork(t)
	foreign := n.foreignXDP()
	defer foreign.Close()
	c := tunnelConfig(IPIP)
	c.Hook = HookXDP
	if _, err := n.apply(c); err == nil || !strings.Contains(err.Error(), "somebody") || !strings.Contains(err.Error(), "--hook tc") {
		t.Errorf("error %v, want one that names the other program and the way out", err)
	}
	c.Hook = HookTC
	n.mustApply(c)
	info, err := foreign.Info()
	if err != nil || info.XDP().Ifindex == 0 {
		t.Errorf("the other program is gone: %v", err)
	}
}

// What only the operator may mend stops Apply before it touches anything.
func TestObstacles(t *testing.T) {
	n := newNetwork(t)
	n.sh("ip address add 203.0.113.10/24 dev eth0")
	before := n.everything()
	_, err := n.apply(l2dsrConfig())
	if err == nil || !strings.Contains(err.Error(), "(mend it: ip address del 203.0.113.10/24 dev eth0)") {
		t.Errorf("error %v, want one that says how to mend it", err)
	}
	if diff := cmp.Diff(lines(before), lines(n.everything())); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	c := l2dsrConfig()
	c.Interface = "nosuch0"
	if _, err := n.apply(c); err == nil || !strings.Contains(err.Error(), `"nosuch0"`) {
		t.Errorf("error %v, want one that names the interface", err)
	}
	if _, err := n.apply(nil); !errors.Is(err, ErrNoConfig) {
		t.Errorf("error %v, want ErrNoConfig", err)
	}
	n.sh("ip route del default; ip -6 route del default")
	if _, err := n.apply(l2dsrConfig()); !errors.Is(err, ErrNoInterface) {
		t.Errorf("error %v, want ErrNoInterface", err)
	}
}

// After a boot nothing of the records is there any more. The configuration is.
func TestBoot(t *testing.T) {
	n := newNetwork(t)
	n.mustApply(l2dsrConfig())
	// What a boot does.
	n.sh("sysctl -qw net.ipv4.conf.eth0.arp_ignore=0 net.ipv4.conf.eth0.arp_announce=1; ip address flush dev lo scope global")
	text, err := os.ReadFile(n.dirs.file())
	if err != nil {
		t.Fatal(err)
	}
	var saved map[string]any
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	saved["boot"] = "another"
	if text, err = json.Marshal(saved); err == nil {
		err = os.WriteFile(n.dirs.file(), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := n.everything()
	if s, err := Show(n.dirs); err != nil || !s.Void {
		t.Errorf("after a boot the status is %+v, %v", s, err)
	}
	if p := n.problems(nil); len(p) != 4 {
		t.Errorf("after a boot: %+v", p)
	}
	n.mustApply(nil)
	if _, err := n.undo(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines(before), lines(n.everything())); diff != "" {
		t.Errorf("undone (-before +after):\n%s", diff)
	}
}

// An interface that went and came back has no program and no settings.
func TestInterfaceComesBack(t *testing.T) {
	for _, hook := range []string{HookTC, HookXDP} {
		n := newNetwork(t)
		c := tunnelConfig(IPIP)
		c.Interface, c.Hook = "eth0", hook
		n.mustApply(c)
		n.sh("ip link del eth0; ip link add eth0 type veth peer name far; ip link set far up; ip link set eth0 up")
		p := n.problems(nil)
		if i := slices.IndexFunc(p, func(p Problem) bool { return p.Mend == c.Command(n.dirs) }); i < 0 {
			t.Errorf("the missing program was not found: %+v", p)
		}
		n.mustApply(nil)
		if r := n.mustApply(nil); len(r.Changed) > 0 {
			t.Errorf("a second run changed %q", r.Changed)
		}
		if _, err := n.undo(); err != nil {
			t.Fatal(err)
		}
	}
}

// Two at once would take each other's changes for what was there before.
func TestLock(t *testing.T) {
	n := newNetwork(t)
	held, err := lock(n.dirs.State)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.apply(l2dsrConfig()); err == nil || !strings.Contains(err.Error(), "another xlb backend-host") {
		t.Errorf("error %v, want one about the other", err)
	}
	if _, err := n.undo(); err == nil {
		t.Error("undone under somebody's hands")
	}
	held.Close()
}

func TestNormalise(t *testing.T) {
	one := []netip.Addr{vip4}
	from := []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}
	for _, c := range []struct {
		name string
		in   Config
		want string // of the error; empty: none
	}{
		{"no VIP", Config{Forward: L2DSR}, "no VIP"},
		{"link-local", Config{Forward: L2DSR, VIPs: []netip.Addr{netip.MustParseAddr("fe80::1")}}, "cannot be a VIP"},
		{"loopback", Config{Forward: L2DSR, VIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, "cannot be a VIP"},
		{"any", Config{Forward: L2DSR, VIPs: []netip.Addr{netip.IPv4Unspecified()}}, "cannot be a VIP"},
		{"multicast", Config{Forward: L2DSR, VIPs: []netip.Addr{netip.MustParseAddr("224.0.0.9")}}, "cannot be a VIP"},
		{"no balancer", Config{Forward: IPIP, VIPs: one}, "needs the balancers' addresses"},
		{"mapped balancer", Config{Forward: IPIP, VIPs: one, From: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.1/128")}}, "write it as IPv4"},
		{"small MSS", Config{Forward: IPIP, VIPs: one, From: from, MSS: "535"}, "536 to 65495"},
		{"large MSS", Config{Forward: IPIP, VIPs: one, From: from, MSS: "65496"}, "536 to 65495"},
		{"no MSS", Config{Forward: IPIP, VIPs: one, From: from, MSS: "much"}, "536 to 65495"},
		{"all right", Config{Forward: GUE, VIPs: []netip.Addr{vip6, netip.MustParseAddr("::ffff:203.0.113.10"), vip4}, From: from}, ""},
	} {
		err := c.in.Normalise()
		if c.want == "" {
			want := Config{Forward: GUE, VIPs: []netip.Addr{vip4, vip6}, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, GUEPort: 6080, Hook: HookAuto, MSS: MSSAuto}
			if fmt.Sprint(err, c.in) != fmt.Sprint(nil, want) {
				t.Errorf("%s: %v %+v, want %+v", c.name, err, c.in, want)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestCommand(t *testing.T) {
	c := &Config{VIPs: []netip.Addr{vip4}, Forward: GUE, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Interface: "eth0", GUEPort: 7000, Hook: HookTC, MSS: "1300"}
	want := "xlb backend-host --vip 203.0.113.10 --forward gue --from 10.0.0.0/8 --interface eth0 --gue-port 7000 --hook tc --mss 1300 --state-dir /x"
	if got := c.Command(Dirs{"/x", DefaultPinDir}); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
