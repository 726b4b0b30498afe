/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* A client's packet to a frontend: which backend, and is the flow recorded? */

#include "foresee.h"
#include "quic.h"
#include "route.h"
#include "rules.h"

/* A service with options: what a flow that is not recorded asks of which table. By a
 * copy, for what a function has the address of is in memory; without one the choice
 * of all the other services is in registers. */
static __always_inline void choose_unknown(struct packet *p, __u32 service, struct choice *c,
					   bool turns)
{
	struct choice made = *c;

	choice_make(p, service, &made, turns);
	*c = made;
}

/* The route of a packet whose flow is, or shall be, recorded; in the latter case
 * what to record is left in new_flow. */
static __always_inline enum fate tracked(struct packet *p, struct route *r, struct choice *c,
					 struct slot *s, __u32 service, __u64 hash, struct verdict *v)
{
	bool must = rewrites(r->service->forward), policy;
	__u32 owner = 0, now = clock_now();
	struct new_flow *n;
	__u64 meta = 0;
	struct flow *f = flow_find(p, hash, &owner, &meta);

	/* An ID that names another backend knows better: a client that has moved may
	 * come from where another was. */
	if (f && (!c->named || f->backend == c->backend) &&
	    flow_route(f, &owner, p, c, meta, now, r, v))
		return FATE_SEND;
	if (must && is_rst(p)) {
		v->reason = REASON_DROP_NO_FLOW;
		return FATE_DROP;
	}
	n = new_flow_get();
	if (!n) {
		v->reason = REASON_DROP_CONTENDED;
		return FATE_DROP;
	}
	new_flow_name(n, p, hash);
	n->decision.action = 0;
	/* A connection that goes elsewhere has been asked about. */
	policy = !r->tries && asks(r->service, p, c, v);
	if (policy)
		decision_take(n, service);
	if (n->decision.action == DECISION_DROP) {
		v->reason = REASON_DROP_POLICY;
		return FATE_DROP;
	}
	if (!r->tries) {
		/* What comes back from the daemon was let in before, and who names its
		 * backend elsewhere. */
		if (!n->decision.action && !v->moved && begins(p) && !c->named &&
		    gate_shut(r->service, p, service, v))
			return FATE_DROP;
		if (r->service->options & OPTIONS_CHOICE && records_all(r->service))
			choose_unknown(p, service, c, !policy || n->decision.action);
		choose_decided(&n->decision, c, s, p, service, r, v);
	}
	if (!r->backend || is_rst(p))
		return FATE_SEND;
	n->service = service;
	n->options = r->service->options;
	n->table = c->table;
	n->named = c->named;
	n->affinity = c->affinity;
	n->backend = r->backend_id;
	n->owner = owner;
	n->now = now;
	n->syn = is_syn(p);
	n->begins = begins(p);
	n->rewritten = must;
	/* What goes on in the middle, and answers pass us by, is established. */
	n->state = p->protocol == IPPROTO_TCP ? state_next(0, p->tcp_flags, false, must) : 0;
	if (r->service->options & OPTION_RETRY && n->syn)
		n->state |= tries_first(&n->decision, r->tries) * FLOW_RETRY;
	n->nat_port = 0;
	n->source = SOURCE_CLIENT;
	n->cell = 0;
	r->source = SOURCE_CLIENT; /* until there is one */
	r->nat_port = 0;
	return policy && !n->decision.action ? FATE_ASK : FATE_RECORD;
}

/* Loads the sequence number of a TCP packet. */
static __always_inline void sequence_load(ctx_t *ctx, struct packet *p)
{
	struct tcphdr *tcp = ctx_data(ctx) + bounded(p->l4);

	p->sequence = (void *)(tcp + 1) <= ctx_end(ctx) ? tcp->seq : 0;
}

/* A service with options: what is to be known of a packet before its flow is. */
static __always_inline void choose_before(ctx_t *ctx, struct packet *p, const struct service *s,
					  __u32 service, bool records, struct choice *c)
{
	struct choice made = *c; /* as in choose_unknown() */

	if (s->options & OPTION_OUTCOMES && is_syn(p))
		sequence_load(ctx, p);
	if (s->options & OPTION_QUIC)
		quic_choose(ctx, p, service, &made);
	if (!records && s->options & OPTIONS_CHOICE)
		choice_make(p, service, &made, true);
	*c = made;
}

