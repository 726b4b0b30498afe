/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#pragma once
/* What a service's allow and deny lists say of a packet's source, and which table
 * its flows ask. Lists and steering are one trie, compiled by pkg/rules, so that a
 * packet asks once. */

#include "gate.h"

/* What the rules of a service say of a source: see RULE_DENIED. Not static, so that
 * the verifier looks at it once; only services with rules pay for the call. */
__noinline __u32 rule_find(const struct packet *p, __u32 service)
{
	struct rule_key key = { .length = 128 };
	void *trie = bpf_map_lookup_elem(&rules, &service);
	__u32 *rule;

	if (!p || !trie)
		return 0;
	key.word[0] = p->source.word[0];
	key.word[1] = p->source.word[1];
	key.word[2] = p->ipv6 ? p->source.word[2] : bpf_htonl(0xffff);
	key.word[3] = p->source.word[3];
	rule = bpf_map_lookup_elem(trie, &key);
	return rule ? *rule : 0;
}

/* Whether the service takes no packets of the source; then v says why. *table is
 * set if flows of the source ask another than the service's own. */
static __always_inline bool rules_refuse(const struct packet *p, __u32 service, __u32 *table,
					 struct verdict *v)
{
	__u32 rule = rule_find(p, service);

	if (rule & (RULE_DENIED | RULE_NOT_ALLOWED)) {
		v->reason = rule & RULE_DENIED ? REASON_DROP_DENIED : REASON_DROP_NOT_ALLOWED;
		count_refused(service, v->reason);
		return true;
	}
	if (rule)
		*table = rule;
	return false;
}
