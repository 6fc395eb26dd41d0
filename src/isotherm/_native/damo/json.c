// SPDX-License-Identifier: Apache-2.0
#include "damo/json.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "damo/text.h"

#define MAX_DEPTH 64	// of a value that is passed over
#define PERCENT_100 100000u

/** Where we are in the buffer. What reads on says false for what is not whole, with @why for nonsense. */
struct cursor {
	const char *at, *end;
	const char *why;
	struct damo_text number;	// the one that was read last
};

struct scalar {
	struct damo_text text;
	bool is_null;
};

static bool bad(struct cursor *cursor, const char *why)
{
	cursor->why = why;
	return false;
}

/** Where the spaces from @at on end; files of damo are spaces for the most part. */
static const char *skip_spaces(const char *at, const char *end)
{
	while (end - at >= 8) {
		uint64_t word;

		memcpy(&word, at, sizeof(word));
		word ^= UINT64_C(0x2020202020202020);
		if (word)
			return at + (__builtin_ctzll(word) >> 3);	// little-endian, as all that we run on
		at += 8;
	}
	while (at < end && *at == ' ')
		at++;
	return at;
}

static inline bool skip_blanks(struct cursor *cursor)
{
	const char *at = cursor->at, *end = cursor->end;

	while (at < end && damo_blank(*at))
		at = skip_spaces(at + 1, end);
	cursor->at = at;
	return at < end;
}

/** Pass over @wanted, blanks before it included. */
static inline bool expect(struct cursor *cursor, char wanted)
{
	if (!skip_blanks(cursor))
		return false;
	if (*cursor->at != wanted)
		return bad(cursor, "it is no JSON, or not of a record");
	cursor->at++;
	return true;
}

/** The inside of a string that begins at the cursor. */
static bool string(struct cursor *cursor, struct damo_text *text)
{
	const char *from, *at;

	if (!expect(cursor, '"'))
		return false;
	for (from = at = cursor->at; at < cursor->end && *at != '"'; at++)
		if (*at == '\\')
			at++;
	if (at >= cursor->end)
		return false;
	*text = (struct damo_text){from, (size_t)(at - from)};
	cursor->at = at + 1;
	return true;
}

static bool in_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
	       c == '+' || c == '.';
}

/** A number, true, false or null: what follows must be there to know its end. */
static bool word(struct cursor *cursor, struct damo_text *text)
{
	const char *from = cursor->at, *at = from;

	while (at < cursor->end && in_word(*at))
		at++;
	if (at == cursor->end)
		return false;
	if (at == from)
		return bad(cursor, "it is no JSON");
	*text = (struct damo_text){from, (size_t)(at - from)};
	cursor->at = at;
	return true;
}

static inline bool is(const struct damo_text *text, const char *name)
{
	return text->length == strlen(name) && !memcmp(text->at, name, text->length);
}

static bool read_scalar(struct cursor *cursor, struct scalar *scalar)
{
	*scalar = (struct scalar){};
	if (!skip_blanks(cursor))
		return false;
	if (*cursor->at == '"')
		return string(cursor, &scalar->text);
	if (!word(cursor, &scalar->text))
		return false;
	scalar->is_null = is(&scalar->text, "null");
	return true;
}

/** Pass over a value of any kind. */
static bool skip_value(struct cursor *cursor)
{
	char closing[MAX_DEPTH];
	int depth = 0;

	do {
		struct damo_text ignored;
		char c;

		if (!skip_blanks(cursor))
			return false;
		c = *cursor->at;
		if (c == '"') {
			if (!string(cursor, &ignored))
				return false;
		} else if (c == '{' || c == '[') {
			if (depth == MAX_DEPTH)
				return bad(cursor, "it is nested too deeply");
			closing[depth++] = c == '{' ? '}' : ']';
			cursor->at++;
		} else if (depth && c == closing[depth - 1]) {
			depth--;
			cursor->at++;
		} else if (depth && (c == ',' || c == ':')) {
			cursor->at++;
		} else if (!word(cursor, &ignored)) {
			return false;
		}
	} while (depth);
	return true;
}

