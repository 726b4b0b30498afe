package loader_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// What is injected without a decision is asked about again, byte for byte as it
// came: with its tags, and longer than a page.
func TestInjectKeepsFrame(t *testing.T) {
	for _, mode := range []model.AttachMode{model.AttachNative, model.AttachGeneric, model.AttachTC} {
		t.Run(mode.String(), func(t *testing.T) { testKeepsFrame(t, mode) })
	}
}

func testKeepsFrame(t *testing.T, mode model.AttachMode) {
	// Without programs on the peers, whose frames would have to be short.
	n := newNetworkOf(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 1, KeepOffloads: true})
	l := n.open(t, n.settings(mode))
	defer l.Close()
	n.fillWithPolicies(t, l)
	for _, e := range []struct {
		in   *testlab.Namespace
		link string
	}{{n.Client, "eth0"}, {n.Balancer, "cl0"}} {
		if err := n.setMTU(e.in, e.link, 9000); err != nil {
			t.Fatal(err)
		}
	}
	wire, err := n.Client.Wire("eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	for name, frame := range n.framesOf(t) {
		if err := n.Balancer.Do(func() error { return n.askedTwice(l, wire, frame) }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if bad := failures(counts(t, l.Maps())); len(bad) != 0 {
		t.Errorf("counted %v", bad)
	}
}

func (n *network) setMTU(in *testlab.Namespace, name string, mtu int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return in.Command(ctx, "ip", "link", "set", "dev", name, "mtu", fmt.Sprint(mtu)).Run()
}

func (n *network) framesOf(t *testing.T) map[string][]byte {
	t.Helper()
	from, err := n.Client.MAC("eth0")
	to, err2 := n.Balancer.MAC("cl0")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	ethernet := testlab.Ethernet{Src: testlab.MAC(from), Dst: testlab.MAC(to)}
	outer, inner := testlab.VLAN{ID: 100, Priority: 6, Service: true}, testlab.VLAN{ID: 5, Priority: 3}
	client4, client6 := netip.AddrPortFrom(n.Client4, 40000), netip.AddrPortFrom(n.Client6, 40000)
	vip4, vip6 := netip.AddrPortFrom(n.VIP4, 80), netip.AddrPortFrom(n.VIP6, 80)
	udp := testlab.UDP{SrcPort: client4.Port(), DstPort: vip4.Port()}
	return map[string][]byte{
		"TCP over IPv4": testlab.TCPPacket(ethernet, client4, vip4, testlab.SYN, "early data"),
		"TCP over IPv6": testlab.TCPPacket(ethernet, client6, vip6, testlab.ACK, "later data"),
		"a tag":         testlab.Build(ethernet, inner, testlab.IP(client4.Addr(), vip4.Addr()), udp, testlab.Payload("x")),
		"two tags":      testlab.Build(ethernet, outer, inner, testlab.IP(client6.Addr(), vip6.Addr()), udp, testlab.Payload("x")),
		"jumbo":         testlab.UDPPacket(ethernet, client4, vip4, string(make([]byte, 8000))),
	}
}

func (n *network) askedTwice(l *loader.Loader, wire *testlab.Wire, frame []byte) error {
	i, err := l.Injector()
	if err != nil {
		return err
	}
	defer i.Close()
	r, err := l.Maps().Upcalls()
	if err != nil {
		return err
	}
	defer r.Close()
	r.SetDeadline(time.Now().Add(5 * time.Second))
	if err := errors.Join(l.Maps().Heartbeat(), wire.Send(frame)); err != nil {
		return err
	}
	var u maps.Upcall
	for range 2 {
		if err := r.Read(&u); err != nil {
			return err
		}
		if d := testlab.Diff(frame, u.Frame); d != "" {
			return fmt.Errorf("the frame changed:\n%s", d)
		}
		if err := i.Inject(&u); err != nil {
			return err
		}
	}
	// The third, so that it is nobody's.
	return r.Read(&u)
}
