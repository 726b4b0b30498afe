/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * The next hop towards an address: interface, MAC addresses, MTU. The kernel's
 * answer (routes and neighbours) is kept for HOP_LIFE ticks per CPU, so a change
 * of route is obeyed within a quarter of a second without anyone's help.
 */

#include "clock.h"
#include "hash.h"
#include "maps.h"

#define HOP_LIFE 238

static __always_inline __u32 next_hop_slot(const struct addr *to, __u32 ingress)
{
	return mix(to->half[0] ^ mix(to->half[1]) ^ ingress) >> 16 & (NEXT_HOPS - 1);
}

static __always_inline void next_hop_store(struct next_hop *h, const struct addr *to,
					   const struct bpf_fib_lookup *fib, __u32 ingress,
					   __u32 now, bool ipv6)
{
	h->address = *to;
	h->ingress = ingress;
	h->egress = fib->ifindex;
	h->mtu = fib->mtu_result;
	h->expires = now + HOP_LIFE;
	h->family = ipv6 ? 6 : 4;
	h->via_gateway = ipv6 ? __builtin_memcmp(fib->ipv6_dst, to, sizeof(*to)) != 0 :
				fib->ipv4_dst != to->word[3];
	__builtin_memcpy(h->destination_mac, fib->dmac, ETH_ALEN);
	__builtin_memcpy(h->source_mac, fib->smac, ETH_ALEN);
}

/* The reason for which a failed look-up ends the packet's way here. */
static __always_inline __u32 next_hop_failure(long code)
{
	switch (code) {
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return REASON_PASS_NEIGHBOUR;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return REASON_PASS_MTU;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		return REASON_PASS_LOCAL;
	default:
		return REASON_PASS_NO_ROUTE;
	}
}

/*
 * Sets *hop and returns REASON_TX; or another reason, of which
 * REASON_PASS_NEIGHBOUR comes with a hop that lacks only the MAC: hop->address
 * is then the neighbour's own address, and hop->family its family.
 */
static __noinline int next_hop_ask(ctx_t *ctx, const struct addr *to, struct next_hop *hop, int ipv6)
{
	struct bpf_fib_lookup fib = { .tot_len = 1, .ifindex = ctx_ingress(ctx) };
	__u32 ingress = ctx_ingress(ctx), slot = next_hop_slot(to, ingress);
	struct next_hop *kept;
	long code;

	if (ipv6) {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_dst, to, sizeof(*to));
	} else {
		fib.family = AF_INET;
		fib.ipv4_dst = to->word[3];
	}
	code = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (code != BPF_FIB_LKUP_RET_SUCCESS && code != BPF_FIB_LKUP_RET_NO_NEIGH)
		return next_hop_failure(code);
	next_hop_store(hop, to, &fib, ingress, clock_now(), ipv6);
	if (code == BPF_FIB_LKUP_RET_NO_NEIGH) {
		if (ipv6 || fib.family == AF_INET6) {
			__builtin_memcpy(&hop->address, fib.ipv6_dst, sizeof(hop->address));
			hop->family = 6;
		} else {
			hop->address = (struct addr){ .word[3] = fib.ipv4_dst };
		}
		return REASON_PASS_NEIGHBOUR;
	}
	kept = bpf_map_lookup_elem(&next_hops, &slot);
	if (kept)
		*kept = *hop;
	return REASON_TX;
}

static __always_inline struct next_hop *next_hop_kept(const struct addr *to, __u32 ingress,
						      __u32 now, bool ipv6)
{
	__u32 slot = next_hop_slot(to, ingress);
	struct next_hop *h = bpf_map_lookup_elem(&next_hops, &slot);

	if (!h || h->family != (ipv6 ? 6 : 4) || h->ingress != ingress ||
	    (__s32)(h->expires - now) <= 0 || h->address.half[1] != to->half[1] ||
	    h->address.half[0] != to->half[0])
		return NULL;
	return h;
}
