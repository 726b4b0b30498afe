//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The bare table look-up at the XDP hook. */

#include "bare.h"

SEC("xdp.frags")
int bare_l2(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	struct bare_backend *b = bare_choose(data, (void *)(long)ctx->data_end);

	if (!b)
		return XDP_PASS;
	bare_write_macs(data, b);
	return XDP_TX;
}

SEC("xdp.frags")
int bare_ipip(struct xdp_md *ctx)
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
	return XDP_TX;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
