/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * The least that a table-driven balancer can do with a packet, to compare ours
 * with: IPv4 without options, one VIP table, one slot of a table, one backend,
 * a counter each. No flow, no route, no second thought. A lower bound, not a
 * product.
 */

#include "../../bpf/lib/uapi.h"

#include "../../bpf/lib/hash.h"

#define SLOTS 65537
#define BACKENDS 128

struct bare_backend {
	__be32 address;
	__u8 mac[ETH_ALEN];
	__u8 pad[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct vip4_key);
	__type(value, __u32);
} vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BACKENDS);
	__type(key, __u32);
	__type(value, struct bare_backend);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct count);
} vip_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BACKENDS);
	__type(key, __u32);
	__type(value, struct count);
} backend_counts SEC(".maps");

/* The sender of outer headers. */
volatile const __be32 outer_source = 0;

struct headers {
	struct ethhdr eth;
	struct iphdr ip;
	__be16 ports[2];
} __attribute__((packed));

static __always_inline void bare_count(void *counts, __u32 at, __u32 bytes)
{
	struct count *c = bpf_map_lookup_elem(counts, &at);

	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
}

/* The backend of a packet, NULL if it is not for a VIP. */
static __always_inline struct bare_backend *bare_choose(void *data, void *end)
{
	struct headers *h = data;
	struct addr from = {}, to = {};
	struct vip4_key key = {};
	struct bare_backend *b;
	__u32 *vip, *number, slot, length = end - data;
	__u64 tuple;

	if ((void *)(h + 1) > end || h->eth.h_proto != bpf_htons(ETH_P_IP) ||
	    *(__u8 *)&h->ip != 0x45 || h->ip.frag_off & bpf_htons(0x3fff) ||
	    (h->ip.protocol != IPPROTO_TCP && h->ip.protocol != IPPROTO_UDP))
		return NULL;
	key.address = h->ip.daddr;
	key.port = h->ports[1];
	key.protocol = h->ip.protocol;
	vip = bpf_map_lookup_elem(&vips, &key);
	if (!vip)
		return NULL;
	from.word[3] = h->ip.saddr;
	to.word[3] = h->ip.daddr;
	tuple = h->ports[0] | (__u64)h->ports[1] << 16 | (__u64)h->ip.protocol << 32;
	slot = scale(hash_flow(&from, &to, tuple, false), SLOTS);
	number = bpf_map_lookup_elem(&slots, &slot);
	if (!number)
		return NULL;
	b = bpf_map_lookup_elem(&backends, number);
	if (!b)
		return NULL;
	bare_count(&vip_counts, *vip, length);
	bare_count(&backend_counts, *number, length);
	return b;
}

static __always_inline void bare_write_macs(struct ethhdr *eth, const struct bare_backend *b)
{
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, b->mac, ETH_ALEN);
}

/* Room for the outer header has been made in front; own is the address that the
 * frame came to. */
static __always_inline bool bare_write_outer(void *data, void *end, const __u8 *own,
					     const struct bare_backend *b)
{
	struct headers *h = data;
	__u16 *word = (void *)&h->ip;
	__u32 sum = 0;

	if ((void *)(h + 1) > end)
		return false;
	__builtin_memcpy(h->eth.h_dest, b->mac, ETH_ALEN);
	__builtin_memcpy(h->eth.h_source, own, ETH_ALEN);
	h->eth.h_proto = bpf_htons(ETH_P_IP);
	h->ip = (struct iphdr){
		.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_IPIP,
		.tot_len = bpf_htons(end - data - sizeof(h->eth)),
		.saddr = outer_source, .daddr = b->address,
	};
#pragma unroll
	for (int i = 0; i < (int)sizeof(h->ip) / 2; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	h->ip.check = ~(sum + (sum >> 16));
	return true;
}
