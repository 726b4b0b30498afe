//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The data plane at the TC ingress hook, alone or behind the XDP program. */

#include "lib/uapi.h"

#include "lib/config.h"
#include "lib/maps.h"
#include "lib/ctx_tc.h"
#include "lib/balance.h"
#include "lib/probe.h"

SEC("tc")
int xlb_tc(struct __sk_buff *ctx)
{
	ctx_linearise(ctx);
	return balance(ctx);
}

/* Both at the egress of lo. */
SEC("tc")
int xlb_probe(struct __sk_buff *ctx)
{
	if (!is_probe(ctx))
		return ctx_pass(ctx);
	ctx_linearise(ctx);
	return probe(ctx);
}

SEC("tc")
int xlb_inject(struct __sk_buff *ctx)
{
	__u32 mark = ctx->mark;

	if ((mark & ~INJECT_INTERFACE) != INJECT_MARK)
		return ctx_pass(ctx);
	ctx->mark = 0;
	return bpf_redirect(mark & INJECT_INTERFACE, BPF_F_INGRESS);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
