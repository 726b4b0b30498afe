package loader_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network is a topology with real servers on port 8080 of each backend and a
// pin directory of its own.
type network struct {
	*testlab.Topology
	pins string
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	return newNetworkOf(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
}

func newNetworkOf(t *testing.T, o testlab.TopologyOptions) *network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	lab, err := testlab.New("loader")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	top, err := lab.Topology(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range top.Backends {
		if _, err := b.StartHTTP(8080); err != nil {
			t.Fatal(err)
		}
		if _, err := b.StartUDPEcho(8080); err != nil {
			t.Fatal(err)
		}
	}
	name := strings.NewReplacer("/", "-", ".", "-").Replace(t.Name())
	n := &network{top, fmt.Sprintf("%s-%d-%s", loader.DefaultPinDir, os.Getpid(), name)}
	t.Cleanup(func() { n.detach(t) })
	return n
}

func (n *network) settings(mode model.AttachMode) model.Settings {
	return model.Settings{
		Interfaces: n.Interfaces, Attach: mode, NextHop: model.NextHopFIB,
		NATPorts:      model.PortRange{First: 1024, Last: 32767},
		FlowTableSize: 4096, TableSize: 251,
		MaxServices: 16, MaxFrontends: 16, MaxBackends: 64, MaxSources: 8,
	}
}

func (n *network) tryOpen(s model.Settings) (l *loader.Loader, err error) {
	err = n.Balancer.Do(func() (err error) {
		l, err = loader.Open(loader.Options{PinDir: n.pins, Settings: s})
		return err
	})
	return l, err
}

func (n *network) open(t *testing.T, s model.Settings) *loader.Loader {
	t.Helper()
	l, err := n.tryOpen(s)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return l
}

// detach removes everything and fails if something is left.
func (n *network) detach(t *testing.T) (removed []string) {
	t.Helper()
	err := n.Balancer.Do(func() (err error) {
		removed, err = loader.Detach(n.pins, slog.New(slog.DiscardHandler))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(n.pins); !os.IsNotExist(err) {
		t.Errorf("pin directory is left: %v", err)
	}
	return removed
}

// contents is a nat service per family that spreads over all backends.
func (n *network) contents() maps.Contents {
	c := maps.Contents{}.Clone()
	timeouts := model.Timeouts{TCPSyn: 30 * time.Second, TCPEstablished: time.Minute,
		TCPFin: 30 * time.Second, TCPClosed: 10 * time.Second, UDP: time.Minute}
	for i, f := range []struct {
		vip, source netip.Addr
		backend     func(*testlab.Backend) netip.Addr
	}{
		{n.VIP4, n.Source4, func(b *testlab.Backend) netip.Addr { return b.IP4 }},
		{n.VIP6, n.Source6, func(b *testlab.Backend) netip.Addr { return b.IP6 }},
	} {
		id, index := uint32(i+1), uint32(i)
		c.Sources[index] = f.source
		c.VIPs[maps.VIPKey{Address: f.source}] = maps.VIP{Source: uint16(i + 1)}
		for _, p := range []model.Protocol{model.TCP, model.UDP} {
			c.VIPs[maps.VIPKey{Address: f.vip, Port: 80, Protocol: p}] = maps.VIP{Service: id}
		}
		c.Services[id] = maps.Service{Forward: model.NAT, FirstSource: uint16(i), Sources: 1, Timeouts: timeouts}
		first := uint32(i*len(n.Backends) + 1)
		table := make([]uint32, 251)
		for s := range table {
			table[s] = first + uint32(s%len(n.Backends))
		}
		c.Tables[id] = maps.Table{Present: table}
		for j, b := range n.Backends {
			c.Backends[first+uint32(j)] = maps.Backend{Address: netip.AddrPortFrom(f.backend(b), 8080), Service: id, Serves: true}
		}
	}
	return c
}

func (n *network) fill(t *testing.T, l *loader.Loader) {
	t.Helper()
	have, err := l.Maps().Read()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Maps().Apply(maps.Diff(have, n.contents())); err != nil {
		t.Fatal(err)
	}
}

// works sends TCP and UDP over both families through the data plane; every
// backend must have answered some.
func (n *network) works(t *testing.T) {
	t.Helper()
	client, err := n.Client.HTTPClient(false, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for _, vip := range []netip.Addr{n.VIP4, n.VIP6} {
		to := netip.AddrPortFrom(vip, 80)
		answers := map[string]int{}
		for range 20 {
			body, err := testlab.Get(context.Background(), client, "http://"+to.String()+"/")
			if err != nil {
				t.Fatal(err)
			}
			answers[body]++
		}
		if len(answers) != len(n.Backends) {
			t.Errorf("%v: answers by %v, want all %d backends", vip, answers, len(n.Backends))
		}
		if _, _, err := n.Client.AskUDP(context.Background(), to, []byte("ask"), 3, time.Second); err != nil {
			t.Error(err)
		}
	}
}

// runOutside runs a program inside the balancer's namespace and returns what
// it printed.
func (n *network) runOutside(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := n.Balancer.Command(ctx, name, args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, b)
	}
	return string(b)
}