/* A SYN begins the load of its port while nobody knows whether its flow is recorded. So
 * what is drawn is drawn now; but for turns, which a SYN that is sent again does not
 * take. Where policies are asked, or it is known what the client had, that is not worth
 * its while. */
static __always_inline void look_ahead(struct packet *p, const struct service *s, __u32 service,
				       struct choice *c, __u64 hash)
{
	struct choice expected = *c;

	if (s->options & OPTIONS_CHOICE) {
		if (s->policy || s->options & OPTION_AFFINITY)
			return;
		if (s->options & OPTION_SCHEDULE && s->schedule == SCHEDULE_ROUND_ROBIN) {
			expected.hash = turn_expected(c->table);
		} else {
			choose_unknown(p, service, c, true);
			expected = *c;
		}
	}
	foresee(p, s, &expected, hash);
}

static __always_inline enum fate request(ctx_t *ctx, struct packet *p, __u32 service,
					 struct target *t, struct verdict *v)
{
	__u64 hash = hash_flow(&p->source, &p->destination, p->tuple, p->ipv6);
	struct choice c = { .table = service, .hash = hash };
	struct route r = { .service = service_get(service) };
	enum fate fate = FATE_SEND;
	bool records;
	struct slot s = {};

	if (!r.service)
		return FATE_FOREIGN;
	if (stays(p, r.service->forward, v))
		return FATE_PASS;
	v->service = service;
	if (r.service->options & OPTION_RULES && rules_refuse(p, service, &c.table, v))
		return FATE_DROP;
	records = records_all(r.service);
	if (r.service->options)
		choose_before(ctx, p, r.service, service, records, &c);
	if (!records) {
		slot_find(&c, &s);
		records = (s.marked || (c.backend && c.backend != s.present)) &&
			  r.service->track != TRACK_NEVER;
	}
	if (rewrites(r.service->forward) && is_syn(p))
		look_ahead(p, r.service, service, &c, hash);
	if (records) {
		fate = tracked(p, &r, &c, &s, service, hash, v);
		if (fate == FATE_DROP)
			return fate;
	} else {
		r.backend_id = c.backend ? c.backend : s.present;
		r.backend = r.backend_id ? backend_get(r.backend_id) : NULL;
		if (is_syn(p) && gate_shut(r.service, p, service, v))
			return FATE_DROP;
		v->begun = is_syn(p);
	}
	if (!r.backend) {
		v->reason = REASON_DROP_NO_BACKEND;
		return FATE_DROP;
	}
	return towards(p, &r, hash, t, v) == FATE_SEND ? fate : FATE_DROP;
}

/*
 * Records the flow in new_flow, and completes the target by what was chosen for
 * it. nat, dnat and a new connection can not go on without. Called by the entry
 * and not by those who decided so, because the stack has 512 bytes for a call and
 * its callers; and not static, so that the verifier looks at it once.
 */
__noinline int flow_record(struct target *t, struct verdict *v)
{
	struct new_flow *n = new_flow_get();
	int failed;
	bool must;

	if (!t || !v || !n)
		return FATE_DROP;
	must = rewrites(t->forward);
	failed = flow_reserve();
	if (failed < 0 && must)
		failed = flow_take_port();
	if (failed < 0)
		failed = flow_commit();
	v->created = failed < 0;
	v->begun = v->created;
	if (v->created && n->decision.action)
		decision_done(n);
	if (v->created && n->options & OPTION_AFFINITY)
		affinity_keep();
	if (v->created && n->named)
		count_event(EVENT_QUIC);
	/* A SYN goes to the present backend, but what follows would not, if nobody
	 * knew of it: better that the client sends it again. */
	if (!must && (failed < 0 || !n->syn))
		return FATE_SEND;
	if (must && failed < 0 && !ports_set(t, &n->client, n->source, n->nat_port))
		failed = REASON_DROP_NAT_PORTS;
	if (failed < 0)
		return FATE_SEND;
	v->reason = failed;
	return FATE_DROP;
}
