// SPDX-License-Identifier: Apache-2.0
// Regions as a map of pages knows them: its twin is core/reference/known_regions.py.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "map/runs.h"

/** Regions as samples know them, in order of targets and addresses: columns of model.snapshot.Columns. */
struct known_columns {
	const uint32_t *target;
	const uint64_t *start, *end;
	const uint32_t *count, *age;
	const uint64_t *unobservable;
	size_t nr;
};

/** A region as it is told. place: of the region that it was, or was a part of. */
struct known_region {
	uint64_t start, end, unobservable, used;
	double share;		// accessed, of the memory that is there and seen
	uint32_t place, target, count, age;
	bool by_map;		// its rate is what the map knows
};

struct known_regions {
	struct known_region *at;
	size_t nr, room;
};

/** What regions are told by. */
struct known_terms {
	uint32_t most;		// samples of a window
	uint64_t soon_ns;	// between two of them
};

/**
 * Tell of regions what is known of their addresses, cut to what is in memory. @parts: of these regions
 * or earlier ones, in order; @before: what was told before, for how long rates have been what they are.
 * Adds to @told, which is empty. 0 or -ENOMEM.
 */
int known_regions_tell(struct known_regions *told, const struct known_columns *columns, const struct map_part *parts,
		       size_t nr_parts, const struct known_regions *before, const struct known_terms *terms);
