//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The wrapper for the XDP hook. A tail call into a program that accepts frames in
 * several buffers, as the data plane's does, needs one that does too. */

#include "wrapper.h"

SEC("xdp.frags")
int wrap(struct xdp_md *ctx)
{
	long grown = (void *)(long)ctx->data_end - (void *)(long)ctx->data - (long)(words * 8);

	if (grown && bpf_xdp_adjust_head(ctx, grown))
		return XDP_ABORTED;
	if (write_packet((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		bpf_tail_call(ctx, &slot, 0);
	return XDP_ABORTED;
}

/* The empty program, whose time is the wrapper's own. */
SEC("xdp.frags")
int nothing(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* The empty program that leaves the wrapper something to undo. */
SEC("xdp.frags")
int grow(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -(int)sizeof(struct iphdr)) ? XDP_ABORTED : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
