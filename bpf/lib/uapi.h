/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* The kernel's user API, and nothing else of the kernel. */

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* From sys/socket.h, which is not for BPF. */
#define AF_INET 2
#define AF_INET6 10

/* Next hops kept per CPU; a power of two. */
#define NEXT_HOPS 4096

/* VLAN devices known; the 4094 of one interface fit. */
#define VLANS 4096

/* Decisions that wait for their packet; each waits for microseconds. */
#define DECISIONS 65536

/* Bytes of the ring buffer; some ten thousand SYNs. */
#define UPCALL_RING (2 << 20)
