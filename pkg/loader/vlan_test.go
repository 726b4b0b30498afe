package loader_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// tag is a VLAN tag: its EtherType, and priority, drop bit and number.
type tag struct{ protocol, tci uint16 }

const priority = 0xf000 // and the drop bit

// tagged is a frame with tags, the outer one first.
func tagged(frame []byte, tags ...tag) []byte {
	out := append([]byte(nil), frame[:12]...)
	for _, t := range tags {
		out = binary.BigEndian.AppendUint16(out, t.protocol)
		out = binary.BigEndian.AppendUint16(out, t.tci)
	}
	return append(out, frame[12:]...)
}

// What packets come with.
var tagsIn = map[string][]tag{
	"none":            nil,
	"802.1Q":          {{testlab.EtherTypeVLAN, 3<<13 | 5}},
	"802.1Q and drop": {{testlab.EtherTypeVLAN, 1<<13 | 1<<12 | 5}},
	"802.1ad":         {{testlab.EtherTypeQinQ, 4<<13 | 100}},
	"both":            {{testlab.EtherTypeQinQ, 6<<13 | 100}, {testlab.EtherTypeVLAN, 3<<13 | 5}},
	"two 802.1Q":      {{testlab.EtherTypeVLAN, 2<<13 | 100}, {testlab.EtherTypeVLAN, 7<<13 | 5}},
}

// tagsOut are what they leave with, as the architecture says.
func tagsOut(in []tag, v maps.VLAN, sameInterface bool) []tag {
	switch {
	case v.Protocol != 0:
		out := tag{uint16(v.Protocol), v.ID}
		if len(in) > 0 {
			out.tci |= in[0].tci & priority
		}
		return []tag{out}
	case sameInterface:
		return in
	}
	return nil
}

var tagVLANs = map[string]maps.VLAN{
	"no VLAN": {}, "VLAN 20": {ID: 20, Protocol: testlab.EtherTypeVLAN}, "service VLAN 4094": {ID: 4094, Protocol: testlab.EtherTypeQinQ},
}

// eachTag calls f for all ways out and all tags on the way in.
func (l *tagLab) eachTag(t *testing.T, sides []string, f func(t *testing.T, side string, in []tag, v maps.VLAN)) {
	for vlan, v := range tagVLANs {
		for _, side := range sides {
			l.vlan(t, side, v)
			for name, in := range tagsIn {
				t.Run(fmt.Sprintf("%s to %s of %s", name, vlan, side), func(t *testing.T) { f(t, side, in, v) })
			}
		}
	}
}

// A packet leaves with the tag of its route's VLAN and the priority of its own
// outer tag; without one, by the interface it came in by as it came, and by
// another without tags. But for the tags it is the same. So is the reply.
func TestTagsByTC(t *testing.T) {
	l := newTagLab(t)
	ways := tagWays(11, model.L2DSR, model.NAT)
	l.serve(t, ways)
	protocols := []model.Protocol{model.TCP, model.UDP}
	bare := map[string][]byte{}
	l.vlan(t, far, maps.VLAN{})
	for _, w := range ways {
		for _, p := range protocols {
			out := l.cross(t, near, w.side, w.request(p))
			if err := testlab.Check(out); err != nil {
				t.Fatalf("%s: %v", w, err)
			}
			bare[fmt.Sprint(w, p)] = out
		}
	}
	l.eachTag(t, []string{near, far}, func(t *testing.T, side string, in []tag, v maps.VLAN) {
		for _, w := range ways {
			if w.side != side {
				continue
			}
			for _, p := range protocols {
				want := tagged(bare[fmt.Sprint(w, p)], tagsOut(in, v, side == near)...)
				if diff := testlab.Diff(want, l.cross(t, near, side, tagged(w.request(p), in...))); diff != "" {
					t.Errorf("%s, %s:\n%s", w, p, diff)
				}
			}
		}
	})
	l.replies(t, ways)
}

// replies sends tagged replies of the nat services' backends.
func (l *tagLab) replies(t *testing.T, ways []tagWay) {
	sources := map[uint32]netip.AddrPort{}
	for f := range l.maps.Flows() {
		if f.NAT.IsValid() && f.Protocol == model.TCP {
			sources[f.Service] = f.NAT
		}
	}
	l.cached = l.hops.MaxEntries()
	l.eachTag(t, []string{near}, func(t *testing.T, side string, in []tag, v maps.VLAN) {
		for _, w := range ways {
			if w.forward != model.NAT {
				continue
			}
			link := testlab.Ethernet{Dst: tagMACs[w.side], Src: tagPeers[w.side]}
			out := l.cross(t, w.side, near, tagged(testlab.TCPPacket(link, w.backend, sources[w.id], testlab.ACK, "answer"), in...))
			want := tagsOut(in, v, w.side == near)
			plain := tagged(append(out[:12:12], out[12+4*len(want):]...), want...)
			if diff := testlab.Diff(plain, out); diff != "" {
				t.Errorf("%s:\n%s", w, diff)
			}
			if err := testlab.Check(out); err != nil || !testlab.ToPort(w.client)(append(out[:12:12], out[12+4*len(want):]...)) {
				t.Errorf("%s: not the client's packet: %v", w, err)
			}
		}
	})
}
