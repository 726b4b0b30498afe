/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* What is known of the packet at hand. */

#include "types.h"

#define VLAN_TAGS 2

#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

/* Places are offsets from the frame's first byte and not pointers, so that the
 * verifier need not follow each way through the headers to the packet's end. */
struct packet {
	struct addr source;
	struct addr destination;
	__u64 tuple;       /* ports and protocol; see flow_tuple() */
	__u32 length;      /* of the frame */
	__u32 l3_length;   /* header and payload, by the IP header */
	__u16 l3;
	__u16 l4;
	__u16 check;       /* the transport checksum */
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 tcp_flags;    /* 0 unless TCP */
	__u8 ttl;
	__u8 tags;         /* VLAN tags in the frame */
	__u8 ipv6;
	__u8 unchecked;    /* UDP without a checksum */
	__u32 sequence;    /* of a SYN to a service that counts outcomes */
};

/* Not on the stack, of which the verifier knows what each way through the headers
 * has written: what is read back from a map may be anything, so that it looks at
 * what follows the headers once. Nothing else runs on this CPU meanwhile. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet);
} packet SEC(".maps");

static __always_inline struct packet *packet_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&packet, &zero);
}

/* An offset as the verifier wants it. */
static __always_inline __u32 bounded(__u16 offset)
{
	return offset & 0xfff;
}

enum { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04, TCP_ACK = 0x10 };

/* Headers are packed, from which the compiler concludes that nothing is aligned
 * and takes them byte by byte. amd64 and arm64 need no alignment. */
static __always_inline __u16 load16(const void *at)
{
	return *(const __u16 *)at;
}

static __always_inline struct addr load_addr(const void *at)
{
	const __u64 *half = at;

	return (struct addr){ .half = { half[0], half[1] } };
}

static __always_inline void store_addr(void *at, const struct addr *a)
{
	__u64 *half = at;

	half[0] = a->half[0];
	half[1] = a->half[1];
}

/* Ports and protocol in one word that is never 0. */
static __always_inline __u64 flow_tuple(__be16 from, __be16 to, __u8 protocol, bool ipv6)
{
	return from | (__u64)to << 16 | (__u64)protocol << 32 | (__u64)ipv6 << 40;
}
