package backendhost

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/internal/testlab"
)

func l2dsrConfig() *Config {
	return &Config{VIPs: []netip.Addr{vip4, vip6}, Forward: L2DSR}
}

func TestL2DSR(t *testing.T) {
	n := newNetwork(t)
	r := n.mustApply(l2dsrConfig())
	if r.Config.Interface != "eth0" {
		t.Errorf("chose the interface %q, want eth0, where the default route leads", r.Config.Interface)
	}
	n.serve()
	for _, v6 := range []bool{false, true} {
		if err := n.talk(clientOf(v6), vipOf(v6), 100_000, 10*time.Second); err != nil {
			t.Error(err)
		}
		if err := n.ask(vipOf(v6)); err != nil {
			t.Error(err)
		}
	}
}

// bulk is enough for super-packets.
const bulk = 4 << 20

func TestTunnels(t *testing.T) {
	for _, e := range encapsulations {
		for _, hook := range []string{HookAuto, HookXDP} {
			for _, out6 := range []bool{false, true} {
				for _, in6 := range []bool{false, true} {
					if e.name == "gue1" {
						continue // the same as without a checksum, which is not kept right here
					}
					t.Run(e.name+" "+hook+" "+familyName(in6)+"in"+familyName(out6), func(t *testing.T) {
						n := newNetwork(t)
						c := tunnelConfig(e.forward)
						c.Hook = hook
						if !out6 {
							c.From = c.From[:1] // the segments may be longer
						}
						n.mustApply(c)
						n.serve()
						encapsulate(t, n.client, "eth0", in6, layers(outer(out6, 0), e.between(in6))...)
						if err := n.talk(clientOf(in6), vipOf(in6), bulk, 8*time.Second); err != nil {
							t.Error(err)
						}
						if err := n.ask(vipOf(in6)); err != nil {
							t.Error(err)
						}
						accepted := n.counted("accepted")
						if accepted == 0 {
							t.Error("nothing came through the tunnel")
						}
						// TC gets the sender's super-packets whole.
						if most := uint64(bulk / 1400 / 2); hook == HookAuto && accepted > most {
							t.Errorf("%d packets, want at most %d: they were cut up", accepted, most)
						}
					})
				}
			}
		}
	}
}

// A stranger's tunnel reaches no VIP, and is counted.
func TestWrongSource(t *testing.T) {
	for _, hook := range []string{HookTC, HookXDP} {
		n := newNetwork(t)
		c := tunnelConfig(IPIP)
		c.Hook = hook
		n.mustApply(c)
		n.serve()
		encapsulate(t, n.client, "eth0", false, ip(stranger4, backend4, 0))
		if err := n.talk(client4, vip4, 100, 300*time.Millisecond); err == nil {
			t.Errorf("%s: a stranger reached the VIP", hook)
		}
		if n.counted("drop_source") == 0 || n.counted("accepted") != 0 {
			t.Errorf("%s: drop_source %d, accepted %d", hook, n.counted("drop_source"), n.counted("accepted"))
		}
	}
}

// An 802.1p tag is taken off by the kernel before TC; XDP sees it.
func TestPriorityTag(t *testing.T) {
	for _, hook := range []string{HookTC, HookXDP} {
		n := newNetwork(t)
		c := tunnelConfig(IPIP)
		c.Hook = hook
		n.mustApply(c)
		n.serve()
		wire := n.wire()
		mac, err := n.backend.MAC("eth0")
		if err != nil {
			t.Fatal(err)
		}
		syn := testlab.TCP{SrcPort: 40000, DstPort: tcpPort, Flags: 2}
		frame := build(testlab.Ethernet{Dst: testlab.MAC(mac)}, testlab.VLAN{Priority: 5}, outer(true, 0), ip(client4, vip4, 0), syn)
		if err := wire.Send(frame); err != nil {
			t.Fatal(err)
		}
		next(t, wire, func(f []byte) bool { return isSYNACK(f, vip4) })
	}
}

