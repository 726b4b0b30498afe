package maps_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// The compiled data plane and this package look for a flow in the same slot.
func TestSlotAgreement(t *testing.T) {
	const slots, clients = 251, 500
	s := newSet(t, maps.Sizes{Services: 2, Backends: slots + 1, Frontends: 16, Sources: 4, Table: slots, Flows: 8192})
	programs, err := loader.LoadPrograms(s, model.Settings{
		NextHop: model.NextHopGatewayMAC, GatewayMAC: model.HardwareAddr{2, 0, 0, 0, 0, 1}, NATPorts: model.PortRange{First: 1024, Last: 2000},
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer programs.Close()

	vips := []netip.AddrPort{netip.MustParseAddrPort("203.0.113.10:80"), netip.MustParseAddrPort("[2001:db8:7::10]:443")}
	c := maps.Contents{}.Clone()
	for _, vip := range vips {
		c.VIPs[maps.VIPKey{Address: vip.Addr(), Port: vip.Port(), Protocol: model.TCP}] = maps.VIP{Service: 1}
	}
	c.Services[1] = maps.Service{Forward: model.L2DSR, Track: model.TrackAlways, Timeouts: model.Timeouts{
		TCPSyn: time.Hour, TCPEstablished: time.Hour, TCPFin: time.Hour, TCPClosed: time.Hour, UDP: time.Hour,
	}}
	table := maps.Table{Present: make([]uint32, slots)}
	for i := range table.Present {
		id := uint32(i + 1) // so that a flow's backend tells its slot
		table.Present[i] = id
		c.Backends[id] = maps.Backend{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 80), Service: 1, Serves: true}
	}
	c.Tables[1] = table
	if err := s.Apply(maps.Diff(maps.Contents{}, c)); err != nil {
		t.Fatal(err)
	}
	link := testlab.Ethernet{Src: testlab.MAC{2, 0, 0, 0, 0, 9}, Dst: testlab.MAC{2, 0, 0, 0, 0, 2}}
	for i := range clients {
		client := netip.AddrFrom4([4]byte{198, 51, byte(i * 7), byte(i)})
		if i%2 == 1 {
			client = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i), byte(i >> 3), 3, 4, byte(i * 5), 6, 7, 8, byte(i * 3), 10, 11, byte(i)})
		}
		packet := testlab.TCPPacket(link, netip.AddrPortFrom(client, uint16(1024+i*111)), vips[i%2], testlab.SYN, "")
		if _, err := programs.XDP.Run(&ebpf.RunOptions{Data: packet}); err != nil {
			t.Fatal(err)
		}
	}

	found := map[uint32]bool{}
	flows := 0
	for f := range s.Flows() {
		found[f.Backend-1] = true
		flows++
	}
	if flows != clients {
		t.Fatalf("%d flows, sent the SYNs of %d", flows, clients)
	}
	other := maps.Table{Present: append([]uint32{slots + 1}, table.Present[:slots-1]...)}
	for name, tt := range map[string]struct {
		table maps.Table
		want  map[uint32]bool
	}{
		"the table that chose": {table, nil},
		"another":              {other, found},
	} {
		strays, err := s.Strays(map[uint32]maps.Table{1: tt.table})
		if err != nil {
			t.Fatal(err)
		}
		if len(strays) != 1 {
			t.Errorf("%s: strays of %d services, asked for one", name, len(strays))
		}
		for slot := range uint32(slots) {
			if strays[1].Has(slot) != tt.want[slot] {
				t.Errorf("%s: slot %d has strays: %t", name, slot, !tt.want[slot])
			}
		}
	}
}