/** A number, as text or not; null is none. */
static bool read_number(struct cursor *cursor, enum damo_unit unit, struct damo_number *number, bool *has)
{
	struct scalar scalar;
	uint64_t value = 0;
	size_t i = 0;

	*number = (struct damo_number){};
	*has = false;
	if (!read_scalar(cursor, &scalar))
		return false;
	cursor->number = scalar.text;
	if (scalar.is_null)
		return true;
	*has = true;
	if (unit != DAMO_MILLI && scalar.text.length <= 18 && scalar.text.length) {
		for (; i < scalar.text.length; i++) {
			unsigned int digit = (unsigned char)scalar.text.at[i] - '0';

			if (digit <= 9)
				value = 10 * value + digit;
			else if (scalar.text.at[i] != ',' || !i)
				break;
		}
		if (i == scalar.text.length) {
			number->value = value;
			return true;
		}
	}
	if (!damo_number(scalar.text.at, scalar.text.length, unit, number))
		return bad(cursor, "a number of it is none");
	return true;
}

/** The key of a member and what is between it and its value. */
static bool read_key(struct cursor *cursor, struct damo_text *key)
{
	return string(cursor, key) && expect(cursor, ':');
}

/** Whether another member comes, of an object whose brace was passed; @first: before any. */
static bool next_member(struct cursor *cursor, bool first, bool *another)
{
	if (!skip_blanks(cursor))
		return false;
	*another = *cursor->at != '}';
	if (*another && first)
		return true;
	if (*another && *cursor->at != ',')
		return bad(cursor, "a comma is missing in it");
	cursor->at++;
	return true;
}

struct pair {
	struct damo_number first, second;
	bool has_first, has_second;
	struct damo_text first_text;
};

/** An object of two numbers, either of which may be missing, or null for none of both. */
static bool read_pair(struct cursor *cursor, const char *first, enum damo_unit first_unit, const char *second,
		      enum damo_unit second_unit, struct pair *pair)
{
	*pair = (struct pair){};
	if (!skip_blanks(cursor))
		return false;
	if (*cursor->at != '{')
		return skip_value(cursor);
	cursor->at++;
	for (bool begin = true;; begin = false) {
		struct damo_text key;
		bool another;

		if (!next_member(cursor, begin, &another))
			return false;
		if (!another)
			return true;
		if (!read_key(cursor, &key))
			return false;
		if (is(&key, first)) {
			if (!read_number(cursor, first_unit, &pair->first, &pair->has_first))
				return false;
			pair->first_text = cursor->number;
		} else if (is(&key, second)) {
			if (!read_number(cursor, second_unit, &pair->second, &pair->has_second))
				return false;
		} else if (!skip_value(cursor)) {
			return false;
		}
	}
}

static uint32_t known(uint64_t value)
{
	return value >= DAMO_UNKNOWN ? DAMO_UNKNOWN - 1 : (uint32_t)value;
}

struct reading {
	struct damo_region region;
	bool has_start, has_end, fake;
	unsigned int nr;
	struct {
		enum damo_field field;
		struct damo_text text;
	} numbers[DAMO_NR_FIELDS];
};

/** Take down where a number stands, for the shape. */
static void note(struct reading *reading, enum damo_field field, struct damo_text text)
{
	if (reading->nr < DAMO_NR_FIELDS) {
		reading->numbers[reading->nr].field = field;
		reading->numbers[reading->nr].text = text;
	}
	reading->nr++;	// too many are none
}

static bool plain_digits(const char **at, const char *end, uint64_t *value)
{
	const char *from = *at;
	int digits = 0;

	*value = 0;
	for (; *at < end; (*at)++) {
		unsigned int digit = (unsigned char)**at - '0';

		if (digit <= 9) {
			*value = 10 * *value + digit;
			digits++;
		} else if (**at != ',' || *at == from || *at + 1 == end || (*at)[1] < '0' || (*at)[1] > '9') {
			break;
		}
	}
	return digits && digits <= 18;
}

