/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * The table's answer for a packet: one slot, that is, one of the service's
 * backends.
 *
 * Where the slot is not marked, every flow in it has the present backend, and
 * nothing need be remembered. Where it is, the flow table knows those flows that
 * have spoken since; of the others a SYN begins a connection with the present
 * backend, and the rest belong to the backend that had the slot before.
 */

#include "config.h"
#include "hash.h"
#include "maps.h"

/* Of a client's earlier flows. */
enum affinity_says {
	AFFINITY_NONE,
	AFFINITY_KEPT, /* this one goes where they went */
	AFFINITY_LOST, /* where they went nobody serves */
};

/* What is asked of which table: a service's own, by the flow's hash, if nothing
 * says otherwise. */
struct choice {
	__u32 table;   /* its number */
	__u32 backend; /* the answer, if it is known without asking; else 0 */
	__u64 hash;    /* which slot of it */
	__u8 named;    /* the packet itself names the backend */
	__u8 opens;    /* it says that it begins a connection, as a SYN does */
	__u8 affinity; /* enum affinity_says */
};

struct slot {
	__u32 present;  /* a backend's number, 0 if there is none to offer */
	__u32 previous; /* of a marked slot; 0: none */
	bool marked;
};

static __always_inline void slot_find(const struct choice *c, struct slot *s)
{
	__u32 number = c->table, zero = 0, at = scale(c->hash, table_size);
	void *table = bpf_map_lookup_elem(&tables, &number);
	__u32 *backends;

	s->present = 0;
	s->previous = 0;
	s->marked = false;
	if (!table)
		return;
	backends = bpf_map_lookup_elem(table, &zero);
	if (!backends || at >= table_size)
		return;
	s->present = backends[at];
	if (!(s->present & SLOT_MARKED))
		return;
	s->present &= ~SLOT_MARKED;
	s->previous = backends[table_size + at];
	s->marked = true;
}
