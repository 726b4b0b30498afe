package loader

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

var (
	clientMAC   = testlab.MAC{2, 0, 0, 0, 0, 2}
	balancerMAC = testlab.MAC{2, 0, 0, 0, 0, 1}
	comes       = testlab.Ethernet{Src: clientMAC, Dst: balancerMAC}
	leaves      = testlab.Ethernet{Src: balancerMAC, Dst: clientMAC}
	tags        = []testlab.Layer{testlab.VLAN{ID: 100, Priority: 6, Service: true}, testlab.VLAN{ID: 5}}
	client4     = netip.MustParseAddrPort("10.10.0.2:40000")
	client6     = netip.MustParseAddrPort("[fd10::2]:40000")
	vip4        = netip.MustParseAddrPort("192.0.2.10:80")
	vip6        = netip.MustParseAddrPort("[2001:db8::10]:80")
)

func vipFor(client netip.AddrPort) netip.AddrPort {
	if client.Addr().Is4() {
		return vip4
	}
	return vip6
}

// stacked are layers behind an Ethernet header and tags.
func stacked(link testlab.Layer, tags []testlab.Layer, more ...testlab.Layer) []byte {
	return testlab.Build(append(append([]testlab.Layer{link}, tags...), more...)...)
}

// upcallOf is what the data plane says of a frame with a plain IP header.
func upcallOf(frame []byte, tags int, client netip.AddrPort, protocol model.Protocol) *maps.Upcall {
	u := &maps.Upcall{Source: client, Destination: vipFor(client), Protocol: protocol, Frame: frame, Network: 14 + 4*tags}
	u.Transport = u.Network + 20
	if client.Addr().Is6() {
		u.Transport += 20
	}
	if protocol == model.TCP {
		u.TCPFlags = frame[u.Transport+13]
	}
	return u
}

func ipOf(from, to netip.AddrPort) testlab.Layer {
	if from.Addr().Is4() {
		return testlab.IPv4{Src: from.Addr(), Dst: to.Addr(), TTL: 64, DontFragment: true}
	}
	return testlab.IPv6{Src: from.Addr(), Dst: to.Addr(), HopLimit: 64}
}

func expectRejection(t *testing.T, u *maps.Upcall, want []byte) {
	t.Helper()
	got, err := rejection(u)
	if err != nil {
		t.Fatal(err)
	}
	if d := testlab.Diff(want, got); d != "" {
		t.Errorf("answer:\n%s", d)
	}
	if err := testlab.Check(got); err != nil {
		t.Error(err)
	}
}

// A segment to a closed port is answered as RFC 9293 §3.10.7.1 says: by what it
// acknowledges, or, if it acknowledges nothing, by all that it occupies.
func TestRejectTCP(t *testing.T) {
	const seq, acked = 0x01020304, 0xfffffffe
	for name, c := range map[string]struct {
		flags   testlab.TCPFlags
		payload int
		want    testlab.TCP
	}{
		"syn":           {testlab.SYN, 0, testlab.TCP{Ack: seq + 1, Flags: testlab.RST | testlab.ACK}},
		"syn with data": {testlab.SYN, 11, testlab.TCP{Ack: seq + 12, Flags: testlab.RST | testlab.ACK}},
		"fin":           {testlab.FIN, 3, testlab.TCP{Ack: seq + 4, Flags: testlab.RST | testlab.ACK}},
		"syn and fin":   {testlab.SYN | testlab.FIN, 0, testlab.TCP{Ack: seq + 2, Flags: testlab.RST | testlab.ACK}},
		"nothing":       {0, 0, testlab.TCP{Ack: seq, Flags: testlab.RST | testlab.ACK}},
		"ack":           {testlab.ACK, 500, testlab.TCP{Seq: acked, Flags: testlab.RST}},
		"syn ack":       {testlab.SYN | testlab.ACK, 0, testlab.TCP{Seq: acked, Flags: testlab.RST}},
	} {
		for _, client := range []netip.AddrPort{client4, client6} {
			for n := range len(tags) + 1 {
				t.Run(fmt.Sprint(name, " ", client.Addr(), " ", n, " tags"), func(t *testing.T) {
					vip := vipFor(client)
					frame := stacked(comes, tags[:n], testlab.IP(client.Addr(), vip.Addr()), testlab.TCP{
						SrcPort: client.Port(), DstPort: vip.Port(), Seq: seq, Ack: acked, Flags: c.flags,
						Options: []byte{2, 4, 5, 0xb4},
					}, make(testlab.Payload, c.payload))
					want := c.want
					want.SrcPort, want.DstPort, want.Window = vip.Port(), client.Port(), new(uint16(0))
					expectRejection(t, upcallOf(append(frame, "Ethernet's padding"...), n, client, model.TCP),
						stacked(leaves, tags[:n], ipOf(vip, client), want))
				})
			}
		}
	}
}

