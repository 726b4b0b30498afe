package bpf_test

import (
	"maps"
	"net/netip"
	"time"

	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// slots is the size of every table.
const slots = 13

// The services of the standard world, by family. Each has one backend, whose
// number is ten times the service's plus one.
const (
	nat4 = 1
	nat6 = 2
	dsr4 = 3
	dsr6 = 4
)

var timeouts = model.Timeouts{
	TCPSyn: 30 * time.Second, TCPEstablished: 60 * time.Second, TCPFin: 20 * time.Second,
	TCPClosed: 10 * time.Second, UDP: 40 * time.Second,
}

// world is what the maps are to hold.
type world struct{ xlb.Contents }

func emptyWorld() world { return world{xlb.Contents{}.Clone()} }

// standard is a world with a nat and an l2dsr service per family, each with
// the ports 80 and 443 of TCP and UDP. All record every flow.
func standard() world {
	w := emptyWorld()
	w.source(0, "10.20.0.1")
	w.source(1, "fd10:20::1")
	w.service(nat4, model.NAT, 0, 1, "192.0.2.10")
	w.service(nat6, model.NAT, 1, 1, "2001:db8::10")
	w.service(dsr4, model.L2DSR, 0, 0, "192.0.2.20")
	w.service(dsr6, model.L2DSR, 0, 0, "2001:db8::20")
	w.backend(11, nat4, "10.20.0.11:8080")
	w.backend(21, nat6, "[fd10:20::b]:8080")
	w.backend(31, dsr4, "10.20.0.11:80")
	w.backend(41, dsr6, "[fd10:20::b]:80")
	for s := uint32(nat4); s <= dsr6; s++ {
		w.table(s, s*10+1)
	}
	return w
}

func (w world) clone() world { return world{w.Contents.Clone()} }

func (w world) source(index uint32, address string) {
	a := netip.MustParseAddr(address)
	w.Sources[index] = a
	w.VIPs[xlb.VIPKey{Address: a}] = xlb.VIP{Source: uint16(index + 1)}
}

func (w world) service(id uint32, forward model.Forward, firstSource, sources uint16, vip string) {
	w.Services[id] = xlb.Service{Forward: forward, FirstSource: firstSource, Sources: sources, Track: model.TrackAlways, Timeouts: timeouts}
	for _, port := range []uint16{80, 443} {
		w.frontend(id, vip, port, model.TCP)
		w.frontend(id, vip, port, model.UDP)
	}
}

// frontend also marks the frontends of an address that is a source.
func (w world) frontend(service uint32, vip string, port uint16, protocol model.Protocol) {
	a := netip.MustParseAddr(vip)
	w.VIPs[xlb.VIPKey{Address: a, Port: port, Protocol: protocol}] = xlb.VIP{
		Service: service, Source: w.VIPs[xlb.VIPKey{Address: a}].Source,
	}
}

func (w world) timeouts(service uint32, t model.Timeouts) {
	s := w.Services[service]
	s.Timeouts = t
	w.Services[service] = s
}

func (w world) backend(id, service uint32, address string) {
	w.Backends[id] = xlb.Backend{Address: netip.MustParseAddrPort(address), Service: service, Serves: true}
}

func (w world) serves(id uint32, serves bool) {
	b := w.Backends[id]
	b.Serves = serves
	w.Backends[id] = b
}

// table gives the backends equal parts of the service's table; none of them:
// a table without a backend.
func (w world) table(service uint32, backends ...uint32) {
	t := make([]uint32, slots)
	for i := range t {
		if len(backends) > 0 {
			t[i] = backends[i*len(backends)/slots]
		}
	}
	w.Tables[service] = xlb.Table{Present: t}
}

// without forgets a service with all that belongs to it.
func (w world) without(service uint32) {
	maps.DeleteFunc(w.VIPs, func(_ xlb.VIPKey, v xlb.VIP) bool { return v.Service == service })
	maps.DeleteFunc(w.Backends, func(_ uint32, b xlb.Backend) bool { return b.Service == service })
	delete(w.Services, service)
	delete(w.Tables, service)
}
