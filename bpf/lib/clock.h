/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* Time in ticks of 2^20 ns (1.05 ms) in 32 bits: it wraps after 52 days, so
 * compare differences only. The coarse clock moves every jiffy, costs a few
 * nanoseconds and exists since Linux 5.11. */

#include "types.h"

/* Ticks by which two CPUs may differ, generously. */
#define CLOCK_SKEW 65536

#define MILLISECOND 1000000LL

/* Whether something happened longer ago than that; at and now in nanoseconds of
 * the coarse clock. What another CPU sees may be a little ahead of now. */
static __always_inline bool clock_past(__u64 at, __u64 now, __s64 milliseconds)
{
	return (__s64)(now - at) > milliseconds * MILLISECOND;
}

static __always_inline __u32 clock_now(void)
{
	return bpf_ktime_get_coarse_ns() >> 20;
}
