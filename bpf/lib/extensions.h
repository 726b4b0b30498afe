/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* IPv6 extension headers (RFC 8200 §4). Rare, so apart from the fast path: a
 * function of its own, in which the offset is masked at every step, so that the
 * verifier sees one state per step and not one per combination of headers. */

#include "packet.h"

#define IPV6_EXTENSIONS 8
#define OFFSET_MASK 0x7ff

struct ipv6_extension {
	__u8 next;
	__u8 length; /* RFC 8200 §4: in 8 bytes, the first not counted */
	__u8 type;
	__u8 segments_left;
	__be32 rest;
};

static __always_inline bool ipv6_is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_DSTOPTS ||
	       protocol == IPPROTO_AH;
}

/* What skip_extensions() returns: the transport protocol and the length of the
 * headers before it, or the reason to leave. */
#define SKIPPED(length, protocol) ((int)((length) << 8 | (protocol)))
#define SKIP_FAILED(reason) (-1 - (int)(reason))

/* first is the offset of the first extension header from the start of the frame. */
__noinline int skip_extensions(ctx_t *ctx, __u32 first, __u32 protocol)
{
	__u32 offset = first, size;

	/* Once more than there may be headers, to see what follows the last. */
	for (int i = 0; i <= IPV6_EXTENSIONS; i++) {
		struct ipv6_extension *x;

		if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP)
			return SKIPPED(offset - first, protocol);
		if (!ipv6_is_extension(protocol))
			return SKIP_FAILED(REASON_PASS_NOT_VIP);
		offset &= OFFSET_MASK;
		x = ctx_data(ctx) + offset;
		if ((void *)(x + 1) > ctx_end(ctx))
			return SKIP_FAILED(REASON_PASS_TRUNCATED);
		size = (x->length + 1) * 8;
		if (protocol == IPPROTO_FRAGMENT) {
			/* A fragment header that fragments nothing is legal and
			 * complete (RFC 6946). */
			if (*(__be16 *)&x->type & bpf_htons(0xfff9))
				return SKIP_FAILED(REASON_PASS_FRAGMENT);
			size = 8;
		} else if (protocol == IPPROTO_AH) {
			size = (x->length + 2) * 4; /* RFC 4302 §2.2 */
		} else if (protocol == IPPROTO_ROUTING && x->segments_left) {
			/* The destination is a stop on the way, and the
			 * checksum is over another address. */
			return SKIP_FAILED(REASON_PASS_EXTENSIONS);
		}
		if (offset + size > OFFSET_MASK)
			return SKIP_FAILED(REASON_PASS_EXTENSIONS);
		protocol = x->next;
		offset += size;
	}
	return SKIP_FAILED(REASON_PASS_EXTENSIONS);
}
