/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A reader of flat JSON objects: values are numbers, strings, booleans, null and
 * arrays of these. It reads in place and keeps nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A position in a text; at NULL: nothing. */
struct xlb_json {
	const char *at, *end;
};

static inline struct xlb_json xlb_json_skip_space(struct xlb_json j)
{
	while (j.at < j.end && (*j.at == ' ' || *j.at == '\t' || *j.at == '\n' || *j.at == '\r'))
		j.at++;
	return j;
}

/* Behind a character, if it comes next, and spaces around it. */
static inline bool xlb_json_take(struct xlb_json *j, char c)
{
	*j = xlb_json_skip_space(*j);
	if (j->at >= j->end || *j->at != c)
		return false;
	j->at++;
	*j = xlb_json_skip_space(*j);
	return true;
}

static inline int32_t xlb_json_hex(struct xlb_json *j)
{
	int32_t value = 0;

	for (int i = 0; i < 4; i++, j->at++) {
		if (j->at >= j->end)
			return -1;
		char c = *j->at, low = c | 0x20;
		if (c >= '0' && c <= '9')
			value = value << 4 | (c - '0');
		else if (low >= 'a' && low <= 'f')
			value = value << 4 | (low - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/* What \u says: a character of one or two units; a lone surrogate is U+FFFD. */
static inline int32_t xlb_json_unicode(struct xlb_json *j)
{
	int32_t high = xlb_json_hex(j);
	if (high < 0xd800 || high > 0xdfff)
		return high;
	struct xlb_json next = *j;
	if (high < 0xdc00 && next.end - next.at >= 6 && next.at[0] == '\\' && next.at[1] == 'u') {
		next.at += 2;
		int32_t low = xlb_json_hex(&next);
		if (low >= 0xdc00 && low <= 0xdfff) {
			*j = next;
			return 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00));
		}
	}
	return 0xfffd;
}

/* The next character within a string as UTF-8: its length, 0 at the closing
 * quote, -1 if it is none. */
static inline int xlb_json_character(struct xlb_json *j, char out[4])
{
	static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";

	if (j->at >= j->end || (uint8_t)*j->at < 0x20)
		return -1;
	char c = *j->at++;
	if (c == '"')
		return 0;
	out[0] = c;
	if (c != '\\')
		return 1;
	if (j->at >= j->end)
		return -1;
	c = *j->at++;
	for (const char *e = escapes; *e; e += 2) {
		if (*e == c) {
			out[0] = e[1];
			return 1;
		}
	}
	int32_t rune = c == 'u' ? xlb_json_unicode(j) : -1;
	if (rune < 0)
		return -1;
	if (rune < 0x80) {
		out[0] = rune;
		return 1;
	}
	int length = rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
	for (int i = length - 1; i > 0; i--, rune >>= 6)
		out[i] = 0x80 | (rune & 0x3f);
	out[0] = (uint8_t)(0xf00 >> length) | rune;
	return length;
}

/* Behind a string; at its opening quote. */
static inline bool xlb_json_pass_string(struct xlb_json *j)
{
	char out[4];
	int length = 1;

	if (j->at >= j->end || *j->at != '"')
		return false;
	j->at++;
	while (length > 0)
		length = xlb_json_character(j, out);
	return length == 0;
}

static inline bool xlb_json_pass_digits(struct xlb_json *j)
{
	const char *from = j->at;

	while (j->at < j->end && *j->at >= '0' && *j->at <= '9')
		j->at++;
	return j->at > from;
}

static inline bool xlb_json_pass_number(struct xlb_json *j)
{
	if (j->at < j->end && *j->at == '-')
		j->at++;
	if (j->at < j->end && *j->at == '0')
		j->at++;
	else if (!xlb_json_pass_digits(j))
		return false;
	if (j->at < j->end && *j->at == '.') {
		j->at++;
		if (!xlb_json_pass_digits(j))
			return false;
	}
	if (j->at < j->end && (*j->at == 'e' || *j->at == 'E')) {
		j->at++;
		if (j->at < j->end && (*j->at == '+' || *j->at == '-'))
			j->at++;
		return xlb_json_pass_digits(j);
	}
	return true;
}

static inline bool xlb_json_pass_word(struct xlb_json *j, const char *word)
{
	while (*word && j->at < j->end && *j->at == *word)
		j->at++, word++;
	return !*word;
}

static inline bool xlb_json_pass_scalar(struct xlb_json *j)
{
	switch (j->at < j->end ? *j->at : 0) {
	case '"':
		return xlb_json_pass_string(j);
	case 't':
		return xlb_json_pass_word(j, "true");
	case 'f':
		return xlb_json_pass_word(j, "false");
	case 'n':
		return xlb_json_pass_word(j, "null");
	default:
		return xlb_json_pass_number(j);
	}
}

/* Behind a scalar or an array of scalars. */
static inline bool xlb_json_pass_value(struct xlb_json *j)
{
	if (!xlb_json_take(j, '['))
		return xlb_json_pass_scalar(j);
	if (xlb_json_take(j, ']'))
		return true;
	do {
		if (!xlb_json_pass_scalar(j))
			return false;
	} while (xlb_json_take(j, ','));
	return xlb_json_take(j, ']');
}

/* Whether a string is a word; at its opening quote. */
static inline bool xlb_json_is(struct xlb_json j, const char *word)
{
	char out[4];
	int length;

	if (j.at >= j.end || *j.at++ != '"')
		return false;
	while ((length = xlb_json_character(&j, out)) > 0) {
		for (int i = 0; i < length; i++)
			if (!*word || *word++ != out[i])
				return false;
	}
	return length == 0 && !*word;
}

/* The value of a key: of several the last. Nothing if the text is no flat object. */
static inline struct xlb_json xlb_json_find(struct xlb_json j, const char *key, bool *flat)
{
	struct xlb_json found = {0};

	*flat = false;
	if (!xlb_json_take(&j, '{'))
		return found;
	if (!xlb_json_take(&j, '}')) {
		do {
			bool wanted = xlb_json_is(j, key);
			if (!xlb_json_pass_string(&j) || !xlb_json_take(&j, ':'))
				return found;
			struct xlb_json value = j;
			if (!xlb_json_pass_value(&j))
				return found;
			value.end = j.at;
			if (wanted)
				found = value;
		} while (xlb_json_take(&j, ','));
		if (!xlb_json_take(&j, '}'))
			return found;
	}
	*flat = j.at == j.end;
	return found;
}

/* Whether it is an object that can be read here: of scalars and arrays of them. */
static inline bool xlb_json_flat(struct xlb_json j)
{
	bool flat;

	xlb_json_find(j, "", &flat);
	return flat;
}

/* The value of a key of a flat object; at NULL if it is not there, or is null. */
static inline struct xlb_json xlb_json_get(struct xlb_json j, const char *key)
{
	bool flat;
	struct xlb_json value = xlb_json_find(j, key, &flat);

	if (!flat || (value.at && *value.at == 'n'))
		return (struct xlb_json){0};
	return value;
}

/* Steps through an array: the first call is with item at NULL. */
static inline bool xlb_json_next(struct xlb_json array, struct xlb_json *item)
{
	struct xlb_json j = array;

	if (item->at) {
		j.at = item->end;
		if (!xlb_json_take(&j, ','))
			return false;
	} else if (!array.at || !xlb_json_take(&j, '[') || xlb_json_take(&j, ']')) {
		return false;
	}
	item->at = j.at;
	if (!xlb_json_pass_scalar(&j))
		return false;
	item->end = j.at;
	return true;
}

/* A string's bytes: how many, or -1 if it is no string or longer than room. */
static inline int32_t xlb_json_string(struct xlb_json j, char *to, int32_t room)
{
	char out[4];
	int32_t used = 0;
	int length;

	if (j.at >= j.end || *j.at++ != '"')
		return -1;
	while ((length = xlb_json_character(&j, out)) > 0) {
		if (length > room - used)
			return -1;
		for (int i = 0; i < length; i++)
			to[used++] = out[i];
	}
	return length < 0 ? -1 : used;
}

static inline bool xlb_json_bool(struct xlb_json j, bool *value)
{
	if (j.at >= j.end || (*j.at != 't' && *j.at != 'f'))
		return false;
	*value = *j.at == 't';
	return true;
}

#define XLB_JSON_MOST 1000000000000000000

/* Puts a digit behind a number, unless that is then beyond 10^18. */
static inline bool xlb_json_append(int64_t *n, int digit)
{
	if (*n > XLB_JSON_MOST / 10)
		return false;
	*n = *n * 10 + digit;
	return *n <= XLB_JSON_MOST;
}

/* A number times ten to the power of places, as 12.5 with two places is 1250.
 * False if it is none, has more places or an exponent, or is beyond ±10^18. */
static inline bool xlb_json_decimal(struct xlb_json j, int places, int64_t *value)
{
	struct xlb_json check = j;
	int64_t n = 0;
	bool negative = false, point = false;

	if (!j.at || !xlb_json_pass_number(&check) || check.at != j.end)
		return false;
	if (*j.at == '-') {
		negative = true;
		j.at++;
	}
	for (; j.at < j.end; j.at++) {
		if (*j.at == '.') {
			point = true;
			continue;
		}
		if (*j.at < '0' || *j.at > '9')
			return false;
		if (point && places-- == 0)
			return false;
		if (!xlb_json_append(&n, *j.at - '0'))
			return false;
	}
	while (places-- > 0)
		if (!xlb_json_append(&n, 0))
			return false;
	*value = negative ? -n : n;
	return true;
}

static inline bool xlb_json_integer(struct xlb_json j, int64_t *value)
{
	return xlb_json_decimal(j, 0, value);
}
