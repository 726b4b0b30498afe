package backendhost

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
)

var (
	vip4       = netip.MustParseAddr("203.0.113.10")
	vip6       = netip.MustParseAddr("2001:db8::10")
	balancer4  = netip.MustParseAddr("10.0.0.100")
	balancer6  = netip.MustParseAddr("fd00::100")
	stranger4  = netip.MustParseAddr("10.0.9.100")
	stranger6  = netip.MustParseAddr("fd09::100")
	backend4   = netip.MustParseAddr("10.0.0.2")
	backend6   = netip.MustParseAddr("fd00::2")
	customer4  = netip.MustParseAddr("198.51.100.7")
	customer6  = netip.MustParseAddr("2001:db8:7::7")
	linkHeader = testlab.Ethernet{Src: testlab.MAC{2, 0, 0, 0, 0, 1}}
)

const (
	oldKernel = 5<<16 | 15<<8
	newKernel = 6<<16 | 18<<8
)

// decap is a loaded program with its maps.
type decap struct {
	hook  string
	prog  *ebpf.Program
	count *ebpf.Map
	// seen are the counters after the last packet.
	seen map[string]uint64
}

// counterNames are read from the object once: a test looks at each for every packet.
var counterNames = sync.OnceValues(reasons)

func tunnelConfig(forward string) *Config {
	c := &Config{
		VIPs: []netip.Addr{vip4, vip6}, Forward: forward, Interface: "eth0",
		From: []netip.Prefix{netip.PrefixFrom(balancer4, 32), netip.MustParsePrefix("fd00::100/120")},
	}
	if err := c.Normalise(); err != nil {
		panic(err)
	}
	return c
}

func loadDecap(t *testing.T, hook, forward string, kernel uint32) *decap {
	t.Helper()
	needRoot(t)
	c := tunnelConfig(forward)
	p, err := newProgramFor(hook, c, kernel)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := ebpf.NewCollection(p.spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(loaded.Close)
	if err := fillMaps(c, loaded.Maps); err != nil {
		t.Fatal(err)
	}
	d := &decap{hook: hook, prog: loaded.Programs[p.name], count: loaded.Maps[countsMap]}
	d.seen = d.counts(t)
	return d
}

// everyDecap runs a test at both hooks, as old kernels would, and new ones if this
// is one.
func everyDecap(t *testing.T, forward string, f func(t *testing.T, d *decap)) {
	running, err := kernelVersion()
	if err != nil {
		t.Fatal(err)
	}
	for _, hook := range []string{HookXDP, HookTC} {
		for kernel, version := range map[string]uint32{"old": oldKernel, "new": newKernel} {
			t.Run(hook+" "+kernel, func(t *testing.T) {
				if version == newKernel && running < linux6_3 {
					t.Skip("needs Linux 6.3")
				}
				f(t, loadDecap(t, hook, forward, version))
			})
		}
	}
}

func (d *decap) counts(t *testing.T) map[string]uint64 {
	t.Helper()
	names, err := counterNames()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]uint64{}
	for n, name := range names {
		var perCPU []uint64
		if err := d.count.Lookup(uint32(n), &perCPU); err != nil {
			t.Fatal(err)
		}
		for _, v := range perCPU {
			all[name] += v
		}
	}
	return all
}

// send runs the program on a frame and returns the one reason that was counted,
// after comparing the verdict with it.
func (d *decap) send(t *testing.T, frame []byte) (reason string, out []byte) {
	t.Helper()
	before := d.seen
	options := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+64)}
	code, err := d.prog.Run(options)
	if err != nil {
		t.Fatalf("run on %d bytes: %v", len(frame), err)
	}
	d.seen = d.counts(t)
	for name, n := range d.seen {
		switch n - before[name] {
		case 0:
			continue
		case 1:
			if reason == "" {
				reason = name
				continue
			}
		}
		t.Fatalf("%s and %s were counted for one packet", reason, name)
	}
	pass := map[string]uint32{HookXDP: 2, HookTC: 0xffffffff}[d.hook] // XDP_PASS, TC_ACT_UNSPEC
	drop := map[string]uint32{HookXDP: 1, HookTC: 2}[d.hook]          // XDP_DROP, TC_ACT_SHOT
	want := pass
	if len(reason) > 5 && reason[:5] == "drop_" {
		want = drop
	}
	if code != want {
		t.Fatalf("%s was counted, but the verdict is %d, want %d", reason, code, want)
	}
	return reason, options.DataOut
}

