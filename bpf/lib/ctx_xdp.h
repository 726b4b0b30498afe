/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The thin layer between the pipeline and XDP. */

#include "checksum.h"
#include "parse.h"

#define CTX_RESOLVES_NEIGHBOURS 0

typedef struct xdp_md ctx_t;

static __always_inline void *ctx_data(ctx_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *ctx_end(ctx_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

static __always_inline __u32 ctx_length(ctx_t *ctx)
{
	return ctx->data_end - ctx->data;
}

static __always_inline __u32 ctx_ingress(ctx_t *ctx)
{
	return ctx->ingress_ifindex;
}

static __always_inline bool ctx_tagged(ctx_t *ctx, const struct packet *p)
{
	return p->tagged;
}

/* XDP sees frames as they are on the wire. */
static __always_inline bool ctx_fits(ctx_t *ctx, const struct packet *p, __u32 mtu)
{
	return !mtu || p->l3_length <= mtu;
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
						  __u64 ports, bool ipv6)
{
	bool udp = p->protocol == IPPROTO_UDP;

	if (udp && !*p->check)
		return 0; /* IPv4: the sender computed none */
	*p->check = checksum_apply(*p->check, addresses + ports);
	if (udp && !*p->check)
		*p->check = 0xffff;
	return 0;
}
