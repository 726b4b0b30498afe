/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The bare table look-up at the XDP hook, up to the sending, which is the
 * includer's: the benchmark sends back, the flood to another interface. */

#include "bare.h"

/* What is not sent has its verdict instead. */
#define BARE_SEND -1

static __always_inline int bare_to_backend(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	struct bare_backend *b = bare_choose(data, (void *)(long)ctx->data_end);

	if (!b)
		return XDP_PASS;
	bare_write_macs(data, b);
	return BARE_SEND;
}

static __always_inline int bare_into_tunnel(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct bare_backend *b = bare_choose(eth, (void *)(long)ctx->data_end);
	__u8 own[ETH_ALEN];

	if (!b)
		return XDP_PASS;
	__builtin_memcpy(own, eth->h_dest, ETH_ALEN);
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct iphdr)) ||
	    !bare_write_outer((void *)(long)ctx->data, (void *)(long)ctx->data_end, own, b))
		return XDP_DROP;
	return BARE_SEND;
}
