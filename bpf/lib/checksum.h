/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* Incremental update of Internet checksums, RFC 1624 equation 3:
 * HC' = ~(~HC + ~m + m'). Differences are sums of 16-bit words, kept in 32 bits
 * and folded at the end. */

#include "types.h"

static __always_inline __u16 checksum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The difference that replacing one address by another makes. */
static __always_inline __u64 checksum_difference(const struct addr *from, const struct addr *to,
						 bool ipv6)
{
	__u64 sum = (__u64)(__u32)~from->word[3] + to->word[3];

	if (ipv6)
		for (int i = 0; i < 3; i++)
			sum += (__u64)(__u32)~from->word[i] + to->word[i];
	return sum;
}

static __always_inline __u64 checksum_difference16(__be16 from, __be16 to)
{
	return (__u64)(__u16)~from + to;
}

static __always_inline __u16 checksum_apply(__u16 checksum, __u64 difference)
{
	return ~checksum_fold((__u16)~checksum + difference);
}
