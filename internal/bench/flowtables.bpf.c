//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Flow tables of several designs. Each program finds a packet's flow in its
 * table, or makes it, and does nothing else; what the data plane does anyway
 * (parse, hash, clock) the program without a table does too.
 *
 * A flow's record says a backend and a port, which follow from its hash: a program
 * counts as found only what it found with these.
 */

#include "../../bpf/lib/uapi.h"

#include "../../bpf/lib/config.h"
#include "../../bpf/lib/create.h"
#include "fingerprints.h"

__u64 found = 0;   /* packets of a flow in the table, with its backend and port */
__u64 made = 0;    /* that were not, and then recorded */
__u64 refused = 0; /* that were not, and could not be */

struct headers {
	struct ethhdr eth;
	struct iphdr ip;
	__be16 ports[2];
} __attribute__((packed));

static __always_inline bool parse(struct xdp_md *ctx, struct packet *p)
{
	struct headers *h = (void *)(long)ctx->data;

	if ((void *)(h + 1) > (void *)(long)ctx->data_end)
		return false;
	p->source.word[3] = h->ip.saddr;
	p->destination.word[3] = h->ip.daddr;
	p->protocol = h->ip.protocol;
	p->source_port = h->ports[0];
	p->destination_port = h->ports[1];
	p->tuple = flow_tuple(h->ports[0], h->ports[1], h->ip.protocol, false);
	return true;
}

static __always_inline struct answer answer_of(__u64 hash)
{
	return (struct answer){ .backend = (hash & 0xffff) + 1, .port = hash >> 16 };
}

/* The program of a design: what it is called, with _find and _make behind. */
#define FLOW_TABLE(name)                                                                     \
	SEC("xdp.frags")                                                                     \
	int name(struct xdp_md *ctx)                                                         \
	{                                                                                    \
		struct answer right, answer = {};                                            \
		struct packet p = {};                                                        \
		__u32 now;                                                                   \
		__u64 hash;                                                                  \
                                                                                             \
		if (!parse(ctx, &p))                                                         \
			return XDP_ABORTED;                                                  \
		hash = hash_flow(&p.source, &p.destination, p.tuple, false);                 \
		now = clock_now();                                                           \
		right = answer_of(hash);                                                     \
		if (name##_find(&p, hash, now, &answer)) {                                   \
			if (answer.backend == right.backend && answer.port == right.port)    \
				found++;                                                     \
		} else if (name##_make(&p, hash, now, &right)) {                             \
			made++;                                                              \
		} else {                                                                     \
			refused++;                                                           \
		}                                                                            \
		return XDP_DROP;                                                             \
	}

/* No table: what the others cost besides. */
static __always_inline bool none_find(const struct packet *p, __u64 hash, __u32 now,
				      struct answer *a)
{
	barrier_var(hash); /* or the compiler sees that nobody needs it */
	*a = answer_of(hash);
	return true;
}

static __always_inline bool none_make(const struct packet *p, __u64 hash, __u32 now,
				      const struct answer *a)
{
	return false;
}

FLOW_TABLE(none)

/* The data plane's own. The port stands in the field of its cell: a port in its
 * own field would have to be given back to the ports' array, which is not the
 * table's work. */
static __always_inline bool lines_find(const struct packet *p, __u64 hash, __u32 now,
				       struct answer *a)
{
	const struct timeouts long_ones = {
		.tcp_syn = 1 << 30, .tcp_established = 1 << 30, .tcp_fin = 1 << 30,
		.tcp_closed = 1 << 30, .udp = 1 << 30,
	};
	__u64 meta = 0;
	__u32 owner = 0;
	struct flow *f = flow_find(p, hash, &owner, &meta);
	__u8 state;

	if (!f || flow_expired(&long_ones, p->tuple, meta, now, 0))
		return false;
	a->backend = f->backend;
	a->port = f->cell;
	if (!meta_same_record(READ_ONCE(f->meta), meta))
		return false;
	state = meta_state(meta);
	flow_touch(f, &long_ones, p->protocol, &meta, &state, now);
	return true;
}

static __always_inline bool lines_make(const struct packet *p, __u64 hash, __u32 now,
				       const struct answer *a)
{
	struct new_flow *n = new_flow_get();

	if (!n)
		return false;
	new_flow_name(n, p, hash);
	n->service = 1;
	n->backend = a->backend;
	n->owner = 0;
	n->syn = true;
	n->rewritten = false;
	n->state = 0;
	n->nat_port = 0;
	n->source = SOURCE_CLIENT;
	n->cell = a->port;
	return flow_reserve() < 0 && flow_commit() < 0;
}

FLOW_TABLE(lines)

FLOW_TABLE(prints)
FLOW_TABLE(prints_records)

/* The kernel's own maps, with the shortest key that serves IPv4. */
struct key {
	__be32 source;
	__be32 destination;
	__be16 ports[2];
	__u32 protocol;
};

static __always_inline bool kernel_find(void *map, const struct packet *p, __u32 now,
					struct answer *a)
{
	struct key key = {
		p->source.word[3], p->destination.word[3],
		{ p->source_port, p->destination_port }, p->protocol,
	};
	struct record *r = bpf_map_lookup_elem(map, &key);

	if (!r)
		return false;
	*a = r->answer;
	if (now - r->seen >= REFRESH)
		r->seen = now;
	return true;
}

static __always_inline bool kernel_make(void *map, const struct packet *p, __u32 now,
					const struct answer *a)
{
	struct key key = {
		p->source.word[3], p->destination.word[3],
		{ p->source_port, p->destination_port }, p->protocol,
	};
	struct record r = { .seen = now, .answer = *a };

	return !bpf_map_update_elem(map, &key, &r, BPF_NOEXIST);
}

#define KERNEL_TABLE(name, kind, flags)                                                      \
	struct {                                                                             \
		__uint(type, kind);                                                          \
		__uint(map_flags, flags);                                                    \
		__uint(max_entries, 1);                                                      \
		__type(key, struct key);                                                     \
		__type(value, struct record);                                                \
	} name##_map SEC(".maps");                                                           \
                                                                                             \
	static __always_inline bool name##_find(const struct packet *p, __u64 hash,          \
						__u32 now, struct answer *a)                 \
	{                                                                                    \
		return kernel_find(&name##_map, p, now, a);                                  \
	}                                                                                    \
                                                                                             \
	static __always_inline bool name##_make(const struct packet *p, __u64 hash,          \
						__u32 now, const struct answer *a)           \
	{                                                                                    \
		return kernel_make(&name##_map, p, now, a);                                  \
	}                                                                                    \
                                                                                             \
	FLOW_TABLE(name)

KERNEL_TABLE(lru, BPF_MAP_TYPE_LRU_HASH, 0)
KERNEL_TABLE(lru_lists, BPF_MAP_TYPE_LRU_HASH, BPF_F_NO_COMMON_LRU)
KERNEL_TABLE(lru_percpu, BPF_MAP_TYPE_LRU_PERCPU_HASH, 0)
KERNEL_TABLE(hash, BPF_MAP_TYPE_HASH, 0)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
