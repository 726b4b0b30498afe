package loader

import (
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/pkg/model"
)

func TestAutoModes(t *testing.T) {
	named := func(name string) netlink.LinkAttrs { return netlink.LinkAttrs{Name: name} }
	bridge, bond := &netlink.Bridge{LinkAttrs: named("br0")}, &netlink.Bond{LinkAttrs: named("bond0")}
	card := &netlink.Device{LinkAttrs: named("eth0")}
	native := []model.AttachMode{model.AttachNative, model.AttachGeneric, model.AttachTC}
	tc := []model.AttachMode{model.AttachTC, model.AttachNative, model.AttachGeneric}
	for _, c := range []struct {
		name          string
		iface, master netlink.Link
		device        bool
		modes         []model.AttachMode
		why           string
	}{
		{"a card", card, nil, true, native, "the driver runs XDP"},
		{"a card in a bond", card, bond, true, native, "the driver runs XDP"},
		{"a bond", bond, nil, false, native, "the driver runs XDP"},
		{"a card in a bridge", card, bridge, true, tc, "(member of bridge br0)"},
		{"no card", &netlink.Device{LinkAttrs: named("lo")}, nil, false, tc, "(no device behind it)"},
		{"veth", &netlink.Veth{LinkAttrs: named("v0")}, nil, false, tc, "virtual interface (veth): tc keeps super-packets whole"},
		{"tap", &netlink.Tuntap{LinkAttrs: named("t0")}, nil, false, tc, "(tuntap)"},
		{"bridge", bridge, nil, false, tc, "(bridge)"},
		{"macvlan", &netlink.Macvlan{LinkAttrs: named("m0")}, nil, false, tc, "(macvlan)"},
		{"vxlan", &netlink.Vxlan{LinkAttrs: named("x0")}, nil, false, tc, "(vxlan)"},
		{"vlan", &netlink.Vlan{LinkAttrs: named("eth0.5")}, nil, true, tc, "(vlan)"},
		{"of tomorrow", &netlink.GenericLink{LinkAttrs: named("n0"), LinkType: "newkind"}, nil, false, tc, "(newkind)"},
	} {
		modes, why := autoModes(virtualKind(c.iface, c.master, c.device))
		if !slices.Equal(modes, c.modes) || !strings.Contains(why, c.why) {
			t.Errorf("%s: %v because %q, want %v because %q", c.name, modes, why, c.modes, c.why)
		}
	}
}
