/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* A backend's packet on its way back: nat and dnat. */

#include "create.h"
#include "retry.h"
#include "send.h"

/* A packet to a port that a flow may have taken: source is the index into
 * sources, or SOURCE_CLIENT. */
static __always_inline enum fate reply(const struct packet *p, __u16 source, struct target *t,
				       struct verdict *v)
{
	__u32 base = port_base(&p->source, p->source_port, &p->destination, p->protocol, p->ipv6);
	__u32 at = port_place(base, bpf_ntohs(p->destination_port)), now;
	__u32 *cell = port_cell(at), owner;
	struct service *s;
	struct backend *b;
	struct flow *f;
	__u64 meta;
	__u8 state;
	bool held;

	owner = cell ? READ_ONCE(*cell) : 0;
	f = owner ? flow_by_number(owner - 1) : NULL;
	if (!f)
		return FATE_FOREIGN;
	meta = READ_ONCE(f->meta);
	if (meta_writing(meta) || f->nat_port != p->destination_port || f->source != source ||
	    (__u8)(f->tuple >> 32) != p->protocol || (__u8)(f->tuple >> 40) != p->ipv6)
		return FATE_FOREIGN;
	v->service = f->service;
	v->backend = f->backend;
	t->as.source = f->vip;
	t->to = f->client;
	t->as.source_port = f->tuple >> 16;
	t->as.destination_port = f->tuple;
	t->ipv6 = p->ipv6;
	b = backend_get(v->backend);
	s = service_get(v->service);
	if (!s || !b || b->port != p->source_port || b->address.half[1] != p->source.half[1] ||
	    b->address.half[0] != p->source.half[0] || !meta_same_record(READ_ONCE(f->meta), meta))
		goto none;
	if (source == SOURCE_CLIENT && (t->to.half[1] != p->destination.half[1] ||
					t->to.half[0] != p->destination.half[0]))
		goto none;
	t->forward = s->forward;
	t->hop = next_hop_slot(&t->to);
	now = clock_now();
	if (!rewrites(t->forward) || flow_expired(&s->timeouts, f->tuple, meta, now, 0))
		goto none;
	if (stays(p, t->forward, v))
		return FATE_PASS;
	state = state_next(meta_state(meta), p->tcp_flags, true, true);
	held = p->tcp_flags & TCP_RST && refusal_held(s, meta_state(meta), p->tcp_flags);
	if (held)
		state = meta_state(meta) | FLOW_RST_BACKEND;
	if (flow_touch(f, &s->timeouts, p->protocol, &meta, &state, now) && s->options)
		backend_changed(owner - 1, meta, v->service, v->backend,
				done_to(state, p->tcp_flags));
	if (held) {
		v->reason = REASON_DROP_REFUSAL;
		return FATE_DROP;
	}
	v->reply = 1;
	return FATE_SEND;
none:
	v->service = 0;
	v->backend = 0;
	return FATE_FOREIGN;
}
