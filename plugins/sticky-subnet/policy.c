/* Sends all clients of a subnet to the same backend of the service's table. */

#include "xlb_config.h"

enum reason { REASON_STICKY = 1 };

struct config {
	int64_t ipv4, ipv6, seed;
};

static struct config config = {.ipv4 = 24, .ipv6 = 56};

/* Every load balancer hashes alike, whichever of them a packet reaches. */
static xlb_verdict flow(struct xlb_flow f)
{
	struct xlb_address subnet = xlb_prefix(f.source, config.ipv4, config.ipv6);

	return xlb_by_hash(xlb_hash(subnet, config.seed) >> 32, REASON_STICKY);
}

XLB_FLOW(flow)

static bool number(struct xlb_json value, int64_t most, int64_t *into)
{
	return !value.at || (xlb_json_integer(value, into) && *into >= 0 && *into <= most);
}

static const char *parse(struct xlb_json json, struct config *into)
{
	*into = (struct config){.ipv4 = 24, .ipv6 = 56};
	if (!number(xlb_json_get(json, "ipv4"), 32, &into->ipv4))
		return "ipv4: a prefix length, 0 to 32";
	if (!number(xlb_json_get(json, "ipv6"), 128, &into->ipv6))
		return "ipv6: a prefix length, 0 to 128";
	if (!number(xlb_json_get(json, "seed"), UINT32_MAX, &into->seed))
		return "seed: 0 to 4294967295";
	return NULL;
}

static void use(const struct config *new)
{
	config = *new;
}

XLB_CONFIG(struct config, parse, use)
