/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a policy for xlb needs in C, without a C library: ABI version 1. A policy
 * is one source file. It names its hooks:
 *
 *     XLB_FLOW(flow)     xlb_verdict flow(struct xlb_flow)
 *     XLB_WEIGH(weigh)   uint32_t weigh(struct xlb_backend *, uint32_t count)
 *     XLB_PROBE(probe)   bool probe(uint32_t timeout_ms): healthy or not
 *
 * and, with xlb_config.h, its configuration. Globals keep what it must remember:
 * each worker of the daemon has a copy of its own.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XLB_EXPORT(name) __attribute__((export_name(#name)))
#define XLB_IMPORT(name) __attribute__((import_module("xlb"), import_name(#name)))

enum { XLB_TCP = 6, XLB_UDP = 17 };

/* Bits of xlb_flow.tcp_flags. */
enum { XLB_FIN = 1, XLB_SYN = 2, XLB_RST = 4, XLB_PSH = 8, XLB_ACK = 16, XLB_URG = 32 };

/* ---- addresses ---- */

/* The first eight bytes of an address read big-endian, and the last. An IPv4
 * address is IPv4-mapped: ::ffff:a.b.c.d. */
struct xlb_address {
	uint64_t hi, lo;
};

static inline bool xlb_is_ipv4(struct xlb_address a)
{
	return a.hi == 0 && a.lo >> 32 == 0xffff;
}

/* The first bits of an address, 0 to 128. */
static inline struct xlb_address xlb_masked(struct xlb_address a, uint32_t bits)
{
	if (bits <= 64)
		return (struct xlb_address){bits ? a.hi & ~0ULL << (64 - bits) : 0, 0};
	return (struct xlb_address){a.hi, bits < 128 ? a.lo & ~0ULL << (128 - bits) : a.lo};
}

/* The first bits of an address: of an IPv4 address 0 to 32, of an IPv6 address 0
 * to 128. Prefixes of the two families are never the same. */
static inline struct xlb_address xlb_prefix(struct xlb_address a, uint32_t ipv4, uint32_t ipv6)
{
	return xlb_masked(a, xlb_is_ipv4(a) ? 96 + ipv4 : ipv6);
}

/* A bijection of 64 bits in which each bit of x changes half of the result's
 * (the finalizer of MurmurHash3 with the constants of splitmix64). */
static inline uint64_t xlb_mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* A hash of an address; another seed makes another, independent one. */
static inline uint64_t xlb_hash(struct xlb_address a, uint64_t seed)
{
	return xlb_mix(xlb_mix(a.hi ^ seed) + 0x9e3779b97f4a7c15 + a.lo);
}

/* ---- the flow hook ---- */

struct xlb_flow {
	struct xlb_address source, destination; /* client, VIP */
	uint32_t source_port, destination_port;
	uint32_t protocol;  /* XLB_TCP or XLB_UDP */
	uint32_t tcp_flags; /* of the first packet; 0 with UDP */
	uint64_t hash;      /* the same on every load balancer */
	uint32_t backends;  /* how many take new flows */
};

typedef uint64_t xlb_verdict;

static inline xlb_verdict xlb_verdict_of(uint32_t action, uint16_t reason, uint32_t operand)
{
	return action | (uint64_t)reason << 16 | (uint64_t)operand << 32;
}

/* Each verdict carries a reason, 0 to 65535, which xlb counts; 0 is none. */

/* Let the next policy decide, and after the last one the service's table. */
static inline xlb_verdict xlb_continue(uint16_t reason)
{
	return xlb_verdict_of(0, reason, 0);
}

/* Drop the flow silently. */
static inline xlb_verdict xlb_drop(uint16_t reason)
{
	return xlb_verdict_of(1, reason, 0);
}

/* Tell the client: a TCP RST, or ICMP "administratively prohibited". */
static inline xlb_verdict xlb_reject(uint16_t reason)
{
	return xlb_verdict_of(2, reason, 0);
}

/* A backend: 0 to xlb_flow.backends - 1, in the order of address and port. */
static inline xlb_verdict xlb_backend(uint32_t index, uint16_t reason)
{
	return xlb_verdict_of(3, reason, index);
}

/* One of the manifest's subsets, by its place in the list. */
static inline xlb_verdict xlb_subset(uint32_t index, uint16_t reason)
{
	return xlb_verdict_of(4, reason, index);
}

/* The service's table decides, asked with this hash in place of the flow's:
 * flows of the same hash go to the same backend. */
static inline xlb_verdict xlb_by_hash(uint32_t hash, uint16_t reason)
{
	return xlb_verdict_of(5, reason, hash);
}

#define XLB_FLOW(decide)                                                                   \
	XLB_EXPORT(flow)                                                                   \
	xlb_verdict xlb_export_flow(uint64_t src_hi, uint64_t src_lo, uint64_t dst_hi,     \
				    uint64_t dst_lo, uint32_t src_port, uint32_t dst_port, \
				    uint32_t protocol, uint32_t tcp_flags, uint64_t hash,  \
				    uint32_t backends)                                     \
	{                                                                                  \
		return decide((struct xlb_flow){{src_hi, src_lo}, {dst_hi, dst_lo},        \
						src_port, dst_port, protocol, tcp_flags,   \
						hash, backends});                          \
	}

/* ---- the weigh hook ---- */

enum xlb_state { XLB_UNKNOWN, XLB_UP, XLB_DOWN, XLB_DRAINING };

/* A backend, and the answer about it. As given, the answer leaves all as it is. */
struct xlb_backend {
	uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
	uint16_t port;
	uint8_t state; /* enum xlb_state */
	uint8_t reserved;
	uint32_t weight; /* as configured, or as the operator set it */
	uint32_t tier;
	const char *zone;
	uint32_t zone_length;
	const char *tags; /* with commas between */
	uint32_t tags_length;
	uint32_t reserved2;
	uint64_t latency_ns; /* of probes, smoothed; 0: not known */
	uint64_t flows;      /* live now */
	uint64_t flows_total;
	uint64_t errors_total; /* failed probes */
	int32_t new_weight;    /* 0 to 65535, or -1: leave */
	int32_t new_tier;      /* 0 to 255, or -1: leave */
	uint32_t eject;	       /* 1: no new flows */
	uint32_t reason;       /* shown to the operator, 0 to 65535 */
};

_Static_assert(sizeof(void *) == 4, "build with --target=wasm32");
_Static_assert(sizeof(struct xlb_backend) == 96, "the record of ABI version 1");
_Static_assert(offsetof(struct xlb_backend, latency_ns) == 48, "the record of ABI version 1");

/* Whether the backend takes new flows. */
static inline bool xlb_usable(const struct xlb_backend *b)
{
	return b->weight > 0 && (b->state == XLB_UNKNOWN || b->state == XLB_UP);
}

/* Whether a text of the record, as zone, is a word. */
static inline bool xlb_is(const char *text, uint32_t length, const char *word)
{
	uint32_t i = 0;

	while (i < length && word[i] && text[i] == word[i])
		i++;
	return i == length && !word[i];
}

static inline bool xlb_has_tag(const struct xlb_backend *b, const char *tag)
{
	for (uint32_t from = 0, i = 0; i <= b->tags_length; i++) {
		if (i < b->tags_length && b->tags[i] != ',')
			continue;
		if (i > from && xlb_is(b->tags + from, i - from, tag))
			return true;
		from = i + 1;
	}
	return false;
}

/* The number that weigh returns: 0, or an error, upon which all stays as it is. */
#define XLB_WEIGH(answer)                                                                  \
	XLB_EXPORT(weigh)                                                                  \
	uint32_t xlb_export_weigh(struct xlb_backend *backends, uint32_t count,            \
				  uint32_t strings)                                        \
	{                                                                                  \
		(void)strings; /* zone and tags point into them */                         \
		return answer(backends, count);                                            \
	}

/* ---- the probe hook ---- */

#define XLB_PROBE(check)                                                                   \
	XLB_EXPORT(probe) uint32_t xlb_export_probe(uint32_t timeout_ms)                   \
	{                                                                                  \
		return check(timeout_ms) ? 0 : 1;                                          \
	}

/* ---- what the host gives ---- */

enum xlb_level { XLB_DEBUG, XLB_INFO, XLB_WARN, XLB_ERROR };

/* At most 1024 bytes; the host logs some ten lines a second. */
XLB_IMPORT(log) void xlb_log(uint32_t level, const char *text, uint32_t length);
/* Monotonic nanoseconds. */
XLB_IMPORT(now) uint64_t xlb_now(void);
XLB_IMPORT(random) uint64_t xlb_random(void);
/* A counter of the manifest, by its place in the list. */
XLB_IMPORT(count) void xlb_count(uint32_t counter, int64_t delta);
/* A probe's connection: bytes written, or -1. */
XLB_IMPORT(conn_write) int32_t xlb_write(const void *from, uint32_t length);
/* Bytes read, 0 at the end, -1 on an error or when the probe's time is over. */
XLB_IMPORT(conn_read) int32_t xlb_read(void *to, uint32_t length);
/* What a probe found; at most 64 bytes. */
XLB_IMPORT(set_reason) void xlb_set_reason(const char *text, uint32_t length);
XLB_IMPORT(set_role) void xlb_set_role(const char *text, uint32_t length);

XLB_IMPORT(table_lookup) int64_t xlb_table_lookup(uint32_t table, uint64_t hi, uint64_t lo);

/* A table of the manifest, by its place in the list: the entry's value, or -1. */
static inline int64_t xlb_lookup(uint32_t table, struct xlb_address key)
{
	return xlb_table_lookup(table, key.hi, key.lo);
}

static inline int64_t xlb_lookup_integer(uint32_t table, uint64_t key)
{
	return xlb_table_lookup(table, 0, key);
}

/* A word of up to eight bytes as it stands in a table. */
static inline int64_t xlb_word(const char *word)
{
	int64_t packed = 0;

	for (; *word; word++)
		packed = packed << 8 | (uint8_t)*word;
	return packed;
}

/* ---- what every module has ---- */

XLB_EXPORT(xlb_abi_version) __attribute__((weak)) uint32_t xlb_export_abi_version(void)
{
	return 1;
}

/* The host's buffer is all that lies behind the globals: there is no other heap.
 * Its next use overwrites it. */
XLB_EXPORT(alloc) __attribute__((weak)) void *xlb_export_alloc(uint32_t size)
{
	extern unsigned char __heap_base;
	uint32_t at = ((uint32_t)(uintptr_t)&__heap_base + 7) & ~7u;
	uint64_t pages = ((uint64_t)at + size + 0xffff) >> 16;
	uint32_t have = __builtin_wasm_memory_size(0);

	if (pages > have && __builtin_wasm_memory_grow(0, pages - have) == SIZE_MAX)
		return NULL;
	return (void *)(uintptr_t)at;
}

/* The compiler calls these for large structures. */
__attribute__((weak, no_builtin)) void *memset(void *to, int byte, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((unsigned char *)to)[i] = byte;
	return to;
}

__attribute__((weak, no_builtin)) void *memcpy(void *restrict to, const void *restrict from,
						size_t length)
{
	for (size_t i = 0; i < length; i++)
		((unsigned char *)to)[i] = ((const unsigned char *)from)[i];
	return to;
}
