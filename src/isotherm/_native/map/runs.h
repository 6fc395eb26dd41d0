// SPDX-License-Identifier: Apache-2.0
// Where memory is used alike: blocks of 2 MiB side by side, joined to runs.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "map/page_map.h"

/** Addresses [start, end) of a target that hold pages, and how many bytes of them. */
struct map_run {
	uint64_t start, end;
	uint64_t present, unknown;	// unknown: not looked at yet, or their use is not seen
	uint64_t soon, used;		// of the others: used within the shorter time, and the longer
};

struct map_runs {
	struct map_run *at;
	size_t nr, room;
};

/**
 * Tell of a target's memory, in address order, how much was used within @soon_ns and within @used_ns,
 * by best estimate. Neighbours are joined whose shares of bytes used soon differ by less than a tenth,
 * or more where there would be more than @most runs; never what was used with what was not, unless
 * nothing else is left. Blocks without a page are in no run. 0 or -ENOMEM. Reads no memory of the target.
 */
int page_map_runs(struct page_map *map, size_t target, uint64_t soon_ns, uint64_t used_ns,
		  size_t most, struct map_runs *runs);

/**
 * Addresses [start, end) of a target, and how many bytes in them are in memory. unread: nobody looked
 * there yet, whatever is there; unknown: in memory, but its use is not seen, or not yet; of the others
 * used within the shorter time, and the longer.
 */
struct map_part {
	uint64_t target, start, end;
	uint64_t present, unread, unknown;
	uint64_t soon, used;
};

struct map_parts {
	struct map_part *at;
	size_t nr, room;
};

/** 0 or -ENOMEM. */
int map_parts_push(struct map_parts *parts, const struct map_part *part);

struct map_part_terms {
	uint64_t soon_ns, used_ns;
	uint64_t least;	// fewer bytes without a page are no part of their own
};

/**
 * Add what is known of [start, end) of a target to @parts: they follow each other and are all of it. Where
 * there is no page over @terms->least bytes or more is a part of its own. 0 or -ENOMEM. Reads no memory
 * of the target.
 */
int page_map_parts(struct page_map *map, size_t target, uint64_t start, uint64_t end, const struct map_part_terms *terms,
		    struct map_parts *parts);
