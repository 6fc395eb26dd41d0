// SPDX-License-Identifier: Apache-2.0
// Addresses that were mapped since they were read: what is found there may have been moved from others.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "map/page_map.h"
#include "sys/page.h"

#define MOST_CAME 256

/** Whether a chunk, of which something is known, was not read since something in it came. */
static bool is_unread(const struct map_chunk *chunk, const struct map_came *came)
{
	return (chunk->visited || chunk->came) && (int32_t)(came->at - chunk->read) >= 0;
}

static bool is_wanted(const struct map_target *target, const struct map_came *came)
{
	for (size_t i = map_first_chunk(target, came->start);
	     i < target->nr_chunks && target->chunks[i].base < came->end; i++)
		if (is_unread(&target->chunks[i], came))
			return true;
	return false;
}

static void forget_read(struct map_target *target)
{
	size_t nr = 0;

	for (size_t i = 0; i < target->nr_came; i++)
		if (is_wanted(target, &target->came[i]))
			target->came[nr++] = target->came[i];
	target->nr_came = nr;
}

static int add(struct map_target *target, uint64_t start, uint64_t end, map_time at)
{
	struct map_came one = {start, end, at};

	if (!is_wanted(target, &one))
		return 0;
	if (target->nr_came == MOST_CAME) {	// what lies between counts as well
		struct map_came *last = &target->came[MOST_CAME - 1];

		last->start = last->start < start ? last->start : start;
		last->end = last->end > end ? last->end : end;
		last->at = at;
		return 0;
	}
	// The room is a power of two.
	if (!(target->nr_came & (target->nr_came - 1))) {
		size_t room = target->nr_came ? 2 * target->nr_came : 1;
		struct map_came *came = reallocarray(target->came, room, sizeof(*came));

		if (!came)
			return -ENOMEM;
		target->came = came;
	}
	target->came[target->nr_came++] = one;
	return 0;
}

int map_note_came(struct map_target *target, const struct map_area *areas, size_t nr, map_time now)
{
	int err = 0;

	forget_read(target);
	for (size_t i = 0; i < nr && !err; i++) {
		uint64_t at = areas[i].start;

		for (size_t j = map_first_area(target, at);
		     j < target->nr_areas && target->areas[j].start < areas[i].end && !err; j++) {
			const struct map_area *before = &target->areas[j];

			if (before->kind != areas[i].kind)
				continue;
			if (at < before->start)
				err = add(target, at, before->start, now);
			at = before->end;
		}
		if (at < areas[i].end && !err)
			err = add(target, at, areas[i].end, now);
	}
	return err;
}

const uint64_t *map_came_of(const struct map_target *target, const struct map_chunk *chunk, uint64_t block,
			    uint64_t *mask)
{
	bool any = false;

	for (size_t i = 0; i < target->nr_came; i++) {
		const struct map_came *came = &target->came[i];
		uint64_t start = came->start > block ? came->start : block;
		uint64_t end = came->end < block + BLOCK ? came->end : block + BLOCK;

		if (start >= end || !is_unread(chunk, came))
			continue;
		if (!any)
			memset(mask, 0, MAP_PAGES / 8);
		any = true;
		map_set_bits(mask, (start - block) / PAGE, (end - block) / PAGE);
	}
	return any ? mask : NULL;
}
