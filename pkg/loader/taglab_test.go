package loader_test

import (
	"context"
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
	// cached is how many of hops may be in use: those of backends have their
	// numbers, that of a client may be any.
	cached uint32
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
	l := &tagLab{wires: map[string]*testlab.Wire{}, index: map[string]uint32{}, cached: maxBackend + 1}
	if err := l.lay(lab); err != nil {
		t.Fatal(err)
	}
	for _, w := range l.wires {
		t.Cleanup(func() { w.Close() })
	}
	t.Cleanup(func() { l.detach(t) })
	// Without an owner, who would remove VLAN devices that the host does not have.
	if err := l.open(t, l.settings(model.AttachTC)).Close(); err != nil {
		t.Fatal(err)
	}
	pinned := filepath.Join(l.pins, fmt.Sprint("v", bpf.LayoutVersion), "maps")
	if l.maps, err = maps.Open(pinned); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.maps.Close() })
	if l.hops, err = ebpf.LoadPinnedMap(filepath.Join(pinned, "next_hops"), nil); err != nil {
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

const maxBackend = 64 // as the settings say

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
	for i := range l.cached {
		if err := l.hops.Put(i, empty); err != nil {
			t.Fatal(err)
		}
	}
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
