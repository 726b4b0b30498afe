/* Asks the reader of xlb_json.h what the test wants to know. */

#include "xlb_config.h"

static const char *const keys[] = {"k", "", "ä€😀", "a\"\\\n"};
static char out[4096];

XLB_EXPORT(out) char *out_place(void)
{
	return out;
}

XLB_EXPORT(ask) int64_t ask(const char *text, uint32_t length, uint32_t key, uint32_t question, uint32_t n)
{
	struct xlb_json json = xlb_json_of(text, length);
	struct xlb_json value = xlb_json_get(json, keys[key]), item = {0};
	int64_t number;
	bool yes;

	switch (question) {
	case 0:
		return xlb_json_flat(json);
	case 1:
		return value.at != NULL;
	case 2:
		return xlb_json_decimal(value, n, &number) ? number : INT64_MIN;
	case 3:
		return xlb_json_bool(value, &yes) ? yes : -1;
	case 4:
		return xlb_json_string(value, out, sizeof(out));
	case 5:
		return xlb_json_is(value, "drop");
	case 6: /* how many items */
		for (n = 0; xlb_json_next(value, &item);)
			n++;
		return n;
	default: /* an item */
		do
			if (!xlb_json_next(value, &item))
				return -2;
		while (n-- > 0);
		return xlb_json_string(item, out, sizeof(out));
	}
}
