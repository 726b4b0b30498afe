package loader_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Tunnels take the place of one tag; a second one is in the frame, where the
// kernel cannot put an outer header behind it, and such a packet is passed.
func TestTagsByTCWithTunnel(t *testing.T) {
	l := newTagLab(t)
	ways := tagWays(11, model.IPIP, model.GUE)
	l.serve(t, ways)
	bare := map[tagWay][]byte{}
	l.vlan(t, far, maps.VLAN{})
	for _, w := range ways {
		bare[w] = l.cross(t, near, w.side, w.request(model.TCP))
		if !outerLeadsTo(bare[w], w.backend.Addr()) {
			t.Fatalf("%s: %x", w, bare[w])
		}
	}
	l.eachTag(t, []string{near, far}, func(t *testing.T, side string, in []tag, v maps.VLAN) {
		for _, w := range ways {
			if w.side != side {
				continue
			}
			frame := tagged(w.request(model.TCP), in...)
			if len(in) > 1 {
				l.passed(t, frame, "pass_vlan")
				continue
			}
			want := tagged(bare[w], tagsOut(in, v, side == near)...)
			if diff := testlab.Diff(want, l.cross(t, near, side, frame)); diff != "" {
				t.Errorf("%s:\n%s", w, diff)
			}
		}
	})
}

// outerLeadsTo says whether an untagged frame's outermost header has this
// destination.
func outerLeadsTo(frame []byte, a netip.Addr) bool {
	kind, at := uint16(testlab.EtherTypeIPv4), 14+16
	if a.Is6() {
		kind, at = testlab.EtherTypeIPv6, 14+24
	}
	return binary.BigEndian.Uint16(frame[12:]) == kind && strings.HasPrefix(string(frame[at:]), string(a.AsSlice()))
}

// passed sends a frame that is to be passed for the reason.
func (l *tagLab) passed(t *testing.T, frame []byte, reason string) {
	t.Helper()
	before := l.reason(t, reason)
	if err := l.wires[near].Send(frame); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); l.reason(t, reason) != before+1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s was counted %d times, want once", reason, l.reason(t, reason)-before)
		}
	}
}

func (l *tagLab) reason(t *testing.T, name string) uint64 {
	t.Helper()
	all, err := l.maps.Reasons()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Name == name {
			return r.Packets
		}
	}
	t.Fatalf("no reason is called %s", name)
	return 0
}

// A packet whose next hop is not known yet waits in the kernel, which sends it by
// the route's own device. That would add its tag, so none is left on the packet;
// it keeps its own only by the interface it came in by.
func TestTagsByTCUnresolved(t *testing.T) {
	l := newTagLab(t)
	ways := tagWays(77, model.L2DSR, model.NAT, model.IPIP)
	l.serve(t, ways)
	for vlan, v := range tagVLANs {
		for _, side := range []string{near, far} {
			for _, name := range []string{"none", "802.1Q", "802.1ad", "both"} {
				for _, w := range ways {
					in := tagsIn[name]
					if w.side != side || len(in) > 1 && w.forward.Tunnels() {
						continue
					}
					t.Run(fmt.Sprintf("%s to %s, %s", name, vlan, w), func(t *testing.T) { l.unresolved(t, w, in, v) })
				}
			}
		}
	}
}

func (l *tagLab) unresolved(t *testing.T, w tagWay, in []tag, v maps.VLAN) {
	l.vlan(t, w.side, v)
	if v.Protocol == 0 && w.side == near && len(in) > 1 {
		// The kernel resolves for IP packets, not for one with a tag in the frame.
		l.passed(t, tagged(w.request(model.TCP), in...), "pass_neighbour")
		return
	}
	if err := l.wires[near].Send(tagged(w.request(model.TCP), in...)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	asks := func(f []byte) bool { return asksFor(f, w.backend.Addr()) }
	if _, err := l.wires[w.side].Next(ctx, asks); err != nil {
		t.Fatalf("nobody asks for %s: %v", w.backend.Addr(), err)
	}
	peer := tagPeers[w.side]
	if err := l.Balancer.AddNeighbour(w.side, w.backend.Addr(), peer[:]); err != nil {
		t.Fatal(err)
	}
	defer l.forgetNeighbour(t, w)
	out, err := l.wires[w.side].Next(ctx, func(f []byte) bool { return testlab.MAC(f[:6]) == peer })
	if err != nil {
		t.Fatalf("what waited for %s does not leave: %v", w.backend.Addr(), err)
	}
	var want []tag
	if v.Protocol == 0 && w.side == near {
		want = in
	}
	l.vlan(t, w.side, maps.VLAN{})
	bare := l.cross(t, near, w.side, w.request(model.TCP))
	if diff := testlab.Diff(tagged(bare, want...), out); diff != "" {
		t.Error(diff)
	}
}

// asksFor says whether a frame is an ARP request or a neighbour solicitation for
// an address.
func asksFor(frame []byte, a netip.Addr) bool {
	kind, target := uint16(testlab.EtherTypeARP), 14+24
	if a.Is6() {
		kind, target = testlab.EtherTypeIPv6, 14+40+8
		if len(frame) < 14+40 || frame[14+6] != testlab.ProtoICMPv6 || frame[14+40] != 135 {
			return false
		}
	}
	b := a.AsSlice()
	return len(frame) >= target+len(b) && binary.BigEndian.Uint16(frame[12:]) == kind && string(frame[target:target+len(b)]) == string(b)
}

func (l *tagLab) forgetNeighbour(t *testing.T, w tagWay) {
	t.Helper()
	h, err := l.Balancer.Handle()
	if err == nil {
		err = h.NeighDel(&netlink.Neigh{LinkIndex: int(l.index[w.side]), IP: w.backend.Addr().AsSlice()})
	}
	if err != nil {
		t.Fatal(err)
	}
}
