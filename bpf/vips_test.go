package bpf_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"

	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Two services of each family whose frontends crowd into few buckets, so that
// they move and take each other's cells.
const (
	vipRoom    = 128
	vipBuckets = 64 // what pkg/maps makes for so many
	vipCrowded = 8  // buckets, of 4 cells, that are first and second to all
	vipSteady  = 5  // frontends of each service that stay
	vipComing  = 8  // that come and go
)

// meanwhile are the services' frontends and backends; those of a family follow
// each other.
var meanwhile = [][2]string{
	{"192.0.2.20", "10.20.0.11:80"}, {"192.0.2.21", "10.20.0.12:80"},
	{"2001:db8::20", "[fd10:20::b]:80"}, {"2001:db8::21", "[fd10:20::c]:80"},
}

// crowds says whether a frontend belongs into the crowded buckets, written anew
// from what vips.h says.
func crowds(a netip.Addr, port uint16) bool {
	b := in16(a)
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	tail := uint64(port>>8|port<<8) | uint64(model.TCP)<<16 | 1<<24
	h := word(8)>>32 | tail<<32
	if a.Is6() {
		h = word(0)*0x9e3779b97f4a7c15 + word(8)*0xc4ceb9fe1a85ec53 + tail
	}
	h = round(h)
	first, step := h>>40, uint64(uint32(h>>8)|1)
	return first%vipBuckets < vipCrowded && (first+step)%vipBuckets < vipCrowded
}

// crowdedPorts are the ports of an address that crowd: those that stay, and
// those that come and go.
func crowdedPorts(address string) (steady, coming []uint16) {
	a := netip.MustParseAddr(address)
	for port := uint16(1); len(coming) < vipComing; port++ {
		switch {
		case !crowds(a, port):
		case len(steady) < vipSteady:
			steady = append(steady, port)
		default:
			coming = append(coming, port)
		}
	}
	return steady, coming
}

// Packets find their frontend, and no other, while frontends beside it come, go,
// change and move.
func TestFrontendsMeanwhile(t *testing.T) {
	z := sizes()
	z.Frontends = vipRoom
	w := emptyWorld()
	for i, ends := range meanwhile {
		id := uint32(i + 1)
		w.Services[id] = xlb.Service{Forward: model.L2DSR, Track: model.TrackAuto, Timeouts: timeouts}
		w.backend(id, id, ends[1])
		w.table(id, id)
		steady, _ := crowdedPorts(ends[0])
		for _, port := range steady {
			w.frontend(id, ends[0], port, model.TCP)
		}
	}
	p := newPlane(t, settings(), z, w)
	p.bothHooks(t, func(t *testing.T) {
		for own := uint32(1); own <= uint32(len(meanwhile)); own += 2 {
			steady, coming := crowdedPorts(meanwhile[own-1][0])
			for name, ports := range map[string][]uint16{"steady": steady, "coming": coming} {
				before := p.counters(t)
				changes, err := p.lookMeanwhile(own, ports)
				if err != nil {
					t.Fatal(err)
				}
				moved := p.counters(t)
				count := func(format string, a ...any) uint64 {
					counter := fmt.Sprintf(format, a...)
					return moved[counter] - before[counter]
				}
				hits, misses := count("service %d request packets", own), count("reason pass_not_vip packets")
				t.Logf("%s of service %d: %d packets found it, %d did not; %d changes", name, own, hits, misses, changes)
				if n := count("service %d request packets", own+1); n != 0 {
					t.Errorf("%s of service %d: %d packets went to the other service", name, own, n)
				}
				if hits == 0 || (misses == 0) != (name == "steady") {
					t.Errorf("%s of service %d: %d packets found it, %d did not", name, own, hits, misses)
				}
			}
		}
	})
}

// lookMeanwhile sends packets to a service's frontends while others change. It
// returns how many changes there were.
func (p *plane) lookMeanwhile(service uint32, ports []uint16) (changes int, err error) {
	const looks, packets = 40, 50_000
	var g errgroup.Group
	done := make(chan struct{})
	g.Go(func() (err error) {
		changes, err = p.change(done)
		return err
	})
	g.Go(func() error {
		defer close(done)
		return balancer.Do(func() error {
			w := wayTo(map[bool]uint32{true: dsr4, false: dsr6}[service <= 2])
			for i := range looks {
				w.vip = netip.AddrPortFrom(netip.MustParseAddr(meanwhile[service-1][0]), ports[i%len(ports)])
				in := w.request(segment(ack))
				options := &ebpf.RunOptions{Data: in.frame, Context: p.hook.context(in), Repeat: packets}
				if _, err := p.hook.program(p.programs).Run(options); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return changes, g.Wait()
}

// change puts and removes the frontends that come and go, until done, and leaves
// none of them.
func (p *plane) change(done chan struct{}) (changes int, err error) {
	random := rand.New(rand.NewPCG(7, 7))
	var keys []xlb.Change[xlb.VIPKey, xlb.VIP]
	for i, ends := range meanwhile {
		_, coming := crowdedPorts(ends[0])
		for _, port := range coming {
			key := xlb.VIPKey{Address: netip.MustParseAddr(ends[0]), Port: port, Protocol: model.TCP}
			keys = append(keys, xlb.Change[xlb.VIPKey, xlb.VIP]{Key: key, New: &xlb.VIP{Service: uint32(i + 1)}})
		}
	}
	for {
		select {
		case <-done:
			for _, c := range keys {
				c.New = nil
				err = errors.Join(err, p.set.Apply(xlb.Changes{VIPs: []xlb.Change[xlb.VIPKey, xlb.VIP]{c}}))
			}
			return changes, err
		default:
		}
		c := keys[random.IntN(len(keys))]
		if random.IntN(2) == 0 {
			c.New = nil
		}
		// What moved elsewhere does not come back, so there may be no room.
		if err := p.set.Apply(xlb.Changes{VIPs: []xlb.Change[xlb.VIPKey, xlb.VIP]{c}}); err == nil {
			changes++
		}
	}
}