/** Keep the text of a region from @from on as the shape of the next ones, if they can be so simple. */
static void keep_shape(struct damo_shape *shape, const char *from, const char *end, const struct reading *reading)
{
	unsigned int seen = 0;

	shape->length = 0;
	if ((size_t)(end - from) > DAMO_MAX_SHAPE || reading->nr != DAMO_NR_FIELDS)
		return;
	for (unsigned int i = 0; i < DAMO_NR_FIELDS; i++) {
		const char *at = reading->numbers[i].text.at;
		uint64_t ignored;

		seen |= 1u << reading->numbers[i].field;
		shape->numbers[i].field = reading->numbers[i].field;
		shape->numbers[i].at = (uint32_t)(at - from);
		if (!plain_digits(&at, end, &ignored) || at != reading->numbers[i].text.at + reading->numbers[i].text.length)
			return;
		shape->numbers[i].end = (uint32_t)(at - from);
	}
	if (seen != (1u << DAMO_NR_FIELDS) - 1)
		return;
	memcpy(shape->text, from, (size_t)(end - from));
	shape->length = (uint32_t)(end - from);
}

/** Read a region that has the shape of the one before; false: it has not, or is not whole. */
static bool read_alike(struct cursor *cursor, const struct damo_shape *shape, struct damo_region *region)
{
	const char *at = cursor->at;
	uint64_t values[DAMO_NR_FIELDS];
	uint32_t from = 0;

	if (!shape->length)
		return false;
	for (unsigned int i = 0; i <= DAMO_NR_FIELDS; i++) {
		uint32_t size = (i < DAMO_NR_FIELDS ? shape->numbers[i].at : shape->length) - from;

		if (cursor->end - at < size || memcmp(at, shape->text + from, size))
			return false;
		at += size;
		if (i == DAMO_NR_FIELDS)
			break;
		if (!plain_digits(&at, cursor->end, &values[shape->numbers[i].field]))
			return false;
		from = shape->numbers[i].end;
	}
	if (values[DAMO_START] >= values[DAMO_END_FIELD] || values[DAMO_SAMPLES] > UINT32_MAX)
		return false;
	*region = (struct damo_region){values[DAMO_START], values[DAMO_END_FIELD], known(values[DAMO_WINDOWS]),
				       known(values[DAMO_SAMPLES]), false, false};
	cursor->at = at;
	return true;
}

static bool read_accesses(struct cursor *cursor, struct reading *reading)
{
	struct pair pair;

	if (!read_pair(cursor, "samples", DAMO_COUNT, "percent", DAMO_MILLI, &pair))
		return false;
	if (pair.has_first && pair.first.negative) {
		reading->fake = true;
	} else if (pair.has_first) {
		if (pair.first.value > UINT32_MAX)
			return bad(cursor, "a number of accesses of it cannot be");
		reading->region.nr_accesses = known(pair.first.value);
		note(reading, DAMO_SAMPLES, pair.first_text);
	} else if (pair.has_second) {
		if (pair.second.negative || pair.second.value > PERCENT_100)
			return bad(cursor, "an access rate of it is more than all");
		reading->region.nr_accesses = (uint32_t)pair.second.value;
		reading->region.counts_percent = true;
	}
	return true;
}

static bool read_age(struct cursor *cursor, struct reading *reading)
{
	struct pair pair;

	if (!read_pair(cursor, "aggr_intervals", DAMO_COUNT, "usec", DAMO_US, &pair))
		return false;
	if (pair.has_first && !pair.first.negative) {
		reading->region.age = known(pair.first.value);
		note(reading, DAMO_WINDOWS, pair.first_text);
	} else if (pair.has_second && !pair.has_first) {
		reading->region.age = pair.second.negative ? 0 : pair.second.value;
		reading->region.age_is_us = true;
	}
	return true;
}

