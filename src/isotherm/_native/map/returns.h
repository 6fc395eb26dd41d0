// SPDX-License-Identifier: Apache-2.0
// What came back: memory that was used again after it had not been for a while, by row and by how long.
//
// It is what would come back from swap, had it been paged out after so long: only pages count that
// could have been, as nobody else maps them. Time that went by is what the map is sure of.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "map/block.h"

extern const uint64_t map_return_ages_ns[MAP_RETURN_AGES];

/** What a table was before a read. */
struct map_before {
	map_time began[MAP_EPOCHS], first, read;
	bool any;	// it was armed once
	bool huge;
	uint8_t pages[MAP_PAGES];
};

void map_before_read(struct map_before *before, const struct map_table *table);
/** Count what a read of a block showed to be in use again. */
void map_returns_add(struct page_map *map, const struct map_target *target, enum map_kind kind,
		     const struct map_before *before, const struct map_block *block);
/** Likewise of a page of a table that somebody else found young, and clears: of private memory. */
void map_returns_seen(struct page_map *map, const struct map_target *target, enum map_kind kind,
		      const struct map_table *table, uint64_t address, map_time now);
/** The counts, bytes, of a row and of what of it is the process' own (1) or not (0); NULL: none. */
uint64_t *map_returns_of(struct map_returns *returns, size_t row, bool own);
