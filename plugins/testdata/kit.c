/* All of xlb.h, for the test that compares it with the other SDKs. */

#include "xlb_config.h"

XLB_EXPORT(prefix_hi) uint64_t prefix_hi(uint64_t hi, uint64_t lo, uint32_t ipv4, uint32_t ipv6)
{
	return xlb_prefix((struct xlb_address){hi, lo}, ipv4, ipv6).hi;
}

XLB_EXPORT(prefix_lo) uint64_t prefix_lo(uint64_t hi, uint64_t lo, uint32_t ipv4, uint32_t ipv6)
{
	return xlb_prefix((struct xlb_address){hi, lo}, ipv4, ipv6).lo;
}

XLB_EXPORT(hash) uint64_t hash(uint64_t hi, uint64_t lo, uint64_t seed)
{
	return xlb_hash((struct xlb_address){hi, lo}, seed);
}

/* The flow's ports are the verdict's kind and reason, its hash the operand. */
static xlb_verdict flow(struct xlb_flow f)
{
	switch (f.source_port) {
	case 0:
		return xlb_continue(f.destination_port);
	case 1:
		return xlb_drop(f.destination_port);
	case 2:
		return xlb_reject(f.destination_port);
	case 3:
		return xlb_backend(f.hash, f.destination_port);
	case 4:
		return xlb_subset(f.hash, f.destination_port);
	case 5:
		return xlb_by_hash(f.hash, f.destination_port);
	default: /* every parameter counts */
		return xlb_by_hash(f.source.hi + 2 * f.source.lo + 3 * f.destination.hi + 5 * f.destination.lo + 7 * f.protocol +
				   11 * f.tcp_flags + 13 * f.hash + 17 * f.backends, 0);
	}
}

XLB_FLOW(flow)

static uint32_t weigh(struct xlb_backend *backends, uint32_t count)
{
	for (struct xlb_backend *b = backends; b < backends + count; b++) {
		if (b->errors_total == 99)
			return 7;
		b->new_weight = xlb_usable(b) ? b->weight + b->port : 0;
		b->new_tier = b->tier + xlb_has_tag(b, "b");
		b->eject = xlb_is(b->zone, b->zone_length, "z");
		b->reason = b->address[15] + b->latency_ns + b->flows + b->flows_total + b->errors_total;
	}
	return 0;
}

XLB_WEIGH(weigh)

static bool probe(uint32_t timeout_ms)
{
	char got[16];
	int32_t n;

	xlb_log(XLB_WARN, "careful", 7);
	xlb_count(3, -5);
	if (xlb_write("hello", 5) != 5)
		return false;
	n = xlb_read(got, sizeof(got));
	xlb_set_reason(got, n);
	xlb_set_role("primary", 7);
	return timeout_ms == 1234 && xlb_random() == 4 && xlb_lookup(1, (struct xlb_address){10, 20}) == 30 &&
	       xlb_lookup_integer(2, 77) == -1 && xlb_word("DE") == 0x4445;
}

XLB_PROBE(probe)

struct config {
	int64_t number;
};

static int64_t number;

static const char *parse(struct xlb_json json, struct config *into)
{
	return xlb_json_integer(xlb_json_get(json, "number"), &into->number) ? NULL : "number: it is missing";
}

static void use(const struct config *config)
{
	number = config->number;
}

XLB_CONFIG(struct config, parse, use)

XLB_EXPORT(state) int64_t state(void)
{
	return xlb_wall() + number;
}
