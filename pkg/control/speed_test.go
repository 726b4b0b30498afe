package control

import (
	"fmt"
	"os"
	"testing"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// thousand is a controller of 1,000 services of 100 backends each, over the
// kernel's maps.
func thousand(b *testing.B) *controller {
	b.Helper()
	if os.Getuid() != 0 {
		b.Skip("BPF maps need root")
	}
	data, err := maps.New(maps.Sizes{Services: 1025, Backends: 131073, Frontends: 2048, Sources: 8, Table: 65537, Flows: 4096})
	if err != nil {
		b.Fatal(err)
	}
	cfg := &model.Config{}
	for i := range 1000 {
		s := service(fmt.Sprintf("s%04d", i), fmt.Sprintf("203.0.%d.%d:80", i/250, 1+i%250))
		s.Forward, s.Track = model.L2DSR, model.TrackAuto
		s.Timeouts.TCPEstablished = flowTimeout
		for k := range 100 {
			s.Backends = append(s.Backends, model.Backend{Address: ap(fmt.Sprintf("10.%d.%d.%d:80", i/250, i%250, k+1)), Weight: 1})
		}
		cfg.Services = append(cfg.Services, s)
	}
	c := newController(parts{data: data, host: &machine{}, operator: &operatorStore{}, log: quiet(), timing: usual}, cfg)
	b.Cleanup(func() {
		c.prober.Close()
		c.discovery.Close()
		data.Close()
	})
	return c
}

// BenchmarkApplyOneOf1000 is the way from a probe's word on one backend to the
// kernel's maps.
func BenchmarkApplyOneOf1000(b *testing.B) {
	c := thousand(b)
	if _, err := c.round(); err != nil {
		b.Fatal(err)
	}
	key := probe.Key{Service: "s0500", Backend: ap("10.2.0.7:80")}
	b.ReportAllocs()
	state := model.Unhealthy
	for b.Loop() {
		c.probed(probe.Result{Target: probe.Target{Service: key.Service, Backend: key.Backend}, Health: model.BackendHealth{State: state}})
		state = model.Healthy + model.Unhealthy - state
		if !c.due() {
			b.Fatal("nothing to do")
		}
		if c.reconcile(); c.due() {
			b.Fatal(c.problems)
		}
	}
}

// BenchmarkLoad1000 is a daemon's first round on empty maps.
func BenchmarkLoad1000(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		c := thousand(b)
		b.StartTimer()
		if reason, err := c.round(); err != nil {
			b.Fatal(reason, err)
		}
	}
}
