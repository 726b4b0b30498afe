//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The source and the sink of a flood, and what is measured beside the balancer. */

#include "../bench/bare_xdp.h"

#include "../../bpf/lib/checksum.h"

#define WORDS 8 /* of 8 bytes: a frame of 64 */
#define AT_IP_CHECK 24
#define AT_SOURCE 26
#define AT_PORT 34

/* Of one CPU. */
struct generator {
	__u64 sent;
	__u32 next;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct generator);
} generators SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} arrived SEC(".maps");

/* A frame whose sender has address and port 0, with the right checksums. */
volatile const __u64 frame[WORDS] = {};
volatile const __u32 transport_check_at = 0;
volatile const __u32 first_address = 0; /* of the senders; host order */
volatile const __u32 flows = 0;         /* 0: each frame begins one */
volatile const __u32 stride = 1;        /* new flows: the number of CPUs that send */
volatile const __u32 egress = 0;        /* where generate and the bare programs send */

/* The next flow's number; the numbers' hashes come in no order. */
static __always_inline __u32 next_flow(struct generator *s)
{
	__u32 flow = s->next;

	s->sent++;
	if (!flows)
		s->next = flow + stride;
	else
		s->next = flow + 1 < flows ? flow + 1 : 0;
	return flow;
}

/* Live frames come back with what the receiver left in them: write it all. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__u32 zero = 0, scattered;
	struct generator *s = bpf_map_lookup_elem(&generators, &zero);
	void *data = (void *)(long)ctx->data;
	__u16 *check;
	__be32 address;
	__be16 port;
	__u64 sum;

	if (!s || data + WORDS * 8 > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	/* An odd factor: no two of 2^32 flows share an end. */
	scattered = next_flow(s) * 2654435761U;
	address = bpf_htonl(first_address + (scattered >> 15));
	port = bpf_htons(1024 + (scattered & 0x7fff));
#pragma unroll
	for (int i = 0; i < WORDS; i++)
		*(__u64 *)(data + 8 * i) = frame[i];
	*(__be32 *)(data + AT_SOURCE) = address;
	*(__be16 *)(data + AT_PORT) = port;
	sum = (__u64)(address & 0xffff) + (address >> 16);
	check = data + AT_IP_CHECK;
	*check = checksum_apply(*check, sum);
	if (transport_check_at > WORDS * 8 - 2)
		return XDP_ABORTED;
	check = data + transport_check_at;
	*check = checksum_apply(*check, sum + port);
	return bpf_redirect(egress, 0);
}

static __always_inline int take(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&arrived, &zero);

	/* What is not IPv4 are the neighbours' own words. */
	if (n && (void *)(eth + 1) <= (void *)(long)ctx->data_end &&
	    eth->h_proto == bpf_htons(ETH_P_IP))
		(*n)++;
	return XDP_DROP;
}

/* Where a frame's way ends; two programs, because each has one interface. */
SEC("xdp")
int sink(struct xdp_md *ctx)
{
	return take(ctx);
}

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	return take(ctx);
}

SEC("xdp")
int forward(struct xdp_md *ctx)
{
	return bpf_redirect(egress, 0);
}

SEC("xdp")
int bare_l2(struct xdp_md *ctx)
{
	int verdict = bare_to_backend(ctx);

	return verdict == BARE_SEND ? bpf_redirect(egress, 0) : verdict;
}

SEC("xdp")
int bare_ipip(struct xdp_md *ctx)
{
	int verdict = bare_into_tunnel(ctx);

	return verdict == BARE_SEND ? bpf_redirect(egress, 0) : verdict;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
