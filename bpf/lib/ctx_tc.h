/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The thin layer between the pipeline and TC. Packets may be 64 KiB
 * super-packets, may have unfinished checksums, and may not be linear. */

#include "checksum.h"
#include "config.h"
#include "packet.h"

#define CTX_RESOLVES_NEIGHBOURS 1
#define CTX_XDP 0

/* Ethernet, two tags, IPv6, extensions and TCP fit; what does not is passed. */
#define LINEAR 256

typedef struct __sk_buff ctx_t;

static __always_inline void *ctx_data(ctx_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *ctx_end(ctx_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

static __always_inline void ctx_linearise(ctx_t *ctx)
{
	__u32 want = ctx->len < LINEAR ? ctx->len : LINEAR;

	if (ctx_data(ctx) + want > ctx_end(ctx))
		bpf_skb_pull_data(ctx, want);
}

static __always_inline __u32 ctx_length(ctx_t *ctx)
{
	return ctx->len;
}

static __always_inline __u32 ctx_first_length(ctx_t *ctx)
{
	return ctx->len;
}

static __always_inline __u32 ctx_ingress(ctx_t *ctx)
{
	/* The host's own packets came in by no interface. */
	return probe_ingress ? probe_ingress : ctx->ifindex;
}

/* Whether it will be cut to several packets on its way out. */
static __always_inline bool ctx_segmented(ctx_t *ctx)
{
	return ctx->gso_size;
}

static __always_inline int ctx_load(ctx_t *ctx, void *to, __u32 length)
{
	return bpf_skb_load_bytes(ctx, 0, to, length);
}

/* The same from somewhere within. */
static __always_inline int ctx_load_at(ctx_t *ctx, __u32 at, void *to, __u32 length)
{
	return bpf_skb_load_bytes(ctx, at, to, length);
}

/* The tag that is beside the frame; protocol 0 if there is none. */
static __always_inline void ctx_outer_tag(ctx_t *ctx, __u16 *tci, __be16 *protocol)
{
	*tci = ctx->vlan_present ? ctx->vlan_tci : 0;
	*protocol = ctx->vlan_present ? ctx->vlan_proto : 0;
}

/* The kernel moves the outer tag out of the frame before TC. */
static __always_inline bool ctx_tagged(ctx_t *ctx, const struct packet *p)
{
	return p->tags || ctx->vlan_present;
}

/* The kernel puts the outer header behind its own idea of the link header,
 * which ends before a tag that is in the frame. */
static __always_inline bool ctx_can_encapsulate(ctx_t *ctx, const struct packet *p)
{
	return !p->tags;
}

/* A super-packet is cut to its segment size on the way out; that of TCP shrinks
 * by an outer header's size, UDP's may not. */
static __always_inline bool ctx_fits(ctx_t *ctx, const struct packet *p, __u32 mtu, __u32 grow)
{
	__u32 headers = p->l4 - p->l3 + sizeof(struct udphdr);

	if (!mtu)
		return true;
	if (ctx->gso_size)
		return p->protocol != IPPROTO_UDP || ctx->gso_size + headers + grow <= mtu;
	return p->l3_length + grow <= mtu;
}

/* Makes room for an outer header behind Ethernet; every pointer into the packet
 * is void afterwards. */
static __always_inline int ctx_grow(ctx_t *ctx, const struct packet *p, __u32 grow, bool ipv6,
				    bool udp)
{
	__u64 flags = ipv6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;

	if (udp)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	if (p->protocol == IPPROTO_UDP)
		flags |= BPF_F_ADJ_ROOM_FIXED_GSO;
	return bpf_skb_adjust_room(ctx, grow, BPF_ADJ_ROOM_MAC, flags);
}

/* Replaces the packet's VLAN tags by one, or, with protocol 0, by none. Not
 * static, because it is rare. */
__noinline int ctx_retag(ctx_t *ctx, __u32 tags, __u32 id, __u32 protocol)
{
	__u32 priority = ctx->vlan_present ? ctx->vlan_tci & 0xf000 : 0;

	/* The kernel took the outer tag out of the frame; with each that goes
	 * the next one takes its place. */
	tags += ctx->vlan_present;
	for (int i = 0; i <= VLAN_TAGS && i < tags; i++)
		if (bpf_skb_vlan_pop(ctx))
			return -1;
	return protocol ? bpf_skb_vlan_push(ctx, protocol, priority | id) : 0;
}

static __always_inline int ctx_pass(ctx_t *ctx)
{
	return TC_ACT_UNSPEC; /* TCX_NEXT: on to the next program */
}

static __always_inline int ctx_drop(ctx_t *ctx)
{
	return TC_ACT_SHOT;
}

static __always_inline int ctx_send(ctx_t *ctx, __u32 egress)
{
	return bpf_redirect(egress, 0);
}

/* Lets the kernel resolve the neighbour and hold the packet meanwhile
 * (Linux 5.10). */
static __always_inline int ctx_send_unresolved(ctx_t *ctx, __u32 egress, const struct addr *hop,
					       bool ipv6)
{
	struct bpf_redir_neigh to = {};

	if (ipv6) {
		to.nh_family = AF_INET6;
		__builtin_memcpy(to.ipv6_nh, hop, sizeof(to.ipv6_nh));
	} else {
		to.nh_family = AF_INET;
		to.ipv4_nh = hop->word[3];
	}
	return bpf_redirect_neigh(egress, &to, sizeof(to), 0);
}

/* The helper knows of checksums that the sender left to the device, where only
 * the pseudo-header's part is in the field. Every pointer into the packet is
 * void afterwards. */
static __always_inline int ctx_transport_checksum(ctx_t *ctx, struct packet *p, __u64 addresses,
						  __u64 ports)
{
	__u32 offset = p->check;
	__u64 flags = p->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u64 a = (addresses & 0xffffffff) + (addresses >> 32);
	__u64 pseudo = (a & 0xffffffff) + (a >> 32);

	if (bpf_l4_csum_replace(ctx, offset, 0, pseudo, flags | BPF_F_PSEUDO_HDR) ||
	    bpf_l4_csum_replace(ctx, offset, 0, ports, flags))
		return -1;
	/* For a packet whose sum the device took (CHECKSUM_COMPLETE) the helper
	 * assumes an IPv4 header checksum that makes up for the address; IPv6
	 * has none, so take its correction back. */
	if (p->ipv6)
		bpf_csum_update(ctx, pseudo);
	return 0;
}
