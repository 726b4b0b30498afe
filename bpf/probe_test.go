package bpf_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/model"
)

// prober is the program of probes, beside the plane whose maps it uses.
type prober struct {
	*plane
	program *ebpf.Program
}

// newProber makes the program look for routes in the place of the clients'
// interface.
func newProber(t *testing.T, s model.Settings, w world) *prober {
	t.Helper()
	p := newPlane(t, settings(), sizes(), w)
	mac := own[clients]
	program, err := loader.LoadProbe(p.set, s, &netlink.LinkAttrs{Index: int(ifindex[clients]), HardwareAddr: hardware(mac)})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { program.Close() })
	return &prober{p, program}
}

const (
	loopback = 1 // its index in every namespace
	markAt   = 2 // words into struct __sk_buff
)

// probe sends a packet of the host through the program and returns its verdict,
// the packet that left and the mark that it left with.
func (p *prober) probe(t *testing.T, frame []byte, mark uint32) (verdict string, out []byte, left uint32) {
	t.Helper()
	skb := skbContext(packet{}).([48]uint32)
	skb[40/4] = loopback
	skb[markAt] = mark
	after := make([]byte, len(skb)*4)
	before := p.counters(t)
	o := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+128), Context: skb, ContextOut: after}
	code, err := p.program.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, p.counters(t)); diff != "" {
		t.Errorf("a probe was counted as traffic (-before +after):\n%s", diff)
	}
	if n := p.flowCount(); n != 0 {
		t.Errorf("a probe made %d flows", n)
	}
	return tcVerdicts[code], o.DataOut, binary.NativeEndian.Uint32(after[markAt*4:])
}

// local is a way's request as the host sends it: over lo, where Ethernet
// addresses are zeros.
func (w way) local(m mold) []byte {
	e := w.requestEnds()
	e.link = testlab.Ethernet{}
	return m.pour(e)
}

func (p *prober) expectProbe(t *testing.T, w way, m mold, want []byte) {
	t.Helper()
	verdict, out, left := p.probe(t, w.local(m), loader.ProbeMark(w.number))
	if verdict != "redirect" {
		t.Errorf("verdict %q, want redirect", verdict)
	}
	if left != 0 {
		t.Errorf("the packet leaves with mark %#x", left)
	}
	if diff := testlab.Diff(want, out); diff != "" {
		t.Errorf("packet that left:\n%s", diff)
	}
}

// A probe leaves as a client's packet would: the exact bytes, in each mode and
// pair of families, and nothing of it is counted or recorded.
func TestProbe(t *testing.T) {
	kinds := []mold{segment(testlab.SYN), segment(testlab.ACK), segment(testlab.RST), datagram()}
	modes := map[string]struct {
		world world
		ways  []way
		as    func(way, mold) []byte
	}{
		"l2dsr":                     {standard(), []way{wayTo(dsr4), wayTo(dsr6)}, func(w way, m mold) []byte { return w.forwarded(m, netip.AddrPort{}) }},
		"l2dsr to the other family": {mixed(), mixedWays(), func(w way, m mold) []byte { return w.forwarded(m, netip.AddrPort{}) }},
		"ipip":                      {tunnelled(model.IPIP, outerSources), tunnelWays(), func(w way, m mold) []byte { return w.encapsulated(m, model.IPIP, outerSources) }},
		"gue":                       {tunnelled(model.GUE, outerSources), tunnelWays(), func(w way, m mold) []byte { return w.encapsulated(m, model.GUE, outerSources) }},
	}
	for name, mode := range modes {
		p := newProber(t, settings(), mode.world)
		for _, w := range mode.ways {
			for _, m := range kinds {
				inside(t, fmt.Sprintf("%s/%s/%s", name, w.name, m.name), func(t *testing.T) { p.expectProbe(t, w, m, mode.as(w, m)) })
			}
		}
	}
}

// mixed is a world of l2dsr services whose backends' addresses are of the other
// family.
func mixed() world {
	w := standard()
	w.backend(31, dsr4, "[fd10:20::b]:80")
	w.backend(41, dsr6, "10.20.0.11:80")
	return w
}

func mixedWays() []way {
	four, six := wayTo(dsr4), wayTo(dsr6)
	four.backend, six.backend = six.backend, four.backend
	return []way{four, six}
}

// With a fixed gateway probes go there, from the interface's own address.
func TestProbeGateway(t *testing.T) {
	gateway := mac(77, 254)
	s := settings()
	s.NextHop, s.GatewayMAC = model.NextHopGatewayMAC, model.HardwareAddr(gateway)
	p := newProber(t, s, standard())
	for _, service := range []uint32{dsr4, dsr6} {
		w := wayTo(service)
		w.far, w.backendMAC = clients, gateway
		m := segment(testlab.SYN)
		inside(t, w.name, func(t *testing.T) { p.expectProbe(t, w, m, w.forwarded(m, netip.AddrPort{})) })
	}
}

