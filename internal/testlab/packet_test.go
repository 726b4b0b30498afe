package testlab

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var (
	link4 = Ethernet{Dst: MAC{2, 0, 0, 0, 0, 2}, Src: MAC{2, 0, 0, 0, 0, 1}}
	ip4   = IPv4{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("192.0.2.10")}
	ip6   = IPv6{Src: netip.MustParseAddr("fd00::1"), Dst: netip.MustParseAddr("2001:db8::10")}
	syn   = TCP{SrcPort: 40000, DstPort: 80, Seq: 7, Flags: SYN}
	dgram = UDP{SrcPort: 40000, DstPort: 53}
)

// goodPackets are right in every length and checksum.
var goodPackets = map[string][]byte{
	"tcp4":               Build(link4, ip4, syn),
	"tcp4 odd payload":   Build(link4, ip4, syn, Payload("odd")),
	"tcp4 options":       Build(link4, ip4, TCP{SrcPort: 1, DstPort: 2, Flags: SYN | ACK, Options: []byte{2, 4, 5, 0xb4, 1, 3, 3}}),
	"tcp6":               Build(link4, ip6, syn, Payload("hello")),
	"udp4":               Build(link4, ip4, dgram, Payload("hello")),
	"udp4 zero sum":      Build(link4, ip4, UDP{SrcPort: 1, DstPort: 2, Checksum: new(uint16(0))}, Payload("hello")),
	"udp6":               Build(link4, ip6, dgram, Payload("hello")),
	"ipv4 options":       Build(link4, IPv4{Src: ip4.Src, Dst: ip4.Dst, TTL: 3, TOS: 0xb8, ID: 9, DontFragment: true, Options: []byte{7, 7, 4, 0, 0, 0, 0}}, dgram),
	"ttl zero":           Build(link4, IPv4{Src: ip4.Src, Dst: ip4.Dst, TTL: TTLZero}, dgram),
	"vlan":               Build(link4, VLAN{ID: 5, Priority: 3}, ip4, syn),
	"qinq":               Build(link4, VLAN{ID: 100, Service: true}, VLAN{ID: 5}, ip6, dgram),
	"extension headers":  Build(link4, ip6, Extension{Protocol: ProtoHopByHop}, Extension{Protocol: ProtoDestinationOptions, Data: make([]byte, 20)}, Extension{Protocol: ProtoRouting}, syn, Payload("x")),
	"unfinished routing": Build(link4, ip6, Extension{Protocol: ProtoRouting, Data: []byte{4, 1}}, syn),
	"authentication":     Build(link4, ip6, Extension{Protocol: ProtoAuthentication, Data: make([]byte, 22)}, syn),
	"atomic fragment":    Build(link4, ip6, Fragment{ID: 1}, syn),
	"last fragment":      Build(link4, IPv4{Src: ip4.Src, Dst: ip4.Dst, FragmentOffset: 1480, Protocol: ProtoUDP}, Payload("rest")),
	"ipip":               Build(link4, ip4, ip4, syn, Payload("x")),
	"6in4":               Build(link4, ip4, ip6, syn, Payload("x")),
	"4in6":               Build(link4, ip6, ip4, dgram, Payload("x")),
	"echo":               Build(link4, ip4, ICMPv4{Type: 8, Rest: 0x10001}, Payload("ping")),
	"echo6":              Build(link4, ip6, ICMPv6{Type: 128, Rest: 0x10001}, Payload("ping")),
	"frag needed":        Build(link4, ip4, ICMPv4{Type: 3, Code: 4, Rest: 1400}, Payload(Build(ip4, syn)[:28])),
	"packet too big":     Build(link4, ip6, ICMPv6{Type: 2, Rest: 1280}, ip6, syn, Payload("x")),
	"arp":                Build(Ethernet{EtherType: EtherTypeARP}, Payload(make([]byte, 28))),
	"padded":             append(Build(link4, ip4, syn), make([]byte, 6)...),
}

