/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* What a service's policies decided about a flow before it is recorded. */

#include "create.h"

/* So that a flow's name is the key of its decision. */
_Static_assert(offsetof(struct new_flow, client) == offsetof(struct decision_key, client) &&
	       offsetof(struct new_flow, vip) == offsetof(struct decision_key, vip) &&
	       offsetof(struct new_flow, tuple) == offsetof(struct decision_key, tuple),
	       "new_flow begins with decision_key");

/* Copies the decision about the flow named in new_flow: the map may give the
 * entry to another flow at any time. */
static __always_inline void decision_take(struct new_flow *n, __u32 service)
{
	struct decision *d = bpf_map_lookup_elem(&decisions, n);

	if (d && d->service == service && !clock_past(d->at, bpf_ktime_get_coarse_ns(), DECISION_LIFE))
		n->decision = *d;
}

/* Once the flow is recorded, its packets ask no more. */
static __always_inline void decision_done(struct new_flow *n)
{
	bpf_map_delete_elem(&decisions, n);
	count_event(EVENT_DECIDED);
}
