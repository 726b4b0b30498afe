package flood

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/schedule"
)

// way is what stands between the source and the sink.
type way int

const (
	program  way = iota // one of flood.bpf.c
	ours                // xlb, its flows known
	oursNew             // xlb with a flow table of its own, which floods fill
	forwards            // the kernel's forwarding
	nftables            // the kernel's NAT
)

// row is one line of the report.
type row struct {
	name, what string
	way        way
	// program of flood.bpf.c.
	program string
	forward model.Forward
	traffic traffic
}

const (
	guePort  = 6080
	few      = 1000
	many     = 100_000
	million  = 1_000_000
	flowRoom = 1 << 20
)

var (
	bareVIP = netip.MustParseAddr("192.0.2.250")
	// Of the kernel's ways.
	kernelVIP = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.251"), vipPort)
)

func vipOf(f model.Forward) netip.AddrPort {
	return netip.AddrPortFrom(addTo(firstVIP, uint32(f)), vipPort)
}

func segments(flows int) traffic {
	return traffic{protocol: model.TCP, flags: testlab.ACK, flows: flows}
}

func (t traffic) towards(to netip.AddrPort) traffic {
	t.to = to
	return t
}

// rows are all, in the order of the report.
func rows() []row {
	bare := netip.AddrPortFrom(bareVIP, vipPort)
	all := []row{
		{name: "drop", what: "XDP_DROP", way: program, program: "drop", traffic: segments(many).towards(bare)},
		{name: "redirect", what: "bpf_redirect, nothing else", way: program, program: "forward", traffic: segments(many).towards(bare)},
		{name: "bare-l2", what: "bare table look-up, new MAC addresses", way: program, program: "bare_l2", traffic: segments(many).towards(bare)},
		{name: "bare-ipip", what: "bare table look-up, outer IPv4 header", way: program, program: "bare_ipip", traffic: segments(many).towards(bare)},
	}
	syn := traffic{protocol: model.TCP, flags: testlab.SYN}
	datagrams := traffic{protocol: model.UDP, flows: many}
	for _, x := range []struct {
		name, what string
		forward    model.Forward
		way        way
		traffic    traffic
	}{
		{"l2dsr-1k", "1,000 flows", model.L2DSR, ours, segments(few)},
		{"l2dsr-100k", "100,000 flows", model.L2DSR, ours, segments(many)},
		{"l2dsr-1m", "1,000,000 flows", model.L2DSR, ours, segments(million)},
		{"l2dsr-syn", "SYNs of new flows", model.L2DSR, ours, syn},
		{"l2dsr-udp-100k", "datagrams of 100,000 flows", model.L2DSR, ours, datagrams},
		{"ipip-1k", "1,000 flows", model.IPIP, ours, segments(few)},
		{"ipip-100k", "100,000 flows", model.IPIP, ours, segments(many)},
		{"gue-100k", "100,000 flows", model.GUE, ours, segments(many)},
		{"nat-1k", "1,000 known flows", model.NAT, ours, segments(few)},
		{"nat-100k", "100,000 known flows", model.NAT, ours, segments(many)},
		{"nat-syn", "SYNs of new flows, flow table full", model.NAT, oursNew, syn},
		{"dnat-100k", "100,000 known flows", model.DNAT, ours, segments(many)},
	} {
		all = append(all, row{
			name: "xlb-" + x.name, what: fmt.Sprintf("xlb %s, %s", x.forward, x.what), way: x.way,
			forward: x.forward, traffic: x.traffic.towards(vipOf(x.forward)),
		})
	}
	return append(all,
		row{name: "kernel", what: "kernel forwarding, 100,000 flows", way: forwards, traffic: segments(many).towards(kernelVIP)},
		row{name: "nft-1k", what: "nftables dnat to jhash, 1,000 known flows", way: nftables, traffic: segments(few).towards(kernelVIP)},
		row{name: "nft-100k", what: "nftables dnat to jhash, 100,000 known flows", way: nftables, traffic: segments(many).towards(kernelVIP)},
	)
}

// Names are the rows' names, in the order of a report.
func Names() []string {
	var names []string
	for _, r := range rows() {
		names = append(names, r.name)
	}
	return names
}

// introductions are how many frames go before those that count: one of each flow
// that is to be known, or as many as fill the flow table.
func (r row) introductions() int {
	if r.way == oursNew {
		return fillings * flowRoom
	}
	if r.way == nftables || r.forward == model.NAT || r.forward == model.DNAT {
		return r.traffic.flows
	}
	return 0
}

