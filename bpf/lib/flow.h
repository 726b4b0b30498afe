/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * The flow table: an array of sets of FLOW_WAYS records, one cache line each.
 * A record is found by hash, refreshed by one compare-and-swap of its meta
 * word at most every REFRESH ticks, and written under the odd sequence number.
 */

#include "clock.h"
#include "hash.h"
#include "maps.h"
#include "packet.h"

/* Whether a mode changes addresses. Then answers come by here. */
static __always_inline bool rewrites(__u8 forward)
{
	return forward == FORWARD_NAT || forward == FORWARD_DNAT;
}

#define META_SEQUENCE (1ULL << 40)
#define META_STATE_SHIFT 32
#define REFRESH 1024

/* A port is taken from an expired flow only this long after it expired, so
 * that no CPU still uses what it looked up just before. */
#define RECLAIM_GRACE 2048

static __always_inline __u32 meta_tick(__u64 meta)
{
	return meta;
}

static __always_inline __u8 meta_state(__u64 meta)
{
	return meta >> META_STATE_SHIFT;
}

static __always_inline bool meta_writing(__u64 meta)
{
	return meta & META_SEQUENCE;
}

/* Whether a record was rewritten between two readings of its meta. */
static __always_inline bool meta_same_record(__u64 a, __u64 b)
{
	return a >> 40 == b >> 40;
}

static __always_inline bool state_closed(__u8 state)
{
	return state & (FLOW_RST_CLIENT | FLOW_RST_BACKEND) ||
	       (state & (FLOW_FIN_CLIENT | FLOW_FIN_BACKEND)) == (FLOW_FIN_CLIENT | FLOW_FIN_BACKEND);
}

static __always_inline __u32 flow_timeout(const struct timeouts *t, __u8 protocol, __u8 state)
{
	if (protocol != IPPROTO_TCP)
		return t->udp;
	if (state_closed(state))
		return t->tcp_closed;
	if (state & (FLOW_FIN_CLIENT | FLOW_FIN_BACKEND))
		return t->tcp_fin;
	if (state & FLOW_ESTABLISHED)
		return t->tcp_established;
	return t->tcp_syn;
}

/* How long a flow has been idle. Another CPU's coarse clock may be ahead of ours
 * by a tick or so: a little less than nothing is nothing. */
static __always_inline __u32 flow_idle(__u64 meta, __u32 now)
{
	__u32 idle = now - meta_tick(meta);

	return idle > (__u32)-CLOCK_SKEW ? 0 : idle;
}

static __always_inline bool flow_expired(const struct timeouts *t, __u64 tuple, __u64 meta,
					 __u32 now, __u32 grace)
{
	return flow_idle(meta, now) > flow_timeout(t, tuple >> 32, meta_state(meta)) + grace;
}

/*
 * What a packet tells. A RST closes the flow, unless its sender goes on: then
 * the RST was forged, and the flow is open again. Without replies to see
 * (l2dsr) the client's second word counts as the handshake's end.
 */
static __always_inline __u8 state_next(__u8 state, __u8 tcp_flags, bool reply, bool sees_replies)
{
	__u8 rst = reply ? FLOW_RST_BACKEND : FLOW_RST_CLIENT;
	__u8 fin = reply ? FLOW_FIN_BACKEND : FLOW_FIN_CLIENT;

	if (tcp_flags & TCP_RST) {
		state |= rst;
	} else {
		state &= ~rst;
		if (tcp_flags & TCP_FIN)
			state |= fin;
	}
	if (reply)
		state |= FLOW_REPLIED;
	else if (!(tcp_flags & TCP_SYN) && (state & FLOW_REPLIED || !sees_replies))
		state |= FLOW_ESTABLISHED;
	return state;
}

static __always_inline __u64 meta_with(__u64 meta, __u8 state, __u32 now)
{
	return (meta & -META_SEQUENCE) | (__u64)state << META_STATE_SHIFT | now;
}

/*
 * Writes what a packet tells into the record. A short timeout is refreshed more
 * often, so that a flow that goes on never reaches it. Returns whether the flow's
 * state has changed by it, from that in *meta to *state.
 *
 * The compare-and-swap fails if the record changed hands, where nothing is left to
 * do, or if another CPU refreshed it. Then what this packet changes is done to what
 * that one left, or a FIN that crosses the other side's would be lost. It takes a
 * third CPU for the second try to fail.
 */
