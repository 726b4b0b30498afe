/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * What an address and port mean, looked up without a call: an array of buckets
 * of VIP_CELLS cells. A key lives in a cell of its first bucket, or, if that was
 * full, of its second; then the first has the mark VIP_ELSEWHERE. So most
 * look-ups, misses too, read one bucket.
 *
 * User space alone writes, word by word, while packets look. A cell is free if
 * the last word of its key is 0, which no key has. That word is written last when
 * a cell is filled and cleared first when it is emptied; a value that changes is
 * one word. So a reader that finds its key before and after it read the value has
 * this key's value: words of two entries never make one. (For that to fail, the
 * key would have to go, another to take its cell and go, and the first to come
 * back, four writes of user space, between two loads of one packet.) An entry
 * moves from its first bucket to its second only, and is there before it leaves.
 * pkg/maps has the writer.
 */

#include "config.h"
#include "hash.h"
#include "maps.h"
#include "packet.h"

/* A value as it is read: struct vip in one word; 0 means nothing. */
static __always_inline __u32 vip_service(__u64 vip)
{
	return vip;
}

static __always_inline __u32 vip_source(__u64 vip)
{
	return vip >> 32 & 0xffff;
}

static __always_inline __u32 vip_flags(__u64 vip)
{
	return vip >> 48;
}

/* The last word of an IPv6 key, and the upper half of an IPv4 key. */
static __always_inline __u64 vip_tail(__be16 port, __u8 protocol)
{
	return port | (__u64)protocol << 16 | 1ULL << 24;
}

static __always_inline __u32 vip_bucket(__u64 hash, __u32 choice)
{
	return ((hash >> 40) + choice * ((__u32)(hash >> 8) | 1)) & vip_bucket_mask;
}

static __always_inline __u64 vip4_in(const struct vip4_bucket *b, __u64 key)
{
	for (int i = 0; i < VIP_CELLS; i++) {
		const struct vip4_cell *c = &b->cell[i];
		__u64 vip;

		if (READ_ONCE(c->key) != key)
			continue;
		vip = READ_ONCE(c->vip);
		if (READ_ONCE(c->key) == key)
			return vip;
	}
	return 0;
}

static __always_inline __u64 vip4_find(__be32 address, __u64 tail)
{
	__u64 key = address | tail << 32, hash = mix(key), vip;
	__u32 at = vip_bucket(hash, 0);
	struct vip4_bucket *b = bpf_map_lookup_elem(&vips4, &at);

	if (!b)
		return 0;
	vip = vip4_in(b, key);
	if (vip || !(vip_flags(READ_ONCE(b->cell[0].vip)) & VIP_ELSEWHERE))
		return vip;
	at = vip_bucket(hash, 1);
	b = bpf_map_lookup_elem(&vips4, &at);
	return b ? vip4_in(b, key) : 0;
}

/* The last word first: it tells a filled cell. */
static __always_inline bool vip6_is(const struct vip6_cell *c, const struct addr *a, __u64 tail)
{
	return READ_ONCE(c->key[2]) == tail && READ_ONCE(c->key[0]) == a->half[0] &&
	       READ_ONCE(c->key[1]) == a->half[1];
}

static __always_inline __u64 vip6_in(const struct vip6_bucket *b, const struct addr *a, __u64 tail)
{
	for (int i = 0; i < VIP_CELLS; i++) {
		const struct vip6_cell *c = &b->cell[i];
		__u64 vip;

		if (!vip6_is(c, a, tail))
			continue;
		vip = READ_ONCE(c->vip);
		if (vip6_is(c, a, tail))
			return vip;
	}
	return 0;
}

static __always_inline __u64 vip6_find(const struct addr *a, __u64 tail)
{
	__u64 hash = mix(a->half[0] * 0x9e3779b97f4a7c15ULL + a->half[1] * 0xc4ceb9fe1a85ec53ULL + tail);
	__u32 at = vip_bucket(hash, 0);
	struct vip6_bucket *b = bpf_map_lookup_elem(&vips6, &at);
	__u64 vip;

	if (!b)
		return 0;
	vip = vip6_in(b, a, tail);
	if (vip || !(vip_flags(READ_ONCE(b->cell[0].vip)) & VIP_ELSEWHERE))
		return vip;
	at = vip_bucket(hash, 1);
	b = bpf_map_lookup_elem(&vips6, &at);
	return b ? vip6_in(b, a, tail) : 0;
}

static __always_inline __u64 vip_find(const struct addr *a, __be16 port, __u8 protocol, bool ipv6)
{
	__u64 tail = vip_tail(port, protocol);

	return ipv6 ? vip6_find(a, tail) : vip4_find(a->word[3], tail);
}
