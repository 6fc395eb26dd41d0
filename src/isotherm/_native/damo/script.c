// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "damo/script.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NS_DIGITS 9

struct line {
	const char *thread;
	size_t thread_length;
	uint64_t target, time_ns, sample_us;
	uint32_t nr_regions;
	struct damo_region region;
};

enum kind { OTHER, REGION, TUNE, BAD };

static bool digits(const char **at, const char *end, uint64_t *value)
{
	const char *from = *at;

	*value = 0;
	for (; *at < end && **at >= '0' && **at <= '9'; (*at)++)
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(**at - '0'), value))
			return false;
	return *at > from;
}

static bool text(const char **at, const char *end, const char *wanted)
{
	size_t length = strlen(wanted);

	if ((size_t)(end - *at) < length || memcmp(*at, wanted, length))
		return false;
	*at += length;
	return true;
}

/** "82877.315633: " that ends where @end is; where it begins, NULL if it is none. */
static const char *read_time(const char *from, const char *end, uint64_t *time_ns)
{
	uint64_t seconds, part = 0;
	const char *at, *begin;
	int places = 0;

	while (end > from && end[-1] == ' ')
		end--;
	if (end == from || end[-1] != ':')
		return NULL;
	end--;
	for (begin = end; begin > from && begin[-1] != ' ' && begin[-1] != '\t'; begin--)
		;
	at = begin;
	if (!digits(&at, end, &seconds))
		return NULL;
	if (at < end && *at == '.') {
		const char *point = ++at;

		if (!digits(&at, end, &part))
			return NULL;
		places = (int)(at - point);
	}
	for (; places < NS_DIGITS; places++)
		part *= 10;
	if (at != end || places > NS_DIGITS || seconds > INT64_MAX / 1000000000 - 1)
		return NULL;
	*time_ns = seconds * 1000000000 + part;
	return begin;
}

