package testlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// pair is two namespaces on one cable, 10.1.0.1 and fd01::1 to .2 and ::2,
// with the offloads that XDP needs.
func pair(t *testing.T) (a, b *Namespace) {
	t.Helper()
	l := newLab(t)
	a, b = newNamespaceIn(t, l, "a"), newNamespaceIn(t, l, "b")
	end := func(n *Namespace, host int) End {
		return End{Namespace: n, Name: "x0", Features: ForXDP, Addresses: []netip.Prefix{
			netip.MustParsePrefix(fmt.Sprintf("10.1.0.%d/24", host)),
			netip.MustParsePrefix(fmt.Sprintf("fd01::%d/64", host))}}
	}
	must(t, l.Veth(end(a, 1), end(b, 2)))
	ctx := deadline(t)
	must(t, a.WaitUp(ctx))
	must(t, b.WaitUp(ctx))
	return a, b
}

func macOf(t *testing.T, n *Namespace) MAC {
	t.Helper()
	mac, err := n.MAC("x0")
	must(t, err)
	return MAC(mac)
}

func openWire(t *testing.T, n *Namespace) *Wire {
	t.Helper()
	w, err := n.Wire("x0")
	must(t, err)
	t.Cleanup(func() { w.Close() })
	return w
}

// The kernel of the other side, which verifies every checksum, accepts what
// Build made: whole, with options and extension headers, and in fragments.
func TestKernelAcceptsBuiltPackets(t *testing.T) {
	a, b := pair(t)
	w := openWire(t, a)
	link := Ethernet{Src: macOf(t, a), Dst: macOf(t, b)}
	src4, dst4 := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2")
	src6, dst6 := netip.MustParseAddr("fd01::1"), netip.MustParseAddr("fd01::2")
	h4, h6 := IPv4{Src: src4, Dst: dst4}, IPv6{Src: src6, Dst: dst6}
	udp := UDP{SrcPort: 4000, DstPort: 5000}
	// An option to be skipped by who does not know it (RFC 4727).
	experiment := append([]byte{0x1e, 12}, make([]byte, 12)...)
	big := Payload(strings.Repeat("abcdefg", 400))
	for _, c := range []struct {
		name    string
		frames  [][]byte
		payload string
	}{
		{"udp4", [][]byte{Build(link, h4, udp, Payload("one"))}, "one"},
		{"udp4 without checksum", [][]byte{Build(link, h4, UDP{SrcPort: 4000, DstPort: 5000, Checksum: new(uint16(0))}, Payload("two"))}, "two"},
		{"udp4 with options", [][]byte{Build(link, IPv4{Src: src4, Dst: dst4, Options: []byte{1, 1, 1, 1}}, udp, Payload("three"))}, "three"},
		{"udp4 fragments", Fragments(Build(link, h4, udp, big), 1500, 0), string(big)},
		{"udp6", [][]byte{Build(link, h6, udp, Payload("four"))}, "four"},
		{"udp6 with extensions", [][]byte{Build(link, h6, Extension{Protocol: ProtoHopByHop}, Extension{Protocol: ProtoDestinationOptions, Data: experiment}, udp, Payload("five"))}, "five"},
		{"udp6 fragments", Fragments(Build(link, h6, Extension{Protocol: ProtoHopByHop}, udp, big), 1280, 9), string(big)},
	} {
		t.Run(c.name, func(t *testing.T) {
			network := c.name[:4]
			conn, err := b.ListenPacket(network, ":5000")
			must(t, err)
			defer conn.Close()
			for _, f := range c.frames {
				must(t, Check(f))
				must(t, w.Send(f))
			}
			must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
			buf := make([]byte, 65536)
			n, from, err := conn.ReadFrom(buf)
			must(t, err)
			if string(buf[:n]) != c.payload || from.(*net.UDPAddr).Port != 4000 {
				t.Errorf("got %d bytes from %s, want %d", n, from, len(c.payload))
			}
		})
	}
}

