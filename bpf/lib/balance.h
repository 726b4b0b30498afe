/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * The pipeline: parse, service, flow, backend, next hop, rewrite, transmit,
 * and one exit at which the verdict is counted.
 *
 * Up to send() nothing in the packet has changed and every doubt passes it to
 * the stack as it came.
 */

#include "create.h"
#include "extensions.h"
#include "rewrite.h"
#include "select.h"
#include "service.h"
#include "stats.h"

/* A flow's answer to: where does this packet go? */
struct route {
	struct backend *backend;
	struct service *service;
	__u32 backend_id;
	__u16 source;
	__be16 nat_port;
};

static __always_inline bool is_rst(const struct packet *p)
{
	return p->tcp_flags & TCP_RST;
}

/* Where the packet goes by the record found, or not: then *owner stays set if
 * the record is the packet's own but no longer holds, and is to be replaced. */
static __always_inline bool flow_route(struct flow *f, __u32 *owner, const struct packet *p,
				       __u64 meta, __u32 now, struct route *r, struct verdict *v)
{
	__u8 state = meta_state(meta);
	__u32 service;

	if (flow_expired(&r->service->timeouts, p->tuple, meta, now, 0))
		return false;
	if (is_syn(p) && state_closed(state))
		return false; /* a new connection with the ports of an old one */
	r->backend_id = f->backend;
	r->source = f->source;
	r->nat_port = f->nat_port;
	service = f->service;
	if (!meta_same_record(READ_ONCE(f->meta), meta)) {
		*owner = 0;
		return false;
	}
	/* The frontend may have got another forwarding mode meanwhile. */
	if (!r->nat_port != (r->service->forward != FORWARD_NAT))
		return false;
	r->backend = backend_get(r->backend_id);
	/* A backend of another service has inherited the number of ours. */
	if (!r->backend || r->backend->service != service || !(r->backend->flags & BACKEND_SERVES)) {
		v->moved = 1;
		return false;
	}
	state = state_next(state, p->tcp_flags, false, r->service->forward == FORWARD_NAT);
	flow_touch(f, &r->service->timeouts, p->protocol, meta, state, now);
	return true;
}

/* The next hop towards an address; *reason is REASON_TX if it is whole. */
static __always_inline struct next_hop *hop_find(ctx_t *ctx, const struct packet *p,
						 const struct addr *to, bool ipv6, __u32 now,
						 __u32 *reason)
{
	struct next_hop *hop = next_hop_get(to, ctx_ingress(ctx));

	if (!hop) {
		*reason = REASON_PASS_UNREACHABLE;
		return NULL;
	}
	*reason = REASON_TX;
	if (fixed_gateway) {
		/* A program with routes may have left its answer here. */
		hop->family = 0;
		hop->mtu = 0;
		hop->via_gateway = 0;
		hop->egress = ctx_ingress(ctx);
		/* Byte by byte: without volatile the compiler takes the zeros
		 * that stand in config.h. */
		for (int i = 0; i < ETH_ALEN; i++)
			hop->mac[i] = gateway_mac[i];
		__builtin_memcpy(hop->mac + ETH_ALEN, p->eth->h_dest, ETH_ALEN);
	} else if (!next_hop_holds(hop, to, ctx_ingress(ctx), now, ipv6)) {
		*reason = next_hop_ask(ctx, to, ipv6);
	}
	return hop;
}

/* Records a new flow; sets what nat chose for it. Returns -1, or the reason
 * for which it could not. */
static __always_inline int flow_record(const struct packet *p, struct route *r, __u32 service,
				       __u32 owner, __u64 hash, bool ipv6)
{
	struct new_flow *n = new_flow_get();
	int failed;

	if (!n)
		return REASON_DROP_CONTENDED;
	new_flow_name(n, p, hash, ipv6);
	n->service = service;
	n->backend = r->backend_id;
	n->owner = owner;
	n->syn = is_syn(p);
	n->nat_port = 0;
	n->source = 0;
	n->cell = 0;
	failed = flow_reserve();
	if (failed < 0 && r->service->forward == FORWARD_NAT)
		failed = flow_take_port();
	if (failed < 0)
		failed = flow_commit();
	r->source = n->source;
	r->nat_port = n->nat_port;
	return failed;
}

/* The last look before the packet changes, and the change: rewrite is NULL
 * for l2dsr. */
