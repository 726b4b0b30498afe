/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The one exit's counters. */

#include "maps.h"

struct verdict {
	__u32 reason;
	__u32 service; /* 0: none */
	__u32 backend; /* 0: none */
	__u32 length;
	__u8 reply;
	__u8 begun;    /* a flow, as far as one can tell */
	__u8 created;  /* a flow's record */
	__u8 moved;    /* if created: from a backend that no longer serves */
	__u8 inherited; /* if created: by the backend that had the slot before */
};

static __always_inline void count_add(struct count *c, __u32 bytes)
{
	c->packets++;
	c->bytes += bytes;
}

static __always_inline void count_event(__u32 event)
{
	__u64 *n = bpf_map_lookup_elem(&events, &event);

	if (n)
		(*n)++;
}

static __always_inline void count_traffic(struct traffic *t, const struct verdict *v)
{
	if (v->reason > REASON_REDIRECT)
		count_add(&t->dropped, v->length);
	else if (v->reply)
		count_add(&t->reply, v->length);
	else
		count_add(&t->request, v->length);
	t->flows += v->begun;
}

/* A packet that XDP passed was counted there, unless TC takes it over. A
 * passed packet is nobody's traffic, but a flow made for it stays made; and one
 * that went to the daemon is counted as traffic when it comes back. */
static __always_inline void count_verdict(const struct verdict *v)
{
	bool pass = v->reason >= REASON_PASS_NOT_IP && v->reason < REASON_DROP_NO_BACKEND;
	__u32 key = v->reason;
	struct count *c;
	struct traffic *t;

	if (pass && companion)
		return;
	c = bpf_map_lookup_elem(&reasons, &key);
	if (c)
		count_add(c, v->length);
	if (v->created) {
		count_event(EVENT_FLOW_CREATED);
		if (v->moved)
			count_event(EVENT_FLOW_MOVED);
		if (v->inherited)
			count_event(EVENT_FLOW_INHERITED);
	}
	if ((pass && !v->created) || v->reason == REASON_UPCALL)
		return;
	key = v->service;
	if (key && (t = bpf_map_lookup_elem(&service_traffic, &key))) {
		if (pass)
			t->flows++;
		else
			count_traffic(t, v);
	}
	key = v->backend;
	if (key && (t = bpf_map_lookup_elem(&backend_traffic, &key))) {
		if (pass)
			t->flows++;
		else
			count_traffic(t, v);
	}
}
