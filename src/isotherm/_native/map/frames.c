// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include "map/frames.h"

#define FIRST_ROOM 4096

void frames_free(struct frames *frames)
{
	free(frames->slots);
	*frames = (struct frames){0};
}

static size_t place(const struct frame *slots, size_t room, uint64_t number)
{
	size_t at = (number * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (room - 1);

	while (slots[at].number && slots[at].number != number)
		at = (at + 1) & (room - 1);
	return at;
}

static int grow(struct frames *frames)
{
	size_t room = frames->room ? 2 * frames->room : FIRST_ROOM;
	struct frame *slots = calloc(room, sizeof(*slots));

	if (!slots)
		return -1;
	for (size_t i = 0; i < frames->room; i++)
		if (frames->slots[i].number)
			slots[place(slots, room, frames->slots[i].number)] = frames->slots[i];
	free(frames->slots);
	frames->slots = slots;
	frames->room = room;
	return 0;
}

static uint8_t least(uint8_t a, uint8_t b)
{
	return a < b ? a : b;
}

size_t frames_add(struct frames *frames, uint64_t number, uint32_t mappers, const struct frame_use *use)
{
	if (2 * (frames->nr + 1) > frames->room && grow(frames))
		return SIZE_MAX;
	size_t at = place(frames->slots, frames->room, number);
	struct frame *frame = &frames->slots[at];

	if (!frame->number) {
		*frame = (struct frame){.number = number, .mappers = mappers, .use = *use};
		frames->nr++;
	} else {
		// Used by anybody is used; idle is what everybody left idle.
		frame->use.low = least(frame->use.low, use->low);
		frame->use.best = least(frame->use.best, use->best);
		frame->use.high = least(frame->use.high, use->high);
		frame->use.idle = least(frame->use.idle, use->idle);
		frame->use.unseen |= use->unseen;
		frame->use.uncovered |= use->uncovered;
	}
	frame->found++;
	return at;
}

const struct frame *frames_find(const struct frames *frames, uint64_t number)
{
	if (!frames->room)
		return NULL;
	const struct frame *frame = &frames->slots[place(frames->slots, frames->room, number)];

	return frame->number ? frame : NULL;
}