/** What stands before the processor, or the time: who it is of. */
static void read_thread(const char *from, const char *end, struct line *line)
{
	const char *bracket = memchr(from, '[', (size_t)(end - from));

	if (bracket)
		end = bracket;
	while (from < end && (*from == ' ' || *from == '\t'))
		from++;
	while (end > from && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	line->thread = from;
	line->thread_length = (size_t)(end - from);
	if (line->thread_length > DAMO_MAX_THREAD)
		line->thread_length = DAMO_MAX_THREAD;
}

/** "target_id=0 nr_regions=11 4194304-5083136: 3 0", the age missing in old kernels. */
static bool read_region(const char *at, const char *end, struct line *line)
{
	struct damo_region *region = &line->region;
	uint64_t nr, count;
	bool fake;

	*region = (struct damo_region){.age = DAMO_UNKNOWN};
	if (!text(&at, end, "target_id=") || !digits(&at, end, &line->target) || !text(&at, end, " nr_regions=") ||
	    !digits(&at, end, &nr) || !text(&at, end, " ") || !digits(&at, end, &region->start) ||
	    !text(&at, end, "-") || !digits(&at, end, &region->end) || !text(&at, end, ": "))
		return false;
	fake = text(&at, end, "-");
	if (!digits(&at, end, &count) || !nr || nr > DAMO_MAX_REGIONS || region->start > region->end ||
	    (fake && region->end) || count >= DAMO_UNKNOWN)
		return false;
	line->nr_regions = (uint32_t)nr;
	region->nr_accesses = (uint32_t)count;
	if (text(&at, end, " ") && at < end) {
		uint64_t age = DAMO_UNKNOWN;

		fake = text(&at, end, "-");
		if (!digits(&at, end, &age) && !text(&at, end, "None") && !text(&at, end, "probe_hits="))
			return false;
		region->age = fake || age > DAMO_UNKNOWN ? DAMO_UNKNOWN : age;
	}
	return true;
}

static enum kind read_line(const char *from, const char *end, struct line *line)
{
	static const char *const regions[] = {"damon_aggregated: ", "damon_region_aggregated: "};
	static const char tune[] = "damon_monitor_intervals_tune: ";
	const char *event = memmem(from, (size_t)(end - from), "damon_", 6), *at, *begin;
	enum kind kind = OTHER;

	// Not what is part of the name of a thread: the time stands right before the event.
	for (; event && kind == OTHER; event = memmem(event + 1, (size_t)(end - event - 1), "damon_", 6)) {
		at = event;
		if (text(&at, end, regions[0]) || text(&at, end, regions[1]))
			kind = REGION;
		else if (text(&at, end, tune))
			kind = TUNE;
		else
			continue;
		begin = event - from >= 6 && !memcmp(event - 6, "damon:", 6) ? event - 6 : event;
		begin = read_time(from, begin, &line->time_ns);
		if (!begin) {
			kind = BAD;
			continue;
		}
		read_thread(from, begin, line);
		while (at < end && *at == ' ')
			at++;
		if (kind == REGION)
			return read_region(at, end, line) ? REGION : BAD;
		return text(&at, end, "sample_us=") && digits(&at, end, &line->sample_us) ? TUNE : BAD;
	}
	return kind;
}

static void begin_run(struct damo_script *script, const struct line *line)
{
	script->columns.length = 0;
	memcpy(script->thread, line->thread, line->thread_length);
	script->thread_length = line->thread_length;
	script->target = line->target;
	script->time_ns = script->last_ns = line->time_ns;
	script->nr_regions = line->nr_regions;
}

static bool continues(const struct damo_script *script, const struct line *line)
{
	uint32_t length = script->columns.length;

	return script->thread_length == line->thread_length &&
	       !memcmp(script->thread, line->thread, line->thread_length) && script->target == line->target &&
	       script->nr_regions == line->nr_regions && length < script->nr_regions &&
	       script->columns.end[length - 1] <= line->region.start && line->time_ns >= script->last_ns &&
	       line->time_ns - script->last_ns <= DAMO_MAX_GAP_NS;
}

static void count_bad(struct damo_script *script)
{
	if (!script->nr_bad++)
		script->first_bad = script->nr_lines;
}

/** Take a line; whether an event comes before it, so that it must be read again. */
static bool take(struct damo_script *script, const char *from, const char *end, enum damo_line *event)
{
	struct line line = {};
	enum kind kind = read_line(from, end, &line);
	bool open = script->columns.length;

	*event = DAMO_LINE_MORE;
	if (kind == TUNE || (kind == REGION && open && !continues(script, &line))) {
		if (open) {
			*event = DAMO_LINE_RUN;
			return true;
		}
		begin_run(script, &line);
		script->sample_us = line.sample_us;
		*event = DAMO_LINE_TUNE;
	} else if (kind == REGION && line.region.start < line.region.end) {
		if (!open)
			begin_run(script, &line);
		script->last_ns = line.time_ns;
		if (damo_columns_add(&script->columns, &line.region))
			count_bad(script);
	} else if (kind == BAD) {
		count_bad(script);
	}
	return false;
}

enum damo_line damo_script_next(struct damo_script *script)
{
	enum damo_line event = DAMO_LINE_MORE;

	if (script->handed)
		script->columns.length = 0;
	script->handed = false;
	while (event == DAMO_LINE_MORE && script->at < script->length) {
		const char *from = script->buffer + script->at;
		size_t left = script->length - script->at;
		const char *end = memchr(from, '\n', left);

		if (!end && !script->ended) {
			if (left <= DAMO_MAX_LINE)
				break;
			end = from + left;	// no line of ours is so long; the rest of it is none either
		}
		if (!end)
			end = from + left;
		if (take(script, from, end, &event))
			break;
		script->at += (size_t)(end - from);
		if (script->at < script->length && *end == '\n') {
			script->at++;
			script->nr_lines++;
		}
	}
	if (event == DAMO_LINE_MORE && script->ended && script->columns.length)
		event = DAMO_LINE_RUN;
	script->handed = event == DAMO_LINE_RUN;
	return event;
}

int damo_script_feed(struct damo_script *script, const char *data, size_t length)
{
	size_t left = script->length - script->at;

	if (left)
		memmove(script->buffer, script->buffer + script->at, left);
	script->at = 0;
	script->length = left;
	if (left + length > script->room) {
		char *larger = realloc(script->buffer, left + length);

		if (!larger)
			return -ENOMEM;
		script->buffer = larger;
		script->room = left + length;
	}
	if (length)
		memcpy(script->buffer + left, data, length);
	script->length += length;
	return 0;
}

void damo_script_free(struct damo_script *script)
{
	free(script->buffer);
	damo_columns_free(&script->columns);
	*script = (struct damo_script){};
}
