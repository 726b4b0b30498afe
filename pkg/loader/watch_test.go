package loader

import (
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/internal/testlab"
	xlbmaps "github.com/xlb-io/xlb/pkg/maps"
)

func TestVLANsOf(t *testing.T) {
	device := func(index, parent int) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Index, a.ParentIndex = index, parent
		return a
	}
	elsewhere := device(9, 2)
	elsewhere.NetNsID = 0
	got := vlansOf([]netlink.Link{
		&netlink.Device{LinkAttrs: device(2, 0)},
		&netlink.Veth{LinkAttrs: device(3, 2)},
		&netlink.Vlan{LinkAttrs: device(7, 2), VlanId: 100, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q},
		&netlink.Vlan{LinkAttrs: device(8, 7), VlanId: 4094, VlanProtocol: netlink.VLAN_PROTOCOL_8021AD},
		&netlink.Vlan{LinkAttrs: elsewhere, VlanId: 5, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q},
	})
	want := map[uint32]xlbmaps.VLAN{
		7: {Parent: 2, ID: 100, Protocol: 0x8100},
		8: {Parent: 7, ID: 4094, Protocol: 0x88a8},
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The watch knows the addresses there are, and tells when they change; what the
// data plane holds of VLAN devices that are gone is removed. It belongs to the
// namespace in which it began.
func TestWatchHost(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	lab, err := testlab.New("watch")
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	ns, err := lab.Namespace("host")
	if err != nil {
		t.Fatal(err)
	}
	set, err := xlbmaps.New(xlbmaps.SizesOf(testSettings()))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if _, err := set.SetVLANs(map[uint32]xlbmaps.VLAN{9: {Parent: 2, ID: 7, Protocol: 0x8100}}); err != nil {
		t.Fatal(err)
	}
	var w *hostWatch
	if err := ns.Do(func() (err error) {
		w, err = watchHost(set, slog.New(slog.DiscardHandler))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	l := &Loader{watch: w}
	defer l.Close()
	if left, err := set.VLANs(); err != nil || len(left) > 0 {
		t.Errorf("VLAN devices that are not there: %v, %v", left, err)
	}
	own := netip.MustParseAddr("192.0.2.77")
	if before := l.LocalAddresses(); before[own] != "" {
		t.Fatalf("the address is there already: %v", before)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: own.AsSlice(), Mask: net.CIDRMask(32, 32)}}
	for _, add := range []bool{true, false} {
		if err := ns.Do(func() error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			if add {
				return netlink.AddrAdd(lo, address)
			}
			return netlink.AddrDel(lo, address)
		}); err != nil {
			t.Fatal(err)
		}
		deadline := time.After(10 * time.Second)
		for (l.LocalAddresses()[own] == "lo") != add {
			select {
			case <-l.AddressesChanged():
			case <-deadline:
				t.Fatalf("add %v: still %v", add, l.LocalAddresses())
			}
		}
	}
}
