/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* How many new flows a service takes: of all sources a second, of one, and open at
 * a time. What is asked is a TCP SYN or the first datagram of a flow; flows that
 * are known are not. */

#include "config.h"
#include "load.h"
#include "stats.h"

/* Time in sixteenths of a nanosecond, so that ten million a second are exact to a
 * thousandth. */
#define RATE_SHIFT 4
#define RATE_SECOND (1000000000ULL << RATE_SHIFT)

/* Tries when other CPUs are faster; then the flow is let in. */
#define RATE_TRIES 8

#define OPTION_GATE (OPTION_RATE | OPTION_RATE_SOURCE | OPTION_CONNECTIONS)

static __always_inline void count_refused(__u32 service, __u32 reason)
{
	struct refused *r = bpf_map_lookup_elem(&service_refused, &service);

	if (r)
		r->packets[(reason - REASON_DROP_DENIED) & 7]++;
}

/*
 * A token bucket in one word, as the virtual scheduling of ITU-T I.371 has it: the
 * time at which the bucket is full again. Each flow moves it on by 1/rate; there is
 * room as long as it is no further ahead than a whole bucket takes.
 */
static __always_inline bool bucket_take(__u64 *cell, __u64 now, __u32 rate, __u32 burst)
{
	__u64 step = RATE_SECOND / (rate ? rate : 1), full = now + step * burst;

	for (int i = 0; i < RATE_TRIES; i++) {
		__u64 had = READ_ONCE(*cell), next = (had > now ? had : now) + step;

		if (next > full) {
			/* The limit was another one: nobody waits for that one's time. */
			if (had > full)
				__sync_val_compare_and_swap(cell, had, full);
			return false;
		}
		if (__sync_val_compare_and_swap(cell, had, next) == had)
			return true;
	}
	return true;
}

static __always_inline __u64 prefix_mask(__u32 length)
{
	if (!length)
		return 0;
	return length >= 64 ? ~0ULL : bpf_cpu_to_be64(~0ULL << (64 - length));
}

/* The bucket of the packet's source, a new one if it has none; NULL if there can
 * be none now. */
static __always_inline __u64 *source_bucket(const struct packet *p, const struct service *s,
					    __u32 service)
{
	__u32 length = (p->ipv6 ? s->burst_per_source : s->rate_per_source) >> RATE_BITS;
	struct rate_key key = { .service = service };
	__u64 fresh = 0, *cell;

	if (p->ipv6) {
		key.source.half[0] = p->source.half[0] & prefix_mask(length);
		key.source.half[1] = p->source.half[1] & prefix_mask(length > 64 ? length - 64 : 0);
	} else {
		key.source.word[3] = p->source.word[3] & (__u32)prefix_mask(length);
	}
	cell = bpf_map_lookup_elem(&source_rates, &key);
	if (cell)
		return cell;
	bpf_map_update_elem(&source_rates, &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&source_rates, &key);
}

/* As many as may be are open. CPUs that ask at once may each let one more in. */
static __always_inline bool connections_full(const struct service *s, __u32 service)
{
	struct load *l = service_load(service);

	return l && READ_ONCE(l->connections) >= (__s64)s->connections;
}

/* Whether there is room for one more connection, whether the source may begin one
 * more flow, and then whether the service takes one more: in this order, so that
 * who asks too much takes no other's turn. -1, or the reason why not. Not static,
 * so that the verifier looks at it once. */
__noinline int gate(const struct packet *p, __u32 service)
{
	struct service *s = bpf_map_lookup_elem(&services, &service);
	__u64 now = bpf_ktime_get_ns() << RATE_SHIFT, *cell;

	if (!p || !s)
		return -1;
	if (s->options & OPTION_CONNECTIONS && connections_full(s, service))
		return REASON_DROP_CONNECTIONS;
	if (s->options & OPTION_RATE_SOURCE) {
		cell = source_bucket(p, s, service);
		if (cell && !bucket_take(cell, now, s->rate_per_source & RATE_MASK,
					 s->burst_per_source & RATE_MASK))
			return REASON_DROP_RATE_SOURCE;
	}
	if (s->options & OPTION_RATE) {
		cell = bpf_map_lookup_elem(&service_rates, &service);
		if (cell && !bucket_take(cell, now, s->rate, s->burst))
			return REASON_DROP_RATE;
	}
	return -1;
}

/* Whether the service refuses the flow that the packet begins; then v says why.
 * What XDP let in, TC behind it does not ask about again. */
static __always_inline bool gate_shut(const struct service *s, const struct packet *p,
				      __u32 service, struct verdict *v)
{
	int refused;

	if (companion || !(s->options & OPTION_GATE))
		return false;
	refused = gate(p, service);
	if (refused < 0)
		return false;
	v->reason = refused;
	count_refused(service, refused);
	return true;
}