static __always_inline int send(ctx_t *ctx, struct packet *p, const struct addr *to, bool to_ipv6,
				const struct rewrite *rewrite, __u32 now, bool ipv6,
				struct verdict *v)
{
	__u32 egress, reason;
	struct next_hop *hop = hop_find(ctx, p, to, to_ipv6, now, &reason);

	v->reason = reason;
	if (!hop)
		return ctx_pass(ctx);
	if (reason != REASON_TX && !(CTX_RESOLVES_NEIGHBOURS && reason == REASON_PASS_NEIGHBOUR))
		return ctx_pass(ctx);
	egress = hop->egress;
	if (!rewrite && hop->via_gateway) {
		v->reason = REASON_DROP_NOT_ON_LINK;
		return ctx_drop(ctx);
	}
	if (!ctx_fits(ctx, p, hop->mtu)) {
		v->reason = REASON_PASS_MTU;
		return ctx_pass(ctx);
	}
	if (ctx_tagged(ctx, p) && egress != ctx_ingress(ctx)) {
		v->reason = REASON_PASS_VLAN;
		return ctx_pass(ctx);
	}
	v->reason = egress == ctx_ingress(ctx) ? REASON_TX : REASON_REDIRECT;
	/* From here on the packet is no longer what came in. */
	if (reason == REASON_TX)
		write_mac(p, hop);
	if (rewrite && write_nat(ctx, p, rewrite, ipv6)) {
		v->reason = REASON_DROP_REWRITE;
		return ctx_drop(ctx);
	}
	if (reason != REASON_TX)
		return ctx_send_unresolved(ctx, egress, &hop->address, hop->family == 6);
	return ctx_send(ctx, egress);
}

/* Whether nat may change this packet; if not, why. */
static __always_inline bool nat_passes(const struct packet *p, bool ipv6, struct verdict *v)
{
	if (p->ttl <= 1) {
		v->reason = REASON_PASS_TTL;
		return true;
	}
	if (ipv6 && p->protocol == IPPROTO_UDP && !*p->check) {
		v->reason = REASON_PASS_CHECKSUM;
		return true;
	}
	return false;
}

static __always_inline int send_request(ctx_t *ctx, struct packet *p, struct route *r, __u32 now,
					bool ipv6, struct verdict *v)
{
	struct addr to = r->backend->address;
	__u32 index = r->source;
	struct source *source;
	struct rewrite w;

	if (r->service->forward != FORWARD_NAT)
		return send(ctx, p, &to, r->backend->flags & BACKEND_IPV6, NULL, now, ipv6, v);
	source = bpf_map_lookup_elem(&sources, &index);
	if (!source) {
		v->reason = REASON_DROP_NAT_PORTS;
		return ctx_drop(ctx);
	}
	w.source = source->address;
	w.destination = to;
	w.source_port = r->nat_port;
	w.destination_port = r->backend->port;
	return send(ctx, p, &to, ipv6, &w, now, ipv6, v);
}

/* A client's packet to a frontend. */
static __always_inline int request(ctx_t *ctx, struct packet *p, __u32 service, bool ipv6,
				   struct verdict *v)
{
	struct route r = { .service = service_get(service) };
	__u64 hash = hash_flow(&p->source, &p->destination, p->tuple, ipv6), meta = 0;
	__u32 owner = 0, now = clock_now();
	struct flow *f;
	bool nat;
	int failed;

	if (!r.service) {
		v->reason = REASON_PASS_NOT_VIP;
		return ctx_pass(ctx);
	}
	nat = r.service->forward == FORWARD_NAT;
	if (nat && nat_passes(p, ipv6, v))
		return ctx_pass(ctx);
	v->service = service;
	f = flow_find(p, hash, &owner, &meta, ipv6);
	if (f && flow_route(f, &owner, p, meta, now, &r, v)) {
		v->backend = r.backend_id;
		return send_request(ctx, p, &r, now, ipv6, v);
	}

	if (nat && is_rst(p)) {
		v->reason = REASON_DROP_NO_FLOW;
		return ctx_drop(ctx);
	}
	r.backend_id = select_backend(service, hash);
	r.backend = r.backend_id ? backend_get(r.backend_id) : NULL;
	if (!r.backend) {
		v->reason = REASON_DROP_NO_BACKEND;
		return ctx_drop(ctx);
	}
	v->backend = r.backend_id;
	if (is_rst(p))
		return send_request(ctx, p, &r, now, ipv6, v);
	failed = flow_record(p, &r, service, owner, hash, ipv6);
	if (failed >= 0 && nat) {
		v->reason = failed;
		return ctx_drop(ctx);
	}
	v->created = failed < 0;
	return send_request(ctx, p, &r, now, ipv6, v);
}

