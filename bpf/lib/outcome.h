/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * What becomes of connections, of services with OPTION_OUTCOMES: whether a backend
 * answers, refuses or is silent, and how soon it answers.
 *
 * When a SYN left, and with which sequence number, is kept in an array, by the flow's
 * number. Flows share its cells: while more connections wait for an answer than there
 * are cells, some go without a measurement, and some silences are counted when the SYN
 * comes a third time, or not at all. None is taken for another, for a cell holds a tag
 * of the record and its generation.
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

static __always_inline void syn_write(struct syn *cell, __u32 tag, __u32 sequence, __u32 left)
{
	WRITE_ONCE(cell->first, (__u64)tag << 32 | sequence);
	WRITE_ONCE(cell->left, (__u64)tag << 32 | left);
}

/* A SYN was recorded as the flow of this number: a backend is tried. */
__noinline int outcome_begun(__u32 number, __u64 meta, __u32 service, __u32 backend, __u8 rewritten)
{
	__u32 left = rewritten ? stamp_now() : STAMP_SPOILED;
	struct packet *p = packet_get();
	struct syn *cell = syn_cell(number);

	outcome_add(service, backend, OUTCOME_ATTEMPTS);
	if (cell && p)
		syn_write(cell, syn_tag(number, meta), p->sequence, left);
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

/* What a packet did to a flow, in one word: its state after it, and the packet's flags. */
static __always_inline __u32 done_to(__u8 state, __u8 tcp_flags)
{
	return state | tcp_flags << 8;
}

/*
 * A backend's packet has changed the state of a flow, which was in meta. A RST to a
 * SYN acknowledges it (RFC 9293 §3.10.7.1), one to a connection that the backend does
 * not know does not. A RST after a FIN is a way to close.
 */
__noinline int backend_changed(__u32 number, __u64 meta, __u32 service, __u32 backend, __u32 done)
{
	struct service *s = bpf_map_lookup_elem(&services, &service);
	__u8 was = meta_state(meta), tcp_flags = done >> 8;
	bool acks = tcp_flags & TCP_ACK;

	if (!s)
		return 0;
	flow_changed(s, service, backend, was, done);
	if (companion || !(s->options & OPTION_OUTCOMES))
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

/* A client's packet has done so. Where nobody sees what the backend says, who
 * acknowledges has got an answer. */
__noinline int client_changed(__u64 meta, __u32 service, __u32 backend, __u32 done)
{
	struct service *s = bpf_map_lookup_elem(&services, &service);
	__u8 was = meta_state(meta), is = done, tcp_flags = done >> 8;

	if (!s)
		return 0;
	flow_changed(s, service, backend, was, is);
	if (companion || !(s->options & OPTION_OUTCOMES) || rewrites(s->forward))
		return 0;
	if (!(was & FLOW_ESTABLISHED) && is & FLOW_ESTABLISHED &&
	    (tcp_flags & (TCP_ACK | TCP_RST)) == TCP_ACK)
		outcome_add(service, backend, OUTCOME_ANSWERED);
	return 0;
}

/* What a cell knows of a SYN whose flow has seen nothing else. */
enum syn_is {
	SYN_UNKNOWN, /* the cell was another flow's */
	SYN_OTHER,   /* it begins another connection with the ports of one that was given up */
	SYN_SAME,
	SYN_COUNTED, /* and its silence is counted already */
};

/* Notes that a flow's SYN came again, as a copy or after a silence. */
static __always_inline enum syn_is syn_note(struct syn *cell, __u32 tag, __u32 sequence, bool copy)
{
	__u64 first = READ_ONCE(cell->first), left = READ_ONCE(cell->left);

	if (first >> 32 != tag) {
		syn_write(cell, tag, sequence, STAMP_SPOILED);
		return SYN_UNKNOWN;
	}
	if ((__u32)first != sequence)
		return SYN_OTHER;
	if (left == (__u64)tag << 32)
		return SYN_COUNTED;
	syn_write(cell, tag, sequence, copy ? STAMP_SPOILED : STAMP_COUNTED);
	return SYN_SAME;
}
