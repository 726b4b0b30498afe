/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * QUIC connection IDs that say which server made them
 * (draft-ietf-quic-load-balancers-21, plaintext algorithm): the first octet's upper
 * three bits number the configuration, the octets that follow are the server's ID.
 * Of a packet only what all versions of QUIC have in common is looked at (RFC
 * 8999): the first bit tells a long header, in which the ID has its length before
 * it; in a short one it begins at once.
 */

#include "create.h"

#define QUIC_LONG 0x80
/* In a long header: first octet, version, length of the ID. */
#define QUIC_ID_LENGTH_AT 5
#define QUIC_UNROUTABLE 7

struct quic_head {
	__u8 first;
	__u8 version[4];
	__u8 id_length;
} __attribute__((packed));

/* Where in the frame the destination's connection ID begins, 0 if the packet has
 * none that is long enough. */
static __always_inline __u32 quic_id_at(ctx_t *ctx, const struct packet *p, __u8 first, __u32 need)
{
	__u32 at = p->l4 + sizeof(struct udphdr), end = p->l3 + p->l3_length;
	struct quic_head head;

	if (!(first & QUIC_LONG))
		return at + 1 + need > end ? 0 : at + 1;
	if (at + sizeof(head) + need > end || ctx_load_at(ctx, at, &head, sizeof(head)) ||
	    head.id_length < need)
		return 0;
	return at + sizeof(head);
}

/* The backend that the packet's connection ID names, 0 if none that serves. */
static __always_inline __u32 quic_backend(ctx_t *ctx, const struct packet *p, __u32 service,
					  const struct service *s, __u8 first)
{
	struct quic_key key = { .service = service };
	__u32 at, more, *id;

	more = s->quic_server_id - 1; /* one comparison for both bounds */
	if (more >= sizeof(key.id))
		return 0;
	/* Else the compiler goes on with the length, of which that tells nothing. */
	barrier_var(more);
	at = quic_id_at(ctx, p, first, 2 + more);
	if (!at || ctx_load_at(ctx, at, &key.form, 2 + more)) /* and key.id */
		return 0;
	key.form >>= 5;
	if (key.form == QUIC_UNROUTABLE)
		return 0;
	key.form |= (more + 1) << 3;
	id = bpf_map_lookup_elem(&quic_servers, &key);
	return id && backend_serves(backend_get(*id), service) ? *id : 0;
}

/* Chooses the backend that the packet names. A long header that names none is a
 * client's that has not heard of its server yet: it opens a connection. Called with the
 * packet at hand, and not static, so that the verifier looks at it once. */
__noinline int quic_choose(ctx_t *ctx, struct packet *p, __u32 service, struct choice *c)
{
	struct service *s = service_get(service);
	__u32 at;
	__u8 first;

	if (!p || !c || !s || p->protocol != IPPROTO_UDP)
		return 0;
	at = p->l4 + sizeof(struct udphdr);
	if (at >= p->l3 + p->l3_length || ctx_load_at(ctx, at, &first, 1))
		return 0;
	c->backend = quic_backend(ctx, p, service, s, first);
	c->named = !!c->backend;
	c->opens = !c->backend && first & QUIC_LONG;
	return 0;
}