// expect sends a frame; a nil out means that it stays as it is.
func (d *decap) expect(t *testing.T, frame []byte, reason string, out []byte) {
	t.Helper()
	got, left := d.send(t, frame)
	if got != reason {
		t.Errorf("counted %s, want %s", got, reason)
	}
	if out == nil {
		out = frame
	}
	if len(reason) > 5 && reason[:5] == "drop_" {
		return // of what is dropped nobody sees the bytes
	}
	if diff := testlab.Diff(out, left); diff != "" {
		t.Errorf("%s, packet that left:\n%s", reason, diff)
	}
}

// layers joins layers and lists of layers.
func layers(parts ...any) []testlab.Layer {
	var all []testlab.Layer
	for _, p := range parts {
		switch p := p.(type) {
		case testlab.Layer:
			all = append(all, p)
		case []testlab.Layer:
			all = append(all, p...)
		}
	}
	return all
}

func build(parts ...any) []byte { return testlab.Build(layers(parts...)...) }

// ip is an IP header with ECN bits.
func ip(src, dst netip.Addr, ecn uint8) testlab.Layer {
	const dscp = 0x28
	if src.Is4() {
		return testlab.IPv4{Src: src, Dst: dst, TOS: dscp | ecn}
	}
	return testlab.IPv6{Src: src, Dst: dst, TrafficClass: dscp | ecn}
}

// outer is an outer header towards the backend, from a balancer.
func outer(v6 bool, ecn uint8) testlab.Layer {
	if v6 {
		return ip(balancer6, backend6, ecn)
	}
	return ip(balancer4, backend4, ecn)
}

// inner is a client's packet to a VIP.
func inner(v6 bool, ecn uint8) []testlab.Layer {
	tcp := testlab.TCP{SrcPort: 40000, DstPort: 80, Flags: 2, Options: []byte{2, 4, 5, 180}}
	if v6 {
		return []testlab.Layer{ip(customer6, vip6, ecn), tcp, testlab.Payload("hello")}
	}
	return []testlab.Layer{ip(customer4, vip4, ecn), tcp, testlab.Payload("hello")}
}

// The encapsulations and the layers each puts between the IP headers.
var encapsulations = []struct {
	name, forward string
	between       func(v6 bool) []testlab.Layer
}{
	{"ipip", IPIP, func(bool) []testlab.Layer { return nil }},
	{"gue1", GUE, func(bool) []testlab.Layer { return []testlab.Layer{gueUDP} }},
	{"gue1 without checksum", GUE, func(bool) []testlab.Layer {
		return []testlab.Layer{testlab.UDP{SrcPort: 50000, DstPort: DefaultGUEPort, Checksum: new(uint16)}}
	}},
	{"gue0", GUE, func(v6 bool) []testlab.Layer {
		return []testlab.Layer{gueUDP, testlab.Payload{0, protocolOf(v6), 0, 0}}
	}},
}

var gueUDP = testlab.UDP{SrcPort: 50000, DstPort: DefaultGUEPort}

func protocolOf(v6 bool) byte {
	if v6 {
		return testlab.ProtoIPv6
	}
	return testlab.ProtoIPv4
}

func familyName(v6 bool) string {
	if v6 {
		return "6"
	}
	return "4"
}

func TestFamilies(t *testing.T) {
	for _, e := range encapsulations {
		t.Run(e.name, func(t *testing.T) {
			everyDecap(t, e.forward, func(t *testing.T, d *decap) {
				for _, out6 := range []bool{false, true} {
					for _, in6 := range []bool{false, true} {
						t.Run(familyName(in6)+"in"+familyName(out6), func(t *testing.T) {
							frame := build(linkHeader, outer(out6, 0), e.between(in6), inner(in6, 0))
							d.expect(t, frame, "accepted", build(linkHeader, inner(in6, 0)))
						})
					}
				}
			})
		})
	}
}

