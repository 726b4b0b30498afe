package test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// floodSize is many times what the flow tables of these tests hold.
const floodSize = 100_000

// TestSYNFlood: a flood of spoofed SYNs costs established connections nothing. In
// the modes of direct server return it leaves no trace at all; with nat, whose
// flows must be recorded, its own half-open flows make room for each other.
func TestSYNFlood(t *testing.T) {
	for _, c := range []struct {
		forward string
		shape   testlab.Shape
	}{{"l2dsr", testlab.OneArm}, {"nat", testlab.Routed}} {
		t.Run(c.forward, func(t *testing.T) {
			n := newNetwork(t, testlab.TopologyOptions{Shape: c.shape, Backends: 3, BackendsHoldVIPs: c.forward == "l2dsr"})
			for _, b := range n.Backends {
				must(b.StartTCPEcho(echoPort))(t)
			}
			echo := service{name: "echo", port: echoPort, weights: []int{1, 1, 1}, more: "probe: none\nforward: " + c.forward}
			n.run(n.config("flow_table_size: 16384", echo))
			testSYNFlood(t, n, echo, c.forward)
		})
	}
}

func testSYNFlood(t *testing.T, n *network, echo service, forward string) {
	const count = 100
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connections := must(n.Client.HoldTCP(ctx, echo.frontend(n), count, 16))(t)
	defer connections.Close()

	flooded := make(chan error, 1)
	go func() { flooded <- n.flood(echo.frontend(n), floodSize) }()
	rounds := 0
	for done := false; !done; rounds++ {
		select {
		case err := <-flooded:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		if failed, err := connections.Echo(ctx); failed > 0 {
			t.Fatalf("%d of %d connections do not echo under the flood: %v", failed, count, err)
		}
	}
	if rounds < 2 {
		t.Errorf("the connections spoke %d times, not while the flood went on", rounds)
	}

	stats := decode[api.Stats](n, "stats")
	created := n.counter(stats.Events, "flow_created")
	var seen uint64
	for _, s := range stats.Services {
		seen += s.FlowsCreated
	}
	if seen < floodSize/2 {
		t.Errorf("the balancer saw %d of %d SYNs", seen, floodSize)
	}
	switch {
	case forward == "l2dsr" && created != 0:
		t.Errorf("%d flows were recorded", created)
	case forward == "nat" && n.counter(stats.Events, "flow_evicted") == 0:
		t.Errorf("the flow table was never full: %+v", stats.Events)
	}
	if forward == "nat" {
		established := 0
		for _, f := range n.flows("--limit", "100000") {
			if f.State == "established" {
				established++
			}
		}
		if established != count {
			t.Errorf("%d established flows are left of %d", established, count)
		}
	}
}

// flood sends SYNs from as many addresses that are nobody's to a frontend.
func (n *network) flood(to netip.AddrPort, count uint32) error {
	wire, err := n.Client.Wire("eth0")
	if err != nil {
		return err
	}
	defer wire.Close()
	near, err := n.Balancer.MAC(n.Interfaces[0])
	if err != nil {
		return err
	}
	mine, err := n.Client.MAC("eth0")
	if err != nil {
		return err
	}
	link := testlab.Ethernet{Dst: testlab.MAC(near), Src: testlab.MAC(mine)}
	for i := range count {
		from := [4]byte{198, 18 | byte(i>>16&1), byte(i >> 8), byte(i)} // 198.18.0.0/15
		frame := testlab.TCPPacket(link, netip.AddrPortFrom(netip.AddrFrom4(from), uint16(1024+i%60000)), to, testlab.SYN, "")
		// A full queue takes no more for a moment.
		if err := wire.Send(frame); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
	}
	return nil
}
