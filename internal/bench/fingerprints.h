/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * Two designs of a flow table in which a set is one cache line of four
 * fingerprints. A flow has as many sets as in the data plane's table, and they are
 * filled in the same order.
 *
 * prints believes the fingerprint: two flows with one hash would be one. And it
 * cannot tell whose flow it is, so it serves no replies.
 *
 * prints_records has a record of its own for each fingerprint, which is compared
 * whole and names both ends.
 */

#include "../../bpf/lib/flow.h"

struct answer {
	__u32 backend;
	__u16 port;
	__u16 pad;
};

/* As long as what the data plane's record says besides the flow's name. */
struct record {
	__u64 seen; /* tick */
	struct answer answer;
	__u64 rest;
};

struct fingerprint {
	__u64 hash;   /* 0: free */
	__u64 answer; /* backend << 32 | port << 16 | age's tick; 0: being written */
};

struct fingerprints {
	struct fingerprint way[FLOW_WAYS];
};

struct named_record {
	struct addr client;
	struct addr vip;
	__u64 tuple;
	struct record record;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fingerprints);
} fingerprints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct named_record);
} records SEC(".maps");

/* Ticks of an age: 2^16 of them are more than an hour. */
#define AGE_SHIFT 6

/* The age of what is free. */
#define PRINT_FREE (~0U)

static __always_inline struct fingerprint *print_by_number(__u32 number)
{
	__u32 index = number / FLOW_WAYS;
	struct fingerprints *set = bpf_map_lookup_elem(&fingerprints, &index);

	return set ? &set->way[number % FLOW_WAYS] : NULL;
}

/* The number plus one of a flow's fingerprint, 0 if there is none. A fingerprint
 * is never free again, so that the first free one ends the search. */
static __always_inline __u32 print_find(__u64 hash)
{
	for (__u32 choice = 0; choice < FLOW_SETS; choice++) {
		__u32 index = flow_set_index(hash, choice);
		struct fingerprints *set = bpf_map_lookup_elem(&fingerprints, &index);

		if (!set)
			return 0;
		for (__u32 i = 0; i < FLOW_WAYS; i++) {
			__u32 way = (hash + i) % FLOW_WAYS;
			__u64 h = READ_ONCE(set->way[way].hash);

			if (h == hash)
				return index * FLOW_WAYS + way + 1;
			if (!h)
				return 0;
		}
	}
	return 0;
}

/* What a flow's fingerprint says; false if that is another's by now. */
static __always_inline bool print_read(struct fingerprint *f, __u64 hash, __u32 now,
				       struct answer *a)
{
	__u64 answer = READ_ONCE(f->answer);
	__u16 age = now >> AGE_SHIFT;

	if (!answer || READ_ONCE(f->hash) != hash)
		return false;
	a->backend = answer >> 32;
	a->port = answer >> 16;
	if ((__u16)answer != age)
		__sync_val_compare_and_swap(&f->answer, answer, (answer & ~0xffffULL) | age);
	return true;
}

/* The fingerprint of a set that is free, else the one not seen longest: age plus
 * one << 32 | number plus one. Of several of one age it is the first from first
 * on. Not static, so that the verifier looks at it once. */
__noinline __u64 print_victim(__u32 index, __u32 first, __u32 now)
{
	struct fingerprints *set = bpf_map_lookup_elem(&fingerprints, &index);
	__u64 victim = 0;

	if (!set)
		return 0;
	for (__u32 i = 0; i < FLOW_WAYS; i++) {
		__u32 way = (first + i) % FLOW_WAYS;
		__u16 idle = (now >> AGE_SHIFT) - (__u16)READ_ONCE(set->way[way].answer);
		__u64 number = index * FLOW_WAYS + way + 1;

		if (!READ_ONCE(set->way[way].hash))
			return (__u64)PRINT_FREE << 32 | number;
		if (!victim || idle + 1 > victim >> 32)
			victim = (idle + 1ULL) << 32 | number;
	}
	return victim;
}

/* Takes a fingerprint for a flow, whose answer is still to be written; returns its
 * number plus one, or 0 if another CPU was faster. */
static __always_inline __u32 print_take(__u64 hash, __u32 now)
{
	struct fingerprint *f;
	__u64 best = 0, answer;

	for (__u32 choice = 0; choice < FLOW_SETS; choice++) {
		__u64 victim = print_victim(flow_set_index(hash, choice), hash % FLOW_WAYS, now);

		if (victim >> 32 > best >> 32)
			best = victim;
		if (best >> 32 == PRINT_FREE)
			break;
	}
	f = best ? print_by_number((__u32)best - 1) : NULL;
	if (!f)
		return 0;
	answer = READ_ONCE(f->answer);
	if (best >> 32 == PRINT_FREE) /* free: its answer is 0 as if it were being written */
		return __sync_val_compare_and_swap(&f->hash, 0, hash) ? 0 : best;
	if (!answer || __sync_val_compare_and_swap(&f->answer, answer, 0) != answer)
		return 0;
	WRITE_ONCE(f->hash, hash);
	return best;
}

static __always_inline void print_write(__u32 number, __u32 now, const struct answer *a)
{
	struct fingerprint *f = print_by_number(number);

	if (f)
		WRITE_ONCE(f->answer, (__u64)a->backend << 32 | (__u64)a->port << 16 |
				      (__u16)(now >> AGE_SHIFT));
}

static __always_inline bool prints_find(const struct packet *p, __u64 hash, __u32 now,
					struct answer *a)
{
	__u32 number = print_find(hash);
	struct fingerprint *f = number ? print_by_number(number - 1) : NULL;

	return f && print_read(f, hash, now, a);
}

static __always_inline bool prints_make(const struct packet *p, __u64 hash, __u32 now,
					const struct answer *a)
{
	__u32 number = print_take(hash, now);

	if (!number)
		return false;
	print_write(number - 1, now, a);
	return true;
}

static __always_inline bool prints_records_find(const struct packet *p, __u64 hash, __u32 now,
						struct answer *a)
{
	__u32 number = print_find(hash), at = number - 1;
	struct fingerprint *f = number ? print_by_number(at) : NULL;
	struct named_record *r = f ? bpf_map_lookup_elem(&records, &at) : NULL;

	if (!r || r->tuple != p->tuple || r->client.half[1] != p->source.half[1] ||
	    r->vip.half[1] != p->destination.half[1] || r->client.half[0] != p->source.half[0] ||
	    r->vip.half[0] != p->destination.half[0])
		return false;
	*a = r->record.answer;
	/* The fingerprint's own answer only tells whether it is the flow's still. */
	return print_read(f, hash, now, &(struct answer){});
}

static __always_inline bool prints_records_make(const struct packet *p, __u64 hash, __u32 now,
						const struct answer *a)
{
	__u32 number = print_take(hash, now), at = number - 1;
	struct named_record *r = number ? bpf_map_lookup_elem(&records, &at) : NULL;

	if (!r)
		return false;
	r->client = p->source;
	r->vip = p->destination;
	r->tuple = p->tuple;
	r->record = (struct record){ .seen = now, .answer = *a };
	print_write(at, now, a);
	return true;
}