// contents is a service per forwarding mode.
func contents() (maps.Contents, error) {
	c := maps.Contents{}.Clone()
	own := outNet.Addr()
	c.Sources[0] = own
	c.VIPs[maps.VIPKey{Address: own}] = maps.VIP{Source: 1}
	c.Tunnels[0] = maps.TunnelFrom(netip.PrefixFrom(own, own.BitLen()), guePort)
	c.Features[0] = maps.Features{DNAT: true}
	for i := range uint32(backendCount) {
		key := maps.VIPKey{Address: addTo(firstBackend, i), Port: backendPort, Protocol: model.TCP}
		c.VIPs[key] = maps.VIP{DNATBackend: true}
	}
	for _, forward := range []model.Forward{model.NAT, model.L2DSR, model.DNAT, model.IPIP, model.GUE} {
		if err := addService(&c, forward); err != nil {
			return c, err
		}
	}
	return c, nil
}

func addService(c *maps.Contents, forward model.Forward) error {
	id := uint32(forward)
	for _, p := range []model.Protocol{model.TCP, model.UDP} {
		vip := vipOf(forward)
		c.VIPs[maps.VIPKey{Address: vip.Addr(), Port: vip.Port(), Protocol: p}] = maps.VIP{Service: id}
	}
	service := maps.Service{Forward: forward, Track: model.TrackAuto, Timeouts: model.Timeouts{
		// Nothing expires while it is measured.
		TCPSyn: time.Hour, TCPEstablished: time.Hour, TCPFin: time.Hour, TCPClosed: time.Hour, UDP: time.Hour,
	}}
	if forward == model.NAT {
		service.Sources = 1
	}
	c.Services[id] = service
	var entries []schedule.Entry
	for i := range uint32(backendCount) {
		number := (id-1)*backendCount + i + 1
		address := netip.AddrPortFrom(addTo(firstBackend, i), backendPort)
		c.Backends[number] = maps.Backend{Address: address, Service: id, Serves: true}
		entries = append(entries, schedule.Entry{Key: address.String(), ID: number, Weight: 1})
	}
	table, err := schedule.Maglev(entries, tableSize)
	c.Tables[id] = maps.Table{Present: table}
	return err
}

// dataPlane is xlb, loaded, with a flow table.
type dataPlane struct {
	set      *maps.Set
	programs *loader.Programs
}

func newDataPlane() (*dataPlane, error) {
	c, err := contents()
	if err != nil {
		return nil, err
	}
	d := &dataPlane{}
	d.set, err = maps.New(maps.Sizes{
		Services: len(c.Services) + 1, Backends: len(c.Backends) + 1,
		Frontends: len(c.VIPs), Sources: len(c.Sources), Table: tableSize, Flows: flowRoom,
	})
	if err != nil {
		return nil, err
	}
	if err = d.set.Apply(maps.Diff(maps.Contents{}, c)); err == nil {
		d.programs, err = loader.LoadPrograms(d.set, model.Settings{
			NextHop: model.NextHopFIB, NATPorts: model.PortRange{First: 1024, Last: 32767},
		})
	}
	if err != nil {
		d.close()
		return nil, fmt.Errorf("load the data plane: %w", err)
	}
	return d, nil
}

func (d *dataPlane) close() {
	if d.programs != nil {
		d.programs.Close()
	}
	d.set.Close()
}

// lost are the packets that the data plane did not send, by reason.
func (d *dataPlane) lost() (map[string]uint64, error) {
	reasons, err := d.set.Reasons()
	lost := map[string]uint64{}
	for _, r := range reasons {
		// ARP is not the flood's.
		if r.Name != "tx" && r.Name != "redirect" && r.Name != "pass_not_ip" {
			lost[r.Name] = r.Packets
		}
	}
	return lost, err
}

// flows are how many were recorded so far, and for how many of them another one
// had to go.
func (d *dataPlane) flows() (created, evicted uint64, err error) {
	events, err := d.set.Events()
	for _, e := range events {
		switch e.Name {
		case "flow_created":
			created = e.Packets
		case "flow_evicted":
			evicted = e.Packets
		}
	}
	return created, evicted, err
}

// fillings is how often the flow table is filled over before it counts as full.
const fillings = 4

// programOf is what a row attaches; nil for the kernel's ways.
func (s *site) programOf(r row) *ebpf.Program {
	switch r.way {
	case program:
		return s.beds[r.way].collection.Programs[r.program]
	case ours, oursNew:
		return s.planes[r.way].programs.XDP
	}
	return nil
}