func TestCheckAcceptsRightPackets(t *testing.T) {
	for name, packet := range goodPackets {
		if err := Check(packet); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever bit flips, Check notices, except in the few places that no length
// and no checksum covers.
func TestCheckNoticesEveryBit(t *testing.T) {
	for _, name := range []string{"tcp4 odd payload", "tcp6", "udp4", "udp6", "ipv4 options", "ipip", "echo", "echo6"} {
		packet := goodPackets[name]
		for i := 14; i < len(packet); i++ {
			v6 := packet[12] == 0x86
			// IPv6 has no checksum over class, flow label and hop limit,
			// and in a next header of another kind nothing is known.
			if v6 && (i == 14 || i > 14 && i < 18 || i == 20 || i == 21) {
				continue
			}
			for bit := range 8 {
				flipped := bytes.Clone(packet)
				flipped[i] ^= 1 << bit
				if Check(flipped) == nil {
					t.Errorf("%s: byte %d, bit %d", name, i, bit)
				}
			}
		}
	}
}

func TestCheckNamesTheFault(t *testing.T) {
	for _, c := range []struct {
		packet []byte
		want   string
	}{
		{Build(link4, ip4, UDP{Checksum: new(uint16(1))}), "udp: checksum 0x0001 is wrong"},
		{Build(link4, ip4, TCP{Checksum: new(uint16(1))}), "tcp: checksum 0x0001 is wrong"},
		{Build(link4, ip4, UDP{Length: new(uint16(9))}), "udp: length is 9, the datagram has 8 bytes"},
		{Build(link4, ip6, UDP{Checksum: new(uint16(0))}), "udp: no checksum over IPv6"},
		{Build(link4, ip6, TCP{Options: make([]byte, 40)})[:100], "ipv6: length says 60 bytes behind the header, there are 46"},
		{Build(link4, IPv4{Src: ip4.Src, Dst: ip4.Dst, Checksum: new(uint16(2))}, dgram), "ipv4: checksum 0x0002 is wrong"},
		{append(Build(link4, ip4, dgram, Payload(make([]byte, 50))), 0), "ipv4: 1 bytes follow the packet"},
		{Build(link4, ip4, ICMPv4{Type: 3}, Payload(corrupt(Build(ip4, syn), 11))), "ipv4: checksum"},
		{link4.Dst[:], "ethernet: header of 14 bytes, 6 left"},
		{Build(link4, ip4, TCP{})[:40], "tcp: header of 20 bytes, 6 left"},
	} {
		if err := Check(c.packet); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}

func corrupt(b []byte, at int) []byte {
	b[at] ^= 0xff
	return b
}

// A second implementation agrees on every byte.
func TestBuildAgreesWithGopacket(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		payload := make([]byte, random.IntN(200))
		for j := range payload {
			payload[j] = byte(random.Uint32())
		}
		src, dst := randomAddrs(random, i%2 == 0)
		sport, dport, seq := uint16(random.Uint32()), uint16(random.Uint32()), random.Uint32()
		var l4 Layer = UDP{SrcPort: sport, DstPort: dport}
		var other gopacket.SerializableLayer
		proto := layers.IPProtocolUDP
		udp := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
		tcp := &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Seq: seq, PSH: true, ACK: true, Window: 65535}
		other = udp
		if i%4 < 2 {
			l4 = TCP{SrcPort: sport, DstPort: dport, Seq: seq, Flags: PSH | ACK}
			other, proto = tcp, layers.IPProtocolTCP
		}
		got := Build(link4, IP(src, dst), l4, Payload(payload))
		eth := &layers.Ethernet{SrcMAC: link4.Src[:], DstMAC: link4.Dst[:], EthernetType: layers.EthernetTypeIPv4}
		var ip interface {
			gopacket.SerializableLayer
			gopacket.NetworkLayer
		} = &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		if src.Is6() {
			eth.EthernetType = layers.EthernetTypeIPv6
			ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		}
		must(t, udp.SetNetworkLayerForChecksum(ip))
		must(t, tcp.SetNetworkLayerForChecksum(ip))
		buf := gopacket.NewSerializeBuffer()
		must(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, other, gopacket.Payload(payload)))
		// gopacket pads to the least length of a frame on the wire.
		unpadded := buf.Bytes()
		if len(got) < 60 {
			unpadded = unpadded[:len(got)]
		}
		if diff := Diff(unpadded, got); diff != "" {
			t.Fatalf("packet %d:\n%s", i, diff)
		}
		if err := Check(got); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
	}
}

func randomAddrs(random *rand.Rand, v6 bool) (src, dst netip.Addr) {
	var b [32]byte
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	if v6 {
		return netip.AddrFrom16([16]byte(b[:16])), netip.AddrFrom16([16]byte(b[16:]))
	}
	return netip.AddrFrom4([4]byte(b[:4])), netip.AddrFrom4([4]byte(b[4:8]))
}

// The UDP checksum that comes out as zero is sent as ones.
func TestUDPChecksumIsNeverZero(t *testing.T) {
	for word := range 1 << 16 {
		packet := Build(link4, ip6, dgram, Payload{byte(word >> 8), byte(word)})
		if be16(packet[60:]) == 0xffff {
			must(t, Check(packet))
			return
		}
	}
	t.Error("no payload sums to zero")
}

