// SPDX-License-Identifier: Apache-2.0
// Page frames that several processes map: what each of them knows of one is put together.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The use of a page, as places in an ascending list of windows: see map/sum.h. */
struct frame_use {
	uint8_t low, best, high, idle;
	uint8_t unseen, uncovered;	// by anybody
	uint8_t best_part;		// of 255: in part used within the window before @best
};

struct frame {
	uint64_t number;
	uint32_t mappers;	// of everybody; 0: not known
	uint32_t found;		// mappers among the targets
	struct frame_use use;
	bool judged, anonymous;	// whether it is asked for, and what came out
	uint32_t counted;	// 1 + the last group that counted it
};

struct frames {
	struct frame *at;	// in the order in which they were found
	size_t nr, room;
	uint32_t *slots;	// a hash of numbers: 1 + where it is in @at, 0: free
	size_t nr_slots;	// a power of two, or 0
};

#define NO_FRAME UINT32_MAX

void frames_free(struct frames *frames);
/** Where a frame is; NO_FRAME if it was not found yet. */
uint32_t frames_find(const struct frames *frames, uint64_t number);
/** A new frame; where it is, or NO_FRAME without memory. */
uint32_t frames_new(struct frames *frames, uint64_t number, uint32_t mappers);
/** A mapper of a frame tells what it knows. */
void frame_add(struct frame *frame, const struct frame_use *use);
