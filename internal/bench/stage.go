package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/schedule"
)

const (
	backendCount = 100
	tableSize    = 65537
	vipPort      = 80
	backendPort  = 8080
	guePort      = 6080
	link         = "eth0"
	// Source addresses of nat, of each family.
	sourceCount = 1
	// The highest rates that the data plane knows.
	mostUpcalls = 976_547
	mostRate    = 10_000_000
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

func backendMAC(n uint32) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 1, byte(n)} }

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

// serviceOf numbers the services: one per variant and family.
func serviceOf(v variant, ipv6 bool) uint32 {
	return uint32(v)*2 + uint32(family(ipv6)) + 1
}

func vipOf(service uint32, ipv6 bool) netip.AddrPort {
	first := [2]string{"192.0.2.10", "2001:db8::10"}[family(ipv6)]
	return netip.AddrPortFrom(addTo(netip.MustParseAddr(first), service), vipPort)
}

// stage is the network, and in it the rooms and the bare programs. All are made
// when they are first needed.
type stage struct {
	lab      *testlab.Lab
	balancer *testlab.Namespace
	ingress  uint32
	// contents are the services of a forwarding mode.
	contents map[model.Forward]maps.Contents
	// flowTable is the size of a flow table, but for the large room's.
	flowTable int
	rooms     map[roomKind]*room
	bares     map[string]*bare
}

func newStage(flowTable int) (*stage, error) {
	st := &stage{
		flowTable: flowTable, contents: map[model.Forward]maps.Contents{},
		rooms: map[roomKind]*room{}, bares: map[string]*bare{},
	}
	for _, f := range Forwards() {
		var err error
		if st.contents[f], err = contents(f); err != nil {
			return nil, err
		}
	}
	if err := st.wire(); err != nil {
		return nil, errors.Join(err, st.close())
	}
	return st, nil
}

func (st *stage) close() error {
	var errs []error
	for _, b := range st.bares {
		b.close()
	}
	for _, r := range st.rooms {
		errs = append(errs, r.close())
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
			if err := st.balancer.AddNeighbour(link, addTo(firstBackend[f], i), backendMAC(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// contents are a forwarding mode's services, one per variant and family, each
// with its VIP and backends.
func contents(forward model.Forward) (maps.Contents, error) {
	c := maps.Contents{}.Clone()
	for f := range own {
		c.Tunnels[uint32(f)] = maps.TunnelFrom(netip.PrefixFrom(own[f].Addr(), own[f].Addr().BitLen()), guePort)
		for i := range uint32(sourceCount) {
			index, address := uint32(f)*sourceCount+i, addTo(own[f].Addr(), i)
			c.Sources[index] = address
			c.VIPs[maps.VIPKey{Address: address}] = maps.VIP{Source: uint16(index + 1)}
		}
		if forward == model.DNAT {
			addDNATBackends(&c, f)
		}
		for v := range variants {
			if rewrites(forward) && !v.everywhere() && selections[v] == (maps.Selection{}) {
				continue
			}
			if err := addService(&c, forward, v, f); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// addDNATBackends names the addresses from which packets may be replies.
func addDNATBackends(c *maps.Contents, f int) {
	c.Features[0] = maps.Features{DNAT: true}
	for i := range uint32(backendCount) {
		for _, p := range []model.Protocol{model.TCP, model.UDP} {
			key := maps.VIPKey{Address: addTo(firstBackend[f], i), Port: backendPort, Protocol: p}
			c.VIPs[key] = maps.VIP{DNATBackend: true}
		}
	}
}

func addService(c *maps.Contents, forward model.Forward, v variant, f int) error {
	id := serviceOf(v, f == 1)
	vip := vipOf(id, f == 1)
	for _, p := range []model.Protocol{model.TCP, model.UDP} {
		c.VIPs[maps.VIPKey{Address: vip.Addr(), Port: vip.Port(), Protocol: p}] = maps.VIP{Service: id}
	}
	service := maps.Service{Forward: forward, Track: model.TrackAuto, Timeouts: model.Timeouts{
		// Nothing expires while it is measured.
		TCPSyn: time.Hour, TCPEstablished: time.Hour, TCPFin: time.Hour, TCPClosed: time.Hour, UDP: time.Hour,
	}}
	if forward == model.NAT {
		service.FirstSource, service.Sources = uint16(f*sourceCount), sourceCount
	}
	service.Selection = selections[v]
	switch v {
	case onePacket, named:
		service.Track = model.TrackNever
	case always, random, roundRobin, leastConnections, leastLatency, bound:
		service.Track = model.TrackAlways
	case policed:
		// What nobody is asked about is recorded as if it had been decided.
		service.Policy, service.Upcalls, service.UpcallsPerSource = model.OverloadContinue, mostUpcalls, mostUpcalls
	case counted:
		service.Track, service.Outcomes = model.TrackAlways, true
		if rewrites(forward) {
			service.Retries = model.MaxRetries
		}
	case limited:
		// What nothing is refused by.
		most := maps.Rate{PerSecond: mostRate, Burst: mostRate}
		service.Limits = maps.Limits{Rate: most, RatePerSource: most, IPv4: 32, IPv6: 64}
	}
	if service.Ruled = v.ruled(); service.Ruled {
		c.Rules[id] = rulesOf(v)
	}
	c.Services[id] = service
	first := (id-1)*backendCount + 1
	var entries []schedule.Entry
	for i := range uint32(backendCount) {
		address := netip.AddrPortFrom(addTo(firstBackend[f], i), backendPort)
		c.Backends[first+i] = maps.Backend{Address: address, Service: id, Serves: true, Weight: 1}
		if v == named {
			c.QUICServers[maps.QUICServer{Service: id, ID: fmt.Sprintf("%08x", i)}] = first + i
		}
		entries = append(entries, schedule.Entry{Key: address.String(), ID: first + i, Weight: 1})
	}
	fill := schedule.Maglev
	if v == roundRobin {
		fill = schedule.RoundRobin
	}
	table, err := fill(entries, tableSize)
	if err != nil {
		return err
	}
	t := maps.Table{Present: table}
	for i := range uint32(tableSize) {
		if v == marked {
			previous := first + (table[i]-first+1)%backendCount
			t.Marked = append(t.Marked, maps.Mark{Slot: i, Previous: previous})
		}
	}
	c.Tables[id] = t
	return nil
}