// A datagram is answered by ICMP, which quotes it as far as the smallest MTU
// allows.
func TestRejectUDP(t *testing.T) {
	for _, size := range []int{0, 1, 100, 519, 520, 521, 1183, 1184, 1185, 8000} {
		for n := range len(tags) + 1 {
			t.Run(fmt.Sprint(size, " ", n, " tags"), func(t *testing.T) {
				for _, client := range []netip.AddrPort{client4, client6} {
					vip, icmp, most := vipFor(client), testlab.Layer(testlab.ICMPv4{Type: 3, Code: 13}), 576-28
					if client.Addr().Is6() {
						icmp, most = testlab.ICMPv6{Type: 1, Code: 1}, 1280-48
					}
					frame := stacked(comes, tags[:n], testlab.IP(client.Addr(), vip.Addr()),
						testlab.UDP{SrcPort: client.Port(), DstPort: vip.Port()}, make(testlab.Payload, size))
					quote := frame[14+4*n:]
					u := upcallOf(append(frame, "Ethernet's padding"...), n, client, model.UDP)
					expectRejection(t, u, stacked(leaves, tags[:n], ipOf(vip, client), icmp, testlab.Payload(quote[:min(len(quote), most)])))
				}
			})
		}
	}
}

// Nobody answers a RST, nor what came from or to more than one host.
func TestRejectSilence(t *testing.T) {
	group := testlab.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for name, c := range map[string]struct {
		link   testlab.Ethernet
		client string
		flags  testlab.TCPFlags
	}{
		"rst":               {comes, "10.10.0.2:40000", testlab.RST},
		"rst and ack":       {comes, "[fd10::2]:40000", testlab.RST | testlab.ACK},
		"to a group":        {testlab.Ethernet{Src: clientMAC, Dst: group}, "10.10.0.2:40000", testlab.SYN},
		"from a group":      {testlab.Ethernet{Src: group, Dst: balancerMAC}, "10.10.0.2:40000", testlab.SYN},
		"from all":          {comes, "255.255.255.255:40000", testlab.SYN},
		"from none":         {comes, "0.0.0.0:40000", testlab.SYN},
		"from none of IPv6": {comes, "[::]:40000", testlab.SYN},
		"from multicast":    {comes, "224.0.0.1:40000", testlab.SYN},
		"from multicast 6":  {comes, "[ff02::1]:40000", testlab.SYN},
		"from itself":       {comes, "127.0.0.1:40000", testlab.SYN},
	} {
		client := netip.MustParseAddrPort(c.client)
		u := upcallOf(testlab.TCPPacket(c.link, client, vipFor(client), c.flags, ""), 0, client, model.TCP)
		if got, err := rejection(u); err != nil || got != nil {
			t.Errorf("%s: answered by %x, error %v", name, got, err)
		}
	}
}

// A checksum that was left to the device is completed; any other, right or wrong,
// is its sender's matter.
func TestCompleteChecksum(t *testing.T) {
	for _, client := range []netip.AddrPort{client4, client6} {
		for _, p := range []model.Protocol{model.TCP, model.UDP} {
			for size := range 5 {
				vip := vipFor(client)
				whole := testlab.TCPPacket(comes, client, vip, testlab.SYN, "data"[:size])
				if p == model.UDP {
					whole = testlab.UDPPacket(comes, client, vip, "data"[:size])
				}
				u := upcallOf(append([]byte(nil), whole...), 0, client, p)
				at := u.Transport + map[model.Protocol]int{model.TCP: 16, model.UDP: 6}[p]
				right := binary.BigEndian.Uint16(whole[at:])
				partial := uint16(pseudoSum(client.Addr().AsSlice(), vip.Addr().AsSlice(), uint8(p), len(whole)-u.Transport))
				for field, want := range map[uint16]uint16{partial: right, right: right, right + 1: right + 1, 0: 0} {
					binary.BigEndian.PutUint16(u.Frame[at:], field)
					if err := completeChecksum(u); err != nil {
						t.Fatal(err)
					}
					if got := binary.BigEndian.Uint16(u.Frame[at:]); got != want {
						t.Errorf("%v %v, %d bytes: %#x became %#x, want %#x", client, p, size, field, got, want)
					}
				}
			}
		}
	}
}

// Whatever the frame holds, nothing beyond it is read, and what is answered is a
// packet.
func FuzzRejection(f *testing.F) {
	f.Add(testlab.TCPPacket(comes, client4, vip4, testlab.SYN, "data"), false, true)
	f.Add(testlab.UDPPacket(comes, client6, vip6, "data"), true, false)
	f.Add(testlab.UDPPacket(comes, client6, vip6, "data"), false, true)
	f.Fuzz(func(t *testing.T, frame []byte, ipv6, tcp bool) {
		client, protocol := client4, model.UDP
		if ipv6 {
			client = client6
		}
		if tcp {
			protocol = model.TCP
		}
		if len(frame) < 14+40+20 {
			frame = append(frame, make([]byte, 14+40+20-len(frame))...)
		}
		u := upcallOf(frame, 0, client, protocol)
		if err := completeChecksum(u); err != nil {
			return
		}
		answer, err := rejection(u)
		if err != nil {
			t.Error(err)
		}
		if answer != nil && len(answer) < 14+20+20 && protocol == model.TCP {
			t.Errorf("answered by %x", answer)
		}
	})
}
