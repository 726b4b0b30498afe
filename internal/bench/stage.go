package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/schedule"
)

const (
	backendCount = 100
	tableSize    = 65537
	vipPort      = 80
	backendPort  = 8080
	link         = "eth0"
	// Source addresses of nat, of each family.
	sourceCount = 1
)

// The network: one segment with the balancer, its backends and a router, behind
// which are the clients. firstClient4 and its successors share the last four
// bytes with those of IPv6.
var (
	own          = [2]netip.Prefix{netip.MustParsePrefix("10.1.0.1/16"), netip.MustParsePrefix("fd00:1::1/64")}
	router       = [2]netip.Addr{netip.MustParseAddr("10.1.255.254"), netip.MustParseAddr("fd00:1::ffff")}
	clients      = [2]netip.Prefix{netip.MustParsePrefix("100.64.0.0/15"), netip.MustParsePrefix("2001:db8:c::/64")}
	firstClient  = [2]netip.Addr{netip.MustParseAddr("100.64.0.0"), netip.MustParseAddr("2001:db8:c::6440:0")}
	firstBackend = [2]netip.Addr{netip.MustParseAddr("10.1.0.10"), netip.MustParseAddr("fd00:1::10")}
	foreign      = netip.MustParseAddr("192.0.2.200") // nobody's VIP

	ownMAC    = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	routerMAC = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

func family(ipv6 bool) int {
	if ipv6 {
		return 1
	}
	return 0
}

// addTo is the address n after a.
func addTo(a netip.Addr, n uint32) netip.Addr {
	b := a.AsSlice()
	low := b[len(b)-4:]
	binary.BigEndian.PutUint32(low, binary.BigEndian.Uint32(low)+n)
	out, _ := netip.AddrFromSlice(b)
	return out
}

// lowWord is the end of an address, which says all about a host here.
func lowWord(a netip.Addr) uint32 {
	b := a.AsSlice()
	return binary.BigEndian.Uint32(b[len(b)-4:])
}

// serviceOf numbers the services: one per forwarding mode and family.
func serviceOf(f model.Forward, ipv6 bool) uint32 {
	return uint32(f)*2 - 1 + uint32(family(ipv6))
}

func vipOf(service uint32, ipv6 bool) netip.AddrPort {
	first := [2]string{"192.0.2.10", "2001:db8::10"}[family(ipv6)]
	return netip.AddrPortFrom(addTo(netip.MustParseAddr(first), service), vipPort)
}

// stage is the data plane, loaded, in a namespace where its next hops are.
type stage struct {
	lab      *testlab.Lab
	balancer *testlab.Namespace
	ingress  uint32
	set      *maps.Set
	programs *loader.Programs
	// The data plane's own, to empty between scenarios.
	flowMap, portMap *ebpf.Map
	flowTable        int
}

func newStage(flowTable int) (*stage, error) {
	st := &stage{flowTable: flowTable}
	for _, step := range []func() error{st.wire, st.load, st.open} {
		if err := step(); err != nil {
			return nil, errors.Join(err, st.close())
		}
	}
	return st, nil
}

func (st *stage) close() error {
	var errs []error
	for _, m := range []*ebpf.Map{st.flowMap, st.portMap} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	if st.programs != nil {
		errs = append(errs, st.programs.Close())
	}
	if st.set != nil {
		errs = append(errs, st.set.Close())
	}
	if st.lab != nil {
		errs = append(errs, st.lab.Close())
	}
	return errors.Join(errs...)
}

func (st *stage) wire() error {
	var err error
	if st.lab, err = testlab.New("bench"); err != nil {
		return err
	}
	if st.balancer, err = st.lab.Namespace("balancer"); err != nil {
		return err
	}
	segment, err := st.lab.Namespace("segment")
	if err != nil {
		return err
	}
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		if err := st.balancer.Sysctl(key, "1"); err != nil {
			return err
		}
	}
	err = st.lab.Veth(
		testlab.End{Namespace: st.balancer, Name: link, Addresses: own[:], MAC: ownMAC},
		testlab.End{Namespace: segment, Name: link},
	)
	if err != nil {
		return err
	}
	index, err := st.balancer.Index(link)
	if err != nil {
		return err
	}
	st.ingress = uint32(index)
	for f := range own {
		if err := st.balancer.AddNeighbour(link, router[f], routerMAC); err != nil {
			return err
		}
		if err := st.balancer.AddRoute(clients[f], router[f]); err != nil {
			return err
		}
		for i := range uint32(backendCount) {
			mac := net.HardwareAddr{2, 0, 0, 0, 1, byte(i)}
			if err := st.balancer.AddNeighbour(link, addTo(firstBackend[f], i), mac); err != nil {
				return err
			}
		}
	}
	return nil
}