// RFC 6040, figure 4: rows are inner, columns outer; -1 drops.
var ecnTable = [4][4]int{
	0: {0: 0, 1: 0, 2: 0, 3: -1}, // Not-ECT
	1: {0: 1, 1: 1, 2: 1, 3: 3},  // ECT(1)
	2: {0: 2, 1: 1, 2: 2, 3: 3},  // ECT(0)
	3: {0: 3, 1: 3, 2: 3, 3: 3},  // CE
}

func TestECN(t *testing.T) {
	everyDecap(t, IPIP, func(t *testing.T, d *decap) {
		for in := range uint8(4) {
			for out := range uint8(4) {
				for _, in6 := range []bool{false, true} {
					for _, out6 := range []bool{false, true} {
						t.Run(fmt.Sprintf("%sin%s inner %d outer %d", familyName(in6), familyName(out6), in, out), func(t *testing.T) {
							frame := build(linkHeader, outer(out6, out), inner(in6, in))
							if want := ecnTable[in][out]; want < 0 {
								d.expect(t, frame, "drop_ecn", nil)
							} else {
								d.expect(t, frame, "accepted", build(linkHeader, inner(in6, uint8(want))))
							}
						})
					}
				}
			}
		}
	})
}

func TestVLAN(t *testing.T) {
	d := loadDecap(t, HookXDP, IPIP, newKernel)
	one := []testlab.Layer{testlab.VLAN{ID: 7, Priority: 3}}
	two := []testlab.Layer{testlab.VLAN{ID: 9, Service: true}, testlab.VLAN{ID: 7}}
	for _, tags := range [][]testlab.Layer{one, two} {
		for _, in6 := range []bool{false, true} {
			frame := build(linkHeader, tags, outer(true, 0), inner(in6, 0))
			d.expect(t, frame, "accepted", build(linkHeader, tags, inner(in6, 0)))
		}
	}
	three := append(slices.Clone(two), testlab.VLAN{ID: 1})
	d.expect(t, build(linkHeader, three, outer(true, 0), inner(false, 0)), "pass_other", nil)
}

