/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* What nat and dnat make of a packet. */

#include "checksum.h"
#include "packet.h"

/* The packet's new ends but for its destination's address, which is where it is
 * sent. */
struct rewrite {
	struct addr source;
	__be16 source_port;
	__be16 destination_port;
};

static __always_inline int write_ipv4(void *l3, void *end, const struct rewrite *r,
				      const struct addr *to, __u64 addresses)
{
	struct iphdr *ip = l3;
	__be16 *ttl = (__be16 *)&ip->ttl, old;

	if ((void *)(ip + 1) > end)
		return -1;
	old = *ttl;
	ip->saddr = r->source.word[3];
	ip->daddr = to->word[3];
	ip->ttl--;
	ip->check = checksum_apply(ip->check, addresses + checksum_difference16(old, *ttl));
	return 0;
}

static __always_inline int write_ipv6(void *l3, void *end, const struct rewrite *r,
				      const struct addr *to)
{
	struct ipv6hdr *ip = l3;

	if ((void *)(ip + 1) > end)
		return -1;
	store_addr(&ip->saddr, &r->source);
	store_addr(&ip->daddr, to);
	ip->hop_limit--;
	return 0;
}

/* Both TCP and UDP begin with the ports. */
static __always_inline int write_ports(void *l4, void *end, const struct rewrite *r)
{
	__be16 *port = l4;

	if ((void *)(port + 2) > end)
		return -1;
	port[0] = r->source_port;
	port[1] = r->destination_port;
	return 0;
}

static __always_inline int write_nat(ctx_t *ctx, struct packet *p, const struct rewrite *r,
				     const struct addr *to)
{
	__u64 addresses = checksum_difference(&p->source, &r->source, p->ipv6) +
			  checksum_difference(&p->destination, to, p->ipv6);
	__u64 ports = checksum_difference16(p->source_port, r->source_port) +
		      checksum_difference16(p->destination_port, r->destination_port);
	void *data = ctx_data(ctx), *end = ctx_end(ctx), *l3 = data + bounded(p->l3);
	int failed = p->ipv6 ? write_ipv6(l3, end, r, to) : write_ipv4(l3, end, r, to, addresses);

	if (failed || write_ports(data + bounded(p->l4), end, r))
		return -1;
	return ctx_transport_checksum(ctx, p, addresses, ports);
}
