package bpf_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
)

// What is not understood whole goes to the stack as it came, whatever the
// service, and leaves no trace but the one count.
func TestPass(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range ways() {
			for name, c := range strange(w) {
				inside(t, w.name+"/"+name, func(t *testing.T) {
					p.expect(t, packet{frame: c.frame, ingress: w.near}, want{reason: c.reason})
					if n := p.flowCount(); n != 0 {
						t.Errorf("%d flows made", n)
					}
				})
			}
		}
	})
}

type strangePacket struct {
	reason string
	frame  []byte
}

// strange are packets to a frontend's address that no service takes.
func strange(w way) map[string]strangePacket {
	e := w.requestEnds()
	ip := testlab.IP(e.src.Addr(), e.dst.Addr())
	syn := testlab.TCP{SrcPort: e.src.Port(), DstPort: e.dst.Port(), Flags: testlab.SYN}
	other := func(port uint16) testlab.Layer {
		return testlab.TCP{SrcPort: e.src.Port(), DstPort: port, Flags: testlab.SYN}
	}
	build := func(layers ...testlab.Layer) []byte {
		return testlab.Build(append([]testlab.Layer{e.link}, layers...)...)
	}
	tag := testlab.VLAN{ID: 5}
	out := map[string]strangePacket{
		"arp":             {"pass_not_ip", testlab.Build(testlab.Ethernet{Dst: e.link.Dst, Src: e.link.Src, EtherType: testlab.EtherTypeARP}, payload(28))},
		"ethernet length": {"pass_not_ip", testlab.Build(testlab.Ethernet{Dst: e.link.Dst, Src: e.link.Src, EtherType: 46}, payload(46))},
		"tagged arp":      {"pass_not_ip", build(testlab.VLAN{ID: 5, EtherType: testlab.EtherTypeARP}, payload(28))},
		"three tags":      {"pass_not_ip", build(tag, tag, tag, ip, syn)},
		"other port":      {"pass_not_vip", build(ip, other(81))},
		"port 0":          {"pass_not_vip", build(ip, other(0))},
		"other protocol":  {"pass_not_vip", build(ip, testlab.Extension{Protocol: 132}, payload(20))},
		"tunnel":          {"pass_not_vip", build(ip, ip, syn)},
	}
	if w.family() == 4 {
		out["icmp echo"] = strangePacket{"pass_not_vip", build(ip, testlab.ICMPv4{Type: 8}, payload(8))}
		out["icmp error"] = strangePacket{"pass_not_vip", build(ip, testlab.ICMPv4{Type: 3, Code: 4, Rest: 1400}, ip, syn)}
		for name, c := range strange4(w, build) {
			out[name] = c
		}
		return out
	}
	out["icmp echo"] = strangePacket{"pass_not_vip", build(ip, testlab.ICMPv6{Type: 128}, payload(8))}
	out["icmp error"] = strangePacket{"pass_not_vip", build(ip, testlab.ICMPv6{Type: 2, Rest: 1400}, ip, syn)}
	for name, c := range strange6(w, build) {
		out[name] = c
	}
	return out
}

func strange4(w way, build func(...testlab.Layer) []byte) map[string]strangePacket {
	e := w.requestEnds()
	syn := testlab.TCP{SrcPort: e.src.Port(), DstPort: e.dst.Port(), Flags: testlab.SYN}
	header := func(change func(*testlab.IPv4)) []byte {
		h := testlab.IPv4{Src: e.src.Addr(), Dst: e.dst.Addr(), Protocol: testlab.ProtoTCP}
		change(&h)
		return build(h, syn, payload(64))
	}
	length := func(n uint16) []byte { return header(func(h *testlab.IPv4) { h.Length = &n }) }
	first := func(b byte) []byte {
		f := header(func(*testlab.IPv4) {})
		f[14] = b
		return f
	}
	out := map[string]strangePacket{
		"first fragment":    {"pass_fragment", header(func(h *testlab.IPv4) { h.MoreFragments = true })},
		"middle fragment":   {"pass_fragment", header(func(h *testlab.IPv4) { h.MoreFragments, h.FragmentOffset = true, 1480 })},
		"last fragment":     {"pass_fragment", header(func(h *testlab.IPv4) { h.FragmentOffset = 8 })},
		"length 0":          {"pass_truncated", length(0)},
		"length of ip":      {"pass_truncated", length(20)},
		"length within ip":  {"pass_truncated", length(19)},
		"length within tcp": {"pass_truncated", length(39)},
		"length one more":   {"pass_truncated", length(20 + 20 + 64 + 1)},
		"length at most":    {"pass_truncated", length(65535)},
	}
	for v := range byte(16) {
		if v != 4 {
			out[fmt.Sprintf("version %d", v)] = strangePacket{"pass_truncated", first(v<<4 | 5)}
		}
	}
	for ihl := range byte(5) {
		out[fmt.Sprintf("header of %d words", ihl)] = strangePacket{"pass_truncated", first(0x40 | ihl)}
	}
	return out
}

