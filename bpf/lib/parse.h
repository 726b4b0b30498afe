/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* From the first byte to the transport header. Nothing is written. */

#include "types.h"

#define VLAN_TAGS 2

struct packet {
	struct addr source;
	struct addr destination;
	__u64 tuple;       /* ports and protocol; see flow_tuple() */
	struct ethhdr *eth;
	void *l3;
	void *l4;
	__u16 *check;      /* the transport checksum; kept since the verifier does
			      not remember which protocol l4 was checked for */
	__u32 length;      /* of the frame */
	__u32 l3_length;   /* header and payload, by the IP header */
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 tcp_flags;    /* 0 unless TCP */
	__u8 ttl;
	__u8 tagged;
};

enum { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04, TCP_ACK = 0x10 };

/* Headers are packed, from which the compiler concludes that nothing is aligned
 * and takes them byte by byte. amd64 and arm64 need no alignment. */
static __always_inline __u16 load16(const void *at)
{
	return *(const __u16 *)at;
}

static __always_inline struct addr load_addr(const void *at)
{
	const __u64 *half = at;

	return (struct addr){ .half = { half[0], half[1] } };
}

static __always_inline void store_addr(void *at, const struct addr *a)
{
	__u64 *half = at;

	half[0] = a->half[0];
	half[1] = a->half[1];
}

struct vlan_tag {
	__be16 tci;
	__be16 protocol;
};

/* Finds the network header behind up to two VLAN tags; returns its ethertype,
 * 0 if the frame is too short. */
static __always_inline __be16 parse_ethernet(struct packet *p, void *data, void *end)
{
	struct ethhdr *eth = data;
	__be16 protocol;

	if ((void *)(eth + 1) > end)
		return 0;
	p->eth = eth;
	p->l3 = eth + 1;
	p->tagged = 0;
	protocol = load16(&eth->h_proto);
	for (int i = 0; i < VLAN_TAGS; i++) {
		struct vlan_tag *tag = p->l3;

		if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > end)
			return 0;
		protocol = load16(&tag->protocol);
		p->l3 = tag + 1;
		p->tagged = 1;
	}
	return protocol;
}

/* Ports and protocol in one word that is never 0. */
static __always_inline __u64 flow_tuple(__be16 from, __be16 to, __u8 protocol, bool ipv6)
{
	return from | (__u64)to << 16 | (__u64)protocol << 32 | (__u64)ipv6 << 40;
}

static __always_inline int parse_transport(struct packet *p, void *end, __u32 payload, bool ipv6)
{
	if (p->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = p->l4;

		if ((void *)(tcp + 1) > end || payload < sizeof(*tcp))
			return REASON_PASS_TRUNCATED;
		p->source_port = tcp->source;
		p->destination_port = tcp->dest;
		p->tcp_flags = ((__u8 *)tcp)[13];
		p->check = &tcp->check;
	} else if (p->protocol == IPPROTO_UDP) {
		struct udphdr *udp = p->l4;

		if ((void *)(udp + 1) > end || payload < sizeof(*udp))
			return REASON_PASS_TRUNCATED;
		p->source_port = udp->source;
		p->destination_port = udp->dest;
		p->tcp_flags = 0;
		p->check = &udp->check;
	} else {
		return REASON_PASS_NOT_VIP;
	}
	p->tuple = flow_tuple(p->source_port, p->destination_port, p->protocol, ipv6);
	return -1;
}

/* Whether the frame holds less than the IP header says. */
static __always_inline bool cut_off(const struct packet *p)
{
	return p->l3 - (void *)p->eth + p->l3_length > p->length;
}

/* Both return -1 if there is a TCP or UDP header to go on with, otherwise the
 * reason to leave. */
static __always_inline int parse_ipv4(struct packet *p, void *end)
{
	struct iphdr *ip = p->l3;
	__u32 header;

	if ((void *)(ip + 1) > end)
		return REASON_PASS_TRUNCATED;
	header = ip->ihl * 4;
	p->l3_length = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || p->l3_length < header || cut_off(p))
		return REASON_PASS_TRUNCATED;
	if (ip->frag_off & bpf_htons(0x3fff))
		return REASON_PASS_FRAGMENT;
	p->source = (struct addr){ .word[3] = ip->saddr };
	p->destination = (struct addr){ .word[3] = ip->daddr };
	p->protocol = ip->protocol;
	p->ttl = ip->ttl;
	p->l4 = p->l3 + header;
	return parse_transport(p, end, p->l3_length - header, false);
}

/* An IPv6 packet whose header is followed by TCP or UDP at offset l4; extension
 * headers between them were skipped. */
static __always_inline int parse_ipv6(struct packet *p, void *end, __u32 skipped)
{
	struct ipv6hdr *ip = p->l3;
	__u32 payload;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return REASON_PASS_TRUNCATED;
	payload = bpf_ntohs(ip->payload_len);
	if (payload < skipped)
		return REASON_PASS_TRUNCATED;
	p->l3_length = payload + sizeof(*ip);
	if (cut_off(p))
		return REASON_PASS_TRUNCATED;
	p->source = load_addr(&ip->saddr);
	p->destination = load_addr(&ip->daddr);
	p->ttl = ip->hop_limit;
	p->l4 = (void *)(ip + 1) + skipped;
	return parse_transport(p, end, payload - skipped, true);
}
