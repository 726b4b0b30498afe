/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* What leaves, and the writing of it. From here on packets change: failures
 * drop. */

#include "nexthop.h"

/* What nat makes of a packet. */
struct rewrite {
	struct addr source;
	struct addr destination;
	__be16 source_port;
	__be16 destination_port;
};

static __always_inline void write_mac(struct packet *p, const struct next_hop *hop)
{
	*(__u64 *)p->eth = *(const __u64 *)hop->mac;
	*(__u32 *)((void *)p->eth + 8) = *(const __u32 *)(hop->mac + 8);
}

static __always_inline void write_ipv4(struct packet *p, const struct rewrite *r, __u64 addresses)
{
	struct iphdr *ip = p->l3;
	__be16 *ttl = (__be16 *)&ip->ttl, old = *ttl;

	ip->saddr = r->source.word[3];
	ip->daddr = r->destination.word[3];
	ip->ttl--;
	ip->check = checksum_apply(ip->check, addresses + checksum_difference16(old, *ttl));
}

static __always_inline void write_ipv6(struct packet *p, const struct rewrite *r)
{
	struct ipv6hdr *ip = p->l3;

	store_addr(&ip->saddr, &r->source);
	store_addr(&ip->daddr, &r->destination);
	ip->hop_limit--;
}

static __always_inline int write_nat(ctx_t *ctx, struct packet *p, const struct rewrite *r, bool ipv6)
{
	__u64 addresses = checksum_difference(&p->source, &r->source, ipv6) +
			  checksum_difference(&p->destination, &r->destination, ipv6);
	__u64 ports = checksum_difference16(p->source_port, r->source_port) +
		      checksum_difference16(p->destination_port, r->destination_port);
	__be16 *port = p->l4; /* both TCP and UDP begin with the ports */

	if (ipv6)
		write_ipv6(p, r);
	else
		write_ipv4(p, r, addresses);
	port[0] = r->source_port;
	port[1] = r->destination_port;
	return ctx_transport_checksum(ctx, p, addresses, ports, ipv6);
}
