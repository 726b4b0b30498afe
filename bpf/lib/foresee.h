/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * A connection that begins under nat or dnat takes a record and a port, two lines
 * that are in no cache. The processor waits for both at once if their loads are
 * near each other, and the record's is the first thing that tracking does. So the
 * port's is begun before, though it takes the slot, the backend and the source to
 * know which: they are asked again later, from the cache.
 */

#include "create.h"
#include "select.h"

/* Of a SYN, for most of those begin a connection. What is guessed wrong costs only
 * the load. */
static __always_inline void foresee(const struct packet *p, const struct service *service,
				    const struct choice *choice, __u64 hash)
{
	const struct addr *source = &p->source;
	__u32 at = source_nth(service, hash, 0), wish = 0, *cell;
	__u32 number = choice->backend;
	struct backend *backend;
	struct source *nat;
	struct slot slot;

	if (!number) {
		slot_find(choice, &slot);
		number = slot.present;
	}
	backend = backend_get(number);
	if (!backend)
		return;
	if (service->forward == FORWARD_DNAT) {
		wish = bpf_ntohs(p->source_port);
	} else {
		nat = bpf_map_lookup_elem(&sources, &at);
		if (!nat)
			return;
		source = &nat->address;
	}
	cell = port_cell(port_place(port_base(&backend->address, backend->port, source, p->protocol,
					      p->ipv6),
				    port_first(mix(hash), wish)));
	if (cell)
		READ_ONCE(*cell);
}