func TestJudgement(t *testing.T) {
	bad := func(v uint16) *uint16 { return &v }
	in := func(v6 bool) []testlab.Layer { return inner(v6, 0) }
	out4, out6 := outer(false, 0), outer(true, 0)
	other4 := []testlab.Layer{ip(customer4, netip.MustParseAddr("203.0.113.11"), 0), testlab.UDP{DstPort: 1}}
	gueHeader := func(b ...byte) []testlab.Layer { return []testlab.Layer{gueUDP, testlab.Payload(b)} }
	options := testlab.IPv4{Src: balancer4, Dst: backend4, Options: []byte{1, 1, 1, 1}}
	for _, c := range []struct {
		name, forward, reason string
		packet                []testlab.Layer
	}{
		{"plain TCP to the VIP", IPIP, "pass_other", in(false)},
		{"plain TCP to the VIP over IPv6", IPIP, "pass_other", in(true)},
		{"ARP", IPIP, "pass_other", layers(testlab.Payload(make([]byte, 28)))},
		{"4in4 from a stranger", IPIP, "drop_source", layers(ip(stranger4, backend4, 0), in(false))},
		{"6in4 from a stranger", IPIP, "drop_source", layers(ip(stranger4, backend4, 0), in(true))},
		{"4in6 from a stranger", IPIP, "drop_source", layers(ip(stranger6, backend6, 0), in(false))},
		{"6in6 from a stranger", IPIP, "drop_source", layers(ip(stranger6, backend6, 0), in(true))},
		{"a stranger's other tunnel", IPIP, "pass_other", layers(ip(stranger4, backend4, 0), other4)},
		{"a stranger's garbage", IPIP, "pass_other", layers(testlab.IPv4{Src: stranger4, Dst: backend4, Protocol: 4}, testlab.Payload("garbage"))},
		{"within the allowed prefix", IPIP, "accepted", layers(ip(netip.MustParseAddr("fd00::1ff"), backend6, 0), in(false))},
		{"just outside of the prefix", IPIP, "drop_source", layers(ip(netip.MustParseAddr("fd00::200"), backend6, 0), in(false))},
		{"to an address that is no VIP", IPIP, "pass_not_vip", layers(out4, other4)},
		{"GUE where IPIP is served", IPIP, "pass_other", layers(out4, gueUDP, in(false))},
		{"IPIP where GUE is served", GUE, "pass_other", layers(out4, in(false))},
		{"UDP to another port", GUE, "pass_other", layers(out4, testlab.UDP{DstPort: 6081}, in(false))},
		{"GUE from a stranger", GUE, "drop_source", layers(ip(stranger4, backend4, 0), gueUDP, in(true))},
		{"outer options", IPIP, "accepted", layers(options, in(false))},
		{"outer first fragment", IPIP, "drop_fragment", layers(testlab.IPv4{Src: balancer4, Dst: backend4, MoreFragments: true}, in(false))},
		{"outer last fragment", IPIP, "drop_fragment", layers(testlab.IPv4{Src: balancer4, Dst: backend4, FragmentOffset: 64}, in(false))},
		{"outer first fragment of GUE", GUE, "drop_fragment", layers(testlab.IPv4{Src: balancer4, Dst: backend4, MoreFragments: true}, gueUDP, in(false))},
		{"outer last fragment of GUE", GUE, "pass_other", layers(testlab.IPv4{Src: balancer4, Dst: backend4, FragmentOffset: 64, Protocol: 17}, testlab.Payload("rest of a packet"))},
		{"a stranger's fragment", IPIP, "pass_other", layers(testlab.IPv4{Src: stranger4, Dst: backend4, MoreFragments: true}, in(false))},
		{"outer length beyond the frame", IPIP, "drop_truncated", layers(testlab.IPv4{Src: balancer4, Dst: backend4, Length: bad(1400)}, in(false))},
		{"outer length before the inner header", IPIP, "drop_truncated", layers(testlab.IPv4{Src: balancer4, Dst: backend4, Length: bad(12)}, in(false))},
		{"outer IPv6 length 0", IPIP, "drop_truncated", layers(testlab.IPv6{Src: balancer6, Dst: backend6, Length: bad(0)}, in(false))},
		{"inner length beyond the outer", IPIP, "drop_truncated", layers(out4, testlab.IPv4{Src: customer4, Dst: vip4, Length: bad(500)}, testlab.UDP{DstPort: 1})},
		{"inner length below its header", IPIP, "drop_truncated", layers(out4, testlab.IPv4{Src: customer4, Dst: vip4, Length: bad(19)}, testlab.UDP{DstPort: 1})},
		{"inner IPv6 length beyond the outer", IPIP, "drop_truncated", layers(out6, testlab.IPv6{Src: customer6, Dst: vip6, Length: bad(500)}, testlab.UDP{DstPort: 1})},
		{"IPv6 announced, IPv4 inside", IPIP, "drop_inner", layers(testlab.IPv4{Src: balancer4, Dst: backend4, Protocol: 41}, in(false), testlab.Payload(make([]byte, 40)))},
		{"IPv4 announced, IPv6 inside", IPIP, "drop_inner", layers(testlab.IPv6{Src: balancer6, Dst: backend6, NextHeader: 4}, in(true))},
		{"garbage from a balancer", IPIP, "drop_inner", layers(testlab.IPv4{Src: balancer4, Dst: backend4, Protocol: 4}, testlab.Payload("garbage, and enough of it for a header"))},
		{"GUE control message", GUE, "drop_gue", layers(out4, gueHeader(0x20, 4, 0, 0), in(false))},
		{"GUE with optional fields", GUE, "drop_gue", layers(out4, gueHeader(1, 4, 0, 0, 0, 0, 0, 0), in(false))},
		{"GUE with flags", GUE, "drop_gue", layers(out4, gueHeader(0, 4, 0x80, 0), in(false))},
		{"GUE of another protocol", GUE, "drop_gue", layers(out4, gueHeader(0, 59, 0, 0), in(false))},
		{"GUE variant 1, version 5", GUE, "drop_gue", layers(out4, gueHeader(0x50, 0, 0, 0), in(false))},
		{"GUE variant 2", GUE, "drop_gue", layers(out4, gueHeader(0x80, 4, 0, 0), in(false))},
		{"GUE of nothing", GUE, "drop_truncated", layers(out4, gueUDP)},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyDecap(t, c.forward, func(t *testing.T, d *decap) {
				frame := build(linkHeader, c.packet)
				if c.reason != "accepted" {
					d.expect(t, frame, c.reason, nil)
					return
				}
				d.expect(t, frame, c.reason, build(linkHeader, c.packet[1:]))
			})
		})
	}
}

