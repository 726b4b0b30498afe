/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* One hash of a flow, for the choice of the backend (which must come out the
 * same on every load balancer of a fleet, so it has no seed) and, seeded, for
 * the place in the flow table. Multiply-xorshift rounds as in MurmurHash3's
 * finaliser; each round is a bijection, so that no two IPv4 clients of a
 * frontend share all 64 bits. Little-endian loads: the same on amd64 and arm64. */

#include "types.h"

static __always_inline __u64 mix(__u64 h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 29;
	return h;
}

static __always_inline __u64 hash_flow(const struct addr *a, const struct addr *b, __u64 tuple,
				       bool ipv6)
{
	__u64 h = mix(((__u64)a->word[3] << 32 | b->word[3]) * 0x9e3779b97f4a7c15ULL);

	if (ipv6) {
		h = mix(h ^ a->half[0]);
		h = mix(h ^ (a->word[2] | (__u64)b->word[2] << 32));
		h = mix(h ^ b->half[0]);
	}
	h = mix(h ^ tuple);
	h *= 0xc4ceb9fe1a85ec53ULL;
	return h ^ h >> 32;
}

/* A number below n, n < 2^32, without a division. */
static __always_inline __u32 scale(__u32 hash, __u32 n)
{
	return (__u64)hash * n >> 32;
}
