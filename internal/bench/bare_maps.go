package bench

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/schedule"
)

// BareBackend is a backend of the bare table look-up.
type BareBackend struct {
	Address netip.Addr // IPv4
	MAC     net.HardwareAddr
}

// bareBackend is struct bare_backend of bare.h.
type bareBackend struct {
	Address [4]byte
	MAC     [6]byte
	_       [6]byte
}

// bareVIP is struct vip4_key of lib/types.h.
type bareVIP struct {
	Address  [4]byte
	Port     [2]byte
	Protocol uint8
	_        uint8
}

// FillBare writes the maps of bare.h: one TCP frontend, and a Maglev table of
// these backends.
func FillBare(maps map[string]*ebpf.Map, vip netip.AddrPort, backends []BareBackend) error {
	var entries []schedule.Entry
	for i, b := range backends {
		number := uint32(i) + 1 // 0 is an empty slot
		if err := maps["backends"].Put(number, bareBackend{Address: b.Address.As4(), MAC: [6]byte(b.MAC)}); err != nil {
			return err
		}
		entries = append(entries, schedule.Entry{Key: b.Address.String(), ID: number, Weight: 1})
	}
	table, err := schedule.Maglev(entries, int(maps["slots"].MaxEntries()))
	if err != nil {
		return err
	}
	keys := make([]uint32, len(table))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := maps["slots"].BatchUpdate(keys, []uint32(table), nil); err != nil {
		return err
	}
	key := bareVIP{Address: vip.Addr().As4(), Protocol: uint8(model.TCP)}
	binary.BigEndian.PutUint16(key.Port[:], vip.Port())
	return maps["vips"].Put(key, uint32(0))
}
