/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * How many connections a backend and a service have: recorded flows that go on.
 * Counted where a flow begins, ends, begins again, or is given up. That one has
 * expired is no packet's business: the daemon's sweep finds out, and corrects.
 */

#include "flow.h"

static __always_inline struct load *backend_load(__u32 id)
{
	return bpf_map_lookup_elem(&backend_loads, &id);
}

static __always_inline struct load *service_load(__u32 id)
{
	return bpf_map_lookup_elem(&service_loads, &id);
}

/* Whether a service needs the count. */
static __always_inline bool counts_load(const struct service *s)
{
	return s->options & OPTION_CONNECTIONS ||
	       (s->options & OPTION_SCHEDULE && s->schedule == SCHEDULE_LEAST_CONNECTIONS);
}

/* Whether a flow in this state is a connection that goes on. Where answers pass us
 * by, the client's FIN is the last that can be known of it. */
static __always_inline bool state_open(__u8 state, bool sees_replies)
{
	return !state_closed(state) && (sees_replies || !(state & FLOW_FIN_CLIENT));
}

static __always_inline void load_add(__u32 service, __u32 backend, __s32 n)
{
	struct load *l = backend_load(backend);

	if (l)
		__sync_fetch_and_add(&l->connections, n);
	l = service_load(service);
	if (l)
		__sync_fetch_and_add(&l->connections, n);
}

/* What follows are functions that are not static, so that the verifier looks at
 * each once. They are for services with options alone. */

/* A flow was recorded, in this state. */
__noinline int flow_begun(__u32 service, __u32 backend, __u8 state)
{
	struct service *s = bpf_map_lookup_elem(&services, &service);

	if (s && counts_load(s) && state_open(state, rewrites(s->forward)))
		load_add(service, backend, 1);
	return 0;
}

/* The state of a recorded flow has changed. Only the CPU that changed it says so. */
static __always_inline void flow_changed(const struct service *s, __u32 service, __u32 backend,
					 __u8 before, __u8 after)
{
	bool was, is;

	if (!counts_load(s))
		return;
	was = state_open(before, rewrites(s->forward));
	is = state_open(after, rewrites(s->forward));
	if (was != is)
		load_add(service, backend, is ? 1 : -1);
}

/* A record is given to another flow: what it held, unless that had expired. */
__noinline int flow_lost(__u32 service, __u32 backend, __u64 tuple, __u64 meta, __u32 now)
{
	struct service *s = bpf_map_lookup_elem(&services, &service);

	if (s && counts_load(s) && state_open(meta_state(meta), rewrites(s->forward)) &&
	    !flow_expired(&s->timeouts, tuple, meta, now, 0))
		load_add(service, backend, -1);
	return 0;
}