static __always_inline bool flow_touch(struct flow *f, const struct timeouts *t, __u8 protocol,
				       __u64 *meta, __u8 *state, __u32 now)
{
	__u8 set = *state & ~meta_state(*meta), cleared = meta_state(*meta) & ~*state;
	__u32 idle = now - meta_tick(*meta);
	__u64 found;

	if (!(set | cleared) && idle < REFRESH && idle < flow_timeout(t, protocol, *state) / 4)
		return false;
	found = __sync_val_compare_and_swap(&f->meta, *meta, meta_with(*meta, *state, now));
	if (found == *meta)
		return set | cleared;
	if (!(set | cleared) || !meta_same_record(found, *meta))
		return false;
	*meta = found;
	*state = (meta_state(found) | set) & ~cleared;
	return *state != meta_state(found) &&
	       __sync_val_compare_and_swap(&f->meta, found, meta_with(found, *state, now)) == found;
}

/* A flow lives in one of FLOW_SETS sets, of which each is used only while those
 * before it have no room: most look-ups end in the first. */
#define FLOW_SETS 4

static __always_inline __u32 flow_set_index(__u64 hash, __u32 choice)
{
	__u64 h = mix(hash ^ flow_seed);

	return ((h >> 40) + choice * ((__u32)(h >> 8) | 1)) & flow_set_mask;
}

/* The tuple of a record whose flow ended before its time. A record once used is
 * never free again. So no flow lies behind a free record in its order of looking
 * for room: neither in a later way of the set nor in a later set, and the search
 * for it may end there. A record that is being written counts as used. */
#define TUPLE_DEAD (~0ULL)

static __always_inline bool flow_is(const struct flow *f, const struct packet *p)
{
	return f->tuple == p->tuple && f->client.half[1] == p->source.half[1] &&
	       f->vip.half[1] == p->destination.half[1] &&
	       f->client.half[0] == p->source.half[0] && f->vip.half[0] == p->destination.half[0];
}

/* The way of the set that holds the packet's flow, FLOW_WAYS if none does; then
 * *full says whether the set has no free record. A flow prefers the way that its
 * hash names, so that a hit in a table that is not full reads one cache line. */
static __always_inline __u32 set_find(struct flow_set *set, const struct packet *p, __u32 first,
				      __u64 *meta, bool *full)
{
	*full = true;
	for (int i = 0; i < FLOW_WAYS; i++) {
		__u32 way = (first + i) % FLOW_WAYS;
		struct flow *f = &set->way[way];
		__u64 m = READ_ONCE(f->meta);

		if (meta_writing(m))
			continue;
		if (!f->tuple) {
			*full = false;
			break;
		}
		if (flow_is(f, p)) {
			*meta = m;
			return way;
		}
	}
	return FLOW_WAYS;
}

/* How gladly a record is given up: free before expired before closed before
 * never established before the one idle longest. From RANK_DEAD on nobody
 * misses it. */
#define RANK_FREE (~0U)
#define RANK_DEAD (~0U - 1)

static __always_inline __u32 flow_rank(struct flow *f, __u64 meta, __u32 now)
{
	__u32 id = f->service;
	struct service *s = bpf_map_lookup_elem(&services, &id);
	__u32 idle = flow_idle(meta, now);
	__u8 state = meta_state(meta);

	if (!f->tuple || f->tuple == TUPLE_DEAD)
		return RANK_FREE;
	if (!s || flow_expired(&s->timeouts, f->tuple, meta, now, 0))
		return RANK_DEAD;
	if (idle > 0xfffffff)
		idle = 0xfffffff;
	if ((__u8)(f->tuple >> 32) != IPPROTO_TCP)
		return idle;
	if (state_closed(state))
		return idle | 2 << 28;
	return state & FLOW_ESTABLISHED ? idle : idle | 1 << 28;
}

/* The most dispensable way of a set: its rank << 32 | the number plus one of its
 * record; 0 if all are being written. Not static, so that the verifier looks at
 * it once and not once per set. */
__noinline __u64 set_victim(__u32 index, __u32 first, __u32 now)
{
	struct flow_set *set = bpf_map_lookup_elem(&flows, &index);
	__u64 victim = 0;

	if (!set)
		return 0;
	for (int i = 0; i < FLOW_WAYS; i++) {
		__u32 way = (first + i) % FLOW_WAYS, rank;
		struct flow *f = &set->way[way];
		__u64 meta = READ_ONCE(f->meta);

		if (meta_writing(meta))
			continue;
		rank = flow_rank(f, meta, now);
		if (!victim || rank > victim >> 32)
			victim = (__u64)rank << 32 | (index * FLOW_WAYS + way + 1);
		if (rank == RANK_FREE)
			break;
	}
	return victim;
}
