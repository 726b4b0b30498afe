/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * Source ports. Each port towards a backend address from a source address, by
 * protocol, has its cell in the ports map. Several may share a cell, which costs
 * a try but never a mistake, since a cell has one owner.
 */

#include "flow.h"
#include "stats.h"

/* Tries to find a cell nobody ever owned or gave back, then as many to find
 * one whose owner expired. */
#define PORT_TRIES 256

static __always_inline __u32 port_base(const struct addr *backend, __be16 backend_port,
				       const struct addr *source, __u8 protocol, bool ipv6)
{
	return hash_flow(backend, source, flow_tuple(backend_port, 0, protocol, ipv6), ipv6) ^ flow_seed;
}

static __always_inline __u32 *port_cell(__u32 cell)
{
	__u32 line = cell / PORT_CELLS;
	struct port_line *l = bpf_map_lookup_elem(&ports, &line);

	return l ? &l->cell[cell % PORT_CELLS] : NULL;
}

/* The cell of a port. Sixteen adjacent ports share a cache line; where the line
 * lies is hashed, so that the ports of several backends do not pile up. */
static __always_inline __u32 port_place(__u32 base, __u32 port)
{
	__u64 line = mix(base + (port / PORT_CELLS) * 0x9e3779b97f4a7c15ULL);

	return ((__u32)line * PORT_CELLS + port % PORT_CELLS) & port_cell_mask;
}

static __always_inline struct flow *flow_by_number(__u32 number)
{
	__u32 index = number / FLOW_WAYS;
	struct flow_set *set = bpf_map_lookup_elem(&flows, &index);

	return set ? &set->way[number % FLOW_WAYS] : NULL;
}

/* Whether the flow that owns a cell is long gone. */
static __always_inline bool port_abandoned(__u32 owner, __u32 cell, __u32 now)
{
	struct flow *f = flow_by_number(owner - 1);
	struct service *s;
	__u64 meta;
	__u32 id;

	if (!f)
		return true;
	meta = READ_ONCE(f->meta);
	if (meta_writing(meta))
		return false;
	if (!f->nat_port || f->cell != cell)
		/* Between taking a cell and finishing the record the owner
		 * holds it odd, so this one has left. */
		return READ_ONCE(f->meta) == meta;
	id = f->service;
	s = bpf_map_lookup_elem(&services, &id);
	return !s || flow_expired(&s->timeouts, f->tuple, meta, now, RECLAIM_GRACE);
}

/* The search's state, in a map because the stack has 512 bytes for all calls
 * together. Nothing else runs on this CPU between its steps. */
struct port_search {
	__u32 wish; /* a port to try before all others, 0: none */
	__u32 base;
	__u32 offset;
	__u32 owner;
	__u32 now;
	__u32 reclaim;
	__u64 tried; /* cell << 16 | port */
	__u64 taken; /* the same, once it is the owner's */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct port_search);
} port_search SEC(".maps");

static __always_inline struct port_search *port_search_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&port_search, &zero);
}

static __always_inline __u32 port_range(void)
{
	return nat_port_last - nat_port_first + 1;
}

/* The port to try first: the one wished for, or one by the flow's hash. */
static __always_inline __u32 port_first(__u32 start, __u32 wish)
{
	return wish ? wish : nat_port_first + scale(start, port_range());
}

/* One step of the search; returns 1 to end it. Cell and port are in the state lest
 * they go to the stack: Linux 6.1 rounds up to 32 bytes what each call takes of it,
 * and with the calls before this one it is full. */
static __always_inline long port_step(struct port_search *s)
{
	__u32 port, at, held, *c;

	port = s->wish ? s->wish : nat_port_first + s->offset;
	at = port_place(s->base, port);
	s->tried = (__u64)at << 16 | port;
	c = port_cell(at);
	if (!c)
		return 1;
	held = READ_ONCE(*c);
	if ((!held || ((s->reclaim || s->wish) && port_abandoned(held, s->tried >> 16, s->now))) &&
	    __sync_val_compare_and_swap(c, held, s->owner) == held) {
		s->taken = s->tried;
		return 1;
	}
	if (s->wish)
		s->wish = 0;
	else if (++s->offset == port_range())
		s->offset = 0;
	return 0;
}

static long port_try(__u32 i, void *unused)
{
	struct port_search *s = port_search_get();

	return s ? port_step(s) : 1;
}

/* Takes a port for owner (a flow's number plus one), the one wished for if it
 * can be had. Returns cell << 16 | port, the port in host order, or 0 if there is
 * none. */
static __always_inline __u64 port_take(__u32 base, __u32 start, __u32 wish, __u32 owner,
					__u32 now)
{
	__u32 tries = port_range() < PORT_TRIES ? port_range() : PORT_TRIES;
	struct port_search *s = port_search_get();

	if (!s)
		return 0;
	s->wish = wish;
	s->base = base;
	s->offset = scale(start, port_range());
	s->owner = owner;
	s->now = now;
	s->reclaim = 0;
	s->taken = 0;
	/* Most find one at once. */
	if (!port_step(s))
		bpf_loop(tries - 1, port_try, NULL, 0);
	if (!s->taken) {
		s->offset = scale(start, port_range());
		s->reclaim = 1;
		bpf_loop(tries, port_try, NULL, 0);
	}
	return s->taken;
}

static __always_inline void port_release(__u32 cell, __u32 owner)
{
	__u32 *c = port_cell(cell);

	if (c)
		__sync_val_compare_and_swap(c, owner, 0);
}