// Packets of the host that are no probes go on as they are.
func TestProbeLeavesOthersAlone(t *testing.T) {
	p := newProber(t, settings(), standard())
	inside(t, "tc", func(t *testing.T) {
		for _, mark := range []uint32{0, 1, 31, 0x78500000 | 31, 0x78700000 | 31, 0xf8600000 | 31, 0x70600000 | 31} {
			frame := wayTo(dsr4).local(segment(testlab.SYN))
			verdict, out, left := p.probe(t, frame, mark)
			if verdict != "pass" || left != mark || testlab.Diff(frame, out) != "" {
				t.Errorf("mark %#x: verdict %q, mark %#x\n%s", mark, verdict, left, testlab.Diff(frame, out))
			}
		}
	})
}

// A probe that cannot go to its backend goes nowhere: passed, it would come back
// to this host.
func TestProbeIsNeverPassed(t *testing.T) {
	large := tcpMold("large", testlab.ACK, shape{payload: 1500})
	for name, c := range map[string]struct {
		world  world
		way    way
		mold   mold
		number uint32 // the way's, if 0
		change func(world)
		frame  func([]byte)
	}{
		"no such backend":            {world: standard(), way: wayTo(dsr4), number: 47},
		"no number":                  {world: standard(), way: wayTo(dsr4), number: 1 << 31},
		"beyond the map":             {world: standard(), way: wayTo(dsr4), number: 0xfffff},
		"nat":                        {world: standard(), way: wayTo(nat4)},
		"nat, IPv6":                  {world: standard(), way: wayTo(nat6)},
		"a service that is gone":     {world: standard(), way: wayTo(dsr4), change: func(w world) { delete(w.Services, dsr4) }},
		"behind a router":            {world: standard(), way: wayTo(dsr4), change: func(w world) { w.backend(31, dsr4, "10.30.0.6:80") }},
		"no route":                   {world: standard(), way: wayTo(dsr4), change: func(w world) { w.backend(31, dsr4, "10.99.0.6:80") }},
		"a route that forbids":       {world: standard(), way: wayTo(dsr6), change: func(w world) { w.backend(41, dsr6, "[fd10:63::6]:80") }},
		"an address of the host":     {world: standard(), way: wayTo(dsr4), change: func(w world) { w.backend(31, dsr4, "10.20.0.1:80") }},
		"too large":                  {world: standard(), way: wayTo(dsr4), mold: large},
		"too large with headers":     {world: tunnelled(model.IPIP, outerSources), way: tunnelWays()[0], mold: tcpMold("full", testlab.ACK, shape{payload: 1460})},
		"no outer source":            {world: tunnelled(model.GUE, [2]netip.Prefix{outerSources[0]}), way: tunnelWays()[2]},
		"a TTL of 1":                 {world: tunnelled(model.IPIP, outerSources), way: tunnelWays()[0], frame: func(b []byte) { b[14+8] = 1 }},
		"neither TCP nor UDP":        {world: standard(), way: wayTo(dsr4), frame: func(b []byte) { b[14+9] = 1 }},
		"neither IPv4 nor IPv6":      {world: standard(), way: wayTo(dsr4), frame: func(b []byte) { b[12], b[13] = 8, 6 }},
		"shorter than it says it is": {world: standard(), way: wayTo(dsr4), frame: func(b []byte) { b[14+2] = 0x40 }},
	} {
		if c.mold.pour == nil {
			c.mold = segment(testlab.SYN)
		}
		if c.change != nil {
			c.change(c.world)
		}
		if c.number == 0 {
			c.number = c.way.number
		}
		p := newProber(t, settings(), c.world)
		inside(t, name, func(t *testing.T) {
			frame := c.way.local(c.mold)
			if c.frame != nil {
				c.frame(frame)
			}
			if verdict, _, _ := p.probe(t, frame, loader.ProbeMark(c.number)); verdict != "drop" {
				t.Errorf("verdict %q, want drop", verdict)
			}
		})
	}
}

// An unknown neighbour is the kernel's to find, as for clients' packets.
func TestProbeToUnknownNeighbour(t *testing.T) {
	w := standard()
	w.backend(31, dsr4, "10.20.0.77:80")
	w.backend(41, dsr6, "[fd10:20::77]:80")
	p := newProber(t, settings(), w)
	for _, service := range []uint32{dsr4, dsr6} {
		to := wayTo(service)
		inside(t, to.name, func(t *testing.T) {
			if verdict, _, _ := p.probe(t, to.local(segment(testlab.SYN)), loader.ProbeMark(to.number)); verdict != "redirect" {
				t.Errorf("verdict %q, want redirect", verdict)
			}
		})
	}
}
