/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The making of a flow. */

#include "nat.h"
#include "outcome.h"

/* Source addresses that one new flow may try, and records, when other CPUs are
 * faster. */
#define SOURCE_TRIES 8
#define RESERVE_TRIES 4

struct new_flow {
	struct addr client;
	struct addr vip;
	__u64 tuple;
	__u64 hash;
	__u32 service;
	__u32 backend;
	__u32 owner; /* number plus one of the record to replace; 0: the best there is */
	__u8 syn;
	__u8 ipv6;
	__u8 rewritten; /* nat or dnat: takes a port */
	__u8 state;     /* enum flow_state, after the first packet */
	__u32 base; /* port_base() of the first source to try */
	/* Set by flow_take_port(): */
	__be16 nat_port;
	__u16 source;
	__u32 cell;
	__u32 now;
	/* Set by flow_reserve(): */
	__u32 old_cell;
	__u16 old_port;
	__u8 evicts; /* the record held a live flow */
	__u8 named;  /* the packet names the backend */
	__u32 table; /* that was asked */
	__u32 options; /* of the service */
	__u8 begins;   /* as far as one can tell: no packet from a flow's middle */
	__u8 affinity; /* enum affinity_says */
	__u8 pad2[2];
	__u64 meta;  /* before the record was held */
	struct decision decision; /* action 0: there is none */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct new_flow);
} new_flow SEC(".maps");

/* Not on the stack: that has 512 bytes for all calls together. */
static __always_inline struct new_flow *new_flow_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&new_flow, &zero);
}

static __always_inline void new_flow_name(struct new_flow *n, const struct packet *p, __u64 hash)
{
	n->client = p->source;
	n->vip = p->destination;
	n->tuple = p->tuple;
	n->hash = hash;
	n->ipv6 = p->ipv6;
}

/* The number plus one of the record that holds the flow named in new_flow, in
 * any of its sets but the first; 0 if none does. Not static, so that the
 * verifier looks at it once. */
__noinline __u32 flow_find_beyond(void)
{
	struct new_flow *n = new_flow_get();

	if (!n)
		return 0;
	for (__u32 choice = 1; choice < FLOW_SETS; choice++) {
		__u32 index = flow_set_index(n->hash, choice);
		struct flow_set *set = bpf_map_lookup_elem(&flows, &index);

		if (!set)
			return 0;
		for (int i = 0; i < FLOW_WAYS; i++) {
			__u32 way = (n->hash + i) % FLOW_WAYS;
			struct flow *f = &set->way[way];

			if (!f->tuple && !meta_writing(READ_ONCE(f->meta)))
				return 0;
			if (f->tuple == n->tuple && f->client.half[0] == n->client.half[0] &&
			    f->client.half[1] == n->client.half[1] &&
			    f->vip.half[0] == n->vip.half[0] && f->vip.half[1] == n->vip.half[1])
				return index * FLOW_WAYS + way + 1;
		}
	}
	return 0;
}

/* The packet's flow, NULL if there is none; *owner is its number plus one. */
static __always_inline struct flow *flow_find(const struct packet *p, __u64 hash, __u32 *owner,
					      __u64 *meta)
{
	__u32 index = flow_set_index(hash, 0), way, found;
	struct flow_set *set = bpf_map_lookup_elem(&flows, &index);
	struct new_flow *n;
	struct flow *f;
	bool full;

	if (!set)
		return NULL;
	way = set_find(set, p, hash % FLOW_WAYS, meta, &full);
	if (way < FLOW_WAYS) {
		*owner = index * FLOW_WAYS + way + 1;
		return &set->way[way % FLOW_WAYS];
	}
	n = full ? new_flow_get() : NULL;
	if (!n)
		return NULL;
	new_flow_name(n, p, hash);
	found = flow_find_beyond();
	f = found ? flow_by_number(found - 1) : NULL;
	if (!f)
		return NULL;
	*meta = READ_ONCE(f->meta);
	if (meta_writing(*meta) || !flow_is(f, p))
		return NULL; /* it has just changed hands */
	*owner = found;
	return f;
}

