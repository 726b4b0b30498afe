package flood

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/bench"
	"github.com/xlb-io/xlb/internal/testlab"
)

const (
	backendCount = 100
	tableSize    = 65537
	vipPort      = 80
	backendPort  = 8080

	// The balancer's interfaces, and everybody else's.
	inName, outName, endName = "in0", "out0", "eth0"
)

var (
	inNet        = netip.MustParsePrefix("10.1.0.1/24")
	outNet       = netip.MustParsePrefix("10.2.0.1/24")
	firstBackend = netip.MustParseAddr("10.2.0.10")
	// The last of outNet is a router, behind which a plain route finds the VIPs.
	router      = netip.MustParseAddr("10.2.0.254")
	vips        = netip.MustParsePrefix("192.0.2.0/24")
	firstVIP    = netip.MustParseAddr("192.0.2.10")
	firstClient = netip.MustParseAddr("100.64.0.0") // and 2^17 more

	inMAC  = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	outMAC = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

// nextMAC is the address of the n-th machine behind the balancer; all are the
// sink.
func nextMAC(n uint32) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 1, byte(n)} }

func addTo(a netip.Addr, n uint32) netip.Addr {
	b := a.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+n)
	return netip.AddrFrom4(b)
}

// bed is a way for frames:
//
//	source eth0 ── in0 balancer out0 ── eth0 sink
//
// Each interface has a queue per CPU, so that CPUs do not meet.
type bed struct {
	name                   string
	source, balancer, sink *testlab.Namespace
	in, out, sourceIndex   int
	collection             *ebpf.Collection
	links                  []link.Link
	onIn                   link.Link // nil: the kernel's own
}

// newBed lays the cables and attaches the sink.
func newBed(lab *testlab.Lab, name string, queues int) (*bed, error) {
	b := &bed{name: name}
	if err := b.make(lab, queues); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), b.close())
	}
	return b, nil
}

func (b *bed) make(lab *testlab.Lab, queues int) error {
	for _, n := range []struct {
		into *(*testlab.Namespace)
		role string
	}{{&b.source, "source"}, {&b.balancer, "balancer"}, {&b.sink, "sink"}} {
		var err error
		if *n.into, err = lab.Namespace(b.name + "-" + n.role); err != nil {
			return err
		}
		// Its neighbour discovery would be counted with the flood.
		for _, scope := range []string{"all", "default"} {
			if err := (*n.into).Sysctl("net.ipv6.conf."+scope+".disable_ipv6", "1"); err != nil {
				return err
			}
		}
	}
	// Indices must differ: see testlab.
	if err := cable(b.balancer, inName, inMAC, b.source, queues, 11); err != nil {
		return err
	}
	if err := cable(b.balancer, outName, outMAC, b.sink, queues, 12); err != nil {
		return err
	}
	if err := b.configure(); err != nil {
		return err
	}
	return b.load()
}

// cable joins a balancer's interface to another namespace's eth0.
func cable(balancer *testlab.Namespace, name string, mac net.HardwareAddr, other *testlab.Namespace, queues, index int) error {
	h, err := balancer.Handle()
	if err != nil {
		return err
	}
	fd, err := unix.Open(filepath.Join("/run/netns", other.FullName), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", other.Name, err)
	}
	defer unix.Close(fd)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.Index = name, mac, index
	attrs.NumTxQueues, attrs.NumRxQueues = queues, queues
	err = h.LinkAdd(&netlink.Veth{
		LinkAttrs: attrs, PeerName: endName, PeerNamespace: netlink.NsFd(fd),
		PeerNumTxQueues: uint32(queues), PeerNumRxQueues: uint32(queues),
	})
	if err != nil {
		return fmt.Errorf("cable %s: %w", name, err)
	}
	for _, e := range []struct {
		namespace *testlab.Namespace
		link      string
	}{{balancer, name}, {other, endName}} {
		if err := e.namespace.SetFeatures(e.link, *testlab.ForXDP); err != nil {
			return err
		}
		if err := e.namespace.LinkUp(e.link); err != nil {
			return err
		}
	}
	return nil
}

func (b *bed) configure() error {
	n := b.balancer
	if err := errors.Join(
		n.AddAddresses(inName, inNet), n.AddAddresses(outName, outNet),
		n.Sysctl("net.ipv4.ip_forward", "1"),
		n.AddNeighbour(outName, router, nextMAC(0)),
	); err != nil {
		return err
	}
	for i := range uint32(backendCount) {
		if err := n.AddNeighbour(outName, addTo(firstBackend, i), nextMAC(i)); err != nil {
			return err
		}
	}
	var err error
	if b.in, err = n.Index(inName); err != nil {
		return err
	}
	if b.out, err = n.Index(outName); err != nil {
		return err
	}
	b.sourceIndex, err = b.source.Index(endName)
	return err
}

// load loads the programs of flood.bpf.c but the generator, and attaches the sink.
func (b *bed) load() error {
	spec, err := loadFlood()
	if err != nil {
		return fmt.Errorf("read compiled programs: %w", err)
	}
	delete(spec.Programs, "generate")
	source := outNet.Addr().As4()
	for name, value := range map[string]any{
		"egress": uint32(b.out), "outer_source": binary.NativeEndian.Uint32(source[:]),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	if b.collection, err = ebpf.NewCollection(spec); err != nil {
		return fmt.Errorf("load programs: %w", err)
	}
	if err := b.fillBare(); err != nil {
		return fmt.Errorf("fill the bare table: %w", err)
	}
	_, err = b.attach(b.sink, endName, b.collection.Programs["sink"])
	return err
}

func (b *bed) attach(n *testlab.Namespace, name string, p *ebpf.Program) (link.Link, error) {
	index, err := n.Index(name)
	if err != nil {
		return nil, err
	}
	var l link.Link
	// The kernel looks the interface up in the caller's namespace.
	err = n.Do(func() (err error) {
		l, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: index, Flags: link.XDPDriverMode})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("attach %s to %s in %s: %w", p, name, n.Name, err)
	}
	b.links = append(b.links, l)
	return l, nil
}

// balanceWith puts a program on the balancer's way in.
func (b *bed) balanceWith(p *ebpf.Program) (err error) {
	if b.onIn == nil {
		b.onIn, err = b.attach(b.balancer, inName, p)
		return err
	}
	return b.onIn.Update(p)
}

func (b *bed) close() error {
	var errs []error
	for _, l := range b.links {
		errs = append(errs, l.Close())
	}
	if b.collection != nil {
		b.collection.Close()
	}
	return errors.Join(errs...)
}

// fillBare writes the maps of the bare table look-up.
func (b *bed) fillBare() error {
	var backends []bench.BareBackend
	for i := range uint32(backendCount) {
		backends = append(backends, bench.BareBackend{Address: addTo(firstBackend, i), MAC: nextMAC(i)})
	}
	return bench.FillBare(b.collection.Maps, netip.AddrPortFrom(bareVIP, vipPort), backends)
}
