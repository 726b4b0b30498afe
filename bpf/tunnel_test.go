package bpf_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

const guePort = 6080

var outerSources = [2]netip.Prefix{netip.MustParsePrefix("10.20.0.1/32"), netip.MustParsePrefix("fd10:20::1/128")}

// tunnelled is a world with a service for each pair of inner and outer family,
// which records nothing.
func tunnelled(forward model.Forward, sources [2]netip.Prefix) world {
	w := emptyWorld()
	for i, s := range sources {
		if s.IsValid() {
			w.Tunnels[uint32(i)] = xlb.TunnelFrom(s, guePort)
		}
	}
	for _, way := range tunnelWays() {
		w.service(way.service, forward, 0, 0, way.vip.Addr().String())
		s := w.Services[way.service]
		s.Track = model.TrackAuto
		w.Services[way.service] = s
		w.backend(way.number, way.service, way.backend.String())
		w.table(way.service, way.number)
	}
	return w
}

// tunnelWays are through the balancer and on one arm, in each pair of families.
func tunnelWays() []way {
	var out []way
	for i, w := range []way{
		{name: "4 in 4", vip: at("192.0.2.30:80"), backend: at("10.20.0.11:80")},
		{name: "4 in 6", vip: at("192.0.2.31:80"), backend: at("[fd10:20::b]:80")},
		{name: "6 in 4", vip: at("[2001:db8::30]:80"), backend: at("10.20.0.11:80")},
		{name: "6 in 6", vip: at("[2001:db8::31]:80"), backend: at("[fd10:20::b]:80")},
	} {
		w.service = uint32(i + 1)
		out = append(out, w.throughAndOnOneArm()...)
	}
	return out
}

// overhead is what the outer headers of a way add to the packet.
func (w way) overhead(forward model.Forward) int {
	n := 20
	if w.backend.Addr().Is6() {
		n = 40
	}
	if forward == model.GUE {
		n += 8
	}
	return n
}

// encapsulated is the way's request inside its outer headers.
func (w way) encapsulated(m mold, forward model.Forward, sources [2]netip.Prefix) []byte {
	e := w.requestEnds()
	e.ttl = 63
	frame := w.leaving(m)(e)
	inner, tags := split(frame)
	entropy := uint32(hashOf(w.client, w.vip, m.protocol) >> 32)
	layers := []testlab.Layer{testlab.Ethernet{Dst: w.backendMAC, Src: own[w.far]}}
	layers = append(layers, tags...)
	number := byte(testlab.ProtoIPv4)
	if w.family() == 6 {
		number = testlab.ProtoIPv6
	}
	if forward == model.GUE {
		number = testlab.ProtoUDP
	}
	if w.backend.Addr().Is4() {
		ip := testlab.IPv4{
			Src: fill(sources[0], entropy), Dst: w.backend.Addr(), TTL: 64, TOS: 0xb9,
			DontFragment: true, Protocol: number,
		}
		if w.family() == 4 {
			ip.ID = 77 // the inner packet's
		}
		layers = append(layers, ip)
	} else {
		layers = append(layers, testlab.IPv6{
			Src: fill(sources[1], entropy), Dst: w.backend.Addr(), HopLimit: 64, TrafficClass: 0xb9,
			FlowLabel: entropy >> 12, NextHeader: number,
		})
	}
	// Ethernet's padding is behind the IP packet, whose lengths do not count it.
	padding := len(inner) - ipLength(inner)
	if forward == model.GUE {
		layers = append(layers, testlab.UDP{SrcPort: uint16(0xc000 | entropy>>18), DstPort: guePort, Checksum: new(uint16(0))})
	}
	layers = append(layers, testlab.Payload(inner[:len(inner)-padding]))
	return append(testlab.Build(layers...), inner[len(inner)-padding:]...)
}

