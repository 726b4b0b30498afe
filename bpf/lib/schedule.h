/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * The backend of a new flow by a draw. A service's table holds each backend as
 * often as its weight says, so a slot by chance is a backend by weight.
 */

#include "load.h"
#include "select.h"

/* A hash that names the slot, below table_size; see scale(). */
static __always_inline __u32 hash_of_slot(__u32 slot)
{
	return ((__u64)slot << 32) / table_size + 1;
}

/* The next turn at a table, which is in the order of the turns. Each table has its
 * own: were they one, two kinds of clients in turn would each get every other backend. */
static __always_inline __u32 turn_next(__u32 table)
{
	struct load *l = service_load(table);

	return l ? hash_of_slot(__sync_fetch_and_add(&l->cursor, 1) % table_size) : 0;
}

/* What turn_next() will say, if nobody else comes before. */
static __always_inline __u32 turn_expected(__u32 table)
{
	struct load *l = service_load(table);

	return l ? hash_of_slot(READ_ONCE(l->cursor) % table_size) : 0;
}

/* Whether of two backends the second is to be preferred. One that nobody has
 * measured yet is, so that somebody does. */
static __always_inline bool prefers(__u8 schedule, __u32 first, __u32 second)
{
	struct load *a = backend_load(first), *b = backend_load(second);
	struct backend *x, *y;
	__s64 busy_x, busy_y;

	if (!a || !b)
		return false;
	if (schedule == SCHEDULE_LEAST_LATENCY)
		return READ_ONCE(b->latency) < READ_ONCE(a->latency);
	x = bpf_map_lookup_elem(&backends, &first);
	y = bpf_map_lookup_elem(&backends, &second);
	if (!x || !y)
		return false;
	busy_x = READ_ONCE(a->connections);
	busy_y = READ_ONCE(b->connections);
	return busy_y * x->weight < busy_x * y->weight;
}

/* The backend drawn, 0 if there is none. */
static __always_inline __u32 draw(__u8 schedule, __u32 table)
{
	struct choice c = { .table = table };
	struct slot first, second;

	c.hash = schedule == SCHEDULE_ROUND_ROBIN ? turn_next(table) : bpf_get_prandom_u32();
	slot_find(&c, &first);
	if (schedule < SCHEDULE_LEAST_CONNECTIONS)
		return first.present;
	c.hash = bpf_get_prandom_u32();
	slot_find(&c, &second);
	if (first.present == second.present || !prefers(schedule, first.present, second.present))
		return first.present;
	return second.present;
}
