package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Backends of the kernel's tests are numbered by service and from 1, and both
// are in their MAC and their addresses, so that either tells who a packet is for.
const kernelServices, kernelBackends = 2, 5

func backendMAC(service, n int) testlab.MAC { return testlab.MAC{2, 0, 0, 0, byte(service), byte(n)} }

func backendAddress(service, n int, ipv6 bool) netip.AddrPort {
	a := netip.AddrFrom4([4]byte{10, 0, byte(service), byte(n)})
	if ipv6 {
		a = netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x10, 14: byte(service), 15: byte(n)})
	}
	return netip.AddrPortFrom(a, 80)
}

var ownMAC = testlab.MAC{2, 0, 0, 0, 255, 255}

// kernelPlane is the compiled data plane with maps of its own. Its programs run
// inside a namespace in which all backends are neighbours.
type kernelPlane struct {
	*maps.Set
	programs *loader.Programs
	ingress  uint32
	memory   []byte     // the flow table, to write to
	records  []bpf.Flow // the same
}

// newKernelPlanes makes several, and the namespace for them.
func newKernelPlanes(t *testing.T, n int, sizes maps.Sizes) (*testlab.Namespace, []*kernelPlane) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	lab, err := testlab.New("control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	space, err := kernelNeighbours(lab)
	if err != nil {
		t.Fatal(err)
	}
	index, err := space.Index("lb0")
	if err != nil {
		t.Fatal(err)
	}
	planes := make([]*kernelPlane, n)
	var group errgroup.Group
	for i := range planes {
		p := &kernelPlane{ingress: uint32(index)}
		t.Cleanup(func() {
			if err := p.close(); err != nil {
				t.Error(err)
			}
		})
		planes[i] = p
		group.Go(func() error { return p.load(sizes) })
	}
	if err := group.Wait(); err != nil {
		t.Fatalf("%+v", err)
	}
	return space, planes
}

func kernelNeighbours(lab *testlab.Lab) (*testlab.Namespace, error) {
	balancer, err := lab.Namespace("balancer")
	if err != nil {
		return nil, err
	}
	outside, err := lab.Namespace("outside")
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		balancer.Sysctl("net.ipv4.ip_forward", "1"),
		balancer.Sysctl("net.ipv6.conf.all.forwarding", "1"),
		lab.Veth(testlab.End{
			Namespace: balancer, Name: "lb0", MAC: net.HardwareAddr(ownMAC[:]),
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.255.1/16"), netip.MustParsePrefix("fd10::ffff/64")},
		}, testlab.End{Namespace: outside, Name: "lb0"}))
	for service := range kernelServices {
		for n := 1; n <= kernelBackends; n++ {
			mac := backendMAC(service, n)
			for _, ipv6 := range []bool{false, true} {
				err = errors.Join(err, balancer.AddNeighbour("lb0", backendAddress(service, n, ipv6).Addr(), mac[:]))
			}
		}
	}
	return balancer, err
}

func (p *kernelPlane) load(sizes maps.Sizes) (err error) {
	if p.Set, err = maps.New(sizes); err != nil {
		return err
	}
	settings := model.Settings{NextHop: model.NextHopFIB, NATPorts: model.PortRange{First: 1024, Last: 32767}}
	if p.programs, err = loader.LoadPrograms(p.Set, settings); err != nil {
		return err
	}
	info, err := p.programs.XDP.Info()
	if err != nil {
		return err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		if err := p.openFlows(id); err != nil {
			return err
		}
	}
	if p.memory == nil {
		return errors.New("the program has no flow table")
	}
	return nil
}

// openFlows maps the flow table into memory, if it is this map.
func (p *kernelPlane) openFlows(id ebpf.MapID) error {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return err
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil || info.Name != "flows" {
		return err
	}
	p.memory, err = unix.Mmap(m.FD(), 0, int(m.MaxEntries()*m.ValueSize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the flow table into memory: %w", err)
	}
	p.records = unsafe.Slice((*bpf.Flow)(unsafe.Pointer(&p.memory[0])), len(p.memory)/int(unsafe.Sizeof(bpf.Flow{})))
	return nil
}

func (p *kernelPlane) close() error {
	var errs []error
	if p.memory != nil {
		errs = append(errs, unix.Munmap(p.memory))
	}
	if p.programs != nil {
		errs = append(errs, p.programs.Close())
	}
	if p.Set != nil {
		errs = append(errs, p.Set.Close())
	}
	return errors.Join(errs...)
}

// empty forgets all that the maps hold.
func (p *kernelPlane) empty() error {
	clear(p.records)
	have, err := p.Read()
	if err != nil {
		return err
	}
	return p.Apply(maps.Diff(have, maps.Contents{}.Clone()))
}

// age makes every record look as if d had passed since its flow's last packet.
func (p *kernelPlane) age(d time.Duration) {
	const dead = ^uint64(0) // see struct flow
	for i := range p.records {
		if f := &p.records[i]; f.Tuple != 0 && f.Tuple != dead {
			f.Meta = f.Meta&^0xffffffff | uint64(uint32(f.Meta)-uint32(d>>20))
		}
	}
}

// count is that of an event.
func (p *kernelPlane) count(event string) (uint64, error) {
	all, err := p.Events()
	for _, e := range all {
		if e.Name == event {
			return e.Packets, err
		}
	}
	return 0, errors.Join(err, fmt.Errorf("no event is called %s", event))
}

// run sends a frame through a program. It returns nil if the packet was
// dropped, and fails if it was neither dropped nor sent.
func (p *kernelPlane) run(frame []byte, tc bool) ([]byte, error) {
	program, sent, dropped := p.programs.XDP, uint32(3), uint32(1) // XDP_TX, XDP_DROP
	var context any = struct{ Data, DataEnd, DataMeta, Ingress, Queue, Egress uint32 }{
		DataEnd: uint32(len(frame)), Ingress: p.ingress,
	}
	if tc {
		program, sent, dropped = p.programs.TC, 7, 2 // TC_ACT_REDIRECT, TC_ACT_SHOT
		context = [48]uint32{40 / 4: p.ingress}      // struct __sk_buff
	}
	options := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+64), Context: context}
	verdict, err := program.Run(options)
	switch {
	case err != nil:
		return nil, fmt.Errorf("run a program: %w", err)
	case verdict == dropped:
		return nil, nil
	case verdict != sent:
		return nil, fmt.Errorf("a packet is neither dropped nor sent, but has verdict %d", verdict)
	}
	return options.DataOut, nil
}

// receiver is the backend that a frame was sent to, by its MAC and, if tunnelled,
// its outer header.
func receiver(frame []byte, tunnelled bool) (netip.AddrPort, error) {
	ipv6 := binary.BigEndian.Uint16(frame[12:]) == testlab.EtherTypeIPv6
	to := backendAddress(int(frame[4]), int(frame[5]), ipv6)
	if mac := backendMAC(int(frame[4]), int(frame[5])); testlab.MAC(frame[:6]) != mac {
		return to, fmt.Errorf("sent to the MAC %v, which is no backend's", testlab.MAC(frame[:6]))
	}
	if !tunnelled {
		return to, nil
	}
	outer := netip.AddrFrom4([4]byte(frame[14+16:]))
	if ipv6 {
		outer = netip.AddrFrom16([16]byte(frame[14+24:]))
	}
	if outer != to.Addr() {
		return to, fmt.Errorf("the outer header names %v, the MAC is that of %v", outer, to)
	}
	return to, nil
}
