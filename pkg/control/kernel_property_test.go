package control

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// The idle timeouts in the kernel. A record may be some more than a second older
// than its flow (REFRESH in flow.h), so that a flow is only surely alive if that
// much less has passed.
var kernelTimeouts = model.Timeouts{
	TCPSyn: 30 * time.Second, TCPEstablished: flowTimeout, TCPFin: 40 * time.Second,
	TCPClosed: 20 * time.Second, UDP: 60 * time.Second,
}

const recordSlack = 2 * time.Second

// newKernelHistory is a history of two services, each with TCP and UDP, in any
// mode that needs no record and any pair of families that it can.
func newKernelHistory(t *testing.T, seed uint64, p *kernelPlane) (*history, *kernelWire) {
	r := rand.New(rand.NewPCG(seed, 3))
	cfg := &model.Config{Settings: model.Settings{GUEPort: 6080, TunnelSources: []netip.Prefix{
		netip.MustParsePrefix("10.0.255.1/32"), netip.MustParsePrefix("fd10::ffff/128"),
	}}}
	var mixed [kernelServices]int // bits: the n-th backend's family is the other one
	for i := range kernelServices {
		s := service(fmt.Sprintf("s%d", i), []string{"203.0.113.1:80", "[2001:db8::1]:80"}[r.IntN(2)])
		if i == 1 {
			s.Frontends[0].VIP = s.Frontends[0].VIP.Next()
		}
		udp := s.Frontends[0]
		udp.Protocol = model.UDP
		s.Frontends = append(s.Frontends, udp)
		s.Forward = []model.Forward{model.L2DSR, model.IPIP, model.GUE}[r.IntN(3)]
		s.Track, s.Timeouts = model.TrackAuto, kernelTimeouts
		switch r.IntN(4) {
		case 0:
			s.Selection.Schedule = model.Schedule(r.IntN(6))
		case 1:
			s.Selection.Hash = model.HashInput(r.IntN(4))
		}
		if s.Forward.Tunnels() {
			mixed[i] = r.IntN(1 << kernelBackends)
		}
		cfg.Services = append(cfg.Services, s)
	}
	w := &kernelWire{
		kernelPlane: p, Rand: rand.New(rand.NewPCG(seed, 4)), t: t, services: cfg.Services,
		before: maps.Contents{}.Clone(), after: maps.Contents{}.Clone(),
	}
	address := func(service, n int) netip.AddrPort {
		six := cfg.Services[service].Frontends[0].VIP.Is6()
		return backendAddress(service, n, six != (mixed[service]>>(n-1)&1 == 1))
	}
	h := &history{Rand: r, t: t, seed: seed, network: w, cfg: cfg, address: address, steers: r.IntN(2) == 0}
	w.down = func(service int, backend netip.AddrPort) bool {
		return h.health[probe.Key{Service: cfg.Services[service].Name, Backend: backend}].State == model.Unhealthy
	}
	return h.begin(), w
}

// TestNoConnectionMovesInKernel plays histories as TestNoConnectionMoves does,
// with the compiled programs and real maps. Several at a time, since most of the
// time is spent waiting for the kernel to let go of a table.
func TestNoConnectionMovesInKernel(t *testing.T) {
	const planes, histories = 16, 16
	sizes := maps.Sizes{Services: 4, Backends: 14, Frontends: 16, Sources: 2, Table: 13, Flows: 1024}
	space, all := newKernelPlanes(t, planes, sizes)
	var group sync.WaitGroup
	for i, p := range all {
		group.Go(func() {
			err := space.Do(func() error { return playInKernel(t, p, uint64(i*1000), histories) })
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// playInKernel plays histories one after the other, and stops at the first failure.
func playInKernel(t *testing.T, p *kernelPlane, seed uint64, histories int) error {
	packets, marked := 0, 0
	for range histories {
		if err := p.empty(); err != nil {
			return err
		}
		h, w := newKernelHistory(t, seed, p)
		marked += h.play(40)
		packets += w.packets
		seed++
		if t.Failed() {
			return nil
		}
	}
	inherited, err := p.count("flow_inherited")
	evicted, err2 := p.count("flow_evicted")
	t.Logf("%d packets, %d marked tables, %d flows inherited", packets, marked, inherited)
	if inherited < uint64(histories) {
		t.Error("the histories are too tame")
	}
	if evicted > 0 {
		t.Errorf("%d flows were evicted, and could move: the flow table is too small for this test", evicted)
	}
	return errors.Join(err, err2)
}
