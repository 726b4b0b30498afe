/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The configuration of a policy: one flat JSON object, read in place.
 *
 *     static const char *parse(struct xlb_json json, struct config *into);
 *     static void use(const struct config *config);
 *     XLB_CONFIG(struct config, parse, use)
 *
 * parse returns NULL or what is wrong, as "percent: 0 to 100", and changes
 * nothing else; use puts into force what parse accepted. Both may come again at
 * any time, and come every hour with the same configuration.
 */

#include "xlb.h"
#include "xlb_json.h"

/* Nanoseconds since 1970 minus the monotonic clock's. */
static int64_t xlb_clock_offset;

/* Nanoseconds since 1970. */
static inline int64_t xlb_wall(void)
{
	return xlb_clock_offset + (int64_t)xlb_now();
}

/* A text's place and length in one number; 0 for none. */
static inline uint64_t xlb_text(const char *text)
{
	uint32_t length = 0;

	if (!text)
		return 0;
	while (text[length])
		length++;
	return (uint64_t)(uintptr_t)text << 32 | length;
}

/* No text at all is an empty object. */
static inline struct xlb_json xlb_json_of(const char *text, uint32_t length)
{
	static const char empty[] = "{}";

	if (length == 0)
		return (struct xlb_json){empty, empty + 2};
	return (struct xlb_json){text, text + length};
}

#define XLB_CONFIG(type, parse, use)                                                       \
	static const char *xlb_parse(const char *text, uint32_t length, type *into)        \
	{                                                                                  \
		struct xlb_json json = xlb_json_of(text, length);                          \
		if (!xlb_json_flat(json))                                                  \
			return "not an object of numbers, texts, booleans and lists of them"; \
		return parse(json, into);                                                  \
	}                                                                                  \
	XLB_EXPORT(validate) uint64_t xlb_export_validate(const char *text, uint32_t length) \
	{                                                                                  \
		static type config;                                                        \
		return xlb_text(xlb_parse(text, length, &config));                         \
	}                                                                                  \
	XLB_EXPORT(configure)                                                              \
	uint32_t xlb_export_configure(const char *text, uint32_t length, int64_t wall,     \
				      int64_t monotonic)                                   \
	{                                                                                  \
		static type config;                                                        \
		if (xlb_parse(text, length, &config))                                      \
			return 1;                                                          \
		xlb_clock_offset = wall - monotonic;                                       \
		use(&config);                                                              \
		return 0;                                                                  \
	}
