// SPDX-License-Identifier: Apache-2.0
// Page frames that several processes map: what each of them knows of one is put together.
#pragma once
#include <stddef.h>
#include <stdint.h>

/** The use of a page, as places in an ascending list of windows: see struct sum_page. */
struct frame_use {
	uint8_t low, best, high, idle;
	uint8_t unseen, uncovered;	// by anybody
};

struct frame {
	uint64_t number;	// 0: free
	uint32_t mappers;	// of everybody; 0: not known
	uint32_t found;		// mappers among the targets
	struct frame_use use;
};

struct frames {
	struct frame *slots;
	size_t nr, room;	// room: a power of two, or 0
};

void frames_free(struct frames *frames);
/** Add what a mapper of frame @number knows; returns where the frame is found for now, or SIZE_MAX. */
size_t frames_add(struct frames *frames, uint64_t number, uint32_t mappers, const struct frame_use *use);
const struct frame *frames_find(const struct frames *frames, uint64_t number);
