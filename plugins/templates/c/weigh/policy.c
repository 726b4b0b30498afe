/* Gives backends with a tag a part of their weight. */

#include "xlb_config.h"

/* As in policy.yaml. */
enum reason { REASON_TAG = 1 };

struct config {
	char tag[65]; /* ends with 0 */
	int64_t percent;
};

static struct config config;

static uint32_t weigh(struct xlb_backend *backends, uint32_t count)
{
	for (struct xlb_backend *b = backends; b < backends + count; b++) {
		if (!xlb_has_tag(b, config.tag))
			continue;
		b->new_weight = b->weight * config.percent / 100;
		b->reason = REASON_TAG;
	}
	return 0;
}

XLB_WEIGH(weigh)

static const char *parse(struct xlb_json json, struct config *into)
{
	struct xlb_json percent = xlb_json_get(json, "percent");
	int32_t length = xlb_json_string(xlb_json_get(json, "tag"), into->tag, 64);

	if (length < 1)
		return "tag: a text of 1 to 64 bytes";
	into->tag[length] = 0;
	into->percent = 50;
	if (percent.at && (!xlb_json_integer(percent, &into->percent) || into->percent < 0 ||
			   into->percent > 100))
		return "percent: 0 to 100";
	return NULL;
}

static void use(const struct config *new)
{
	config = *new;
}

XLB_CONFIG(struct config, parse, use)
