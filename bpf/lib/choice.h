/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * What a service with options asks of which table for a packet of which nothing
 * is recorded, or whose backend it knows without asking. All CPUs, and all load
 * balancers of a fleet, answer alike unless the answer is drawn or kept.
 */

#include "affinity.h"
#include "schedule.h"

/* The options that have a say. */
#define OPTIONS_CHOICE (OPTION_HASH | OPTION_AFFINITY | OPTION_SCHEDULE)

/* Whether the packet may begin a flow. Of any other a decision counts only if it
 * drops, and nothing is drawn: the flow has a backend already. */
static __always_inline bool begins(const struct packet *p)
{
	return p->protocol != IPPROTO_TCP || is_syn(p);
}

/* The hash of what the service says of a packet. Of its port alone, so that clients
 * of both families that use the same meet at one backend. */
static __always_inline __u64 hash_input(const struct packet *p, __u8 input)
{
	const struct addr none = {};
	__u64 family = flow_tuple(0, 0, 0, p->ipv6);

	if (input == HASH_DESTINATION_PORT)
		return hash_flow(&none, &none, flow_tuple(0, p->destination_port, 0, 0), false);
	if (input == HASH_SOURCE)
		return hash_flow(&p->source, &none, family, p->ipv6);
	return hash_flow(&p->source, &p->destination, family, p->ipv6);
}

/* Completes what is the packet's choice by default. A flow that the policies are
 * still to be asked about takes no turn, for its packet will be here again: it gets a
 * backend by chance, and keeps it if nobody can be asked. Not static, so that the
 * verifier looks at it once. */
__noinline int choice_make(struct packet *p, __u32 service, struct choice *c, bool turns)
{
	struct service *s = service_get(service);

	if (!p || !c || !s || c->backend)
		return 0;
	if (s->options & OPTION_HASH)
		c->hash = hash_input(p, s->hash_input);
	if (!begins(p))
		return 0;
	if (s->options & OPTION_AFFINITY)
		affinity_find(p, s, service, c);
	if (s->options & OPTION_SCHEDULE && !c->backend)
		c->backend = draw(turns || s->schedule != SCHEDULE_ROUND_ROBIN ?
				  s->schedule : SCHEDULE_RANDOM, c->table);
	return 0;
}