static __always_inline struct backend *backend_get(__u32 id)
{
	return bpf_map_lookup_elem(&backends, &id);
}

static __always_inline struct service *service_get(__u32 id)
{
	return bpf_map_lookup_elem(&services, &id);
}

/* Whether a backend may keep flows of a service. A number may have passed on to
 * a backend of another one. */
static __always_inline bool backend_serves(const struct backend *b, __u32 service)
{
	return b && b->service == service && b->flags & BACKEND_SERVES;
}

static __always_inline bool is_syn(const struct packet *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* The record reserved. */
static __always_inline struct flow *new_flow_record(const struct new_flow *n)
{
	return n->owner ? flow_by_number(n->owner - 1) : NULL;
}

/* The number plus one of the record to write a new flow to: in the first of the
 * flow's sets in which nobody misses what is there, else the most dispensable
 * record of all of them. */
static __always_inline __u32 flow_victim(__u64 hash, __u32 now, bool *live)
{
	__u64 best = 0;

	for (__u32 choice = 0; choice < FLOW_SETS; choice++) {
		__u64 victim = set_victim(flow_set_index(hash, choice), hash % FLOW_WAYS, now);

		if (victim >> 32 > best >> 32 || !best)
			best = victim;
		if (best >> 32 >= RANK_DEAD)
			break;
	}
	*live = best >> 32 < RANK_DEAD;
	return best;
}

/* The index into sources of the i-th try, i below their number. */
static __always_inline __u32 source_nth(const struct service *service, __u64 hash, __u32 i)
{
	i += scale(hash >> 32, service->sources);
	if (i >= service->sources)
		i -= service->sources;
	return service->first_source + i;
}

/* The address that the i-th try takes a port of; *index is what the record calls
 * it. nat has several; dnat keeps the client's. */
static __always_inline const struct addr *port_source(struct new_flow *n,
						      const struct service *service, __u32 i,
						      __u32 *index)
{
	struct source *source;

	*index = SOURCE_CLIENT;
	if (service->forward == FORWARD_DNAT)
		return i ? NULL : &n->client;
	if (i >= service->sources)
		return NULL;
	*index = source_nth(service, n->hash, i);
	source = bpf_map_lookup_elem(&sources, index);
	return source ? &source->address : NULL;
}

/* The port that a flow would like best: dnat keeps the client's if it can. */
static __always_inline __u32 port_wish(const struct new_flow *n, __u32 index)
{
	return index == SOURCE_CLIENT ? bpf_ntohs(n->tuple) : 0;
}

/* Hash of the first try; and the load of its cell, which is not in the cache:
 * better now than after the record's, whose compare-and-swap waits for all
 * before it. */
static __always_inline void port_foresee(struct new_flow *n)
{
	struct service *service = service_get(n->service);
	struct backend *backend = backend_get(n->backend);
	const struct addr *source;
	__u32 index, *cell;

	if (!service || !backend)
		return;
	source = port_source(n, service, 0, &index);
	if (!source)
		return;
	n->base = port_base(&backend->address, backend->port, source, n->tuple >> 32, n->ipv6);
	cell = port_cell(port_place(n->base, port_first(mix(n->hash), port_wish(n, index))));
	if (cell)
		READ_ONCE(*cell);
}

/* The record that the flow is to have, held; NULL if others are always faster. */
static __always_inline struct flow *flow_hold(struct new_flow *n, bool *live)
{
	bool given = n->owner;

	for (int i = 0; i < RESERVE_TRIES; i++) {
		struct flow *f;
		__u64 meta;

		if (!given)
			n->owner = flow_victim(n->hash, n->now, live);
		f = new_flow_record(n);
		if (!f)
			return NULL;
		if (n->rewritten && !i)
			port_foresee(n);
		meta = READ_ONCE(f->meta);
		if (!meta_writing(meta) &&
		    __sync_val_compare_and_swap(&f->meta, meta, meta + META_SEQUENCE) == meta) {
			n->meta = meta;
			return f;
		}
		if (given)
			return NULL;
	}
	return NULL;
}

/*
 * A flow is made in three steps: reserve a record, take a port (nat), commit.
 * The record is held odd from the first to the last. They are functions of
 * their own, one after the other and not one within the other, because the
 * stack has 512 bytes for a call and its callers; and they are not static, so
 * that the verifier looks at each once.
 *
 * All return -1, or the reason for which the flow could not be made.
 */
__noinline int flow_reserve(void)
{
	struct new_flow *n = new_flow_get();
	bool live = false, given;
	struct flow *f;

	if (!n)
		return REASON_DROP_CONTENDED;
	given = n->owner;
	f = flow_hold(n, &live);
	if (!f)
		return REASON_DROP_CONTENDED;
	n->evicts = live;
	n->old_cell = f->cell;
	n->old_port = f->nat_port;
	if (live)
		return -1;
	if (given && f->tuple && f->tuple != TUPLE_DEAD)
		flow_lost(f->service, f->backend, f->tuple, n->meta, n->now);
	/* What is dead anyway loses its port first, so that it can be taken again. */
	if (n->old_port)
		port_release(n->old_cell, n->owner);
	n->old_port = 0;
	f->nat_port = 0;
	if (f->tuple)
		f->tuple = TUPLE_DEAD;
	return -1;
}

static __always_inline bool port_find(struct new_flow *n, const struct service *service,
				      const struct backend *backend)
{
	for (__u32 i = 0; i < SOURCE_TRIES; i++) {
		__u32 index;
		const struct addr *source = port_source(n, service, i, &index);
		__u64 taken;

		if (!source)
			return false;
		taken = port_take(i ? port_base(&backend->address, backend->port, source,
						n->tuple >> 32, n->ipv6) : n->base,
				  mix(n->hash), port_wish(n, index), n->owner, n->now);
		if (taken) {
			n->source = index;
			n->nat_port = bpf_htons(taken & 0xffff);
			n->cell = taken >> 16;
			return true;
		}
	}
	return false;
}

/* Takes a source address and port, or gives the record back. */
__noinline int flow_take_port(void)
{
	struct new_flow *n = new_flow_get();
	struct service *service;
	struct backend *backend;
	struct flow *f;

	if (!n)
		return REASON_DROP_CONTENDED;
	service = service_get(n->service);
	backend = backend_get(n->backend);
	if (service && backend && port_find(n, service, backend))
		return -1;
	f = new_flow_record(n);
	if (f) {
		/* Meanwhile another flow may have gone past it; see TUPLE_DEAD. */
		if (!f->tuple)
			f->tuple = TUPLE_DEAD;
		WRITE_ONCE(f->meta, n->meta + 2 * META_SEQUENCE);
	}
	return REASON_DROP_NAT_PORTS;
}

__noinline int flow_commit(void)
{
	struct new_flow *n = new_flow_get();
	struct flow *f;

	if (!n)
		return REASON_DROP_CONTENDED;
	f = new_flow_record(n);
	if (!f)
		return REASON_DROP_CONTENDED;
	/* What was alive keeps its port until the new flow has its own. */
	if (n->old_port)
		port_release(n->old_cell, n->owner);
	if (n->evicts) {
		count_event(EVENT_FLOW_EVICTED);
		flow_lost(f->service, f->backend, f->tuple, n->meta, n->now);
	}
	f->client = n->client;
	f->vip = n->vip;
	f->tuple = n->tuple;
	f->backend = n->backend;
	f->service = n->service;
	f->nat_port = n->nat_port;
	f->source = n->source;
	f->cell = n->cell;
	/* An atomic exchange, so that no reader sees the new meta first. */
	__sync_lock_test_and_set(&f->meta,
				 ((n->meta & -META_SEQUENCE) + 2 * META_SEQUENCE) |
				 (__u64)n->state << META_STATE_SHIFT | n->now);
	if ((__u8)(n->tuple >> 32) == IPPROTO_TCP && !n->syn)
		count_event(EVENT_FLOW_MIDSTREAM);
	if (n->options)
		flow_begun(n->service, n->backend, n->state);
	if (n->options & OPTION_OUTCOMES && n->syn)
		outcome_begun(n->owner - 1, n->meta + 2 * META_SEQUENCE, n->service, n->backend,
			      n->rewritten);
	return -1;
}
