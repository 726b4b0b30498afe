package loader_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// tagLab is a balancer with TC programs on two cables, whose other ends the test
// holds. It sends frames with VLAN tags there, without VLAN devices: the
// receiving kernel takes the outer tag out of the frame before TC sees it.
type tagLab struct {
	*network
	outside *testlab.Namespace
	wires   map[string]*testlab.Wire // by the balancer's interface
	index   map[string]uint32
	maps    *maps.Set
	hops    *ebpf.Map
}

// The interface of the clients, and another.
const near, far = "cl0", "be0"

var (
	tagMACs = map[string]testlab.MAC{near: {2, 0, 0, 0, 10, 1}, far: {2, 0, 0, 0, 20, 1}}
	// Every backend, and the client, is behind one of these neighbours.
	tagPeers = map[string]testlab.MAC{near: {2, 0, 0, 0, 10, 9}, far: {2, 0, 0, 0, 20, 9}}
)

// onTagLab are the addresses of a host of the near or far segment.
func onTagLab(side string, host byte, ipv6 bool) netip.Addr {
	segment := tagMACs[side][4]
	if ipv6 {
		return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x10, 3: segment, 15: host})
	}
	return netip.AddrFrom4([4]byte{10, segment, 0, host})
}

func newTagLab(t *testing.T) *tagLab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	lab, err := testlab.New("tags")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	l := &tagLab{wires: map[string]*testlab.Wire{}, index: map[string]uint32{}}
	if err := l.lay(lab); err != nil {
		t.Fatal(err)
	}
	for _, w := range l.wires {
		t.Cleanup(func() { w.Close() })
	}
	t.Cleanup(func() { l.detach(t) })
	plane := l.open(t, l.settings(model.AttachTC))
	t.Cleanup(func() { plane.Close() })
	l.maps = plane.Maps()
	if l.hops, err = ebpf.LoadPinnedMap(filepath.Join(l.pins, fmt.Sprint("v", bpf.LayoutVersion), "maps", "next_hops"), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.hops.Close() })
	return l
}

// lay lays the cables. The balancer knows its neighbours, all but host 77.
func (l *tagLab) lay(lab *testlab.Lab) error {
	balancer, err := lab.Namespace("balancer")
	if err != nil {
		return err
	}
	outside, err := lab.Namespace("outside")
	if err != nil {
		return err
	}
	l.outside = outside
	l.network = &network{
		&testlab.Topology{Balancer: balancer, Interfaces: []string{near, far}},
		fmt.Sprintf("%s-%d-tags", loader.DefaultPinDir, os.Getpid()),
	}
	err = errors.Join(
		balancer.Sysctl("net.ipv4.ip_forward", "1"),
		balancer.Sysctl("net.ipv6.conf.all.forwarding", "1"))
	for _, side := range l.Interfaces {
		own, peer := tagMACs[side], tagPeers[side]
		err = errors.Join(err, lab.Veth(
			testlab.End{Namespace: balancer, Name: side, MAC: own[:], Addresses: []netip.Prefix{
				netip.PrefixFrom(onTagLab(side, 1, false), 24), netip.PrefixFrom(onTagLab(side, 1, true), 64),
			}},
			testlab.End{Namespace: outside, Name: side}))
		for _, ipv6 := range []bool{false, true} {
			for _, host := range []byte{2, 11} {
				err = errors.Join(err, balancer.AddNeighbour(side, onTagLab(side, host, ipv6), peer[:]))
			}
		}
		if err != nil {
			return err
		}
		index, err := balancer.Index(side)
		if err != nil {
			return err
		}
		l.index[side] = uint32(index)
		if l.wires[side], err = outside.Wire(side); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(balancer.WaitUp(ctx), outside.WaitUp(ctx))
}

// tagWay is a service of one backend that is reached by one of the interfaces.
type tagWay struct {
	id                   uint32
	forward              model.Forward
	side                 string
	client, vip, backend netip.AddrPort
}

func (w tagWay) String() string {
	return fmt.Sprintf("%s by %s to %s", w.forward, w.side, w.backend.Addr())
}

// tagWays are all combinations, with the backends' host number.
func tagWays(host byte, forwards ...model.Forward) (ways []tagWay) {
	for _, ipv6 := range []bool{false, true} {
		for _, forward := range forwards {
			for _, side := range []string{near, far} {
				id := byte(len(ways) + 1)
				w := tagWay{
					id: uint32(id), forward: forward, side: side,
					client:  netip.AddrPortFrom(onTagLab(near, 2, ipv6), 40000),
					vip:     netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, id}), 80),
					backend: netip.AddrPortFrom(onTagLab(side, host, ipv6), 80),
				}
				if ipv6 {
					w.vip = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: id}), 80)
				}
				ways = append(ways, w)
			}
		}
	}
	return ways
}

