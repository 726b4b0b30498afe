/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The backend's side of the tunnels: which packets came through one from a load
 * balancer, and what takes the outer headers off them. Stands alone: it shares
 * nothing with the balancer's pipeline. */

#include "uapi.h"

/* The names, in lower case and without DECAP_, are what users see. */
enum decap_reason {
	DECAP_PASS_OTHER,        /* no tunnel, or not from a balancer */
	DECAP_PASS_NOT_VIP,      /* from a balancer, but to an address that is no VIP here */
	DECAP_ACCEPTED,          /* the inner packet went to the host's stack */
	DECAP_DROP_SOURCE,       /* to a VIP, but not from a balancer */
	DECAP_DROP_FRAGMENT,     /* the outer packet is one */
	DECAP_DROP_TRUNCATED,    /* less than a header says */
	DECAP_DROP_INNER,        /* no IP packet of the announced family inside */
	DECAP_DROP_GUE,          /* a GUE header with fields we do not know */
	DECAP_DROP_ECN,          /* congestion to tell to who would not understand */
	DECAP_DROP_RESIZE,       /* the kernel did not take the headers off */
	DECAP_REASONS,
};

/* IPv4 as ::ffff:a.b.c.d. */
struct decap_address {
	__u32 word[4];
};

struct decap_prefix {
	__u32 length; /* in bits of all 128 */
	struct decap_address address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct decap_prefix);
	__type(value, __u8);
} decap_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct decap_address);
	__type(value, __u8);
} decap_vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DECAP_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} decap_counts SEC(".maps");

/* In host order; 0: the tunnels are IP in IP, and no UDP is looked at. */
volatile const __u16 decap_gue_port = 0;

#define DECAP_TAGS 2
#define DECAP_ECN 3 /* the bits of the TOS or traffic class byte */

enum { ECN_NOT, ECN_ECT1, ECN_ECT0, ECN_CE };

struct decap_tag {
	__be16 tci;
	__be16 protocol;
};

struct decap_gue {
	__u8 variant_control_length; /* 2 bits, 1 bit, 5 bits */
	__u8 protocol;
	__be16 flags;
};

/* What was found from the outside to the inside. */
struct tunnel {
	void *inner;
	__u32 link;     /* bytes before the outer IP header */
	__u32 strip;    /* bytes from there to the inner one */
	__u32 room;     /* bytes from the outer IP header to its packet's end */
	__u8 protocol;  /* of what the outer headers announce: IPIP or IPV6 */
	__u8 outer_ecn;
	bool outer_ipv6;
	bool inner_ipv6;
};

static __always_inline void decap_count(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&decap_counts, &reason);

	if (n)
		(*n)++;
}

static __always_inline struct decap_address decap_address4(__be32 address)
{
	return (struct decap_address){ .word = { 0, 0, bpf_htonl(0xffff), address } };
}

static __always_inline struct decap_address decap_address6(const struct in6_addr *a)
{
	return (struct decap_address){ .word = { a->in6_u.u6_addr32[0], a->in6_u.u6_addr32[1],
						 a->in6_u.u6_addr32[2], a->in6_u.u6_addr32[3] } };
}

static __always_inline bool decap_from_balancer(const struct decap_address *source)
{
	struct decap_prefix key = { .length = 128, .address = *source };

	return bpf_map_lookup_elem(&decap_sources, &key);
}

static __always_inline bool decap_to_vip(const struct decap_address *destination)
{
	return bpf_map_lookup_elem(&decap_vips, destination);
}

/* Whether these outer headers may be a tunnel of the kind that is served. */
static __always_inline bool decap_serves(__u8 protocol)
{
	if (decap_gue_port)
		return protocol == IPPROTO_UDP;
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6;
}

/* Skips UDP, and the GUE header if there is one: variant 1 has none, the payload
 * begins with the inner IP header, whose version holds the variant. Returns the
 * reason not to go on, or -1. */
static __always_inline int decap_skip_gue(struct tunnel *t, void *at, void *end)
{
	struct udphdr *udp = at;
	struct decap_gue *gue;

	if ((void *)(udp + 1) > end || udp->dest != bpf_htons(decap_gue_port))
		return DECAP_PASS_OTHER;
	gue = (void *)(udp + 1);
	t->strip += sizeof(*udp);
	t->inner = gue;
	if ((void *)(gue + 1) > end)
		return DECAP_DROP_TRUNCATED;
	switch (gue->variant_control_length >> 4) {
	case 4:
		t->protocol = IPPROTO_IPIP;
		return -1;
	case 6:
		t->protocol = IPPROTO_IPV6;
		return -1;
	}
	if (gue->variant_control_length || gue->flags ||
	    (gue->protocol != IPPROTO_IPIP && gue->protocol != IPPROTO_IPV6))
		return DECAP_DROP_GUE;
	t->protocol = gue->protocol;
	t->strip += sizeof(*gue);
	t->inner = gue + 1;
	return -1;
}

/* A super-packet (of GSO) that is longer than 64 KiB says 0 for its length. */
static __always_inline bool decap_length_fits(__u32 length, __u32 least, __u32 room, bool super)
{
	if (super && !length)
		return true;
	return length >= least && length <= room;
}

