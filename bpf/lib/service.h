/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* From an address to what it means: a frontend of a service, or a source
 * address of ours, or nothing. */

#include "maps.h"
#include "packet.h"

/* A function of its own, for its key is large, and the stack that a call and its
 * callers share has 512 bytes. */
static __noinline struct vip *vip6_find(const struct addr *a, __be16 port, __u8 protocol)
{
	struct vip6_key key = { .address = *a, .port = port, .protocol = protocol };

	return bpf_map_lookup_elem(&vips6, &key);
}

static __always_inline struct vip *vip_find(const struct addr *a, __be16 port, __u8 protocol,
					    bool ipv6)
{
	struct vip4_key key = { .address = a->word[3], .port = port, .protocol = protocol };

	if (ipv6)
		return vip6_find(a, port, protocol);
	return bpf_map_lookup_elem(&vips4, &key);
}

/* The index into sources plus one of the packet's destination, 0 if it is
 * none. Port and protocol 0 stand for the whole address. */
static __always_inline __u32 source_find(const struct packet *p, const struct vip *vip)
{
	__u16 port = bpf_ntohs(p->destination_port);

	if (port < nat_port_first || port > nat_port_last)
		return 0;
	if (!vip)
		vip = vip_find(&p->destination, 0, 0, p->ipv6);
	return vip ? vip->source : 0;
}

/* Whether a packet to nobody comes from where a dnat service's backend listens. */
static __always_inline bool from_dnat_backend(const struct packet *p)
{
	__u32 zero = 0, *f = bpf_map_lookup_elem(&features, &zero);
	struct vip *vip;

	if (!f || !(*f & FEATURE_DNAT))
		return false;
	vip = vip_find(&p->source, p->source_port, p->protocol, p->ipv6);
	return vip && vip->flags & VIP_DNAT_BACKEND;
}
