// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include "map/frames.h"

#define FIRST_ROOM 4096

void frames_free(struct frames *frames)
{
	free(frames->at);
	free(frames->slots);
	*frames = (struct frames){0};
}

static size_t slot_of(const struct frames *frames, uint64_t number)
{
	size_t mask = frames->nr_slots - 1, slot = (number * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & mask;

	while (frames->slots[slot] && frames->at[frames->slots[slot] - 1].number != number)
		slot = (slot + 1) & mask;
	return slot;
}

/** Room for one more, of which at most half of the slots are taken. */
static int make_room(struct frames *frames)
{
	if (frames->nr < frames->room)
		return 0;
	size_t room = frames->room ? 2 * frames->room : FIRST_ROOM;
	struct frame *at = reallocarray(frames->at, room, sizeof(*at));

	if (!at)
		return -1;
	frames->at = at;
	uint32_t *slots = calloc(2 * room, sizeof(*slots));

	if (!slots)
		return -1;
	free(frames->slots);
	frames->slots = slots;
	frames->nr_slots = 2 * room;
	frames->room = room;
	for (size_t i = 0; i < frames->nr; i++)
		slots[slot_of(frames, at[i].number)] = (uint32_t)i + 1;
	return 0;
}

uint32_t frames_find(const struct frames *frames, uint64_t number)
{
	uint32_t found = frames->nr_slots ? frames->slots[slot_of(frames, number)] : 0;

	return found ? found - 1 : NO_FRAME;
}

uint32_t frames_new(struct frames *frames, uint64_t number, uint32_t mappers)
{
	if (frames->nr >= NO_FRAME - 1 || make_room(frames))
		return NO_FRAME;
	frames->slots[slot_of(frames, number)] = (uint32_t)frames->nr + 1;
	frames->at[frames->nr] = (struct frame){.number = number, .mappers = mappers,
						.use = {UINT8_MAX, UINT8_MAX, UINT8_MAX, UINT8_MAX, 0, 0, 0}};
	return (uint32_t)frames->nr++;
}

static uint8_t least(uint8_t a, uint8_t b)
{
	return a < b ? a : b;
}

/** The window that comes first, and the greater part of the one before it. */
static void sooner(uint8_t *window, uint8_t *part, uint8_t other, uint8_t other_part)
{
	if (other > *window)
		return;
	*part = other == *window && *part > other_part ? *part : other_part;
	*window = other;
}

void frame_add(struct frame *frame, const struct frame_use *use)
{
	// Used by anybody is used; idle is what everybody left idle.
	frame->use.low = least(frame->use.low, use->low);
	sooner(&frame->use.best, &frame->use.best_part, use->best, use->best_part);
	frame->use.high = least(frame->use.high, use->high);
	frame->use.idle = least(frame->use.idle, use->idle);
	frame->use.unseen |= use->unseen;
	frame->use.uncovered |= use->uncovered;
	frame->found++;
}
