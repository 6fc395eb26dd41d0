// SPDX-License-Identifier: Apache-2.0
#include "damo/text.h"
#include <string.h>

#define LONGEST 100	// of a number, in characters

typedef unsigned __int128 u128;

#define BEYOND (((u128)1 << 64) + 1)
#define MOST_DIGITS ((u128)10000000000u * 10000000000u)	// times an exbibyte it is no overflow

struct scale {
	const char *suffix;
	uint64_t factor;
};

static const struct scale times[] = {
	{"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000ull},
	{"m", 60000000000ull}, {"h", 3600000000000ull}, {"d", 86400000000000ull}, {NULL, 0},
};

/** @mantissa * 10^@exponent * @factor / @divisor, BEYOND at most; @split: something is dropped. */
static u128 scaled(u128 mantissa, int exponent, uint64_t factor, uint64_t divisor, bool *split)
{
	u128 value = mantissa * factor;

	// Beyond 2^64 the result is capped anyway, unless the divisor brings it back.
	for (; exponent > 0 && value && value < BEYOND * divisor; exponent--)
		value *= 10;
	value /= divisor;
	for (*split = false; exponent < 0 && value; exponent++) {
		*split |= value % 10 != 0;
		value /= 10;
	}
	return value < BEYOND ? value : BEYOND;
}

static bool factor_of(const char *suffix, size_t length, enum damo_unit unit, uint64_t *factor)
{
	static const char sizes[] = "BKMGTPE";

	if (unit == DAMO_BYTES) {
		const char *found = length ? memchr(sizes, suffix[0], sizeof(sizes) - 1) : NULL;

		if (!found || (length == 2 && (suffix[1] != 'B' || *found == 'B')) ||
		    (length == 3 && (memcmp(suffix + 1, "iB", 2) || *found == 'B')) || length > 3)
			return false;
		*factor = UINT64_C(1) << 10 * (found - sizes);
		return true;
	}
	if (unit == DAMO_MILLI && length == 1 && *suffix == '%')
		return true;
	if (unit != DAMO_NS && unit != DAMO_US)
		return false;
	for (const struct scale *scale = times; scale->suffix; scale++)
		if (strlen(scale->suffix) == length && !memcmp(scale->suffix, suffix, length)) {
			*factor = scale->factor;
			return true;
		}
	return false;
}

struct mantissa {
	u128 digits;
	int exponent, seen;
};

static void add_digit(struct mantissa *number, char digit, bool fraction)
{
	number->seen++;
	if (number->digits >= MOST_DIGITS / 10) {	// no place for more: they are dropped
		number->exponent += !fraction;
		return;
	}
	number->digits = number->digits * 10 + (unsigned int)(digit - '0');
	number->exponent -= fraction;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/** Read "12,345.6e7" from @at on; where it ends, NULL if it is none. */
static const char *read_mantissa(const char *at, const char *end, struct mantissa *number)
{
	for (; at < end && (is_digit(*at) || (*at == ',' && number->seen)); at++)
		if (*at != ',')
			add_digit(number, *at, false);
	if (at < end && *at == '.')
		for (at++; at < end && is_digit(*at); at++)
			add_digit(number, *at, true);
	if (!number->seen)
		return NULL;
	if (at + 1 < end && (*at == 'e' || *at == 'E') && (is_digit(at[1]) || at[1] == '+' || at[1] == '-')) {
		bool negative = at[1] == '-';
		int exponent = 0;

		at += 1 + !is_digit(at[1]);
		for (; at < end && is_digit(*at); at++)
			exponent = exponent > 999 ? 999 : exponent * 10 + (*at - '0');
		number->exponent += negative ? -exponent : exponent;
	}
	return at;
}

/** Read numbers that each have a unit, but for a single one; whether that is all of the text. */
static bool read_sum(const char *at, const char *end, enum damo_unit unit, struct damo_number *sum)
{
	u128 total = 0;
	uint64_t divisor = unit == DAMO_US ? 1000 : 1;

	for (int parts = 0; at < end; parts++) {
		// Without a unit: microseconds are 1000 ns, a percentage is told in thousandths.
		uint64_t factor = unit == DAMO_US || unit == DAMO_MILLI ? 1000 : 1;
		struct mantissa number = {};
		const char *suffix;
		bool split;

		at = read_mantissa(at, end, &number);
		if (!at)
			return false;
		while (at < end && *at == ' ')
			at++;
		for (suffix = at; at < end && *at != ' ' && !is_digit(*at); at++)
			;
		if (at > suffix ? !factor_of(suffix, (size_t)(at - suffix), unit, &factor) : parts || at < end)
			return false;
		total += scaled(number.digits, number.exponent, factor, divisor, &split);
		sum->split |= split && unit == DAMO_BYTES && factor == 1;
		while (at < end && *at == ' ')
			at++;
	}
	sum->beyond = total >= BEYOND;
	sum->value = total > UINT64_MAX ? UINT64_MAX : (uint64_t)total;
	return true;
}

bool damo_number(const char *text, size_t length, enum damo_unit unit, struct damo_number *number)
{
	const char *at = text, *end = text + length;

	*number = (struct damo_number){};
	while (at < end && *at == ' ')
		at++;
	while (end > at && end[-1] == ' ')
		end--;
	if (at == end || end - at > LONGEST)
		return false;
	if (end - at == 3 && !memcmp(at, "min", 3))
		return true;
	if (end - at == 3 && !memcmp(at, "max", 3)) {
		number->value = UINT64_MAX;
		return true;
	}
	if (*at == '-') {
		number->negative = true;
		at++;
	}
	return at < end && read_sum(at, end, unit, number);
}
