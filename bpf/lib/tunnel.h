/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * Outer headers: IP in IP in all four combinations of families (RFC 2003,
 * RFC 2473, RFC 4213 §3), and the same behind UDP, which is GUE variant 1
 * (draft-ietf-intarea-gue-09 §4: the payload's first bits are its IP version).
 *
 * The traffic class is copied whole: the DSCP by the uniform model of RFC 2983
 * §3.1, the ECN field by the normal mode of RFC 6040 §4.1. The inner packet has
 * been forwarded, so that its TTL is one less (RFC 2003 §3.1): a backend that
 * does not hold the VIP and sends it back to us can not do so for ever.
 */

#include "nexthop.h"
#include "packet.h"

#define OUTER_TTL 64
#define OUTER_MAX (sizeof(struct ipv6hdr) + sizeof(struct udphdr))

/* What the outer header takes from the inner one. */
struct inner {
	__u8 traffic_class;
	__u8 protocol;
	__be16 id;
	__be16 fragment; /* IPv4's Don't Fragment bit */
	__u32 length;
	__u32 entropy;
};

static __always_inline __u32 tunnel_size(bool ipv6, bool udp)
{
	return (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) +
	       (udp ? sizeof(struct udphdr) : 0);
}

/* Also counts down the inner TTL. */
static __always_inline int inner_take(ctx_t *ctx, struct inner *in, const struct packet *p)
{
	void *l3 = ctx_data(ctx) + bounded(p->l3);

	in->length = p->l3_length;
	if (p->ipv6) {
		struct ipv6hdr *ip = l3;

		if ((void *)(ip + 1) > ctx_end(ctx))
			return -1;
		in->traffic_class = bpf_ntohs(load16(ip)) >> 4;
		in->protocol = IPPROTO_IPV6;
		in->id = 0;
		in->fragment = bpf_htons(0x4000);
		ip->hop_limit--;
	} else {
		struct iphdr *ip = l3;
		__u32 check;

		if ((void *)(ip + 1) > ctx_end(ctx))
			return -1;
		check = ip->check + bpf_htons(0x0100);
		in->traffic_class = ip->tos;
		in->protocol = IPPROTO_IPIP;
		in->id = ip->id;
		in->fragment = ip->frag_off & bpf_htons(0x4000);
		ip->ttl--;
		ip->check = check + (check >= 0xffff); /* RFC 1624 §3, for a constant */
	}
	return 0;
}

/* The outer source, of which the flow's hash fills the bits left free. */
static __always_inline __be32 outer_source(const struct tunnel *t, __u32 entropy)
{
	return (t->source.word[3] & ~t->entropy) | (entropy & t->entropy);
}

static __always_inline void write_outer4(void *at, const struct tunnel *t, const struct addr *to,
					 const struct inner *in, bool udp)
{
	struct iphdr *ip = at;
	__u64 sum;

	*(__be16 *)ip = bpf_htons(0x4500 | in->traffic_class);
	ip->tot_len = bpf_htons(in->length + tunnel_size(false, udp));
	ip->id = in->id;
	ip->frag_off = in->fragment;
	*(__be16 *)&ip->ttl = bpf_htons(OUTER_TTL << 8 | (udp ? IPPROTO_UDP : in->protocol));
	ip->saddr = outer_source(t, in->entropy);
	ip->daddr = to->word[3];
	sum = (__u64)*(__be16 *)ip + ip->tot_len + ip->id + ip->frag_off + *(__be16 *)&ip->ttl +
	      ip->saddr + ip->daddr;
	ip->check = ~checksum_fold(sum);
}

static __always_inline void write_outer6(void *at, const struct tunnel *t, const struct addr *to,
					 const struct inner *in, bool udp)
{
	struct ipv6hdr *ip = at;
	struct addr source = t->source;

	source.word[3] = outer_source(t, in->entropy);
	/* The flow label is the flow's entropy too (RFC 6438 §3). */
	*(__be32 *)ip = bpf_htonl(0x60000000 | (__u32)in->traffic_class << 20 | in->entropy >> 12);
	ip->payload_len = bpf_htons(in->length + (udp ? sizeof(struct udphdr) : 0));
	ip->nexthdr = udp ? IPPROTO_UDP : in->protocol;
	ip->hop_limit = OUTER_TTL;
	store_addr(&ip->saddr, &source);
	store_addr(&ip->daddr, to);
}

/* The source port is the flow's entropy, of the range that RFC 6335 §6 leaves to
 * such use; no checksum, which RFC 6935 allows tunnels over IPv6 too. */
static __always_inline void write_outer_udp(void *at, const struct tunnel *t, const struct inner *in)
{
	struct udphdr *udp = at;

	udp->source = bpf_htons(0xc000 | in->entropy >> 18);
	udp->dest = t->gue_port;
	udp->len = bpf_htons(in->length + sizeof(*udp));
	udp->check = 0;
}

/* Puts an outer header around the packet. Without a next hop the MAC addresses are left to the kernel. */
static __always_inline int encapsulate(ctx_t *ctx, struct packet *p, const struct next_hop *hop,
				       const struct tunnel *t, const struct addr *to, bool ipv6,
				       bool udp, __u32 entropy)
{
	/* Of the link header without the type of what follows. */
	__u32 link = bounded(p->l3 - sizeof(__be16));
	struct inner in = { .entropy = entropy };
	void *eth, *type, *outer;

	if (inner_take(ctx, &in, p) || ctx_grow(ctx, p, tunnel_size(ipv6, udp), ipv6, udp))
		return -1;
	eth = ctx_data(ctx);
	type = eth + link;
	outer = type + sizeof(__be16);
	/* No inner packet is so short that this is more than there is. */
	if (eth + ETH_HLEN > ctx_end(ctx) || outer + OUTER_MAX > ctx_end(ctx))
		return -1;
	if (hop)
		store_mac(eth, hop);
	*(__be16 *)type = ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	if (ipv6)
		write_outer6(outer, t, to, &in, udp);
	else
		write_outer4(outer, t, to, &in, udp);
	if (udp)
		write_outer_udp(outer + tunnel_size(ipv6, false), t, &in);
	return 0;
}