/* Looks at the inner header: DECAP_ACCEPTED if it is whole and goes to a VIP. */
static __always_inline int decap_inner(struct tunnel *t, void *end, bool super)
{
	struct decap_address destination;
	__u32 room = t->room - t->strip;

	if (t->strip > t->room)
		return DECAP_DROP_TRUNCATED;
	if (t->protocol == IPPROTO_IPIP) {
		struct iphdr *ip = t->inner;

		if ((void *)(ip + 1) > end)
			return DECAP_DROP_TRUNCATED;
		if (ip->version != 4 || ip->ihl < 5)
			return DECAP_DROP_INNER;
		destination = decap_address4(ip->daddr);
		if (!decap_to_vip(&destination))
			return DECAP_PASS_NOT_VIP;
		if (!decap_length_fits(bpf_ntohs(ip->tot_len), ip->ihl * 4, room, super))
			return DECAP_DROP_TRUNCATED;
	} else {
		struct ipv6hdr *ip = t->inner;

		if ((void *)(ip + 1) > end)
			return DECAP_DROP_TRUNCATED;
		if (ip->version != 6)
			return DECAP_DROP_INNER;
		destination = decap_address6(&ip->daddr);
		if (!decap_to_vip(&destination))
			return DECAP_PASS_NOT_VIP;
		if (room < sizeof(*ip) ||
		    !decap_length_fits(bpf_ntohs(ip->payload_len), 0, room - sizeof(*ip), super))
			return DECAP_DROP_TRUNCATED;
		t->inner_ipv6 = true;
	}
	return DECAP_ACCEPTED;
}

/* Walks over Ethernet and up to two tags. Returns the ethertype, 0 if the frame
 * is too short. */
static __always_inline __be16 decap_link(struct tunnel *t, void *data, void *end)
{
	struct ethhdr *eth = data;
	struct decap_tag *tag = (void *)(eth + 1);
	__be16 protocol;

	if ((void *)(eth + 1) > end)
		return 0;
	protocol = eth->h_proto;
	t->link = sizeof(*eth);
	for (int i = 0; i < DECAP_TAGS; i++, tag++) {
		if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > end)
			return 0;
		protocol = tag->protocol;
		t->link += sizeof(*tag);
	}
	return protocol;
}

/* Finds out what is to become of a packet of so many bytes; nothing is written.
 * DECAP_ACCEPTED leaves in t what to take off. What is wrong with a packet
 * counts only if it is from a balancer, everything else is the host's to judge;
 * but what would reach a VIP is nobody else's. */
static __always_inline int decap_judge(struct tunnel *t, void *data, void *end, __u32 length, bool super)
{
	struct decap_address source;
	bool fragment = false;
	__be16 protocol = decap_link(t, data, end);
	int reason;

	if (protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + t->link;

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5 || !decap_serves(ip->protocol))
			return DECAP_PASS_OTHER;
		t->protocol = ip->protocol;
		t->outer_ecn = ip->tos & DECAP_ECN;
		t->strip = ip->ihl * 4;
		t->room = bpf_ntohs(ip->tot_len);
		fragment = ip->frag_off & bpf_htons(0x3fff);
		/* A later fragment has no UDP header to know a tunnel by. */
		if (decap_gue_port && ip->frag_off & bpf_htons(0x1fff))
			return DECAP_PASS_OTHER;
		source = decap_address4(ip->saddr);
		t->inner = (void *)ip + ip->ihl * 4;
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + t->link;

		if ((void *)(ip + 1) > end || ip->version != 6 || !decap_serves(ip->nexthdr))
			return DECAP_PASS_OTHER;
		t->protocol = ip->nexthdr;
		t->outer_ecn = ip->flow_lbl[0] >> 4 & DECAP_ECN;
		t->outer_ipv6 = true;
		t->strip = sizeof(*ip);
		t->room = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		if (super && !ip->payload_len)
			t->room = length - t->link;
		source = decap_address6(&ip->saddr);
		t->inner = ip + 1;
	} else {
		return DECAP_PASS_OTHER;
	}
	if (super && !t->room)
		t->room = length - t->link;

	reason = -1;
	if (t->protocol == IPPROTO_UDP)
		reason = decap_skip_gue(t, t->inner, end);
	if (reason == DECAP_PASS_OTHER)
		return reason;
	if (fragment)
		reason = DECAP_DROP_FRAGMENT;
	else if (t->link + t->room > length)
		reason = DECAP_DROP_TRUNCATED;
	if (reason < 0)
		reason = decap_inner(t, end, super);
	if (!decap_from_balancer(&source))
		return reason == DECAP_ACCEPTED ? DECAP_DROP_SOURCE : DECAP_PASS_OTHER;
	return reason;
}

/* RFC 6040 section 4.2. Returns -1 for a packet that must not go on: it met
 * congestion, and its sender has said that it does not understand the mark. */
static __always_inline int decap_ecn(__u8 outer, __u8 inner)
{
	if (outer == ECN_CE)
		return inner == ECN_NOT ? -1 : ECN_CE;
	if (outer == ECN_ECT1 && inner == ECN_ECT0)
		return ECN_ECT1;
	return inner;
}

/* RFC 1624, equation 3, for one word of the header. */
static __always_inline __sum16 decap_checksum(__sum16 checksum, __be16 from, __be16 to)
{
	__u32 sum = (__u16)~checksum + (__u16)~from + to;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}
