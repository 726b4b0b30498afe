/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * Clients that keep their backend from one flow to the next, by a prefix of their
 * address. Each new flow begins the time anew. What a full map forgets first is
 * what was not used for longest.
 */

#include "create.h"
#include "select.h"

/* The first bits of an address, 1 to 32 of IPv4, to 128 of IPv6. */
static __always_inline void prefix_of(struct addr *a, bool ipv6, __u32 ipv4_bits, __u32 ipv6_bits)
{
	if (!ipv6) {
		a->word[3] &= bpf_htonl(~0U << (32 - ipv4_bits & 31));
	} else if (ipv6_bits <= 64) {
		a->half[0] &= bpf_cpu_to_be64(~0ULL << (64 - ipv6_bits & 63));
		a->half[1] = 0;
	} else {
		a->half[1] &= bpf_cpu_to_be64(~0ULL << (128 - ipv6_bits & 63));
	}
}

static __always_inline void affinity_name(struct affinity_key *k, const struct service *s,
					  const struct addr *client, __u32 table, bool ipv6)
{
	k->client = *client;
	prefix_of(&k->client, ipv6, s->affinity_ipv4, s->affinity_ipv6);
	k->table = table;
	k->pad = 0;
}

/* Chooses the backend of a client's earlier flows, if there is one that serves. */
static __always_inline void affinity_find(const struct packet *p, const struct service *s,
					  __u32 service, struct choice *c)
{
	struct affinity_key key;
	struct affinity *a;
	__u32 idle, backend;

	affinity_name(&key, s, &p->source, c->table, p->ipv6);
	a = bpf_map_lookup_elem(&affinities, &key);
	if (!a)
		return;
	backend = a->backend;
	idle = clock_now() - a->at;
	if (idle <= (__u32)-CLOCK_SKEW && idle > s->affinity_timeout)
		return;
	c->affinity = AFFINITY_LOST;
	if (!backend_serves(backend_get(backend), service))
		return;
	c->affinity = AFFINITY_KEPT;
	c->backend = backend;
}

/* Binds the client of the flow in new_flow, which was recorded, to its backend. Not
 * static, so that the verifier looks at it once. */
__noinline int affinity_keep(void)
{
	struct new_flow *n = new_flow_get();
	struct affinity_key key;
	struct affinity a;
	struct service *s;

	if (!n || !n->begins)
		return 0;
	if (n->affinity)
		count_event(n->affinity == AFFINITY_KEPT ? EVENT_AFFINITY : EVENT_AFFINITY_LOST);
	s = service_get(n->service);
	if (!s)
		return 0;
	affinity_name(&key, s, &n->client, n->table, n->ipv6);
	a.backend = n->backend;
	a.at = n->now;
	return bpf_map_update_elem(&affinities, &key, &a, BPF_ANY);
}
