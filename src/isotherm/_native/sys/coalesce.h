// SPDX-License-Identifier: Apache-2.0
// Few ranges for many mappings: the smallest gaps between them are bridged.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define AREA_VISIBLE 1	// to be monitored
#define AREA_HIDDEN 2	// holds memory that cannot be observed

/** A mapping: addresses [start, end), and the AREA_ bits of it among others. */
struct coalesce_area {
	uint64_t start, end, flags;
};

/**
 * Join the visible of @areas (in address order) across the smallest gaps until at most @max_ranges are
 * left: the largest gaps survive, of equal ones the first, as in DAMON's __damon_va_three_regions().
 * A gap that holds something hidden is bridged last. @ranges has room for 2 * @max_ranges words, start
 * and end of each; how many there are goes to @nr. 0 or -ENOMEM.
 */
int coalesce(const struct coalesce_area *areas, size_t nr_areas, size_t max_ranges, uint64_t *ranges, size_t *nr);
