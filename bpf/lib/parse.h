/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* From the first byte to the transport header. Nothing is written. */

#include "extensions.h"
#include "packet.h"

struct vlan_tag {
	__be16 tci;
	__be16 protocol;
};

/* Finds the network header behind up to two VLAN tags; returns its ethertype,
 * 0 if the frame is too short. */
static __always_inline __be16 parse_ethernet(struct packet *p, void *data, void *end, void **l3)
{
	struct ethhdr *eth = data;
	__be16 protocol;

	if ((void *)(eth + 1) > end)
		return 0;
	*l3 = eth + 1;
	p->tags = 0;
	protocol = load16(&eth->h_proto);
	for (int i = 0; i < VLAN_TAGS; i++) {
		struct vlan_tag *tag = *l3;

		if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > end)
			return 0;
		protocol = load16(&tag->protocol);
		*l3 = tag + 1;
		p->tags++;
	}
	p->l3 = *l3 - data;
	return protocol;
}

static __always_inline int parse_transport(struct packet *p, void *data, void *end, void *l4,
					   __u32 payload)
{
	p->l4 = l4 - data;
	if (p->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end || payload < sizeof(*tcp))
			return REASON_PASS_TRUNCATED;
		p->source_port = tcp->source;
		p->destination_port = tcp->dest;
		p->tcp_flags = ((__u8 *)tcp)[13];
		p->check = p->l4 + offsetof(struct tcphdr, check);
		p->unchecked = 0;
	} else if (p->protocol == IPPROTO_UDP) {
		struct udphdr *udp = l4;

		if ((void *)(udp + 1) > end || payload < sizeof(*udp))
			return REASON_PASS_TRUNCATED;
		p->source_port = udp->source;
		p->destination_port = udp->dest;
		p->tcp_flags = 0;
		p->check = p->l4 + offsetof(struct udphdr, check);
		p->unchecked = !udp->check;
	} else {
		return REASON_PASS_NOT_VIP;
	}
	p->tuple = flow_tuple(p->source_port, p->destination_port, p->protocol, p->ipv6);
	return -1;
}

/* Whether the frame holds less than the IP header says. What is beyond the first
 * buffer costs a call to learn, so it is asked only when that is too short. */
static __always_inline bool cut_off(ctx_t *ctx, struct packet *p)
{
	__u32 end = p->l3 + p->l3_length;

	if (end > p->length)
		p->length = ctx_length(ctx);
	return end > p->length;
}

/* All return -1 if there is a TCP or UDP header to go on with, otherwise the
 * reason to leave. */
static __always_inline int parse_ipv4(ctx_t *ctx, struct packet *p, void *l3)
{
	struct iphdr *ip = l3;
	__u32 header;

	if ((void *)(ip + 1) > ctx_end(ctx))
		return REASON_PASS_TRUNCATED;
	header = ip->ihl * 4;
	p->l3_length = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || p->l3_length < header || cut_off(ctx, p))
		return REASON_PASS_TRUNCATED;
	if (ip->frag_off & bpf_htons(0x3fff))
		return REASON_PASS_FRAGMENT;
	p->ipv6 = 0;
	p->source = (struct addr){ .word[3] = ip->saddr };
	p->destination = (struct addr){ .word[3] = ip->daddr };
	p->protocol = ip->protocol;
	p->ttl = ip->ttl;
	return parse_transport(p, ctx_data(ctx), ctx_end(ctx), l3 + header, p->l3_length - header);
}

static __always_inline int parse_ipv6(ctx_t *ctx, struct packet *p, void *l3)
{
	struct ipv6hdr *ip = l3;
	__u32 payload, skipped = 0;
	int skip;

	if ((void *)(ip + 1) > ctx_end(ctx))
		return REASON_PASS_TRUNCATED;
	p->protocol = ip->nexthdr;
	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP) {
		skip = skip_extensions(ctx, p->l3 + sizeof(*ip), p->protocol);
		if (skip < 0)
			return -1 - skip;
		p->protocol = skip;
		skipped = skip >> 8 & OFFSET_MASK;
	}
	payload = bpf_ntohs(ip->payload_len);
	if (ip->version != 6 || payload < skipped)
		return REASON_PASS_TRUNCATED;
	p->l3_length = payload + sizeof(*ip);
	if (cut_off(ctx, p))
		return REASON_PASS_TRUNCATED;
	p->ipv6 = 1;
	p->source = load_addr(&ip->saddr);
	p->destination = load_addr(&ip->daddr);
	p->ttl = ip->hop_limit;
	return parse_transport(p, ctx_data(ctx), ctx_end(ctx), l3 + sizeof(*ip) + skipped,
			       payload - skipped);
}

/* The whole frame; the same. */
static __always_inline int parse_frame(ctx_t *ctx, struct packet *p)
{
	void *l3;
	__be16 protocol = parse_ethernet(p, ctx_data(ctx), ctx_end(ctx), &l3);

	if (protocol == bpf_htons(ETH_P_IP))
		return parse_ipv4(ctx, p, l3);
	if (protocol == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(ctx, p, l3);
	return protocol ? REASON_PASS_NOT_IP : REASON_PASS_TRUNCATED;
}
