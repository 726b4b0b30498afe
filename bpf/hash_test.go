package bpf_test

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/xlb-io/xlb/pkg/model"
)

// hashOf is the hash of a client's packets, written anew from what hash.h says:
// it decides the slot, and what entropy an outer header shows.
func hashOf(client, vip netip.AddrPort, protocol model.Protocol) uint64 {
	a, b := in16(client.Addr()), in16(vip.Addr())
	low := func(x [16]byte) uint64 { return uint64(binary.LittleEndian.Uint32(x[12:])) }
	h := round((low(a)<<32 | low(b)) * 0x9e3779b97f4a7c15)
	tuple := uint64(bits.ReverseBytes16(client.Port())) | uint64(bits.ReverseBytes16(vip.Port()))<<16 | uint64(protocol)<<32
	if vip.Addr().Is6() {
		tuple |= 1 << 40
		third := func(x [16]byte) uint64 { return uint64(binary.LittleEndian.Uint32(x[8:])) }
		h = round(h ^ binary.LittleEndian.Uint64(a[:]))
		h = round(h ^ (third(a) | third(b)<<32))
		h = round(h ^ binary.LittleEndian.Uint64(b[:]))
	}
	h = round(h^tuple) * 0xc4ceb9fe1a85ec53
	return h ^ h>>32
}

func round(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	return h ^ h>>29
}

func in16(a netip.Addr) (out [16]byte) {
	b := a.AsSlice()
	copy(out[16-len(b):], b)
	return out
}

// slotOf is the slot of a client's packets in the standard world's tables.
func slotOf(client, vip netip.AddrPort, protocol model.Protocol) int {
	return int(uint64(uint32(hashOf(client, vip, protocol))) * slots >> 32)
}
