/*
 * Limits how many new flows a client's prefix begins in a second.
 *
 * A bucket is one time (the generic cell rate algorithm, ITU-T I.371): when it
 * will be full again. A flow moves it on by the time that one token takes; one
 * that would move it further ahead than the burst is refused. Buckets live in
 * sets of WAYS of a table of fixed size. A prefix that has none takes the way
 * that is full or will be first: a full bucket says no more than none. So a limit
 * is forgotten only while more than WAYS prefixes of a set are active at once.
 */

#include "xlb_config.h"

enum { WAYS = 4, SETS = 4096 };
enum table { TABLE_EXEMPT };
enum reason { REASON_EXEMPT = 1, REASON_RATE = 2 };
enum counter { COUNTER_REPLACED };

struct bucket {
	uint64_t tag, full_at;
};

struct config {
	int64_t rate_milli, burst, ipv4, ipv6;
	bool reject;
};

static struct bucket buckets[SETS][WAYS];
static struct config config;
static uint64_t token_ns, burst_ns, seed;

static struct bucket *bucket_of(uint64_t tag, uint64_t now)
{
	struct bucket *set = buckets[tag % SETS], *oldest = set;

	for (int i = 0; i < WAYS; i++) {
		if (set[i].tag == tag)
			return &set[i];
		if (set[i].full_at < oldest->full_at)
			oldest = &set[i];
	}
	if (oldest->full_at > now)
		xlb_count(COUNTER_REPLACED, 1);
	*oldest = (struct bucket){tag, now};
	return oldest;
}

static xlb_verdict flow(struct xlb_flow f)
{
	if (xlb_lookup(TABLE_EXEMPT, f.source) >= 0)
		return xlb_continue(REASON_EXEMPT);
	uint64_t now = xlb_now();
	uint64_t tag = xlb_hash(xlb_prefix(f.source, config.ipv4, config.ipv6), seed);
	struct bucket *bucket = bucket_of(tag, now);
	uint64_t full_at = (bucket->full_at > now ? bucket->full_at : now) + token_ns;

	if (full_at - now > burst_ns)
		return config.reject ? xlb_reject(REASON_RATE) : xlb_drop(REASON_RATE);
	bucket->full_at = full_at;
	return xlb_continue(0);
}

XLB_FLOW(flow)

static bool number(struct xlb_json value, int places, int64_t least, int64_t most, int64_t *into)
{
	return !value.at ||
	       (xlb_json_decimal(value, places, into) && *into >= least && *into <= most);
}

static const char *parse(struct xlb_json json, struct config *into)
{
	struct xlb_json refuse = xlb_json_get(json, "refuse");

	*into = (struct config){.rate_milli = 0, .ipv4 = 32, .ipv6 = 64};
	if (!number(xlb_json_get(json, "rate"), 3, 1, 1000000000, &into->rate_milli) ||
	    into->rate_milli == 0)
		return "rate: new flows a second, 0.001 to 1000000";
	/* A second's worth, unless told otherwise. */
	into->burst = (into->rate_milli + 999) / 1000;
	if (!number(xlb_json_get(json, "burst"), 0, 1, 1000000, &into->burst))
		return "burst: 1 to 1000000";
	if (!number(xlb_json_get(json, "ipv4"), 0, 0, 32, &into->ipv4))
		return "ipv4: a prefix length, 0 to 32";
	if (!number(xlb_json_get(json, "ipv6"), 0, 0, 128, &into->ipv6))
		return "ipv6: a prefix length, 0 to 128";
	into->reject = xlb_json_is(refuse, "reject");
	if (refuse.at && !into->reject && !xlb_json_is(refuse, "drop"))
		return "refuse: drop or reject";
	return NULL;
}

/* Buckets stay, unless they are of other prefixes now. Nobody outside knows the
 * seed: none can aim at another's set. */
static void use(const struct config *new)
{
	if (new->ipv4 != config.ipv4 || new->ipv6 != config.ipv6 || seed == 0)
		seed = xlb_random() | 1;
	config = *new;
	token_ns = 1000000000000 / config.rate_milli;
	burst_ns = token_ns * config.burst;
}

XLB_CONFIG(struct config, parse, use)