// split separates a frame's packet from its VLAN tags.
func split(frame []byte) (packet []byte, tags []testlab.Layer) {
	at := 12
	for {
		switch t := binary.BigEndian.Uint16(frame[at:]); t {
		case testlab.EtherTypeVLAN, testlab.EtherTypeQinQ:
			tci := binary.BigEndian.Uint16(frame[at+2:])
			tags = append(tags, testlab.VLAN{ID: tci & 0xfff, Priority: uint8(tci >> 13), Service: t == testlab.EtherTypeQinQ})
			at += 4
		default:
			return frame[at+2:], tags
		}
	}
}

func ipLength(packet []byte) int {
	if packet[0]>>4 == 4 {
		return int(binary.BigEndian.Uint16(packet[2:]))
	}
	return 40 + int(binary.BigEndian.Uint16(packet[4:]))
}

// fill is the prefix's address with the hash in the bits left.
func fill(p netip.Prefix, entropy uint32) netip.Addr {
	b := p.Addr().AsSlice()
	hash := binary.LittleEndian.AppendUint32(nil, entropy)
	for bit := max(p.Bits(), len(b)*8-32); bit < len(b)*8; bit++ {
		i, mask := bit/8, byte(0x80)>>(bit%8)
		b[i] = b[i]&^mask | hash[i-(len(b)-4)]&mask
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// begins says whether the mold's packet counts as a flow's first.
func (m mold) begins() bool {
	return m.protocol == model.TCP && m.flags&(testlab.SYN|testlab.ACK) == testlab.SYN
}

// Every form of packet in every pair of families and both encapsulations: the
// exact bytes that leave, and no flow recorded.
func TestTunnel(t *testing.T) {
	for _, forward := range []model.Forward{model.IPIP, model.GUE} {
		t.Run(forward.String(), func(t *testing.T) {
			p := newPlane(t, settings(), sizes(), tunnelled(forward, outerSources))
			p.bothHooks(t, func(t *testing.T) {
				for _, w := range tunnelWays() {
					for _, m := range molds() {
						if m.only == 0 || m.only == w.family() {
							inside(t, w.name+"/"+m.name, func(t *testing.T) { p.expectTunnelled(t, w, m, forward, outerSources) })
						}
					}
				}
				if n := p.flowCount(); n != 0 {
					t.Errorf("%d flows are recorded", n)
				}
			})
		})
	}
}

func (p *plane) expectTunnelled(t *testing.T, w way, m mold, forward model.Forward, sources [2]netip.Prefix) {
	t.Helper()
	in := w.request(m)
	packet, _ := split(in.frame)
	wanted := want{reason: w.sends(), service: w.service, backend: w.number}
	switch {
	case ipLength(packet)+w.overhead(forward) > 1500:
		wanted.reason = "pass_mtu"
	case m.tagged && p.hook.name == tcHook.name:
		wanted.reason = "pass_vlan" // a tag that the kernel left in the frame
	default:
		wanted.begun = m.begins()
		wanted.out = func() []byte { return w.encapsulated(m, forward, sources) }
	}
	p.expect(t, in, wanted)
}

// The ECN field and the DSCP are copied as they are (RFC 6040 §4.1, normal mode).
func TestTunnelTrafficClass(t *testing.T) {
	p := newPlane(t, settings(), sizes(), tunnelled(model.IPIP, outerSources))
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range tunnelWays() {
			for _, class := range []uint8{0, 1, 2, 3, 0xfc, 0xff, 0x2e << 2} {
				inside(t, fmt.Sprintf("%s/%#x", w.name, class), func(t *testing.T) {
					frame := w.request(segment(testlab.ACK)).frame
					setClass(frame[14:], class)
					_, out, err := p.run(packet{frame: frame, ingress: w.near})
					if err != nil {
						t.Fatal(err)
					}
					if got := classOf(out[14:]); got != class {
						t.Errorf("outer traffic class %#x, inner %#x", got, class)
					}
					if err := testlab.Check(out); err != nil {
						t.Error(err)
					}
				})
			}
		}
	})
}

func setClass(ip []byte, class uint8) {
	if ip[0]>>4 == 6 {
		ip[0], ip[1] = 0x60|class>>4, class<<4|ip[1]&0xf
		return
	}
	ip[1] = class
	ip[10], ip[11] = 0, 0
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
}