// The backend announces segments that leave room for the outer headers, to
// clients of both families.
func TestSegmentSize(t *testing.T) {
	for _, c := range []struct {
		forward, mss string
		from         string
		want4, want6 uint16
	}{
		{IPIP, MSSAuto, "10.0.0.100/32", 1440, 1420},
		{IPIP, MSSAuto, "fd00::100/128", 1420, 1400},
		{GUE, MSSAuto, "10.0.0.100/32", 1432, 1412},
		{GUE, MSSAuto, "fd00::100/128", 1412, 1392},
		{GUE, "1300", "fd00::100/128", 1300, 1300},
		{GUE, MSSOff, "fd00::100/128", 1460, 1440},
		{IPIP, "9000", "fd00::100/128", 1460, 1440}, // never more than without
	} {
		t.Run(c.forward+" "+c.mss+" "+c.from, func(t *testing.T) {
			n := newNetwork(t)
			config := tunnelConfig(c.forward)
			config.MSS, config.From = c.mss, []netip.Prefix{netip.MustParsePrefix(c.from)}
			n.mustApply(config)
			n.serve()
			wire := n.wire()
			for _, v6 := range []bool{false, true} {
				if err := n.talk(clientOf(v6), vipOf(v6), 100, 5*time.Second); err != nil {
					t.Fatal(err)
				}
				frame := next(t, wire, func(f []byte) bool { return isSYNACK(f, vipOf(v6)) })
				want := c.want4
				at := 14 + 20
				if v6 {
					want, at = c.want6, 14+40
				}
				if got := binary.BigEndian.Uint16(frame[at+22:]); got != want {
					t.Errorf("%s announces %d, want %d", vipOf(v6), got, want)
				}
				if err := testlab.Check(frame); err != nil && config.MSS == "" {
					t.Error(err)
				}
			}
		})
	}
}

// isSYNACK wants the MSS to be the first option, as Linux sends it.
func isSYNACK(f []byte, from netip.Addr) bool {
	src, at := 26, 34
	if from.Is6() {
		src, at = 22, 54
	}
	return len(f) >= at+24 && string(f[src:src+len(from.AsSlice())]) == string(from.AsSlice()) &&
		f[at+13] == 0x12 && f[at+20] == 2 && f[at+21] == 4
}

func (n *network) wire() *testlab.Wire {
	n.t.Helper()
	w, err := n.client.Wire("eth0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { w.Close() })
	return w
}

func next(t *testing.T, w *testlab.Wire, match func([]byte) bool) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	f, err := w.Next(ctx, match)
	if err != nil {
		t.Fatalf("wait for a frame: %v", err)
	}
	return f
}

var broadcast = testlab.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// arpRequest asks who has an address.
func arpRequest(mac testlab.MAC, target netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	b = append(append(b, mac[:]...), client4.AsSlice()...)
	b = append(append(b, make([]byte, 6)...), target.AsSlice()...)
	return build(testlab.Ethernet{Dst: broadcast, Src: mac, EtherType: testlab.EtherTypeARP}, testlab.Payload(b))
}

// answersARP asks for an address and then for the backend's own, whose answer
// must come; whether one for the first came before it is the result.
func (n *network) answersARP(w *testlab.Wire, target netip.Addr) bool {
	n.t.Helper()
	mac, err := n.client.MAC("eth0")
	if err != nil {
		n.t.Fatal(err)
	}
	for _, a := range []netip.Addr{target, backend4} {
		if err := w.Send(arpRequest(testlab.MAC(mac), a)); err != nil {
			n.t.Fatal(err)
		}
	}
	f := next(n.t, w, func(f []byte) bool {
		return f[12] == 8 && f[13] == 6 && f[21] == 2 && (string(f[28:32]) == string(target.AsSlice()) || string(f[28:32]) == string(backend4.AsSlice()))
	})
	return string(f[28:32]) == string(target.AsSlice())
}

// solicitation asks who has an IPv6 address, by unicast or by the multicast
// group of the address.
func solicitation(mac testlab.MAC, to testlab.MAC, destination, target netip.Addr) []byte {
	body := append(slices.Clone(target.AsSlice()), append([]byte{1, 1}, mac[:]...)...)
	return build(testlab.Ethernet{Dst: to, Src: mac}, testlab.IPv6{Src: client6, Dst: destination, HopLimit: 255},
		testlab.ICMPv6{Type: 135}, testlab.Payload(body))
}

func (n *network) answersND(w *testlab.Wire, target netip.Addr, unicast bool) bool {
	n.t.Helper()
	own, err := n.client.MAC("eth0")
	if err != nil {
		n.t.Fatal(err)
	}
	peer, err := n.backend.MAC("eth0")
	if err != nil {
		n.t.Fatal(err)
	}
	for _, a := range []netip.Addr{target, backend6} {
		low := a.As16()
		group := netip.MustParseAddr("ff02::1:ff00:0").As16()
		copy(group[13:], low[13:])
		destination, to := netip.AddrFrom16(group), testlab.MAC{0x33, 0x33, 0xff, low[13], low[14], low[15]}
		if unicast {
			destination, to = a, testlab.MAC(peer)
		}
		if err := w.Send(solicitation(testlab.MAC(own), to, destination, a)); err != nil {
			n.t.Fatal(err)
		}
	}
	f := next(n.t, w, func(f []byte) bool {
		return len(f) >= 78 && f[12] == 0x86 && f[20] == 58 && f[54] == 136 &&
			(string(f[62:78]) == string(target.AsSlice()) || string(f[62:78]) == string(backend6.AsSlice()))
	})
	return string(f[62:78]) == string(target.AsSlice())
}

