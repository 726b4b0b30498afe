//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The bare table look-up at the XDP hook. */

#include "bare_xdp.h"

SEC("xdp.frags")
int bare_l2(struct xdp_md *ctx)
{
	int verdict = bare_to_backend(ctx);

	return verdict == BARE_SEND ? XDP_TX : verdict;
}

SEC("xdp.frags")
int bare_ipip(struct xdp_md *ctx)
{
	int verdict = bare_into_tunnel(ctx);

	return verdict == BARE_SEND ? XDP_TX : verdict;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
