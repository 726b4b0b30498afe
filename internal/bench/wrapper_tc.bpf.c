//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The wrapper for the TC hook. */

#include "wrapper.h"

SEC("tc")
int wrap(struct __sk_buff *ctx)
{
	int grown = (int)ctx->len - (int)(words * 8);

	if (grown && bpf_skb_adjust_room(ctx, -grown, BPF_ADJ_ROOM_MAC, 0))
		return TC_ACT_STOLEN;
	if (write_packet((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		bpf_tail_call(ctx, &slot, 0);
	return TC_ACT_STOLEN; /* what neither program returns */
}

/* The empty program, whose time is the wrapper's own. */
SEC("tc")
int nothing(struct __sk_buff *ctx)
{
	return TC_ACT_SHOT;
}

/* The empty program that leaves the wrapper something to undo. */
SEC("tc")
int grow(struct __sk_buff *ctx)
{
	return bpf_skb_adjust_room(ctx, sizeof(struct iphdr), BPF_ADJ_ROOM_MAC, 0) ?
		       TC_ACT_STOLEN : TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
