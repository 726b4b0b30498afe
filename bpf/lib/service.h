/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* From an address to what it means: a frontend of a service, or a source
 * address of ours, or nothing. */

#include "maps.h"
#include "parse.h"

static __always_inline struct vip *vip_find(const struct packet *p, __be16 port, __u8 protocol,
					    bool ipv6)
{
	if (ipv6) {
		struct vip6_key key = { .address = p->destination, .port = port, .protocol = protocol };

		return bpf_map_lookup_elem(&vips6, &key);
	}
	struct vip4_key key = {
		.address = p->destination.word[3], .port = port, .protocol = protocol
	};

	return bpf_map_lookup_elem(&vips4, &key);
}

/* The index into sources plus one of the packet's destination, 0 if it is
 * none. Port and protocol 0 stand for the whole address. */
static __always_inline __u32 source_find(const struct packet *p, const struct vip *vip, bool ipv6)
{
	__u16 port = bpf_ntohs(p->destination_port);

	if (port < nat_port_first || port > nat_port_last)
		return 0;
	if (!vip)
		vip = vip_find(p, 0, 0, ipv6);
	return vip ? vip->source : 0;
}
