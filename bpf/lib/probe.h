/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * The way out of probes that go via the VIP. The host's packets with a mark of
 * ours are routed to lo, at whose egress they go to the backend that the mark
 * names, as a client's would. Nothing of them is counted, and none may stay: the
 * VIP may be an address of this host, which would answer for its backend.
 */

#include "parse.h"
#include "send.h"

/* Where the probe goes; false if that is nowhere. */
static __always_inline bool probe_aim(const struct packet *p, __u32 number, struct target *t)
{
	struct backend *b = bpf_map_lookup_elem(&backends, &number);
	__u32 service = b ? b->service : 0;
	struct service *s = service ? bpf_map_lookup_elem(&services, &service) : NULL;

	/* nat and dnat need a record of the flow. */
	if (!s || (s->forward != FORWARD_L2DSR && !encapsulates(s->forward)))
		return false;
	t->to = b->address;
	t->hop = number;
	t->entropy = hash_flow(&p->source, &p->destination, p->tuple, p->ipv6) >> 32;
	t->forward = s->forward;
	t->ipv6 = b->flags & BACKEND_IPV6;
	return true;
}

/* What comes out of lo begins with zeros; the way to a fixed gateway takes its
 * source from there. */
static __always_inline int probe_take_mac(ctx_t *ctx)
{
	struct ethhdr *eth = ctx_data(ctx);

	if ((void *)(eth + 1) > ctx_end(ctx))
		return -1;
	for (int i = 0; i < ETH_ALEN; i++)
		eth->h_dest[i] = probe_mac[i];
	return 0;
}

static __always_inline bool is_probe(ctx_t *ctx)
{
	return (ctx->mark & ~PROBE_BACKEND) == PROBE_MARK;
}

static __always_inline int probe(ctx_t *ctx)
{
	__u32 mark = ctx->mark;
	struct packet p = { .length = ctx_first_length(ctx) };
	struct verdict v = {};
	struct target t = {};
	int action;

	/* So that no rule takes the packet for one at lo again. */
	ctx->mark = 0;
	if (probe_take_mac(ctx) || parse_frame(ctx, &p) >= 0 ||
	    !probe_aim(&p, mark & PROBE_BACKEND, &t) || stays(&p, t.forward, &v))
		return ctx_drop(ctx);
	action = send(ctx, &p, &t, &v);
	return action == ctx_pass(ctx) ? ctx_drop(ctx) : action;
}