func strange6(w way, build func(...testlab.Layer) []byte) map[string]strangePacket {
	e := w.requestEnds()
	ip := testlab.IPv6{Src: e.src.Addr(), Dst: e.dst.Addr()}
	syn := testlab.TCP{SrcPort: e.src.Port(), DstPort: e.dst.Port(), Flags: testlab.SYN}
	length := func(n uint16) []byte {
		h := ip
		h.Length = &n
		return build(h, syn, payload(64))
	}
	options := func(n int) []testlab.Layer {
		layers := []testlab.Layer{ip}
		for range n {
			layers = append(layers, testlab.Extension{Protocol: testlab.ProtoDestinationOptions})
		}
		return append(layers, syn)
	}
	overlong := build(ip, testlab.Extension{Protocol: testlab.ProtoHopByHop}, syn)
	overlong[14+40+1] = 255
	beyond := build(ip, testlab.Extension{Protocol: testlab.ProtoHopByHop}, syn)
	beyond[14+40+1] = 3
	within := build(ip, testlab.Extension{Protocol: testlab.ProtoHopByHop, Data: make([]byte, 30)}, syn)
	within[14+5] = 31 // payload length
	out := map[string]strangePacket{
		"first fragment":     {"pass_fragment", build(ip, testlab.Fragment{More: true, ID: 1}, syn)},
		"middle fragment":    {"pass_fragment", build(ip, testlab.Fragment{More: true, ID: 1, Offset: 8}, syn)},
		"last fragment":      {"pass_fragment", build(ip, testlab.Fragment{ID: 1, Offset: 8}, syn)},
		"routing, on way":    {"pass_extensions", build(ip, testlab.Extension{Protocol: testlab.ProtoRouting, Data: []byte{4, 1}}, syn)},
		"nine extensions":    {"pass_extensions", build(options(9)...)},
		"twelve extensions":  {"pass_extensions", build(options(12)...)},
		"overlong extension": {"pass_extensions", overlong},
		"beyond the end":     {"pass_truncated", beyond},
		"beyond the payload": {"pass_truncated", within},
		"no next header":     {"pass_not_vip", build(ip, testlab.Extension{Protocol: testlab.ProtoHopByHop, NextHeader: testlab.ProtoNoNextHeader}, payload(40))},
		"esp":                {"pass_not_vip", build(testlab.IPv6{Src: ip.Src, Dst: ip.Dst, NextHeader: testlab.ProtoESP}, payload(40))},
		"length 0":           {"pass_truncated", length(0)},
		"length within tcp":  {"pass_truncated", length(19)},
		"length one more":    {"pass_truncated", length(20 + 64 + 1)},
		"length at most":     {"pass_truncated", length(65535)},
	}
	for v := range byte(16) {
		if v != 6 {
			f := build(ip, syn)
			f[14] = v << 4
			out[fmt.Sprintf("version %d", v)] = strangePacket{"pass_truncated", f}
		}
	}
	return out
}

// However a packet is cut off, it passes as it is.
func TestTruncated(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range ways() {
			for _, m := range molds() {
				if m.only != 0 && m.only != w.family() || m.name == "padded ethernet" || w.near == w.far {
					continue
				}
				whole := w.request(m)
				if len(whole.frame) > 400 {
					continue
				}
				least := leastFrame(p.hook, w, m)
				inside(t, w.name+"/"+m.name, func(t *testing.T) {
					before := p.counters(t)["reason pass_truncated packets"]
					for n := least; n < len(whole.frame); n++ {
						cut := packet{frame: whole.frame[:n:n], ingress: whole.ingress}
						verdict, out, err := p.run(cut)
						if err != nil {
							t.Fatal(err)
						}
						if verdict != "pass" || !bytes.Equal(out, cut.frame) {
							t.Fatalf("cut to %d of %d bytes: %s\n%s", n, len(whole.frame), verdict, testlab.Diff(cut.frame, out))
						}
					}
					if got := p.counters(t)["reason pass_truncated packets"] - before; got != uint64(len(whole.frame)-least) {
						t.Errorf("%d of %d counted as truncated", got, len(whole.frame)-least)
					}
				})
			}
		}
	})
}

// leastFrame is the size of the shortest frame that the kernel test-runs: not
// without an Ethernet header, for TC not without a header that it announces.
func leastFrame(h hook, w way, m mold) int {
	switch {
	case h.name == xdpHook.name:
		return 14
	case m.tagged:
		return 15
	case w.family() == 4:
		return 14 + 20
	}
	return 14 + 40
}
