/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The way of a client's packet: to the backend that its flow is recorded with, or that
 * the decision, the packet itself or the table says. */

#include "choice.h"
#include "decision.h"
#include "retry.h"
#include "send.h"

/* The answer. */
struct route {
	struct service *service;
	struct backend *backend;
	__u32 backend_id;
	__u16 source;    /* nat, dnat: what the flow took */
	__be16 nat_port;
	__u8 tries;      /* of a connection that goes to another backend: those before it */
};

static __always_inline bool is_rst(const struct packet *p)
{
	return p->tcp_flags & TCP_RST;
}

/* Where the packet goes by the record found, or not: then *owner stays set if
 * the record is the packet's own but no longer holds, and is to be replaced. */
static __always_inline bool flow_route(struct flow *f, __u32 *owner, const struct packet *p,
				       const struct choice *c, __u64 meta, __u32 now,
				       struct route *r, struct verdict *v)
{
	bool rewritten = rewrites(r->service->forward);
	__u8 state = meta_state(meta);
	int again = AGAIN_STAYS;
	__u32 service;

	if (flow_expired(&r->service->timeouts, p->tuple, meta, now, 0))
		return false;
	if (is_syn(p) && state_closed(state) &&
	    !(state_held(state) && state_retries(r->service, state)))
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
	if (rewritten != !!r->nat_port)
		return false;
	r->backend = backend_get(r->backend_id);
	if (!backend_serves(r->backend, service)) {
		v->moved = 1;
		return false;
	}
	if (is_syn(p) && r->service->options & OPTION_OUTCOMES)
		again = syn_again(*owner - 1, meta, service, r->backend_id, now);
	if (again == AGAIN_NEW)
		return false;
	if (again == AGAIN_TRIES) {
		if (retry(p, r->service, c, service, state, &r->backend_id)) {
			r->tries = state_tries(state) + 1;
			r->backend = backend_get(r->backend_id);
			return false;
		}
		/* There is no other: the client may know if it is refused again. */
		state = RETRIES * FLOW_RETRY;
	}
	state = state_next(state, p->tcp_flags, false, rewritten);
	if (flow_touch(f, &r->service->timeouts, p->protocol, &meta, &state, now) &&
	    r->service->options)
		client_changed(meta, service, r->backend_id, done_to(state, p->tcp_flags));
	return true;
}

/* What nat and dnat put into the packet as its source; false if that is no longer
 * there. */
static __always_inline bool ports_set(struct target *t, const struct addr *client, __u32 source,
				      __be16 port)
{
	struct source *s;

	t->as.source_port = port;
	t->as.source = *client;
	if (source == SOURCE_CLIENT)
		return true;
	s = bpf_map_lookup_elem(&sources, &source);
	if (!s)
		return false;
	t->as.source = s->address;
	return true;
}

/* The target of a packet whose route is known. */
static __always_inline enum fate towards(const struct packet *p, const struct route *r, __u64 hash,
					 struct target *t, struct verdict *v)
{
	v->backend = r->backend_id;
	t->to = r->backend->address;
	t->hop = r->backend_id;
	t->entropy = hash >> 32;
	t->forward = r->service->forward;
	t->ipv6 = !!(r->backend->flags & BACKEND_IPV6);
	t->as.destination_port = r->backend->port;
	if (!rewrites(t->forward) || ports_set(t, &p->source, r->source, r->nat_port))
		return FATE_SEND;
	v->reason = REASON_DROP_NAT_PORTS;
	return FATE_DROP;
}

/* The backend for a flow that is not recorded. */
static __always_inline void choose(const struct choice *c, const struct slot *s,
				   const struct packet *p, __u32 service, struct route *r,
				   struct verdict *v)
{
	r->backend_id = c->backend ? c->backend : s->present;
	if (s->previous && !c->backend && !c->opens && !rewrites(r->service->forward) &&
	    !is_syn(p)) {
		r->backend = backend_get(s->previous);
		if (backend_serves(r->backend, service)) {
			r->backend_id = s->previous;
			v->inherited = s->previous != s->present;
			return;
		}
	}
	r->backend = r->backend_id ? backend_get(r->backend_id) : NULL;
}

/* Whether the policies have a say. A connection that loses its backend has been
 * asked about, and so has one whose packets name it. */
static __always_inline bool asks(const struct service *s, const struct packet *p,
				 const struct choice *c, const struct verdict *v)
{
	return s->policy && !is_rst(p) && !c->named && (begins(p) || !v->moved);
}

/* Whether each flow of a service is recorded. */
static __always_inline bool records_all(const struct service *s)
{
	return rewrites(s->forward) || s->track == TRACK_ALWAYS || s->policy;
}

/* The backend for a flow that is not recorded, by the decision or the table. */
static __always_inline void choose_decided(const struct decision *d, struct choice *c,
					   struct slot *s, const struct packet *p, __u32 service,
					   struct route *r, struct verdict *v)
{
	bool obeys = d->action == DECISION_SEND && begins(p);
	struct backend *b;

	if (obeys && d->hashed) {
		c->hash = d->hash;
		c->backend = 0;
		c->affinity = AFFINITY_NONE;
	}
	if (!c->backend && records_all(r->service))
		slot_find(c, s);
	choose(c, s, p, service, r, v);
	if (!obeys || !d->backend)
		return;
	b = backend_get(d->backend);
	if (!backend_serves(b, service))
		return;
	r->backend = b;
	r->backend_id = d->backend;
	c->affinity = AFFINITY_NONE;
	v->inherited = 0;
}

/* How many backends a new connection counts as having tried. Where the policies sent
 * it, it stays. */
static __always_inline __u8 tries_first(const struct decision *d, __u8 tries)
{
	return d->action == DECISION_SEND && (d->backend || d->hashed) ? RETRIES : tries;
}
