//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Decapsulation on a backend, at the TC ingress hook. Packets may be 64 KiB
 * super-packets, may have unfinished checksums, and may not be linear. */

#include <linux/if_packet.h>
#include "lib/uapi.h"

#include "lib/decap.h"

/* Whether bpf_skb_adjust_room can be told the inner family (Linux 6.3). */
volatile const bool decap_knows_family = false;

/* BPF_F_ADJ_ROOM_DECAP_L3_*, which older headers lack. */
#define DECAP_L3_IPV4 (1ULL << 7)
#define DECAP_L3_IPV6 (1ULL << 8)

/* Ethernet, the longest IPv4 header, UDP, GUE and IPv6. */
#define DECAP_LINEAR (14 + 60 + 8 + 4 + 40)

static __always_inline void linearise(struct __sk_buff *ctx)
{
	__u32 want = ctx->len < DECAP_LINEAR ? ctx->len : DECAP_LINEAR;

	if ((void *)(long)ctx->data + want > (void *)(long)ctx->data_end)
		bpf_skb_pull_data(ctx, want);
}

/* The helper keeps a checksum that the device took over the packet right. */
static __always_inline int set_ecn(struct __sk_buff *ctx, const struct tunnel *t, void *end)
{
	__u32 at = t->link + t->strip;

	if (t->inner_ipv6) {
		struct ipv6hdr *ip = t->inner;
		__u8 byte;
		int ecn;

		if ((void *)(ip + 1) > end)
			return DECAP_DROP_TRUNCATED;
		byte = ip->flow_lbl[0];
		ecn = decap_ecn(t->outer_ecn, byte >> 4 & DECAP_ECN);
		if (ecn < 0)
			return DECAP_DROP_ECN;
		if (ecn == (byte >> 4 & DECAP_ECN))
			return DECAP_ACCEPTED;
		byte = (byte & ~(DECAP_ECN << 4)) | ecn << 4;
		if (bpf_skb_store_bytes(ctx, at + offsetof(struct ipv6hdr, flow_lbl), &byte, 1, BPF_F_RECOMPUTE_CSUM))
			return DECAP_DROP_RESIZE;
	} else {
		struct iphdr *ip = t->inner;
		__be16 before, after;
		__sum16 check;
		int ecn;

		if ((void *)(ip + 1) > end)
			return DECAP_DROP_TRUNCATED;
		ecn = decap_ecn(t->outer_ecn, ip->tos & DECAP_ECN);
		if (ecn < 0)
			return DECAP_DROP_ECN;
		if (ecn == (ip->tos & DECAP_ECN))
			return DECAP_ACCEPTED;
		before = *(__be16 *)t->inner;
		after = before & bpf_htons(~DECAP_ECN);
		after |= bpf_htons(ecn);
		check = decap_checksum(ip->check, before, after);
		if (bpf_skb_store_bytes(ctx, at, &after, 2, BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(ctx, at + offsetof(struct iphdr, check), &check, 2, BPF_F_RECOMPUTE_CSUM))
			return DECAP_DROP_RESIZE;
	}
	return DECAP_ACCEPTED;
}

/* Before Linux 6.3 only this helper changes the family that the kernel takes the
 * packet for. It resizes the IP header by the families' difference on its way. */
static __always_inline int change_family(struct __sk_buff *ctx, struct tunnel *t)
{
	const __u32 difference = sizeof(struct ipv6hdr) - sizeof(struct iphdr);

	if (t->inner_ipv6 == t->outer_ipv6)
		return 0;
	t->strip = t->inner_ipv6 ? t->strip + difference : t->strip - difference;
	return bpf_skb_change_proto(ctx, t->inner_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0);
}

/* The segments of a super-packet carry as much as before, so their size stays. */
static __always_inline int strip(struct __sk_buff *ctx, struct tunnel *t)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
	__be16 protocol = t->inner_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	int reason = set_ecn(ctx, t, (void *)(long)ctx->data_end);

	if (reason != DECAP_ACCEPTED)
		return reason;
	if (decap_knows_family)
		flags |= t->inner_ipv6 ? DECAP_L3_IPV6 : DECAP_L3_IPV4;
	else if (change_family(ctx, t))
		return DECAP_DROP_RESIZE;
	if (bpf_skb_adjust_room(ctx, -(__s32)t->strip, BPF_ADJ_ROOM_MAC, flags) ||
	    bpf_skb_store_bytes(ctx, offsetof(struct ethhdr, h_proto), &protocol, sizeof(protocol), 0))
		return DECAP_DROP_RESIZE;
	/* It was the outer headers'. */
	bpf_set_hash_invalid(ctx);
	return DECAP_ACCEPTED;
}

SEC("tc")
int xlb_decap_tc(struct __sk_buff *ctx)
{
	struct tunnel t = {};
	int reason = DECAP_PASS_OTHER;

	/* A bridge's ports see what is for others. */
	if (ctx->pkt_type == PACKET_HOST) {
		linearise(ctx);
		reason = decap_judge(&t, (void *)(long)ctx->data, (void *)(long)ctx->data_end, ctx->len, ctx->gso_size);
		/* The kernel has moved the outer tag out of the frame. Behind a
		 * second one it cannot take headers off. */
		if (t.link != sizeof(struct ethhdr))
			reason = DECAP_PASS_OTHER;
	}
	if (reason == DECAP_ACCEPTED)
		reason = strip(ctx, &t);
	decap_count(reason);
	return reason <= DECAP_ACCEPTED ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
