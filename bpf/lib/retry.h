/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * A connection whose SYN is refused or not answered tries other backends (nat and
 * dnat, services with OPTION_RETRY). The client drives it: it sends its SYN again
 * after one second, two more and four more. That SYN goes to another backend, as a
 * new flow in the place of the old one, with a port of its own; so what the first
 * backend says after all belongs to no flow, and the stack resets it. While tries are
 * left the client is not told of a RST, or it would give up.
 *
 * How many backends were tried before is in the flow's state, beside what it has seen.
 */

#include "choice.h"
#include "outcome.h"

/* Slots to look at for another backend. One with a tenth of the table is missed once
 * in twelve times; then the flow stays where it is. */
#define RETRY_LOOKS 24

/* Backends that are told apart: those tried, the one that failed last and one more. */
#define RETRY_SEEN (RETRIES + 2)

static __always_inline __u8 state_tries(__u8 state)
{
	return state / FLOW_RETRY;
}

/* Whether a flow in this state, which has no answer, may go to another backend. */
static __always_inline bool state_retries(const struct service *s, __u8 state)
{
	return s->options & OPTION_RETRY && state_tries(state) < s->retries;
}

/* Whether a backend's RST is kept from the client. */
static __always_inline bool refusal_held(const struct service *s, __u8 state, __u8 tcp_flags)
{
	return (tcp_flags & (TCP_RST | TCP_ACK)) == (TCP_RST | TCP_ACK) &&
	       (state_waits(state) || state_held(state)) && state_retries(s, state);
}

/* What a SYN of a known flow is. */
enum again {
	AGAIN_STAYS, /* no more than that */
	AGAIN_TRIES, /* its first try failed, and another backend may be tried */
	AGAIN_NEW,   /* another connection with the same ports */
};

/* An enum again. Not static, so that the verifier looks at it once. */
__noinline int syn_again(__u32 number, __u64 meta, __u32 service, __u32 backend, __u32 now)
{
	struct service *s = service_get(service);
	struct packet *p = packet_get();
	struct syn *cell = syn_cell(number);
	__u8 state = meta_state(meta);
	bool held = state_held(state), copy;
	enum syn_is is;

	if (companion || !s || !p || !cell || !(held || state_waits(state)))
		return AGAIN_STAYS;
	copy = !held && flow_idle(meta, now) < SYN_AGAIN;
	is = syn_note(cell, syn_tag(number, meta), p->sequence, copy);
	/* Of a SYN whose cell another one took nobody knows whether it is the same. Where
	 * refusals pass by it may well be the next connection of one that was refused,
	 * and the table's answer is right for both. */
	if (is == SYN_OTHER || (is == SYN_UNKNOWN && !copy && !rewrites(s->forward)))
		return AGAIN_NEW;
	if (is == SYN_SAME && !copy && !held)
		outcome_add(service, backend, OUTCOME_UNANSWERED);
	return !copy && state_retries(s, state) ? AGAIN_TRIES : AGAIN_STAYS;
}

/* The search's state, as in nat.h. */
struct retry_search {
	struct choice choice;
	__u32 service;
	__u32 tried;
	__u32 failed;
	__u32 found;             /* different backends so far */
	__u32 other;             /* the best of them */
	__u32 seen[RETRY_SEEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct retry_search);
} retry_search SEC(".maps");

static __always_inline struct retry_search *retry_search_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&retry_search, &zero);
}

static __always_inline bool retry_seen(const struct retry_search *s, __u32 backend)
{
	bool seen = false;

	for (int i = 0; i < RETRY_SEEN; i++)
		seen |= s->seen[i] == backend;
	return seen;
}

/* Looks at the i-th slot; returns 1 to end the search. */
static long retry_look(__u32 i, void *unused)
{
	struct retry_search *s = retry_search_get();
	struct choice next;
	struct slot slot;

	if (!s)
		return 1;
	next = s->choice;
	next.hash = i ? mix(s->choice.hash + i * 0x9e3779b97f4a7c15ULL) : s->choice.hash;
	slot_find(&next, &slot);
	if (!slot.present || retry_seen(s, slot.present))
		return 0;
	if (s->found >= RETRY_SEEN)
		return 1;
	s->seen[s->found++] = slot.present;
	if (slot.present == s->failed || !backend_serves(backend_get(slot.present), s->service))
		return 0;
	s->other = slot.present;
	return s->found > s->tried;
}

/*
 * The backend for the next try, 0 if there is none. The flow's hash leads to a row of
 * slots, and those to a row of different backends: a connection that tried the first
 * has the second next, then the third. So it goes to none twice, if it began where the
 * table said and there are as many; and never to the one that has just failed.
 */
__noinline int retry_choose(const struct choice *c, __u32 service, __u32 tried, __u32 failed)
{
	struct retry_search *s = retry_search_get();

	if (!c || !s)
		return 0;
	s->choice = *c;
	s->service = service;
	s->tried = tried;
	s->failed = failed;
	s->found = 0;
	s->other = 0;
	for (int i = 0; i < RETRY_SEEN; i++)
		s->seen[i] = 0;
	bpf_loop(RETRY_LOOKS, retry_look, NULL, 0);
	return s->other;
}

/* Whether a flow whose SYN came again goes elsewhere: then *backend_id says where. */
static __always_inline bool retry(const struct packet *p, const struct service *s,
				  const struct choice *c, __u32 service, __u8 state,
				  __u32 *backend_id)
{
	/* By a copy, so that the other is in registers. */
	struct choice by = { .table = c->table, .hash = c->hash };
	__u32 failed = *backend_id, other;

	if (s->options & OPTION_HASH)
		by.hash = hash_input(p, s->hash_input);
	other = retry_choose(&by, service, state_tries(state) + 1, failed);
	if (!other) {
		/* Who was refused tries the same one again. */
		if (state_held(state))
			outcome_add(service, failed, OUTCOME_ATTEMPTS);
		return false;
	}
	outcome_add(service, failed, OUTCOME_RETRIED);
	count_event(EVENT_SYN_RETRIED);
	*backend_id = other;
	return true;
}
