//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Decapsulation on a backend, at the XDP hook. */

#include "lib/uapi.h"

#include "lib/decap.h"

/* Whether packets may have more than one buffer (Linux 5.18). */
volatile const bool decap_frags = false;

static __always_inline __u32 packet_length(struct xdp_md *ctx)
{
	if (decap_frags)
		return bpf_xdp_get_buff_len(ctx);
	return ctx->data_end - ctx->data;
}

static __always_inline int set_ecn(const struct tunnel *t, void *end)
{
	if (t->inner_ipv6) {
		struct ipv6hdr *ip = t->inner;
		int ecn;

		if ((void *)(ip + 1) > end)
			return DECAP_DROP_TRUNCATED;
		ecn = decap_ecn(t->outer_ecn, ip->flow_lbl[0] >> 4 & DECAP_ECN);
		if (ecn < 0)
			return DECAP_DROP_ECN;
		ip->flow_lbl[0] = (ip->flow_lbl[0] & ~(DECAP_ECN << 4)) | ecn << 4;
	} else {
		struct iphdr *ip = t->inner;
		__be16 *word = t->inner;
		__be16 before;
		int ecn;

		if ((void *)(ip + 1) > end)
			return DECAP_DROP_TRUNCATED;
		ecn = decap_ecn(t->outer_ecn, ip->tos & DECAP_ECN);
		if (ecn < 0)
			return DECAP_DROP_ECN;
		before = *word;
		ip->tos = (ip->tos & ~DECAP_ECN) | ecn;
		ip->check = decap_checksum(ip->check, before, *word);
	}
	return DECAP_ACCEPTED;
}

#define LINK_MOST (sizeof(struct ethhdr) + DECAP_TAGS * sizeof(struct decap_tag))

/* The link header with its tags, ending in the ethertype. */
struct link_header {
	__u8 byte[LINK_MOST];
};

static __always_inline bool load_link(struct link_header *h, const struct tunnel *t, void *data, void *end)
{
	__be16 protocol = t->inner_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	__u32 at = t->link - sizeof(protocol);

	/* An outer IP header is behind it, so no packet is too short. */
	if (data + LINK_MOST > end || at > LINK_MOST - sizeof(protocol))
		return false;
	__builtin_memcpy(h->byte, data, LINK_MOST);
	__builtin_memcpy(h->byte + at, &protocol, sizeof(protocol));
	return true;
}

static __always_inline bool store_link(const struct link_header *h, __u32 length, void *data, void *end)
{
	const __u32 tag = sizeof(struct decap_tag), untagged = sizeof(struct ethhdr);

	if (data + LINK_MOST > end)
		return false;
	if (length == untagged)
		__builtin_memcpy(data, h->byte, untagged);
	else if (length == untagged + tag)
		__builtin_memcpy(data, h->byte, untagged + tag);
	else
		__builtin_memcpy(data, h->byte, untagged + 2 * tag);
	return true;
}

static __always_inline int strip(struct xdp_md *ctx, const struct tunnel *t)
{
	struct link_header link;
	int reason = set_ecn(t, (void *)(long)ctx->data_end);

	if (reason != DECAP_ACCEPTED)
		return reason;
	if (!load_link(&link, t, (void *)(long)ctx->data, (void *)(long)ctx->data_end) ||
	    bpf_xdp_adjust_head(ctx, t->strip) ||
	    !store_link(&link, t->link, (void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return DECAP_DROP_RESIZE;
	return DECAP_ACCEPTED;
}

SEC("xdp.frags")
int xlb_decap_xdp(struct xdp_md *ctx)
{
	struct tunnel t = {};
	int reason = decap_judge(&t, (void *)(long)ctx->data, (void *)(long)ctx->data_end,
				 packet_length(ctx), false);

	if (reason == DECAP_ACCEPTED)
		reason = strip(ctx, &t);
	decap_count(reason);
	return reason <= DECAP_ACCEPTED ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Go reads the names from the debug information; name the type, so that it is
 * in it. */
const enum decap_reason *go_decap_reason __attribute__((unused));
