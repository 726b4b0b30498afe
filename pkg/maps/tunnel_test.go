package maps_test

import (
	"net/netip"
	"testing"

	"github.com/xlb-io/xlb/pkg/maps"
)

func TestTunnelFrom(t *testing.T) {
	for _, c := range []struct {
		prefix, source string
		bits           uint8
	}{
		{"192.0.2.1/32", "192.0.2.1", 0},
		{"192.0.2.0/31", "192.0.2.0", 1},
		{"10.0.0.0/8", "10.0.0.0", 24},
		{"fd00:1::5/128", "fd00:1::5", 0},
		{"fd00:1::4/127", "fd00:1::4", 1},
		{"fd00:1::/96", "fd00:1::", 32},
		{"fd00:1::/64", "fd00:1::", 32},
	} {
		got := maps.TunnelFrom(netip.MustParsePrefix(c.prefix), 6080)
		if want := (maps.Tunnel{Source: netip.MustParseAddr(c.source), EntropyBits: c.bits, GUEPort: 6080}); got != want {
			t.Errorf("%s became %+v, want %+v", c.prefix, got, want)
		}
	}
}

// The data plane knows the VLAN devices it was told last, and no others.
func TestSetVLANs(t *testing.T) {
	s := newSet(t, testSizes)
	one := map[uint32]maps.VLAN{7: {Parent: 2, ID: 4094, Protocol: 0x8100}, 8: {Parent: 3, ID: 1, Protocol: 0x88a8}}
	two := map[uint32]maps.VLAN{8: {Parent: 3, ID: 2, Protocol: 0x88a8}}
	for _, step := range []struct {
		want    map[uint32]maps.VLAN
		changed int
	}{{one, 2}, {one, 0}, {two, 2}, {nil, 1}} {
		changed, err := s.SetVLANs(step.want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.VLANs()
		if err != nil {
			t.Fatal(err)
		}
		if changed != step.changed || len(got) != len(step.want) {
			t.Errorf("%d changes gave %v, want %d and %v", changed, got, step.changed, step.want)
		}
		for i, v := range step.want {
			if got[i] != v {
				t.Errorf("device %d is %+v, want %+v", i, got[i], v)
			}
		}
	}
	many := map[uint32]maps.VLAN{}
	for i := range uint32(4097) {
		many[i+1] = maps.VLAN{Parent: 1, ID: uint16(i % 4095), Protocol: 0x8100}
	}
	if _, err := s.SetVLANs(many); err == nil {
		t.Error("4097 VLAN devices fit into 4096 places")
	}
}