func classOf(ip []byte) uint8 {
	if ip[0]>>4 == 6 {
		return ip[0]<<4 | ip[1]>>4
	}
	return ip[1]
}

// The flow's entropy fills what a source prefix leaves free, always the same for
// a flow, and differently for others.
func TestTunnelEntropy(t *testing.T) {
	sources := [2]netip.Prefix{netip.MustParsePrefix("172.16.0.0/13"), netip.MustParsePrefix("fd77::/64")}
	for _, forward := range []model.Forward{model.IPIP, model.GUE} {
		p := newPlane(t, settings(), sizes(), tunnelled(forward, sources))
		p.bothHooks(t, func(t *testing.T) {
			for _, w := range tunnelWays() {
				seen := map[string]bool{}
				for port := range uint16(64) {
					x := w.fromPort(40000 + port)
					for range 2 {
						inside(t, fmt.Sprint(forward, " ", w.name, " ", port), func(t *testing.T) {
							p.expectTunnelled(t, x, datagram(), forward, sources)
						})
					}
					out := x.encapsulated(datagram(), forward, sources)
					seen[string(out[14:14+w.overhead(forward)])] = true
				}
				if len(seen) < 60 {
					t.Errorf("%s: 64 flows have %d outer headers", w.name, len(seen))
				}
			}
		})
	}
}

// Without an outer source of the backend's family its packets are dropped, by
// name; those of the other family go on.
func TestNoTunnelSource(t *testing.T) {
	only4 := [2]netip.Prefix{outerSources[0]}
	p := newPlane(t, settings(), sizes(), tunnelled(model.IPIP, only4))
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range tunnelWays() {
			if w.backend.Addr().Is4() {
				p.expectTunnelled(t, w, segment(testlab.SYN), model.IPIP, only4)
			} else {
				p.expect(t, w.request(segment(testlab.SYN)), want{reason: "drop_no_tunnel", service: w.service, backend: w.number, begun: true})
			}
		}
	})
}

// A packet that would expire here is the stack's, as it is; one that would only
// just not is forwarded.
func TestTunnelTTL(t *testing.T) {
	p := newPlane(t, settings(), sizes(), tunnelled(model.GUE, outerSources))
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range tunnelWays() {
			e := w.requestEnds()
			for ttl, reason := range map[int]string{testlab.TTLZero: "pass_ttl", 1: "pass_ttl", 2: w.sends()} {
				inside(t, fmt.Sprint(w.name, " ", ttl), func(t *testing.T) {
					e.ttl = ttl
					in := packet{frame: segment(testlab.ACK).pour(e), ingress: w.near}
					if reason == "pass_ttl" {
						p.expect(t, in, want{reason: reason})
						return
					}
					_, out, err := p.run(in)
					if err != nil {
						t.Fatal(err)
					}
					inner := out[14+w.overhead(model.GUE):]
					at := map[int]int{4: 8, 6: 7}[w.family()]
					if inner[at] != 1 {
						t.Errorf("inner TTL %d, want 1", inner[at])
					}
				})
			}
		}
	})
}

// The way out's MTU counts with the outer header.
func TestTunnelMTU(t *testing.T) {
	for _, forward := range []model.Forward{model.IPIP, model.GUE} {
		p := newPlane(t, settings(), sizes(), tunnelled(forward, outerSources))
		p.bothHooks(t, func(t *testing.T) {
			for _, w := range tunnelWays() {
				header := map[int]int{4: 20, 6: 40}[w.family()] + 8
				for over, reason := range map[int]string{0: w.sends(), 1: "pass_mtu"} {
					inside(t, fmt.Sprint(forward, " ", w.name, " ", over), func(t *testing.T) {
						m := udpMold("udp", shape{payload: 1500 - w.overhead(forward) - header + over})
						x := want{reason: reason, service: w.service, backend: w.number}
						if over == 0 {
							x.out = func() []byte { return w.encapsulated(m, forward, outerSources) }
						}
						p.expect(t, w.request(m), x)
					})
				}
			}
		})
	}
}
