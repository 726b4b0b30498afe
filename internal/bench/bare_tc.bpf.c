//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The bare table look-up at the TC hook. */

#include "bare.h"

SEC("tc")
int bare_l2(struct __sk_buff *ctx)
{
	void *data = (void *)(long)ctx->data;
	struct bare_backend *b = bare_choose(data, (void *)(long)ctx->data_end);

	if (!b)
		return TC_ACT_UNSPEC;
	bare_write_macs(data, b);
	return bpf_redirect(ctx->ifindex, 0);
}

SEC("tc")
int bare_ipip(struct __sk_buff *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct bare_backend *b = bare_choose(eth, (void *)(long)ctx->data_end);
	__u8 own[ETH_ALEN];

	if (!b)
		return TC_ACT_UNSPEC;
	__builtin_memcpy(own, eth->h_dest, ETH_ALEN);
	if (bpf_skb_adjust_room(ctx, sizeof(struct iphdr), BPF_ADJ_ROOM_MAC, 0) ||
	    !bare_write_outer((void *)(long)ctx->data, (void *)(long)ctx->data_end, own, b))
		return TC_ACT_SHOT;
	return bpf_redirect(ctx->ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
