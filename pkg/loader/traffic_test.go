package loader_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

func settings(interfaces ...string) model.Settings {
	return model.Settings{
		Interfaces: interfaces, Attach: model.AttachNative, NextHop: model.NextHopFIB,
		NATPorts:      model.PortRange{First: 1024, Last: 32767},
		FlowTableSize: 4096, TableSize: 251,
		MaxServices: 16, MaxFrontends: 16, MaxBackends: 64, MaxSources: 8,
	}
}

func pinDir(t *testing.T) string {
	dir := fmt.Sprintf("%s-test-%d-%s", loader.DefaultPinDir, os.Getpid(), t.Name())
	t.Cleanup(func() {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("pins left under %s", dir)
			os.RemoveAll(dir)
		}
	})
	return dir
}

// contents is a balancer with one nat service of one frontend per family.
func contents(n *testlab.Topology, size int) maps.Contents {
	c := maps.Contents{
		VIPs: map[maps.VIPKey]maps.VIP{}, Services: map[uint32]maps.Service{},
		Tables: map[uint32]maps.Table{}, Backends: map[uint32]maps.Backend{}, Sources: map[uint32]netip.Addr{},
	}
	timeouts := model.Timeouts{TCPSyn: 30 * time.Second, TCPEstablished: time.Minute, TCPFin: 30 * time.Second, TCPClosed: 10 * time.Second, UDP: time.Minute}
	for i, f := range []struct {
		vip, source netip.Addr
		backend     func(*testlab.Backend) netip.Addr
	}{
		{n.VIP4, n.Source4, func(b *testlab.Backend) netip.Addr { return b.IP4 }},
		{n.VIP6, n.Source6, func(b *testlab.Backend) netip.Addr { return b.IP6 }},
	} {
		id := uint32(i + 1)
		c.Sources[uint32(i)] = f.source
		c.VIPs[maps.VIPKey{Address: f.source}] = maps.VIP{Source: uint16(i + 1)}
		c.VIPs[maps.VIPKey{Address: f.vip, Port: 80, Protocol: model.TCP}] = maps.VIP{Service: id}
		c.VIPs[maps.VIPKey{Address: f.vip, Port: 80, Protocol: model.UDP}] = maps.VIP{Service: id}
		c.Services[id] = maps.Service{Forward: model.NAT, FirstSource: uint16(i), Sources: 1, Timeouts: timeouts}
		table := make(maps.Table, size)
		for j, b := range n.Backends {
			number := uint32(i*len(n.Backends) + j + 1)
			c.Backends[number] = maps.Backend{Address: netip.AddrPortFrom(f.backend(b), 8080), Service: id, Serves: true}
		}
		for s := range table {
			table[s] = uint32(i*len(n.Backends) + s%len(n.Backends) + 1)
		}
		c.Tables[id] = table
	}
	return c
}

func TestTraffic(t *testing.T) {
	for _, mode := range []model.AttachMode{model.AttachNative, model.AttachGeneric, model.AttachTC} {
		t.Run(mode.String(), func(t *testing.T) {
			lab, err := testlab.New("loader")
			if err != nil {
				t.Fatal(err)
			}
			defer lab.Close()
			n, err := lab.Topology(testlab.TopologyOptions{Shape: testlab.Routed, Backends: 3})
			if err != nil {
				t.Fatal(err)
			}
			dir := fmt.Sprintf("%s-test-%d-%s", loader.DefaultPinDir, os.Getpid(), mode)
			s := settings(n.Interfaces...)
			s.Attach = mode
			for _, b := range n.Backends {
				if _, err := b.StartHTTP(8080); err != nil {
					t.Fatal(err)
				}
				if _, err := b.StartUDPEcho(8080); err != nil {
					t.Fatal(err)
				}
			}
			var l *loader.Loader
			err = n.Balancer.Do(func() (err error) {
				l, err = loader.Open(loader.Options{PinDir: dir, Settings: s, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
				return err
			})
			if err != nil {
				t.Fatalf("%+v", err)
			}
			defer n.Balancer.Do(func() error {
				_, err := loader.Detach(dir, slog.Default())
				if err != nil {
					t.Error(err)
				}
				return err
			})
			defer l.Close()
			if err := l.Maps().Apply(maps.Diff(maps.Contents{}, contents(n, 251))); err != nil {
				t.Fatal(err)
			}
			client, err := n.Client.HTTPClient(false, 3*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			for _, vip := range []netip.Addr{n.VIP4, n.VIP6} {
				got := map[string]int{}
				for range 30 {
					body, err := testlab.Get(context.Background(), client, "http://"+netip.AddrPortFrom(vip, 80).String()+"/")
					if err != nil {
						t.Error(err)
						break
					}
					got[body]++
				}
				for range 3 {
					b, sent, err := n.Client.AskUDP(context.Background(), netip.AddrPortFrom(vip, 80), []byte("x"), 3, 300*time.Millisecond)
					if err != nil || sent != 1 {
						t.Error(b, sent, err)
					}
				}
				t.Log(vip, got)
			}
			r, _ := l.Maps().Reasons()
			for _, r := range r {
				if r.Packets > 0 {
					t.Log(r.Name, r.Packets, r.Bytes)
				}
			}
			seen := 0
			for f := range l.Maps().Flows() {
				if seen < 5 {
					t.Logf("%+v", f)
				}
				seen++
			}
			t.Log(seen, "flows", l.Maps().FlowCounts())
		})
	}
}