static bool read_region_member(struct cursor *cursor, const struct damo_text *key, struct reading *reading)
{
	struct damo_number number;

	if (is(key, "start") || is(key, "end")) {
		bool *has = *key->at == 's' ? &reading->has_start : &reading->has_end;

		if (!read_number(cursor, DAMO_BYTES, &number, has))
			return false;
		if (number.negative)
			return bad(cursor, "an address of it is negative");
		if (number.beyond || number.split)
			return bad(cursor, "an address of it cannot be");
		*(*key->at == 's' ? &reading->region.start : &reading->region.end) = number.value;
		note(reading, *key->at == 's' ? DAMO_START : DAMO_END_FIELD, cursor->number);
		return true;
	}
	if (is(key, "nr_accesses"))
		return read_accesses(cursor, reading);
	return is(key, "age") ? read_age(cursor, reading) : skip_value(cursor);
}

static bool read_region(struct cursor *cursor, struct damo_json *json)
{
	struct reading reading = {.region = {.age = DAMO_UNKNOWN, .nr_accesses = DAMO_UNKNOWN}};
	const char *from = cursor->at, *why;

	if (read_alike(cursor, &json->shape, &reading.region)) {
		why = damo_columns_add(&json->columns, &reading.region);
		return why ? bad(cursor, why) : true;
	}
	if (!expect(cursor, '{'))
		return false;
	for (bool begin = true, another = true; another; begin = false) {
		struct damo_text key;

		if (!next_member(cursor, begin, &another))
			return false;
		if (another && !(read_key(cursor, &key) && read_region_member(cursor, &key, &reading)))
			return false;
	}
	if (!reading.has_start || !reading.has_end)
		return bad(cursor, "a region of it has no start or no end");
	// What damo appends where there is but one snapshot: so that it has a length.
	if (reading.region.start == reading.region.end && (reading.fake || !reading.region.end))
		return true;
	if (reading.fake)
		return bad(cursor, "a number of accesses is negative");
	keep_shape(&json->shape, from, cursor->at, &reading);
	why = damo_columns_add(&json->columns, &reading.region);
	return why ? bad(cursor, why) : true;
}

static bool enter(struct damo_json *json, struct cursor *cursor, char bracket, enum damo_level level)
{
	if (!expect(cursor, bracket))
		return false;
	json->level = level;
	json->had = json->comma = false;
	return true;
}

static bool read_time(struct cursor *cursor, enum damo_unit unit, uint64_t *time, bool *has)
{
	struct damo_number number;

	if (!read_number(cursor, unit, &number, has))
		return false;
	if (number.negative || number.value > INT64_MAX)
		return bad(cursor, "a time of it cannot be");
	*time = number.value;
	return true;
}

static bool read_snapshot_member(struct cursor *cursor, struct damo_json *json)
{
	struct damo_text key;
	bool has;

	if (!read_key(cursor, &key))
		return false;
	if (is(&key, "regions"))
		return enter(json, cursor, '[', REGIONS);
	json->had = true;
	if (is(&key, "start_time"))
		return read_time(cursor, DAMO_NS, &json->start_ns, &has);
	if (is(&key, "end_time"))
		return read_time(cursor, DAMO_NS, &json->end_ns, &json->has_end);
	if (is(&key, "sample_interval_us"))
		return read_time(cursor, DAMO_US, &json->sample_us, &has);
	return skip_value(cursor);
}

static bool read_record_member(struct cursor *cursor, struct damo_json *json, enum damo_event *event)
{
	if (!read_key(cursor, &json->key))
		return false;
	if (is(&json->key, "snapshots"))
		return enter(json, cursor, '[', SNAPSHOTS);
	if (!skip_blanks(cursor))
		return false;
	json->value.at = cursor->at;
	if (!skip_value(cursor))
		return false;
	json->value.length = (size_t)(cursor->at - json->value.at);
	json->had = true;
	*event = DAMO_MEMBER;
	return true;
}

static void begin_snapshot(struct damo_json *json)
{
	json->start_ns = json->end_ns = json->sample_us = 0;
	json->has_end = false;
	json->columns.length = 0;
	json->columns.counts_percent = json->columns.age_is_us = false;
}