func TestDiff(t *testing.T) {
	base := Build(link4, ip4, syn, Payload("hello"))
	other := Build(Ethernet{Dst: MAC{2, 0, 0, 0, 0, 9}, Src: link4.Src}, ip4, syn, Payload("hello"))
	for name, c := range map[string]struct {
		got  []byte
		want []string
	}{
		"equal":   {base, nil},
		"mac":     {other, []string{"ethernet dst: want 02:00:00:00:00:02, got 02:00:00:00:00:09"}},
		"payload": {corrupt(bytes.Clone(base), 55), []string{"payload bytes: want 68656c6c6f, got 689a6c6c6f", "got has faults: tcp: checksum"}},
		"layers":  {Build(link4, VLAN{ID: 4}, ip4, syn), []string{"header 1: want ipv4", "got vlan tpid=0x8100 id=4"}},
		"short":   {base[:len(base)-5], []string{"header 3: want payload", "frame: want 59 bytes, got 54"}},
	} {
		diff := Diff(base, c.got)
		if (diff == "") != (c.want == nil) {
			t.Errorf("%s: %q", name, diff)
		}
		for _, w := range c.want {
			if !strings.Contains(diff, w) {
				t.Errorf("%s: want %q in\n%s", name, w, diff)
			}
		}
	}
	padded := append(bytes.Clone(base), 0)
	if diff := Diff(padded, append(bytes.Clone(base), 1)); diff != "byte 59: want 0x00, got 0x01\n" {
		t.Errorf("padding: %q", diff)
	}
	long := make([]byte, 400)
	if diff := Diff(Build(link4, Payload(long)), Build(link4, Payload(corrupt(bytes.Clone(long), 300)))); len(diff) > 200 || !strings.Contains(diff, "[296:]") {
		t.Errorf("long payload: %q", diff)
	}
}

// The fragments hold the whole packet, in order, each right by itself.
func TestFragments(t *testing.T) {
	data := Payload(strings.Repeat("0123456789", 100))
	for name, frame := range map[string][]byte{
		"ipv4":      Build(link4, VLAN{ID: 2}, ip4, dgram, data),
		"ipv6":      Build(link4, ip6, dgram, data),
		"ipv6 opts": Build(link4, ip6, Extension{Protocol: ProtoHopByHop}, dgram, data),
	} {
		var whole []byte
		frames := Fragments(frame, 400, 77)
		for i, f := range frames {
			if err := Check(f); err != nil {
				t.Errorf("%s: fragment %d: %v", name, i, err)
			}
			if len(f) > 400+18 {
				t.Errorf("%s: fragment %d has %d bytes", name, i, len(f))
			}
			headers, _ := Dissect(f)
			last := headers[len(headers)-1]
			start := last.Offset
			if i == 0 {
				start -= 8
			}
			whole = append(whole, f[start:]...)
		}
		if len(frames) < 3 || !bytes.Equal(whole, frame[len(frame)-len(data)-8:]) {
			t.Errorf("%s: %d fragments hold %d bytes", name, len(frames), len(whole))
		}
	}
}

func TestBuildPanicsOnTheImpossible(t *testing.T) {
	for i, build := range []func(){
		func() { Build(IPv4{Src: ip6.Src, Dst: ip6.Dst}) },
		func() { Build(IPv6{Src: ip4.Src, Dst: ip4.Dst}) },
		func() { Build(link4, syn) },
		func() { Build(IPv4{Src: ip4.Src, Dst: ip4.Dst, FragmentOffset: 3}) },
		func() { Build(IPv4{Src: ip4.Src, Dst: ip4.Dst, Options: make([]byte, 41)}) },
		func() { Build(ip4, TCP{Options: make([]byte, 41)}) },
		func() { Build(Fragment{Offset: 9}) },
		func() { Fragments(Build(link4, ip4, dgram), 24, 0) },
		func() { Fragments(Build(Ethernet{EtherType: EtherTypeARP}), 1000, 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("case %d built a packet", i)
				}
			}()
			build()
		}()
	}
}

func FuzzDissect(f *testing.F) {
	for _, packet := range goodPackets {
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		headers, _ := Dissect(packet)
		for _, h := range headers {
			if h.Offset < 0 || h.Offset > len(packet) {
				t.Errorf("%s at %d of %d", h.Name, h.Offset, len(packet))
			}
		}
		_ = Diff(packet, append(bytes.Clone(packet), 1))
	})
}

func ExampleDissect() {
	headers, err := Dissect(Build(Ethernet{}, ip4, syn))
	fmt.Println(headers[2], err)
	// Output: tcp src-port=40000 dst-port=80 seq=7 ack=0 flags=SYN window=65535 urgent=0 options= checksum=0x4740 <nil>
}
