package maps

import (
	"encoding/binary"

	"github.com/xlb-io/xlb/bpf"
)

// flowHash is hash_flow() of hash.h, without a seed.
func flowHash(client, vip bpf.Addr, tuple uint64) uint64 {
	word := func(a bpf.Addr, i int) uint64 { return uint64(binary.NativeEndian.Uint32(a.Byte[4*i:])) }
	half := func(a bpf.Addr, i int) uint64 { return binary.NativeEndian.Uint64(a.Byte[8*i:]) }
	h := mix((word(client, 3)<<32 | word(vip, 3)) * 0x9e3779b97f4a7c15)
	if tuple>>40&1 == 1 { // IPv6; see flow_tuple()
		h = mix(h ^ half(client, 0))
		h = mix(h ^ (word(client, 2) | word(vip, 2)<<32))
		h = mix(h ^ half(vip, 0))
	}
	h = mix(h ^ tuple)
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>32
}

func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>29
}

// slotOf is the slot of a table of size slots in which the data plane looks for
// the flow; see choice.h, and scale() in hash.h.
func slotOf(f *bpf.Flow, s *bpf.Service, size int) uint32 {
	return uint32(uint64(uint32(slotHash(f, s))) * uint64(size) >> 32)
}

// slotHash is hash_input() of choice.h, or the flow's hash.
func slotHash(f *bpf.Flow, s *bpf.Service) uint64 {
	const ipv6 = 1 << 40 // see flow_tuple()
	switch {
	case s.Options&bpf.OptionHash == 0:
		return flowHash(f.Client, f.Vip, f.Tuple)
	case s.HashInput == bpf.HashDestinationPort:
		return flowHash(bpf.Addr{}, bpf.Addr{}, f.Tuple&0xffff0000)
	case s.HashInput == bpf.HashSource:
		return flowHash(f.Client, bpf.Addr{}, f.Tuple&ipv6)
	}
	return flowHash(f.Client, f.Vip, f.Tuple&ipv6)
}