/** Something of the list or the object that we are in. */
static bool read_item(struct cursor *cursor, struct damo_json *json, enum damo_event *event)
{
	switch (json->level) {
	case DOCUMENT:
		return enter(json, cursor, '[', RECORDS);
	case RECORDS:
		return enter(json, cursor, '{', RECORD);
	case RECORD:
		return read_record_member(cursor, json, event);
	case SNAPSHOTS:
		begin_snapshot(json);
		return enter(json, cursor, '{', SNAPSHOT);
	case SNAPSHOT:
		return read_snapshot_member(cursor, json);
	case REGIONS:
		json->had = true;
		return read_region(cursor, json);
	case AFTER:
		break;
	}
	return bad(cursor, "something follows its end");
}

/** Leave a list or an object whose end is here. */
static bool leave(struct damo_json *json, struct cursor *cursor, enum damo_event *event)
{
	static const enum damo_level outside[] = {
		[RECORDS] = AFTER, [RECORD] = RECORDS, [SNAPSHOTS] = RECORD, [SNAPSHOT] = SNAPSHOTS,
		[REGIONS] = SNAPSHOT,
	};

	if (json->comma)
		return bad(cursor, "a comma stands before nothing in it");
	if (json->level == SNAPSHOT) {
		if (!json->has_end)
			return bad(cursor, "a snapshot of it has no end_time");
		*event = DAMO_SNAPSHOT;
	}
	if (json->level == RECORD)
		*event = DAMO_RECORD;
	json->level = outside[json->level];
	json->had = true;
	cursor->at++;
	return true;
}

/** One thing more; false if it is not whole, or bad. */
static bool step(struct damo_json *json, struct cursor *cursor, enum damo_event *event)
{
	static const char closing[] = {
		[DOCUMENT] = 0, [RECORDS] = ']', [RECORD] = '}', [SNAPSHOTS] = ']', [SNAPSHOT] = '}',
		[REGIONS] = ']', [AFTER] = 0,
	};

	if (!skip_blanks(cursor))
		return false;
	if (closing[json->level] && *cursor->at == closing[json->level])
		return leave(json, cursor, event);
	if (json->had && json->level != AFTER) {
		if (*cursor->at != ',' || json->comma)
			return bad(cursor, "a comma is missing in it, or one too many");
		cursor->at++;
		json->had = false;
		json->comma = true;
		return true;
	}
	if (!read_item(cursor, json, event))
		return false;
	json->comma = false;
	return true;
}

enum damo_event damo_json_next(struct damo_json *json)
{
	enum damo_event event = DAMO_MORE;

	if (json->why)
		return DAMO_BAD;
	while (event == DAMO_MORE) {
		struct cursor cursor = {json->buffer + json->at, json->buffer + json->length, NULL, {NULL, 0}};
		bool had = json->had, more = skip_blanks(&cursor);

		json->at = (size_t)(cursor.at - json->buffer);	// blanks are not kept until more comes
		if (!more)
			break;
		if (step(json, &cursor, &event)) {
			json->at = (size_t)(cursor.at - json->buffer);
			continue;
		}
		json->had = had;
		if (!cursor.why && json->length - json->at > DAMO_MAX_VALUE)
			cursor.why = "a value of it is too long";
		if (!cursor.why)
			break;
		json->at = (size_t)(cursor.at - json->buffer);
		json->why = cursor.why;
		return DAMO_BAD;
	}
	if (event == DAMO_MORE && json->level == AFTER)
		return DAMO_END;
	return event;
}

int damo_json_feed(struct damo_json *json, const char *data, size_t length)
{
	size_t left = json->length - json->at;

	if (left)
		memmove(json->buffer, json->buffer + json->at, left);
	json->passed += json->at;
	json->at = 0;
	json->length = left;
	if (left + length > json->room) {
		char *larger = realloc(json->buffer, left + length);

		if (!larger)
			return -ENOMEM;
		json->buffer = larger;
		json->room = left + length;
	}
	if (length)
		memcpy(json->buffer + left, data, length);
	json->length += length;
	return 0;
}

void damo_json_free(struct damo_json *json)
{
	free(json->buffer);
	damo_columns_free(&json->columns);
	*json = (struct damo_json){};
}
