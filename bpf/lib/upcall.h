/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * A new flow of a service with policies: its packet goes to the daemon, and
 * comes back with a decision. What cannot go there follows the service's own
 * rule. Limits for the service and for each source keep a flood to one service,
 * or from one source, from taking the others' part of the ring and of the
 * daemon's time.
 */

#include "request.h"

struct upcall_packet {
	struct upcall header;
	__u8 frame[UPCALL_FRAME];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct upcall_packet);
} upcall_packet SEC(".maps");

/* Whether one more is within the limit, of at least one, in a window of time.
 * CPUs that change the window at once may let one more in each. */
static __always_inline bool limit_take(__u64 *cell, __u32 window, __u32 most)
{
	__u64 had = READ_ONCE(*cell);

	if (had >> 32 != window) {
		if (__sync_val_compare_and_swap(cell, had, (__u64)window << 32 | 1) == had)
			return true;
	} else if ((__u32)had >= most) {
		return false;
	}
	return (__u32)__sync_fetch_and_add(cell, 1) < most;
}

/* The cell of an IPv4 address or an IPv6 /64 at a service. Seeded, so that nobody
 * can aim at the cell of another. */
static __always_inline __u64 *source_cell(const struct new_flow *n)
{
	__u64 source = n->ipv6 ? n->client.half[0] : n->client.word[3];
	__u32 at = mix(mix(source ^ flow_seed) + n->service) >> 40 & (UPCALL_SOURCES - 1);

	return bpf_map_lookup_elem(&source_upcalls, &at);
}

static __always_inline bool daemon_away(__u64 now)
{
	__u32 zero = 0;
	__u64 *beat = bpf_map_lookup_elem(&heartbeat, &zero);

	return !beat || !*beat || clock_past(*beat, now, HEARTBEAT_LIFE);
}

/* -1, or the event that says why there may be no upcall now. */
static __always_inline int upcall_limits(const struct new_flow *n, const struct service *s, __u64 now)
{
	__u32 service = n->service, window = now >> UPCALL_WINDOW;
	__u64 *cell = source_cell(n);

	if (!cell || !limit_take(cell, window, s->upcalls_per_source))
		return EVENT_UPCALL_SOURCE;
	cell = bpf_map_lookup_elem(&service_upcalls, &service);
	if (!cell || !limit_take(cell, window, s->upcalls))
		return EVENT_UPCALL_RATE;
	return -1;
}

/*
 * Puts the packet behind the header that is in u, and both into the ring; -1, or
 * the event that says why not. A function, so that length is in a register from
 * comparison to use: older verifiers (seen with Linux 6.1) apply a comparison to
 * no copy on the stack, nor do they conclude from "not 0" that it is at least 1.
 */
static __noinline int upcall_output(ctx_t *ctx, struct upcall_packet *u, __u64 length)
{
	__u64 payload = length - ETH_HLEN; /* one comparison for both bounds */

	if (payload > UPCALL_FRAME - ETH_HLEN)
		return EVENT_UPCALL_SIZE;
	/* Else the compiler goes on with length, of which that tells nothing. */
	barrier_var(payload);
	if (ctx_load(ctx, u->frame, ETH_HLEN + payload))
		return EVENT_UPCALL_SIZE;
	if (bpf_ringbuf_output(&upcalls, u, sizeof(u->header) + ETH_HLEN + payload, 0))
		return EVENT_UPCALL_RING;
	return -1;
}

/* Sends the packet to the daemon; -1, or the event that says why not. */
static __always_inline int upcall_send(ctx_t *ctx, const struct packet *p, const struct new_flow *n,
				       const struct service *s)
{
	__u64 now = bpf_ktime_get_coarse_ns(), length = ctx_length(ctx);
	__u32 zero = 0;
	struct upcall_packet *u;
	int why;

	if (daemon_away(now))
		return EVENT_UPCALL_AWAY;
	u = bpf_map_lookup_elem(&upcall_packet, &zero);
	if (!u || ctx_segmented(ctx) || length > UPCALL_FRAME)
		return EVENT_UPCALL_SIZE;
	why = upcall_limits(n, s, now);
	if (why >= 0)
		return why;
	u->header.client = n->client;
	u->header.vip = n->vip;
	u->header.tuple = n->tuple;
	u->header.hash = n->hash;
	u->header.at = now;
	u->header.service = n->service;
	u->header.ifindex = ctx_ingress(ctx);
	u->header.length = length;
	u->header.l3 = p->l3;
	u->header.l4 = p->l4;
	u->header.tcp_flags = p->tcp_flags;
	u->header.xdp = CTX_XDP;
	ctx_outer_tag(ctx, &u->header.vlan_tci, &u->header.vlan_protocol);
	return upcall_output(ctx, u, length);
}

/*
 * Asks about the flow in new_flow: an enum fate. If nobody can be asked and the
 * service goes on then, what is in new_flow is still to be recorded. Called by
 * the entry, because those who decide so have no packet at hand; and not static,
 * so that the verifier looks at it once.
 */
__noinline int ask(ctx_t *ctx, struct packet *p, struct verdict *v)
{
	struct new_flow *n = new_flow_get();
	struct service *s;
	int why;

	if (!p || !v || !n)
		return FATE_DROP;
	s = service_get(n->service);
	if (!s)
		return FATE_DROP;
	why = upcall_send(ctx, p, n, s);
	if (why >= 0) {
		count_event(why);
		if (s->policy != OVERLOAD_DROP)
			return FATE_RECORD;
	}
	v->reason = why >= 0 ? REASON_DROP_OVERLOAD : REASON_UPCALL;
	v->backend = 0; /* that was the table's, which is not asked yet */
	return FATE_DROP;
}
