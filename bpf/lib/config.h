/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* Constants of a running program. Go sets them before load, so that the
 * verifier removes the branches they switch off. */

#include "types.h"

volatile const __u32 table_size = 65537;
volatile const __u32 vip_bucket_mask = 0;
volatile const __u32 flow_set_mask = 0;
volatile const __u32 port_cell_mask = 0;
volatile const __u64 flow_seed = 0;
volatile const __u16 nat_port_first = 1024;
volatile const __u16 nat_port_last = 32767;

/* 1: send everything to gateway_mac, out of the interface it came in by. */
volatile const __u8 fixed_gateway = 0;
volatile const __u8 gateway_mac[6] = {};

/* 1: a TC program behind an XDP program. It sees what XDP passed and finishes
 * what needs the stack's help; what is not ours was counted by XDP. */
volatile const __u8 companion = 0;

/* Of the program that sends probes: the interface in whose place it looks for
 * routes, and that interface's address; 0 in all others. */
volatile const __u32 probe_ingress = 0;
volatile const __u8 probe_mac[6] = {};
