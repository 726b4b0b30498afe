package bpf_test

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/internal/testlab"
	xlb "github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// vlanOut makes the route through servers a VLAN device's: its packets leave
// through servers with a tag.
func (p *plane) vlanOut(t *testing.T, v xlb.VLAN) {
	t.Helper()
	v.Parent = ifindex[servers]
	if _, err := p.set.SetVLANs(map[uint32]xlb.VLAN{ifindex[servers]: v}); err != nil {
		t.Fatal(err)
	}
	p.forgetNextHops(t)
	t.Cleanup(func() {
		if _, err := p.set.SetVLANs(nil); err != nil {
			t.Error(err)
		}
		p.forgetNextHops(t)
	})
}

// forgetNextHops makes the next packet ask the kernel again.
func (p *plane) forgetNextHops(t *testing.T) {
	t.Helper()
	m := p.raw["next_hops"]
	empty := make([]bpf.NextHop, ebpf.MustPossibleCPU())
	for i := range m.MaxEntries() {
		if err := m.Put(i, empty); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever tags a packet comes with, it leaves with the one of its route's VLAN,
// and with the priority of its own outer tag.
func TestVLANOut(t *testing.T) {
	vlans := []xlb.VLAN{{ID: 20, Protocol: 0x8100}, {ID: 4094, Protocol: 0x88a8}}
	for name, tags := range map[string][]testlab.Layer{
		"none": nil, "one": {testlab.VLAN{ID: 5, Priority: 3}},
		"two": {testlab.VLAN{ID: 100, Priority: 6, Service: true}, testlab.VLAN{ID: 5, Priority: 3}},
	} {
		for _, v := range vlans {
			t.Run(fmt.Sprint(name, " to ", v.ID), func(t *testing.T) {
				for _, forward := range []model.Forward{model.NAT, model.L2DSR, model.IPIP, model.GUE} {
					t.Run(forward.String(), func(t *testing.T) { testVLANOut(t, forward, tags, v) })
				}
			})
		}
	}
}

func testVLANOut(t *testing.T, forward model.Forward, tags []testlab.Layer, v xlb.VLAN) {
	w, ways := standard(), ways()
	if forward == model.IPIP || forward == model.GUE {
		w, ways = tunnelled(forward, outerSources), tunnelWays()
	}
	p := newPlane(t, settings(), sizes(), w)
	p.vlanOut(t, v)
	p.bothHooks(t, func(t *testing.T) {
		if p.hook.name == tcHook.name {
			return // it has the tag beside the frame, where a test run does not show it
		}
		for _, way := range ways {
			if w.Services[way.service].Forward != forward {
				continue
			}
			inside(t, way.name, func(t *testing.T) {
				m := tcpMold("tagged", testlab.ACK, shape{tags: tags})
				_, out, err := p.run(way.request(m))
				if err != nil {
					t.Fatal(err)
				}
				packet, left := split(out)
				want := testlab.VLAN{ID: v.ID, Service: v.Protocol == 0x88a8}
				if len(tags) > 0 {
					want.Priority = tags[0].(testlab.VLAN).Priority
				}
				if len(left) != 1 || left[0] != testlab.Layer(want) {
					t.Fatalf("left with %+v, want %+v", left, want)
				}
				bare := tcpMold("bare", testlab.ACK, shape{})
				plain := p.plain(t, way, bare)
				if diff := testlab.Diff(plain, append(out[:12:12], out[16:]...)); diff != "" || len(packet) == 0 {
					t.Errorf("but for the tag:\n%s", diff)
				}
			})
		}
	})
}

// plain is what leaves of an untagged packet of the same flow, without its tag.
func (p *plane) plain(t *testing.T, w way, m mold) []byte {
	t.Helper()
	_, out, err := p.run(w.request(m))
	if err != nil {
		t.Fatal(err)
	}
	return append(out[:12:12], out[16:]...)
}
