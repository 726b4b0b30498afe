/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/*
 * The pipeline: parse, service, slot, flow, policy, next hop, transform,
 * transmit, and one exit at which the verdict is counted.
 *
 * Up to transform() nothing in the packet has changed and every doubt passes it
 * to the stack as it came.
 */

#include "parse.h"
#include "reply.h"
#include "request.h"
#include "service.h"
#include "upcall.h"

/* What becomes of a packet, by whom it is to and from. */
static __always_inline enum fate decide(ctx_t *ctx, struct packet *p, struct target *t,
					struct verdict *v)
{
	enum fate fate = FATE_FOREIGN;
	__u32 service, source;
	__u64 vip;

	vip = vip_find(&p->destination, p->destination_port, p->protocol, p->ipv6);
	service = vip_service(vip);
	source = source_find(p, vip);
	/* An address may be both: a VIP's port may be one that nat took. */
	if (!source && !service && from_dnat_backend(p))
		source = SOURCE_CLIENT + 1;
	if (source) {
		fate = reply(p, source - 1, t, v);
		/* What it left there need not be followed on: Linux 6.1 looks at all that
		 * comes after once for each way out of reply(). */
		if (fate == FATE_FOREIGN)
			*t = (struct target){};
	}
	if (fate == FATE_FOREIGN && service)
		fate = request(ctx, p, service, t, v);
	return fate;
}

static __always_inline int dispatch(ctx_t *ctx, struct packet *p, struct verdict *v)
{
	struct target t = {};
	int fate = decide(ctx, p, &t, v);

	if (fate == FATE_ASK)
		fate = ask(ctx, p, v);
	if (fate == FATE_RECORD)
		fate = flow_record(&t, v);
	if (fate == FATE_SEND)
		return send(ctx, p, &t, v);
	if (fate == FATE_DROP)
		return ctx_drop(ctx);
	if (fate == FATE_FOREIGN)
		v->reason = REASON_PASS_NOT_VIP;
	return ctx_pass(ctx);
}

static __always_inline int balance(ctx_t *ctx)
{
	struct packet *p = packet_get();
	struct verdict v = {};
	int action = ctx_pass(ctx), left;

	if (!p)
		return action;
	p->length = ctx_first_length(ctx);
	left = parse_frame(ctx, p);
	if (left < 0)
		action = dispatch(ctx, p, &v);
	else
		v.reason = left;
	v.length = p->length;
	count_verdict(&v);
	return action;
}
