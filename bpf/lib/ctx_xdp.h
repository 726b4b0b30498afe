/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The thin layer between the pipeline and XDP. */

#include "checksum.h"
#include "packet.h"

#define CTX_RESOLVES_NEIGHBOURS 0
#define CTX_XDP 1

typedef struct xdp_md ctx_t;

static __always_inline void *ctx_data(ctx_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *ctx_end(ctx_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

/* The whole frame, and what of it is sure to be in the first buffer. */
static __always_inline __u32 ctx_length(ctx_t *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

static __always_inline __u32 ctx_first_length(ctx_t *ctx)
{
	return ctx->data_end - ctx->data;
}

static __always_inline __u32 ctx_ingress(ctx_t *ctx)
{
	return ctx->ingress_ifindex;
}

static __always_inline bool ctx_segmented(ctx_t *ctx)
{
	return false;
}

/* Copies the frame's first bytes, from all its buffers. */
static __always_inline int ctx_load(ctx_t *ctx, void *to, __u32 length)
{
	return bpf_xdp_load_bytes(ctx, 0, to, length);
}

/* The same from somewhere within. */
static __always_inline int ctx_load_at(ctx_t *ctx, __u32 at, void *to, __u32 length)
{
	return bpf_xdp_load_bytes(ctx, at, to, length);
}

/* XDP sees all tags in the frame. */
static __always_inline void ctx_outer_tag(ctx_t *ctx, __u16 *tci, __be16 *protocol)
{
	*tci = 0;
	*protocol = 0;
}

static __always_inline bool ctx_tagged(ctx_t *ctx, const struct packet *p)
{
	return p->tags;
}

static __always_inline bool ctx_can_encapsulate(ctx_t *ctx, const struct packet *p)
{
	return true;
}

/* XDP sees frames as they are on the wire. */
static __always_inline bool ctx_fits(ctx_t *ctx, const struct packet *p, __u32 mtu, __u32 grow)
{
	return !mtu || p->l3_length + grow <= mtu;
}

/* Makes room for an outer header behind Ethernet and tags; every pointer into
 * the packet is void afterwards. */
static __always_inline int ctx_grow(ctx_t *ctx, const struct packet *p, __u32 grow, bool ipv6,
				    bool udp)
{
	void *data;

	if (bpf_xdp_adjust_head(ctx, -(int)grow))
		return -1;
	if (!p->tags)
		return 0;
	data = ctx_data(ctx);
	if (data + grow + 2 * ETH_ALEN + 8 > ctx_end(ctx))
		return -1;
	*(__u64 *)(data + 2 * ETH_ALEN) = *(__u64 *)(data + grow + 2 * ETH_ALEN);
	return 0;
}

/* Replaces the frame's VLAN tags by one, or, with protocol 0, by none. Not
 * static, because it is rare. */
__noinline int ctx_retag(ctx_t *ctx, __u32 tags, __u32 id, __u32 protocol)
{
	__be16 *data = ctx_data(ctx), priority = 0;
	__u64 destination;
	__u32 source;
	int shrink = tags * 4 - (protocol ? 4 : 0);

	if ((void *)data + ETH_HLEN + 8 > ctx_end(ctx))
		return -1;
	__builtin_memcpy(&destination, data, 8);
	__builtin_memcpy(&source, data + 4, 4);
	if (tags)
		priority = data[7] & bpf_htons(0xf000);
	if (shrink && bpf_xdp_adjust_head(ctx, shrink))
		return -1;
	data = ctx_data(ctx);
	if ((void *)data + ETH_HLEN + 4 > ctx_end(ctx))
		return -1;
	__builtin_memcpy(data, &destination, 8);
	__builtin_memcpy(data + 4, &source, 4);
	if (protocol) {
		data[6] = protocol;
		data[7] = priority | bpf_htons(id);
	}
	return 0;
}

static __always_inline int ctx_pass(ctx_t *ctx)
{
	return XDP_PASS;
}

static __always_inline int ctx_drop(ctx_t *ctx)
{
	return XDP_DROP;
}

static __always_inline int ctx_send(ctx_t *ctx, __u32 egress)
{
	return egress == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(egress, 0);
}

static __always_inline int ctx_send_unresolved(ctx_t *ctx, __u32 egress, const struct addr *hop,
					       bool ipv6)
{
	return XDP_PASS; /* not reached: the pipeline passes such packets unchanged */
}

/* Applies the differences of the addresses and of the ports to the transport
 * checksum. */
static __always_inline int ctx_transport_checksum(ctx_t *ctx, struct packet *p, __u64 addresses,
						  __u64 ports)
{
	bool udp = p->protocol == IPPROTO_UDP;
	__u16 *check = ctx_data(ctx) + bounded(p->check);

	if ((void *)(check + 1) > ctx_end(ctx))
		return -1;
	if (udp && p->unchecked)
		return 0; /* IPv4: the sender computed none */
	*check = checksum_apply(*check, addresses + ports);
	if (udp && !*check)
		*check = 0xffff;
	return 0;
}