/* A packet to one of our nat sources: a backend's reply, if a flow owns its
 * port. Returns false if none does. */
static __always_inline bool reply(ctx_t *ctx, struct packet *p, __u32 source, bool ipv6,
				  struct verdict *v, int *action)
{
	__u32 base = port_base(&p->source, p->source_port, &p->destination, p->protocol, ipv6);
	__u32 at = port_place(base, bpf_ntohs(p->destination_port)), now;
	__u32 *cell = port_cell(at), owner;
	struct service *s;
	struct backend *b;
	struct rewrite w;
	struct flow *f;
	__u64 meta;

	owner = cell ? READ_ONCE(*cell) : 0;
	f = owner ? flow_by_number(owner - 1) : NULL;
	if (!f)
		return false;
	meta = READ_ONCE(f->meta);
	if (meta_writing(meta) || f->nat_port != p->destination_port || f->source != source - 1 ||
	    (__u8)(f->tuple >> 32) != p->protocol || (__u8)(f->tuple >> 40) != ipv6)
		return false;
	v->service = f->service;
	v->backend = f->backend;
	w.source = f->vip;
	w.destination = f->client;
	w.source_port = f->tuple >> 16;
	w.destination_port = f->tuple;
	b = backend_get(v->backend);
	s = service_get(v->service);
	if (!s || !b || b->port != p->source_port || b->address.half[1] != p->source.half[1] ||
	    b->address.half[0] != p->source.half[0] || !meta_same_record(READ_ONCE(f->meta), meta))
		goto none;
	now = clock_now();
	if (flow_expired(&s->timeouts, f->tuple, meta, now, 0))
		goto none;
	if (nat_passes(p, ipv6, v)) {
		*action = ctx_pass(ctx);
		return true;
	}
	flow_touch(f, &s->timeouts, p->protocol, meta,
		   state_next(meta_state(meta), p->tcp_flags, true, true), now);
	v->reply = 1;
	*action = send(ctx, p, &w.destination, ipv6, &w, now, ipv6, v);
	return true;
none:
	v->service = 0;
	v->backend = 0;
	return false;
}

static __always_inline int dispatch(ctx_t *ctx, struct packet *p, bool ipv6, struct verdict *v)
{
	struct vip *vip = vip_find(p, p->destination_port, p->protocol, ipv6);
	__u32 service = vip ? vip->service : 0;
	__u32 source = source_find(p, vip, ipv6);
	int action;

	/* An address may be both: a VIP's port may be one that nat took. */
	if (source && reply(ctx, p, source, ipv6, v, &action))
		return action;
	if (service)
		return request(ctx, p, service, ipv6, v);
	v->reason = REASON_PASS_NOT_VIP;
	return ctx_pass(ctx);
}

/* The transport header of an IPv6 packet; returns -1 or the reason to leave. */
static __always_inline int parse_ipv6_headers(ctx_t *ctx, struct packet *p)
{
	struct ipv6hdr *ip = p->l3;
	__u32 skipped = 0;
	int skip;

	if ((void *)(ip + 1) > ctx_end(ctx))
		return REASON_PASS_TRUNCATED;
	p->protocol = ip->nexthdr;
	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP) {
		skip = skip_extensions(ctx, (void *)(ip + 1) - ctx_data(ctx), p->protocol);
		if (skip < 0)
			return -1 - skip;
		p->protocol = skip;
		skipped = skip >> 8 & OFFSET_MASK;
	}
	return parse_ipv6(p, ctx_end(ctx), skipped);
}

static __always_inline int balance(ctx_t *ctx)
{
	struct verdict v = { .length = ctx_length(ctx) };
	struct packet p = { .length = v.length };
	__be16 protocol = parse_ethernet(&p, ctx_data(ctx), ctx_end(ctx));
	int action = ctx_pass(ctx), left;

	if (protocol == bpf_htons(ETH_P_IP)) {
		left = parse_ipv4(&p, ctx_end(ctx));
		if (left < 0)
			action = dispatch(ctx, &p, false, &v);
		else
			v.reason = left;
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		left = parse_ipv6_headers(ctx, &p);
		if (left < 0)
			action = dispatch(ctx, &p, true, &v);
		else
			v.reason = left;
	} else {
		v.reason = protocol ? REASON_PASS_NOT_IP : REASON_PASS_TRUNCATED;
	}
	count_verdict(&v);
	return action;
}
