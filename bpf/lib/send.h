/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The last look before a packet changes, the change, and the way out. */

#include "rewrite.h"
#include "stats.h"
#include "tunnel.h"

/* What becomes of a packet. */
enum fate {
	FATE_FOREIGN, /* not ours, as far as this stage can tell */
	FATE_PASS,    /* for the reason in the verdict */
	FATE_DROP,    /* the same */
	FATE_SEND,    /* to the target */
	FATE_RECORD,  /* and then sent to the target */
	FATE_ASK,     /* the same, unless the daemon can be asked first */
};

/* Where a packet goes, and as what. */
struct target {
	struct addr to;   /* backend or client */
	__u32 hop;        /* slot of next_hops; see next_hop_slot() */
	__u32 entropy;    /* ipip, gue: the flow's */
	__u8 forward;     /* enum forward */
	bool ipv6;        /* family of to */
	struct rewrite as; /* nat, dnat */
};

static __always_inline bool encapsulates(__u8 forward)
{
	return forward == FORWARD_IPIP || forward == FORWARD_GUE;
}

/* Whom the packet was sent to is who sends it on. */
static __always_inline void hop_take_own_mac(ctx_t *ctx, struct next_hop *hop)
{
	struct ethhdr *eth = ctx_data(ctx);

	if ((void *)(eth + 1) <= ctx_end(ctx))
		__builtin_memcpy(hop->mac + ETH_ALEN, eth->h_dest, ETH_ALEN);
}

/* The next hop towards a target; *reason is REASON_TX if it is whole. */
static __always_inline struct next_hop *hop_find(ctx_t *ctx, const struct packet *p,
						 const struct target *t, __u32 *reason)
{
	struct next_hop *hop = next_hop_get(t->hop);

	if (!hop) {
		*reason = REASON_PASS_UNREACHABLE;
		return NULL;
	}
	*reason = REASON_TX;
	if (fixed_gateway) {
		/* A program with routes may have left its answer here. */
		hop->family = 0;
		hop->mtu = 0;
		hop->via_gateway = 0;
		hop->vlan_protocol = 0;
		hop->egress = ctx_ingress(ctx);
		hop->device = hop->egress;
		/* Byte by byte: without volatile the compiler takes the zeros
		 * that stand in config.h. */
		for (int i = 0; i < ETH_ALEN; i++)
			hop->mac[i] = gateway_mac[i];
		hop_take_own_mac(ctx, hop);
	} else if (!next_hop_holds(hop, &t->to, ctx_ingress(ctx), t->ipv6)) {
		*reason = next_hop_ask(ctx, &t->to, t->ipv6, t->hop);
	}
	return hop;
}

/* Whether the packet would expire here, or has what may not be rewritten; if not,
 * why. l2dsr does not forward it, but hands it on. */
static __always_inline bool stays(const struct packet *p, __u8 forward, struct verdict *v)
{
	if (forward == FORWARD_L2DSR)
		return false;
	if (p->ttl <= 1) {
		v->reason = REASON_PASS_TTL;
		return true;
	}
	if (rewrites(forward) && p->ipv6 && p->unchecked) {
		v->reason = REASON_PASS_CHECKSUM;
		return true;
	}
	return false;
}

/* The outer header's part that is the same for all packets; NULL if there is
 * none to use. */
static __always_inline struct tunnel *tunnel_find(const struct target *t)
{
	__u32 family = t->ipv6;
	struct tunnel *tunnel = bpf_map_lookup_elem(&tunnels, &family);

	return tunnel && tunnel->usable ? tunnel : NULL;
}

/* The tags that a packet leaves with: those of the VLAN that its route names;
 * none, if that names another interface; or those it came with. */
static __always_inline int send_tags(ctx_t *ctx, const struct packet *p, const struct next_hop *hop,
				     bool unresolved)
{
	__u32 id = hop->vlan, protocol = hop->vlan_protocol;

	if (!protocol && (!ctx_tagged(ctx, p) || hop->egress == ctx_ingress(ctx)))
		return 0;
	/* The kernel sends by the route's own device, which tags by itself. */
	if (unresolved)
		protocol = 0;
	return ctx_retag(ctx, p->tags, id, protocol);
}

/* Changes the packet to what leaves. From here on it is no longer what came in,
 * and whoever fails drops it. */
static __always_inline int transform(ctx_t *ctx, struct packet *p, const struct target *t,
				     const struct next_hop *hop, const struct tunnel *tunnel,
				     bool unresolved)
{
	if (tunnel)
		return encapsulate(ctx, p, unresolved ? NULL : hop, tunnel, &t->to, t->ipv6,
				   t->forward == FORWARD_GUE, t->entropy);
	if (!unresolved && write_mac(ctx, hop))
		return -1;
	return rewrites(t->forward) ? write_nat(ctx, p, &t->as, &t->to) : 0;
}

static __always_inline int send(ctx_t *ctx, struct packet *p, const struct target *t,
				struct verdict *v)
{
	struct tunnel *tunnel = NULL;
	struct next_hop *hop;
	__u32 reason, grow = 0;
	bool unresolved;

	hop = hop_find(ctx, p, t, &reason);
	v->reason = reason;
	unresolved = reason != REASON_TX;
	if (!hop || (unresolved && !(CTX_RESOLVES_NEIGHBOURS && reason == REASON_PASS_NEIGHBOUR)))
		return ctx_pass(ctx);
	/* The kernel resolves for IP, not for what keeps a tag in the frame. */
	if (unresolved && p->tags && !hop->vlan_protocol && hop->egress == ctx_ingress(ctx))
		return ctx_pass(ctx);
	if (t->forward == FORWARD_L2DSR && hop->via_gateway) {
		v->reason = REASON_DROP_NOT_ON_LINK;
		return ctx_drop(ctx);
	}
	if (encapsulates(t->forward)) {
		tunnel = tunnel_find(t);
		if (!tunnel) {
			v->reason = REASON_DROP_NO_TUNNEL;
			return ctx_drop(ctx);
		}
		if (!ctx_can_encapsulate(ctx, p)) {
			v->reason = REASON_PASS_VLAN;
			return ctx_pass(ctx);
		}
		grow = tunnel_size(t->ipv6, t->forward == FORWARD_GUE);
	}
	if (!ctx_fits(ctx, p, hop->mtu, grow)) {
		v->reason = REASON_PASS_MTU;
		return ctx_pass(ctx);
	}
	v->reason = hop->egress == ctx_ingress(ctx) ? REASON_TX : REASON_REDIRECT;
	if (transform(ctx, p, t, hop, tunnel, unresolved) || send_tags(ctx, p, hop, unresolved)) {
		v->reason = REASON_DROP_REWRITE;
		return ctx_drop(ctx);
	}
	if (unresolved)
		return ctx_send_unresolved(ctx, hop->device, &hop->address, hop->family == 6);
	return ctx_send(ctx, hop->egress);
}
