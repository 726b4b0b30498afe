// SPDX-License-Identifier: Apache-2.0

package xlb

import (
	"encoding/binary"
	"math"
	"net/netip"
)

// Address is the first eight bytes of an address read big-endian, and the last.
// An IPv4 address is IPv4-mapped: ::ffff:a.b.c.d.
type Address struct{ Hi, Lo uint64 }

// Is4 says whether a is an IPv4 address.
func (a Address) Is4() bool { return a.Hi == 0 && a.Lo>>32 == 0xffff }

// Masked returns the first bits of a, 0 to 128.
func (a Address) Masked(bits int) Address {
	ones := func(n int) uint64 { return ^(uint64(math.MaxUint64) >> n) }
	return Address{a.Hi & ones(min(bits, 64)), a.Lo & ones(max(bits-64, 0))}
}

// Prefix returns the first bits of a: of an IPv4 address 0 to 32, of an IPv6
// address 0 to 128. Prefixes of the two families are never the same.
func (a Address) Prefix(ipv4, ipv6 int) Address {
	if a.Is4() {
		return a.Masked(96 + ipv4)
	}
	return a.Masked(ipv6)
}

// Hash returns a hash of a; another seed makes another, independent one.
func (a Address) Hash(seed uint64) uint64 {
	return Mix(Mix(a.Hi^seed) + 0x9e3779b97f4a7c15 + a.Lo)
}

// Netip returns a for package netip: IPv4 addresses are no longer mapped.
func (a Address) Netip() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
	return netip.AddrFrom16(b).Unmap()
}

// Mix is a bijection of 64 bits in which each bit of x changes half of the
// result's (the finalizer of MurmurHash3 with the constants of splitmix64).
func Mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
