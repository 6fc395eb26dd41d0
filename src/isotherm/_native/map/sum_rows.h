// SPDX-License-Identifier: Apache-2.0
// The rows of a sum: made when memory of theirs is found, and added to.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "map/frames.h"
#include "map/sum.h"

#define MOST_PARTS 6

/** The use of a page, and windows before use.best within which it was used as a part of its like. */
struct page_use {
	struct frame_use use;
	uint8_t nr_parts;
	float parts[MOST_PARTS];	// of the windows right before use.best
};

/** The place of the row that memory belongs to, a new one if need be, or 0 without memory. */
uint32_t sum_place(struct sum *sum, const struct map_area *area, bool own, uint64_t frame);
/** Add @bytes of like use; the figures per window are summed up by sum_finish(). */
void sum_add(const struct sum *sum, struct sum_row *row, const struct page_use *page, double bytes, bool own);
/** The same with a place; -ENOMEM where that is 0. */
int sum_add_to(struct sum *sum, uint32_t place, const struct page_use *use, double bytes, bool own);
/** Add a row to one of its group, before either is finished. */
void sum_add_row(const struct sum *sum, struct sum_row *group, const struct sum_row *row);
void sum_finish(const struct sum *sum, struct sum_row *row);
