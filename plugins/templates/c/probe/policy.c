/* Healthy is who gives the wanted answer. */

#include "xlb_config.h"

struct text {
	char bytes[64];
	int32_t length;
};

struct config {
	struct text send, expect;
};

static struct config config;

static bool unhealthy(const char *why, uint32_t length)
{
	xlb_set_reason(why, length);
	return false;
}

static bool probe(uint32_t timeout_ms)
{
	const struct text *expect = &config.expect;
	char answer[64];
	int32_t have = 0;

	(void)timeout_ms; /* the host ends a read that takes longer */
	if (config.send.length && xlb_write(config.send.bytes, config.send.length) < 0)
		return unhealthy("cannot send", 11);
	while (have < expect->length) {
		int32_t n = xlb_read(answer + have, expect->length - have);
		if (n <= 0)
			return unhealthy("no whole answer", 15);
		for (int32_t i = have; i < have + n; i++)
			if (answer[i] != expect->bytes[i])
				return unhealthy("unexpected answer", 17);
		have += n;
	}
	xlb_set_role("server", 6);
	return true;
}

XLB_PROBE(probe)

/* A text of the configuration, else another. */
static bool text(struct xlb_json value, const char *otherwise, struct text *into)
{
	into->length = 0;
	if (value.at) {
		into->length = xlb_json_string(value, into->bytes, sizeof(into->bytes));
		return into->length >= 0;
	}
	for (; *otherwise; otherwise++)
		into->bytes[into->length++] = *otherwise;
	return true;
}

static const char *parse(struct xlb_json json, struct config *into)
{
	if (!text(xlb_json_get(json, "send"), "PING\r\n", &into->send))
		return "send: a text of at most 64 bytes";
	if (!text(xlb_json_get(json, "expect"), "+PONG", &into->expect) || into->expect.length < 1)
		return "expect: a text of 1 to 64 bytes";
	return NULL;
}

static void use(const struct config *new)
{
	config = *new;
}

XLB_CONFIG(struct config, parse, use)
