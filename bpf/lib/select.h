/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The choice of a backend for a new flow: one slot of the service's table. */

#include "config.h"
#include "hash.h"
#include "maps.h"

/* A backend's number, 0 if the service has none to offer. */
static __always_inline __u32 select_backend(__u32 service, __u64 hash)
{
	void *table = bpf_map_lookup_elem(&tables, &service);
	__u32 zero = 0, slot = scale(hash, table_size);
	__u32 *slots;

	if (!table)
		return 0;
	slots = bpf_map_lookup_elem(table, &zero);
	if (!slots || slot >= table_size)
		return 0;
	return slots[slot] & ~SLOT_MARKED;
}
