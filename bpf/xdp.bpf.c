//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The data plane at the XDP hook. */

#include "lib/uapi.h"

#include "lib/config.h"
#include "lib/maps.h"
#include "lib/ctx_xdp.h"
#include "lib/balance.h"

SEC("xdp.frags")
int xlb_xdp(struct xdp_md *ctx)
{
	return balance(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Go takes its copy of these from the debug information; name them, so that
 * they are in it. */
const enum reason *go_reason __attribute__((unused));
const enum event *go_event __attribute__((unused));
const enum flow_state *go_flow_state __attribute__((unused));
const enum outcome *go_outcome __attribute__((unused));
const struct vip4_key *go_vip4_key __attribute__((unused));
const struct vip6_key *go_vip6_key __attribute__((unused));
const struct vip *go_vip __attribute__((unused));
const struct rule_key *go_rule_key __attribute__((unused));
