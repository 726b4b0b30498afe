/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * The next hop towards an address: interface, VLAN, MAC addresses, MTU. The
 * kernel's answer (routes and neighbours) is kept for HOP_LIFE jiffies per CPU,
 * 60 ms at 1000 Hz, 0.6 s at 100 Hz, so a change of route is obeyed soon without
 * anyone's help. Jiffies, because the verifier makes the question for them a
 * single load, and every packet asks.
 */

#include "hash.h"
#include "maps.h"

#define HOP_LIFE 60

/* A packet length that fits everywhere. */
#define ASK_MTU 1

/* Where a client's next hop is kept. A backend's has its number for that. */
static __always_inline __u32 next_hop_slot(const struct addr *to)
{
	return mix(to->half[0] ^ mix(to->half[1])) >> 16;
}

static __always_inline void next_hop_store(struct next_hop *h, const struct addr *to,
					   const struct bpf_fib_lookup *fib, __u32 ingress,
					   bool ipv6)
{
	__u32 device = fib->ifindex;
	struct vlan *vlan = bpf_map_lookup_elem(&vlans, &device);

	h->address = *to;
	h->ingress = ingress;
	h->device = device;
	h->egress = vlan ? vlan->parent : device;
	h->vlan = vlan ? vlan->id : 0;
	h->vlan_protocol = vlan ? vlan->protocol : 0;
	/* Shares its place with tot_len, which asks for it; without an answer
	 * that is still there. */
	h->mtu = fib->mtu_result == ASK_MTU ? 0 : fib->mtu_result;
	h->expires = (__u32)bpf_jiffies64() + HOP_LIFE;
	h->family = ipv6 ? 6 : 4;
	h->via_gateway = ipv6 ? __builtin_memcmp(fib->ipv6_dst, to, sizeof(*to)) != 0 :
				fib->ipv4_dst != to->word[3];
	__builtin_memcpy(h->mac, fib->dmac, ETH_ALEN);
	__builtin_memcpy(h->mac + ETH_ALEN, fib->smac, ETH_ALEN);
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
		return REASON_PASS_NO_ROUTE;
	default:
		return REASON_PASS_UNREACHABLE;
	}
}

static __always_inline struct next_hop *next_hop_get(__u32 slot)
{
	slot &= NEXT_HOPS - 1;
	return bpf_map_lookup_elem(&next_hops, &slot);
}

/*
 * Asks the kernel and fills the slot. Returns REASON_TX, or the reason
 * for which there is no whole answer; after REASON_PASS_NEIGHBOUR the slot lacks
 * only the MAC, holds the neighbour's own address and family, and has expired.
 *
 * Not static, so that the verifier looks at it once.
 */
__noinline int next_hop_ask(ctx_t *ctx, const struct addr *to, int ipv6, __u32 slot)
{
	struct bpf_fib_lookup fib = { .tot_len = ASK_MTU, .ifindex = ctx_ingress(ctx) };
	struct next_hop *hop;
	long code;

	if (!to)
		return REASON_PASS_UNREACHABLE;
	hop = next_hop_get(slot);
	if (!hop)
		return REASON_PASS_UNREACHABLE;
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
	next_hop_store(hop, to, &fib, ctx_ingress(ctx), ipv6);
	if (code == BPF_FIB_LKUP_RET_SUCCESS)
		return REASON_TX;
	hop->expires = bpf_jiffies64();
	/* An IPv4 route may lead to an IPv6 neighbour (RFC 8950). */
	if (fib.family == AF_INET6) {
		__builtin_memcpy(&hop->address, fib.ipv6_dst, sizeof(hop->address));
		hop->family = 6;
	} else {
		hop->address = (struct addr){ .word[3] = fib.ipv4_dst };
	}
	return REASON_PASS_NEIGHBOUR;
}

static __always_inline bool next_hop_holds(const struct next_hop *h, const struct addr *to,
					   __u32 ingress, bool ipv6)
{
	return h->family == (ipv6 ? 6 : 4) && h->ingress == ingress &&
	       (__s32)(h->expires - (__u32)bpf_jiffies64()) > 0 && h->address.half[1] == to->half[1] &&
	       h->address.half[0] == to->half[0];
}

static __always_inline void store_mac(void *eth, const struct next_hop *hop)
{
	*(__u64 *)eth = *(const __u64 *)hop->mac;
	*(__u32 *)(eth + 8) = *(const __u32 *)(hop->mac + 8);
}

static __always_inline int write_mac(ctx_t *ctx, const struct next_hop *hop)
{
	void *eth = ctx_data(ctx);

	if (eth + ETH_HLEN > ctx_end(ctx))
		return -1;
	store_mac(eth, hop);
	return 0;
}
