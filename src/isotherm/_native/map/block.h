// SPDX-License-Identifier: Apache-2.0
// A block of 2 MiB in a view, as far as it is of one kind of area: its table, its pages, what to clear of it.
#pragma once
#include "map/page_map.h"

struct map_block {
	struct map_table **table;	// NULL: the chunk has none of the kind
	uint64_t address;
	const uint64_t *entries;
	bool huge;
	uint64_t mask[MAP_PAGES / 64];
};

/** Describe block @i of a chunk in a view; false if there is nothing of this kind, and there was nothing. */
bool map_block_at(const struct page_map *map, const struct map_target *target, struct map_chunk *chunk,
		  enum map_kind kind, const struct bulk_view *view, size_t i, struct map_block *block);
/** Have a table of the right shape for what is there; NULL if there is nothing, or no memory. */
struct map_table *map_block_table(struct page_map *map, struct map_target *target, struct map_chunk *chunk,
				  enum map_kind kind, size_t i, struct map_block *block);

#define MAP_MOST_RANGES 512	// as many as a block can have areas
struct map_ranges {
	struct bulk_range at[MAP_MOST_RANGES];
	size_t nr;
};

/** Add what to clear of a block: its young pages, if they are few, or the areas in it. False: no room. */
bool map_ranges_add(struct map_ranges *ranges, const struct page_map *map, const struct map_target *target,
		    enum map_kind kind, const struct map_block *block);
