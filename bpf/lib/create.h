/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The making of a flow. */

#include "nat.h"

/* Source addresses that one new flow may try. */
#define SOURCE_TRIES 8

struct new_flow {
	struct addr client;
	struct addr vip;
	__u64 tuple;
	__u64 hash;
	__u32 service;
	__u32 backend;
	__u32 way; /* to replace; FLOW_WAYS: the most dispensable one */
	__u8 syn;
	__u8 ipv6;
	/* Set for nat: */
	__be16 nat_port;
	__u16 source;
	__u16 pad;
	__u32 cell;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct new_flow);
} new_flow SEC(".maps");

/* Not on the stack: that has 512 bytes for all calls together. */
static __always_inline struct new_flow *new_flow_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&new_flow, &zero);
}

static __always_inline struct backend *backend_get(__u32 id)
{
	return bpf_map_lookup_elem(&backends, &id);
}

static __always_inline struct service *service_get(__u32 id)
{
	return bpf_map_lookup_elem(&services, &id);
}

static __always_inline bool is_syn(const struct packet *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Takes a source address and port for owner; returns false if none is free. */
static __always_inline bool nat_take(struct new_flow *n, const struct service *service, __u32 owner,
				     __u32 now)
{
	struct backend *backend = backend_get(n->backend);
	__u32 count = service->sources;
	__u32 pick = scale(n->hash >> 32, count);

	if (!backend)
		return false;
	for (__u32 i = 0; i < SOURCE_TRIES && i < count; i++) {
		__u32 index = service->first_source + pick, base;
		struct source *s = bpf_map_lookup_elem(&sources, &index);
		__u64 taken;

		if (!s)
			return false;
		base = port_base(&backend->address, backend->port, &s->address, n->tuple >> 32, n->ipv6);
		taken = port_take(base, mix(n->hash), owner, now);
		if (taken) {
			n->source = index;
			n->nat_port = bpf_htons(taken & 0xffff);
			n->cell = taken >> 16;
			return true;
		}
		if (++pick == count)
			pick = 0;
	}
	return false;
}

static __always_inline void flow_write(struct flow *f, const struct new_flow *n)
{
	f->client = n->client;
	f->vip = n->vip;
	f->tuple = n->tuple;
	f->backend = n->backend;
	f->service = n->service;
	f->nat_port = n->nat_port;
	f->source = n->source;
	f->cell = n->cell;
}

/*
 * Records the flow in new_flow; returns -1 or the reason for which it could not. The
 * record is held odd all the while. What it held before loses its port: first
 * if it is dead anyway, so that the port can be taken again; only after the new
 * flow has its own if it is alive.
 *
 * Not static, so that the verifier looks at it once and not once per way that
 * leads here.
 */
__noinline int flow_create(void)
{
	__u32 index, way, now = clock_now(), owner, old_cell, old_port;
	struct new_flow *n = new_flow_get();
	struct service *service;
	struct flow_set *set;
	bool live = false;
	struct flow *f;
	__u64 meta;

	if (!n)
		return REASON_DROP_CONTENDED;
	index = flow_set_index(n->hash);
	set = bpf_map_lookup_elem(&flows, &index);
	service = service_get(n->service);
	if (!set || !service)
		return REASON_DROP_CONTENDED;
	way = n->way;
	if (way >= FLOW_WAYS)
		way = flow_victim(set, n->hash % FLOW_WAYS, now, &live);
	if (way >= FLOW_WAYS)
		return REASON_DROP_CONTENDED;
	f = &set->way[way % FLOW_WAYS];
	meta = READ_ONCE(f->meta);
	if (meta_writing(meta) ||
	    __sync_val_compare_and_swap(&f->meta, meta, meta + META_SEQUENCE) != meta)
		return REASON_DROP_CONTENDED;

	owner = index * FLOW_WAYS + way + 1;
	old_cell = f->cell;
	old_port = f->nat_port;
	if (!live) {
		if (old_port)
			port_release(old_cell, owner);
		f->nat_port = 0;
		f->tuple = 0;
	}
	if (service->forward == FORWARD_NAT && !nat_take(n, service, owner, now)) {
		WRITE_ONCE(f->meta, meta + 2 * META_SEQUENCE);
		return REASON_DROP_NAT_PORTS;
	}
	if (live) {
		if (old_port)
			port_release(old_cell, owner);
		count_event(EVENT_FLOW_EVICTED);
	}
	flow_write(f, n);
	/* An atomic exchange, so that no reader sees the new meta first. */
	__sync_lock_test_and_set(&f->meta, ((meta & -META_SEQUENCE) + 2 * META_SEQUENCE) | now);
	if ((__u8)(n->tuple >> 32) == IPPROTO_TCP && !n->syn)
		count_event(EVENT_FLOW_MIDSTREAM);
	return -1;
}
