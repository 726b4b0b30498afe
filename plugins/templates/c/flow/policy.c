/* Refuses the clients of the table `blocked`. */

#include "xlb_config.h"

/* As in policy.yaml. */
enum table { TABLE_BLOCKED };
enum counter { COUNTER_REFUSED };
enum reason { REASON_BLOCKED = 1 };

struct config {
	bool reject;
};

static struct config config;

static xlb_verdict flow(struct xlb_flow f)
{
	if (xlb_lookup(TABLE_BLOCKED, f.source) < 0)
		return xlb_continue(0);
	xlb_count(COUNTER_REFUSED, 1);
	return config.reject ? xlb_reject(REASON_BLOCKED) : xlb_drop(REASON_BLOCKED);
}

XLB_FLOW(flow)

static const char *parse(struct xlb_json json, struct config *into)
{
	struct xlb_json refuse = xlb_json_get(json, "refuse");

	into->reject = xlb_json_is(refuse, "reject");
	if (refuse.at && !into->reject && !xlb_json_is(refuse, "drop"))
		return "refuse: drop or reject";
	return NULL;
}

static void use(const struct config *new)
{
	config = *new;
}

XLB_CONFIG(struct config, parse, use)
