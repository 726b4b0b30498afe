/* Allows and denies clients by the tables `allow` and `deny`; allow is asked first. */

#include "xlb_config.h"

enum table { TABLE_ALLOW, TABLE_DENY };
enum reason { REASON_LISTED = 1, REASON_UNLISTED = 2 };

struct config {
	bool deny_unlisted, reject;
};

static struct config config;

static xlb_verdict refuse(bool reject, enum reason reason)
{
	return reject ? xlb_reject(reason) : xlb_drop(reason);
}

static xlb_verdict flow(struct xlb_flow f)
{
	int64_t entry;

	if (xlb_lookup(TABLE_ALLOW, f.source) >= 0)
		return xlb_continue(0);
	entry = xlb_lookup(TABLE_DENY, f.source);
	if (entry == xlb_word("drop"))
		return refuse(false, REASON_LISTED);
	if (entry == xlb_word("reject"))
		return refuse(true, REASON_LISTED);
	if (entry >= 0)
		return refuse(config.reject, REASON_LISTED);
	if (config.deny_unlisted)
		return refuse(config.reject, REASON_UNLISTED);
	return xlb_continue(0);
}

XLB_FLOW(flow)

/* One of two words, the first unless the key is there. */
static bool either(struct xlb_json value, const char *first, const char *second, bool *is_second)
{
	*is_second = xlb_json_is(value, second);
	return !value.at || *is_second || xlb_json_is(value, first);
}

static const char *parse(struct xlb_json json, struct config *into)
{
	if (!either(xlb_json_get(json, "unlisted"), "allow", "deny", &into->deny_unlisted))
		return "unlisted: allow or deny";
	if (!either(xlb_json_get(json, "refuse"), "drop", "reject", &into->reject))
		return "refuse: drop or reject";
	return NULL;
}

static void use(const struct config *new)
{
	config = *new;
}

XLB_CONFIG(struct config, parse, use)