// serve fills the maps.
func (l *tagLab) serve(t *testing.T, ways []tagWay) {
	t.Helper()
	c := maps.Contents{}.Clone()
	for i, ipv6 := range []bool{false, true} {
		source := onTagLab(far, 1, ipv6)
		c.Sources[uint32(i)] = source
		c.VIPs[maps.VIPKey{Address: source}] = maps.VIP{Source: uint16(i + 1)}
		c.Tunnels[uint32(i)] = maps.TunnelFrom(netip.PrefixFrom(source, source.BitLen()), 6080)
	}
	for _, w := range ways {
		s := maps.Service{Forward: w.forward, Track: model.TrackAlways, Timeouts: model.Timeouts{
			TCPSyn: time.Minute, TCPEstablished: time.Minute, TCPFin: time.Minute, TCPClosed: time.Minute, UDP: time.Minute,
		}}
		if w.forward == model.NAT {
			s.Sources = 1
			if w.vip.Addr().Is6() {
				s.FirstSource = 1
			}
		}
		table := make([]uint32, 251)
		for i := range table {
			table[i] = w.id
		}
		c.Services[w.id], c.Tables[w.id] = s, maps.Table{Present: table}
		c.Backends[w.id] = maps.Backend{Address: w.backend, Service: w.id, Serves: true}
		for _, p := range []model.Protocol{model.TCP, model.UDP} {
			c.VIPs[maps.VIPKey{Address: w.vip.Addr(), Port: w.vip.Port(), Protocol: p}] = maps.VIP{Service: w.id}
		}
	}
	have, err := l.maps.Read()
	if err == nil {
		err = l.maps.Apply(maps.Diff(have, c))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// vlan makes the routes through an interface those of a VLAN device above it.
// Without a protocol they are the interface's own.
func (l *tagLab) vlan(t *testing.T, side string, v maps.VLAN) {
	t.Helper()
	devices := map[uint32]maps.VLAN{}
	if v.Protocol != 0 {
		v.Parent = l.index[side]
		devices[v.Parent] = v
	}
	if _, err := l.maps.SetVLANs(devices); err != nil {
		t.Fatal(err)
	}
	// The next packet asks the kernel again.
	empty := make([]bpf.NextHop, ebpf.MustPossibleCPU())
	for i := range l.hops.MaxEntries() {
		if err := l.hops.Put(i, empty); err != nil {
			t.Fatal(err)
		}
	}
}

// tag is a VLAN tag: its EtherType, and priority, drop bit and number.
type tag struct{ protocol, tci uint16 }

const priority = 0xf000 // and the drop bit

// tagged is a frame with tags, the outer one first.
func tagged(frame []byte, tags ...tag) []byte {
	out := append([]byte(nil), frame[:12]...)
	for _, t := range tags {
		out = binary.BigEndian.AppendUint16(out, t.protocol)
		out = binary.BigEndian.AppendUint16(out, t.tci)
	}
	return append(out, frame[12:]...)
}

// cross sends a frame from one side and returns what leaves towards the other
// side's neighbour.
func (l *tagLab) cross(t *testing.T, from, to string, frame []byte) []byte {
	t.Helper()
	if err := l.wires[from].Send(frame); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	peer := tagPeers[to]
	out, err := l.wires[to].Next(ctx, func(f []byte) bool { return strings.HasPrefix(string(f), string(peer[:])) })
	if err != nil {
		t.Fatalf("%x does not leave: %v", frame, err)
	}
	return out
}

// request is a packet of the client.
func (w tagWay) request(protocol model.Protocol) []byte {
	link := testlab.Ethernet{Dst: tagMACs[near], Src: tagPeers[near]}
	if protocol == model.UDP {
		return testlab.UDPPacket(link, w.client, w.vip, "word")
	}
	return testlab.TCPPacket(link, w.client, w.vip, testlab.ACK, "word")
}

// What packets come with.
var tagsIn = map[string][]tag{
	"none":            nil,
	"802.1Q":          {{testlab.EtherTypeVLAN, 3<<13 | 5}},
	"802.1Q and drop": {{testlab.EtherTypeVLAN, 1<<13 | 1<<12 | 5}},
	"802.1ad":         {{testlab.EtherTypeQinQ, 4<<13 | 100}},
	"both":            {{testlab.EtherTypeQinQ, 6<<13 | 100}, {testlab.EtherTypeVLAN, 3<<13 | 5}},
	"two 802.1Q":      {{testlab.EtherTypeVLAN, 2<<13 | 100}, {testlab.EtherTypeVLAN, 7<<13 | 5}},
}

// tagsOut are what they leave with, as the architecture says.
func tagsOut(in []tag, v maps.VLAN, sameInterface bool) []tag {
	switch {
	case v.Protocol != 0:
		out := tag{uint16(v.Protocol), v.ID}
		if len(in) > 0 {
			out.tci |= in[0].tci & priority
		}
		return []tag{out}
	case sameInterface:
		return in
	}
	return nil
}

var tagVLANs = map[string]maps.VLAN{
	"no VLAN": {}, "VLAN 20": {ID: 20, Protocol: testlab.EtherTypeVLAN}, "service VLAN 4094": {ID: 4094, Protocol: testlab.EtherTypeQinQ},
}

// eachTag calls f for all ways out and all tags on the way in.
func (l *tagLab) eachTag(t *testing.T, sides []string, f func(t *testing.T, side string, in []tag, v maps.VLAN)) {
	for vlan, v := range tagVLANs {
		for _, side := range sides {
			l.vlan(t, side, v)
			for name, in := range tagsIn {
				t.Run(fmt.Sprintf("%s to %s of %s", name, vlan, side), func(t *testing.T) { f(t, side, in, v) })
			}
		}
	}
}

// A packet leaves with the tag of its route's VLAN and the priority of its own
// outer tag; without one, by the interface it came in by as it came, and by
// another without tags. But for the tags it is the same. So is the reply.
func TestTagsByTC(t *testing.T) {
	l := newTagLab(t)
	ways := tagWays(11, model.L2DSR, model.NAT)
	l.serve(t, ways)
	protocols := []model.Protocol{model.TCP, model.UDP}
	bare := map[string][]byte{}
	l.vlan(t, far, maps.VLAN{})
	for _, w := range ways {
		for _, p := range protocols {
			out := l.cross(t, near, w.side, w.request(p))
			if err := testlab.Check(out); err != nil {
				t.Fatalf("%s: %v", w, err)
			}
			bare[fmt.Sprint(w, p)] = out
		}
	}
	l.eachTag(t, []string{near, far}, func(t *testing.T, side string, in []tag, v maps.VLAN) {
		for _, w := range ways {
			if w.side != side {
				continue
			}
			for _, p := range protocols {
				want := tagged(bare[fmt.Sprint(w, p)], tagsOut(in, v, side == near)...)
				if diff := testlab.Diff(want, l.cross(t, near, side, tagged(w.request(p), in...))); diff != "" {
					t.Errorf("%s, %s:\n%s", w, p, diff)
				}
			}
		}
	})
	l.replies(t, ways)
}

// replies sends tagged replies of the nat services' backends.
func (l *tagLab) replies(t *testing.T, ways []tagWay) {
	sources := map[uint32]netip.AddrPort{}
	for f := range l.maps.Flows() {
		if f.NAT.IsValid() && f.Protocol == model.TCP {
			sources[f.Service] = f.NAT
		}
	}
	l.eachTag(t, []string{near}, func(t *testing.T, side string, in []tag, v maps.VLAN) {
		for _, w := range ways {
			if w.forward != model.NAT {
				continue
			}
			link := testlab.Ethernet{Dst: tagMACs[w.side], Src: tagPeers[w.side]}
			out := l.cross(t, w.side, near, tagged(testlab.TCPPacket(link, w.backend, sources[w.id], testlab.ACK, "answer"), in...))
			want := tagsOut(in, v, w.side == near)
			plain := tagged(append(out[:12:12], out[12+4*len(want):]...), want...)
			if diff := testlab.Diff(plain, out); diff != "" {
				t.Errorf("%s:\n%s", w, diff)
			}
			if err := testlab.Check(out); err != nil || !testlab.ToPort(w.client)(append(out[:12:12], out[12+4*len(want):]...)) {
				t.Errorf("%s: not the client's packet: %v", w, err)
			}
		}
	})
}