func (st *stage) load() error {
	c, err := contents()
	if err != nil {
		return err
	}
	st.set, err = maps.New(maps.Sizes{
		Services: len(c.Services) + 1, Backends: len(c.Backends) + 1,
		Frontends: len(c.VIPs), Sources: len(c.Sources),
		Table: tableSize, Flows: st.flowTable,
	})
	if err != nil {
		return err
	}
	if err := st.set.Apply(maps.Diff(maps.Contents{}, c)); err != nil {
		return err
	}
	st.programs, err = loader.LoadPrograms(st.set, model.Settings{
		NextHop: model.NextHopFIB, NATPorts: model.PortRange{First: 1024, Last: 32767},
	})
	return err
}

// contents are a service per forwarding mode and family, each with its VIP and
// backends.
func contents() (maps.Contents, error) {
	c := maps.Contents{}.Clone()
	for f := range own {
		for i := range uint32(sourceCount) {
			index, address := uint32(f)*sourceCount+i, addTo(own[f].Addr(), i)
			c.Sources[index] = address
			c.VIPs[maps.VIPKey{Address: address}] = maps.VIP{Source: uint16(index + 1)}
		}
	}
	for _, forward := range Forwards() {
		for f := range own {
			ipv6 := f == 1
			id := serviceOf(forward, ipv6)
			for _, p := range []model.Protocol{model.TCP, model.UDP} {
				vip := vipOf(id, ipv6)
				c.VIPs[maps.VIPKey{Address: vip.Addr(), Port: vip.Port(), Protocol: p}] = maps.VIP{Service: id}
			}
			service := maps.Service{Forward: forward, Timeouts: model.Timeouts{
				// Nothing expires while it is measured.
				TCPSyn: time.Hour, TCPEstablished: time.Hour, TCPFin: time.Hour, TCPClosed: time.Hour, UDP: time.Hour,
			}}
			if forward == model.NAT {
				service.FirstSource, service.Sources = uint16(f*sourceCount), sourceCount
			}
			c.Services[id] = service
			var entries []schedule.Entry
			for i := range uint32(backendCount) {
				number := (id-1)*backendCount + i + 1
				address := netip.AddrPortFrom(addTo(firstBackend[f], i), backendPort)
				c.Backends[number] = maps.Backend{Address: address, Service: id, Serves: true}
				entries = append(entries, schedule.Entry{Key: address.String(), ID: number, Weight: 1})
			}
			table, err := schedule.Maglev(entries, tableSize)
			if err != nil {
				return c, err
			}
			c.Tables[id] = table
		}
	}
	return c, nil
}

// open gets at the flow table and the ports, which only the data plane writes.
func (st *stage) open() error {
	info, err := st.programs.XDP.Info()
	if err != nil {
		return fmt.Errorf("ask for the program's maps: %w", err)
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return fmt.Errorf("open map %d: %w", id, err)
		}
		info, err := m.Info()
		if err != nil {
			return errors.Join(err, m.Close())
		}
		switch info.Name {
		case "flows":
			st.flowMap = m
		case "ports":
			st.portMap = m
		default:
			if err := m.Close(); err != nil {
				return err
			}
		}
	}
	if st.flowMap == nil || st.portMap == nil {
		return errors.New("the data plane has no maps called flows and ports")
	}
	return nil
}

// forget empties the flow table.
func (st *stage) forget() error {
	if err := zero[[256]byte](st.flowMap); err != nil {
		return err
	}
	return zero[[64]byte](st.portMap)
}

// zero overwrites an array map whose values have the size of V.
func zero[V any](m *ebpf.Map) error {
	const chunk = 4096
	keys, values := make([]uint32, chunk), make([]V, chunk)
	for at := uint32(0); at < m.MaxEntries(); at += chunk {
		n := min(chunk, m.MaxEntries()-at)
		for i := range n {
			keys[i] = at + i
		}
		if _, err := m.BatchUpdate(keys[:n], values[:n], nil); err != nil {
			return fmt.Errorf("empty %s: %w", m, err)
		}
	}
	return nil
}