// The host is silent about the VIPs, which the balancer answers for; before the
// settings it is not.
func TestSilence(t *testing.T) {
	n := newNetwork(t)
	// An address of the same multicast group, so that the host hears
	// solicitations for the VIP.
	n.sh("ip address add fd00::10/64 dev eth0 nodad; ip address add 203.0.113.10/32 dev lo")
	w := n.wire()
	if !n.answersARP(w, vip4) {
		t.Error("without arp_ignore the host does not answer: the test proves nothing")
	}
	n.mustApply(l2dsrConfig())
	if n.answersARP(w, vip4) {
		t.Error("the host answers ARP for the VIP")
	}
	for _, unicast := range []bool{false, true} {
		if n.answersND(w, vip6, unicast) {
			t.Errorf("the host answers neighbour discovery for the VIP (unicast %v)", unicast)
		}
	}
	// A proxy entry would make it answer; it is found, and only then.
	n.sh("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth0.proxy_ndp=1 && ip -6 neighbour add proxy 2001:db8::10 dev eth0")
	if !n.answersND(w, vip6, true) { // at once; to multicast after a random delay
		t.Error("a proxy does not answer: the test proves nothing")
	}
	if p := n.problems(nil); len(p) != 1 || p[0].Mend != "ip -6 neighbour del proxy 2001:db8::10 dev eth0" {
		t.Errorf("a proxy entry was found as %+v", p)
	}
}

// When the host looks for a client's MAC address to answer from the VIP, it
// must not ask in the VIP's name: who hears that would learn the wrong MAC.
func TestAnnounce(t *testing.T) {
	n := newNetwork(t)
	n.mustApply(l2dsrConfig())
	n.serve()
	for _, v6 := range []bool{false, true} {
		// The client gets to know the backend, and the backend forgets the
		// client: the answer needs its MAC.
		if err := n.ask(vipOf(v6)); err != nil {
			t.Fatal(err)
		}
		n.sh("ip neighbour flush dev eth0")
		w := n.wire()
		if err := n.ask(vipOf(v6)); err != nil {
			t.Fatal(err)
		}
		f := next(t, w, func(f []byte) bool {
			if v6 {
				return len(f) >= 78 && f[12] == 0x86 && f[20] == 58 && f[54] == 135
			}
			return f[12] == 8 && f[13] == 6 && f[21] == 1
		})
		sender := f[28:32]
		if v6 {
			sender = f[22:38]
		}
		if string(sender) == string(vipOf(v6).AsSlice()) {
			t.Errorf("the host asks in the name of %s", vipOf(v6))
		}
	}
}

// A client whose way back is another interface gets through.
func TestReversePath(t *testing.T) {
	for _, forward := range []string{L2DSR, IPIP} {
		n := newNetwork(t)
		err := n.lab.Veth(
			testlab.End{Namespace: n.client, Name: "eth1", Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/24")}},
			testlab.End{Namespace: n.backend, Name: "eth1", Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}},
		)
		if err != nil {
			t.Fatal(err)
		}
		n.sh("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1")
		c := tunnelConfig(forward)
		if forward == L2DSR {
			c = l2dsrConfig()
		} else {
			encapsulate(t, n.client, "eth0", false, outer(false, 0))
		}
		c.Interface = "eth0"
		n.mustApply(c)
		n.serve()
		if err := n.talk(customer4, vip4, 1000, 5*time.Second); err != nil {
			t.Errorf("%s: %v", forward, err)
		}
		n.sh("sysctl -qw net.ipv4.conf.eth0.rp_filter=1")
		if err := n.talk(customer4, vip4, 1000, 300*time.Millisecond); err == nil {
			t.Errorf("%s: the strict filter lets it through: the test proves nothing", forward)
		}
	}
}

// Packets for others, which the port of a bridge sees too, are left alone.
func TestForOthers(t *testing.T) {
	n := newNetwork(t)
	n.mustApply(tunnelConfig(IPIP))
	if err := n.backend.Do(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.SetPromiscOn(l)
	}); err != nil {
		t.Fatal(err)
	}
	before := n.counted("pass_other")
	w := n.wire()
	frame := build(testlab.Ethernet{Dst: testlab.MAC{2, 9, 9, 9, 9, 9}}, outer(false, 0), inner(false, 0))
	if err := w.Send(frame); err != nil {
		t.Fatal(err)
	}
	n.answersARP(w, vip4) // in order, so the frame was seen
	if n.counted("pass_other") == before || n.counted("accepted") != 0 {
		t.Errorf("pass_other %d, before %d; accepted %d, want 0", n.counted("pass_other"), before, n.counted("accepted"))
	}
}
