/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * BPF_PROG_TEST_RUN hands the same packet to every repetition as the one before
 * left it. So this program takes an encapsulation off, writes the packet anew,
 * from another end each time, and goes on to the program in the slot.
 */

#include "../../bpf/lib/uapi.h"

/* Longest frame, in words of 8 bytes. */
#define WORDS 10

/* What varies: the sender's address, a port and, on the way back, the
 * receiver's address; of addresses the last four bytes. */
struct end {
	__be32 address;
	__be32 other;
	__be16 port;
	__u16 pad;
};

/* In the order of their turn: read from front to back, so that the reading
 * itself costs next to no cache misses. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct end);
} ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} slot SEC(".maps");

volatile const __u64 frame[WORDS] = {};
volatile const __u32 words = 0;
volatile const __u32 address_at = 0;
volatile const __u32 port_at = 0;
volatile const __u32 other_at = 0; /* 0: the receiver is the frame's */

/* Entries of ends; 0: every packet comes from an end of its own. */
volatile const __u32 flows = 0;
volatile const __u32 first_address = 0; /* host order */

__u32 turn = 0;

static __always_inline bool next_end(struct end *e)
{
	__u32 i = turn, scattered;
	struct end *from;

	if (!flows) {
		turn = i + 1;
		/* An odd factor: no two of 2^32 turns share an end. */
		scattered = i * 2654435761U;
		e->address = bpf_htonl(first_address + (scattered >> 15));
		e->port = bpf_htons(1024 + (scattered & 0x7fff));
		return true;
	}
	turn = i + 1 < flows ? i + 1 : 0;
	from = bpf_map_lookup_elem(&ends, &i);
	if (!from)
		return false;
	*e = *from;
	return true;
}

static __always_inline bool write_packet(void *data, void *end)
{
	struct end e;

	if (data + words * 8 > end || !next_end(&e))
		return false;
#pragma unroll
	for (__u32 i = 0; i < WORDS; i++)
		if (i < words)
			*(__u64 *)(data + 8 * i) = frame[i];
	*(__be32 *)(data + address_at) = e.address;
	*(__be16 *)(data + port_at) = e.port;
	if (other_at)
		*(__be32 *)(data + other_at) = e.other;
	return true;
}
