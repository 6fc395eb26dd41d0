// SPDX-License-Identifier: Apache-2.0
// The regions of a snapshot while it is read.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DAMO_MAX_REGIONS (1u << 20)	// of a snapshot
#define DAMO_UNKNOWN UINT32_MAX		// a count or an age that is not told

struct damo_region {
	uint64_t start, end, age;
	uint32_t nr_accesses;	// thousandths of a percent if counts_percent
	bool counts_percent, age_is_us;
};

struct damo_columns {
	uint64_t *start, *end, *age;
	uint32_t *nr_accesses;
	uint32_t length, room;
	bool counts_percent, age_is_us;	// of all of them
};

/** Add a region; NULL, or why it cannot be: a text for people. */
const char *damo_columns_add(struct damo_columns *columns, const struct damo_region *region);
/** Whether they are in the order of their addresses, none is empty, and none overlaps the next. */
bool damo_columns_ordered(const struct damo_columns *columns);
/** Give the memory back. */
void damo_columns_free(struct damo_columns *columns);
