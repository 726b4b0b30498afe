/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * What becomes of connections, of services with OPTION_OUTCOMES: whether a backend
 * answers, refuses or is silent, and how soon it answers.
 *
 * When a SYN left, and with which sequence number, is kept in an array, by the flow's
 * number. Flows share its cells: while more connections wait for an answer than there
 * are cells, some go without a measurement, and a silence may count again when its SYN
 * comes a third time. None is taken for another, for a cell holds a tag of the record
 * and its generation.
 *
 * What is seen only once, and by whoever changed the flow's state, is counted once.
 * Behind XDP nothing is: XDP has seen it.
 */

#include "config.h"
#include "load.h"

/* A SYN that comes sooner after another is its copy, and not one that waited in
 * vain: in ticks. Clients wait for one second (RFC 6298 §2). */
#define SYN_AGAIN 200

/* When a SYN left is in units of 2^STAMP_SHIFT ns and odd; else what became of it: */
#define STAMP_SHIFT 8

enum {
	STAMP_COUNTED = 0, /* it came again, and its silence is counted */
	STAMP_SPOILED = 2, /* a copy came: whose answer comes first cannot be told (Karn);
			    * or nobody sees answers */
};

/* An answer counts for one part of 2^LATENCY_SHIFT in the smoothed time. */
#define LATENCY_SHIFT 3

/* Whether a RST to the flow's SYN was held back; see retry.h. */
static __always_inline bool state_held(__u8 state)
{
	return (state & (FLOW_RETRY - 1)) == FLOW_RST_BACKEND;
}

/* Whether a flow has seen nothing but its SYN. */
static __always_inline bool state_waits(__u8 state)
{
	return !(state & (FLOW_RETRY - 1));
}

static __always_inline void outcome_add(__u32 service, __u32 backend, enum outcome what)
{
	struct outcomes *o = bpf_map_lookup_elem(&service_outcome, &service);

	if (o)
		o->count[what & (OUTCOME_MAX - 1)]++;
	o = bpf_map_lookup_elem(&backend_outcome, &backend);
	if (o)
		o->count[what & (OUTCOME_MAX - 1)]++;
}

static __always_inline struct syn *syn_cell(__u32 number)
{
	__u32 at = number & (SYN_CELLS - 1);

	return bpf_map_lookup_elem(&syns, &at);
}

static __always_inline __u32 syn_tag(__u32 number, __u64 meta)
{
	return mix((__u64)number << 24 ^ meta >> 40) >> 32;
}

static __always_inline __u32 stamp_now(void)
{
	return bpf_ktime_get_ns() >> STAMP_SHIFT | 1;
}

/* A SYN was recorded as the flow of this number: a backend is tried. */
__noinline int outcome_begun(__u32 number, __u64 meta, __u32 service, __u32 backend, __u8 rewritten)
{
	__u64 tag = (__u64)syn_tag(number, meta) << 32;
	struct packet *p = packet_get();
	struct syn *cell = syn_cell(number);

	outcome_add(service, backend, OUTCOME_ATTEMPTS);
	if (!cell || !p)
		return 0;
	WRITE_ONCE(cell->first, tag | p->sequence);
	WRITE_ONCE(cell->left, tag | (rewritten ? stamp_now() : STAMP_SPOILED));
	return 0;
}

/* The time from a SYN to its answer, into the smoothed one of its backend. */
static __always_inline void syn_measure(__u32 number, __u64 meta, __u32 backend)
{
	struct load *load = backend_load(backend);
	struct syn *cell = syn_cell(number);
	__u64 left, took;
	__u32 before;

	left = cell ? READ_ONCE(cell->left) : 0;
	if (!load || left >> 32 != syn_tag(number, meta) || !(left & 1))
		return;
	took = (__u64)(stamp_now() - (__u32)left) << STAMP_SHIFT;
	if (took > (__u32)-1)
		took = (__u32)-1;
	before = READ_ONCE(load->latency);
	if (before)
		took = before + ((__s64)(took - before) >> LATENCY_SHIFT);
	WRITE_ONCE(load->latency, took ? took : 1);
}

/*
 * A backend's packet has changed the state of a flow, which was in meta. A RST to a
 * SYN acknowledges it (RFC 9293 §3.10.7.1), one to a connection that the backend does
 * not know does not. A RST after a FIN is a way to close.
 */
__noinline int outcome_reply(__u32 number, __u64 meta, __u32 service, __u32 backend, __u8 tcp_flags)
{
	__u8 was = meta_state(meta);
	bool acks = tcp_flags & TCP_ACK;

	if (companion)
		return 0;
	if (tcp_flags & TCP_RST) {
		if (was & FLOW_REPLIED && !(was & (FLOW_FIN_CLIENT | FLOW_FIN_BACKEND)) &&
		    !state_closed(was))
			outcome_add(service, backend, OUTCOME_RESET);
		else if (state_waits(was) && acks)
			outcome_add(service, backend, OUTCOME_REFUSED);
	} else if (tcp_flags & TCP_SYN && acks && !(was & FLOW_REPLIED)) {
		outcome_add(service, backend, OUTCOME_ANSWERED);
		syn_measure(number, meta, backend);
	}
	return 0;
}

/* A client's packet has done so, and nobody sees what the backend says: who
 * acknowledges has got an answer. */
__noinline int outcome_request(__u32 service, __u32 backend, __u8 was, __u8 is, __u8 tcp_flags)
{
	if (!companion && !(was & FLOW_ESTABLISHED) && is & FLOW_ESTABLISHED &&
	    (tcp_flags & (TCP_ACK | TCP_RST)) == TCP_ACK)
		outcome_add(service, backend, OUTCOME_ANSWERED);
	return 0;
}

/* Whether the packet, a SYN of a flow that has seen nothing else, begins another
 * connection with the ports of one that was given up: it has another sequence
 * number. */
static __always_inline bool syn_differs(const struct syn *cell, __u32 tag, const struct packet *p)
{
	__u64 first = READ_ONCE(cell->first);

	return first >> 32 == tag && (__u32)first != p->sequence;
}

/* Notes that a flow's SYN came again, as a copy or after a silence; whether that
 * silence is counted already. */
static __always_inline bool syn_spoil(struct syn *cell, __u32 tag, bool copy)
{
	bool counted = READ_ONCE(cell->left) == (__u64)tag << 32;

	if (!counted)
		WRITE_ONCE(cell->left, (__u64)tag << 32 | (copy ? STAMP_SPOILED : STAMP_COUNTED));
	return counted;
}