// A wrong checksum, which Check refuses, the kernel refuses too: the right
// packet sent after it is the first to arrive.
func TestKernelRefusesWhatCheckRefuses(t *testing.T) {
	a, b := pair(t)
	w := openWire(t, a)
	link := Ethernet{Src: macOf(t, a), Dst: macOf(t, b)}
	ip := IPv4{Src: netip.MustParseAddr("10.1.0.1"), Dst: netip.MustParseAddr("10.1.0.2")}
	conn, err := b.ListenPacket("udp4", ":5000")
	must(t, err)
	defer conn.Close()
	bad := Build(link, ip, UDP{SrcPort: 1, DstPort: 5000, Checksum: new(uint16(0x1234))}, Payload("bad"))
	if Check(bad) == nil {
		t.Fatal("Check accepts a wrong checksum")
	}
	must(t, w.Send(bad))
	must(t, w.Send(Build(link, ip, UDP{SrcPort: 1, DstPort: 5000}, Payload("good"))))
	must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	buf := make([]byte, 100)
	n, _, err := conn.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "good" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
}

// A SYN made by Build is answered, and what the kernel sends itself passes
// Check: nothing is left to an offload.
func TestCheckAcceptsKernelPackets(t *testing.T) {
	a, b := pair(t)
	server, err := b.StartTCPEcho(80)
	must(t, err)
	w := openWire(t, a)
	ctx := deadline(t)
	for _, c := range []struct{ src, dst string }{{"10.1.0.9", "10.1.0.2"}, {"fd01::9", "fd01::2"}} {
		from := netip.AddrPortFrom(netip.MustParseAddr(c.src), 40000)
		to := netip.AddrPortFrom(netip.MustParseAddr(c.dst), 80)
		// A sender that is not there, lest a's own stack answer with RST.
		mac := macOf(t, a)
		must(t, b.AddNeighbour("x0", from.Addr(), mac[:]))
		must(t, w.Send(TCPPacket(Ethernet{Src: mac, Dst: macOf(t, b)}, from, to, SYN, "")))
		got, err := w.Next(ctx, ToPort(from))
		must(t, err)
		headers, err := Dissect(got)
		if err != nil || !strings.Contains(headers[2].String(), "flags=SYN|ACK") || !strings.Contains(headers[2].String(), "ack=1 ") {
			t.Errorf("answer %s: %v", headers[2], err)
		}
	}
	conn, err := a.Dial(ctx, "tcp", "10.1.0.2:80")
	must(t, err)
	defer conn.Close()
	local := netip.MustParseAddrPort(conn.LocalAddr().String())
	got, err := w.Next(ctx, func(f []byte) bool { return ToPort(local)(f) && strings.Contains(string(f), server.Name+"\n") })
	must(t, err)
	must(t, Check(got))
}

func TestWireKeepsVLANTags(t *testing.T) {
	a, b := pair(t)
	from, to := openWire(t, a), openWire(t, b)
	link := Ethernet{Src: macOf(t, a), Dst: macOf(t, b)}
	for name, frame := range map[string][]byte{
		"one":  Build(link, VLAN{ID: 7, Priority: 5}, ip4, syn),
		"two":  Build(link, VLAN{ID: 100, Service: true}, VLAN{ID: 7}, ip6, syn),
		"none": Build(link, ip4, dgram),
	} {
		must(t, from.Send(frame))
		got, err := to.Next(deadline(t), func(f []byte) bool {
			return strings.HasPrefix(string(f[6:]), string(link.Src[:])) && len(f) == len(frame)
		})
		must(t, err)
		if diff := Diff(frame, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestWireNextEndsWithContext(t *testing.T) {
	a, _ := pair(t)
	w := openWire(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := w.Next(ctx, func([]byte) bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := a.Wire("nosuch"); err == nil {
		t.Error("a wire on a missing link")
	}
}