// However short a packet is cut, it is never taken for a whole one.
func TestTruncated(t *testing.T) {
	for _, e := range encapsulations {
		everyDecap(t, e.forward, func(t *testing.T, d *decap) {
			for _, in6 := range []bool{false, true} {
				whole := build(linkHeader, outer(in6, 0), e.between(in6), inner(in6, 0))
				shortest := 34
				if in6 && d.hook == HookTC {
					shortest = 54 // the kernel runs it on no less
				}
				for n := shortest; n < len(whole); n++ {
					if reason, _ := d.send(t, whole[:n]); reason != "pass_other" && reason != "drop_truncated" {
						t.Fatalf("%d of %d bytes: %s", n, len(whole), reason)
					}
				}
			}
		})
	}
}

// Ethernet pads short packets; the padding is not the packet's.
func TestPadding(t *testing.T) {
	everyDecap(t, IPIP, func(t *testing.T, d *decap) {
		padding := make([]byte, 9)
		frame := append(build(linkHeader, outer(false, 0), inner(false, 0)), padding...)
		d.expect(t, frame, "accepted", append(build(linkHeader, inner(false, 0)), padding...))
	})
}

// What is accepted of damaged packets is the rest of the packet, unchanged but
// for ECN; whatever happens is counted once.
func TestDamaged(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, e := range encapsulations {
		everyDecap(t, e.forward, func(t *testing.T, d *decap) {
			for range 2000 {
				in6, out6 := random.IntN(2) == 0, random.IntN(2) == 0
				frame := build(linkHeader, outer(out6, 0), e.between(in6), inner(in6, 0))
				for range 1 + random.IntN(3) {
					frame[12+random.IntN(len(frame)-12)] = byte(random.Uint32())
				}
				reason, out := d.send(t, frame)
				if reason == "accepted" && !bytes.HasSuffix(frame, out[14+20:]) {
					t.Fatalf("accepted\n%x\nand left\n%x", frame, out)
				}
			}
		})
	}
}

// The names of the counters come from C; each has words.
func TestCounterNames(t *testing.T) {
	names, err := reasons()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if meanings[name] == "" {
			t.Errorf("the counter %q has no meaning", name)
		}
	}
	if len(meanings) != len(names) {
		t.Errorf("%d meanings for %d counters", len(meanings), len(names))
	}
}

// A balancer's packets of several buffers (jumbo frames) keep all of them.
func TestSeveralBuffers(t *testing.T) {
	d := loadDecap(t, HookXDP, IPIP, newKernel)
	payload := testlab.Payload(bytes.Repeat([]byte("jumbo"), 1700))
	packet := []testlab.Layer{ip(customer4, vip4, 0), testlab.UDP{SrcPort: 1, DstPort: 2}, payload}
	d.expect(t, build(linkHeader, outer(true, 0), packet), "accepted", build(linkHeader, packet))
}

func TestTooManyVIPs(t *testing.T) {
	d := tunnelConfig(IPIP)
	needRoot(t)
	for n := range 1100 {
		d.VIPs = append(d.VIPs, netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)}))
	}
	p, err := newProgramFor(HookTC, d, newKernel)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := ebpf.NewCollection(p.spec)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	if err := fillMaps(d, loaded.Maps); err == nil || errors.Is(err, unix.E2BIG) {
		t.Errorf("error %v, want one that says how many there may be", err)
	}
}
