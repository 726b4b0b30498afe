/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* From an address to what it means: a frontend of a service, or a source
 * address of ours, or nothing. */

#include "vips.h"

/* The index into sources plus one of the packet's destination, 0 if it is
 * none. Port and protocol 0 stand for the whole address. */
static __always_inline __u32 source_find(const struct packet *p, __u64 vip)
{
	__u16 port = bpf_ntohs(p->destination_port);

	if (port < nat_port_first || port > nat_port_last)
		return 0;
	if (!vip)
		vip = vip_find(&p->destination, 0, 0, p->ipv6);
	return vip_source(vip);
}

/* Whether a packet to nobody comes from where a dnat service's backend listens. */
static __always_inline bool from_dnat_backend(const struct packet *p)
{
	__u32 zero = 0, *f = bpf_map_lookup_elem(&features, &zero);

	return f && *f & FEATURE_DNAT &&
	       vip_flags(vip_find(&p->source, p->source_port, p->protocol, p->ipv6)) & VIP_DNAT_BACKEND;
}
