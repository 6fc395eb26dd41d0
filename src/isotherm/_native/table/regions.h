// SPDX-License-Identifier: Apache-2.0
// Region table: the fast twin of core/reference/regions.py, which is the readable reference and says what each
// operation means, where it comes from, and which invariants hold between any two calls.
//
// The regions of all targets lie in one array, target after target, in the order of the targets.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "table/rng.h"

#define MAX_PROBES 4
/** Addresses end here, so that sums and products of sizes fit 128 bits. */
#define MAX_ADDRESS (UINT64_C(1) << 62)

/** What the ticks of the running window found; reset with the counters. */
struct region_window {
	uint32_t old;		// samples that were old (accessed bit clear) when chosen
	uint32_t old_hits;	// ... and were accessed after it
	uint32_t young_cleared;	// samples that were young when chosen, and cleared
	uint32_t young_hits;	// ... and were accessed again
	uint32_t missed;	// samples that were young when chosen and left so, or not looked at: imputed
	uint32_t unobservable;	// samples whose accesses cannot be seen
};

struct region {
	uint64_t start, end;
	uint32_t nr_accesses, last_nr_accesses, age;
	uint32_t waits;		// windows since the last that taught something: part of no age yet
	uint8_t probe_hits[MAX_PROBES], last_probe_hits[MAX_PROBES];
	struct region_window window;
	uint32_t moving_bp;	// moving sum of hits in 1/10000, of rules that store it
	uint64_t unobservable;	// bytes of which the window that ended knows nothing
};

struct region_target {
	uint32_t id;
	size_t first, nr;	// slice of regions
};

struct region_list {
	struct region *at;
	size_t nr, room;
};

struct address_range {
	uint64_t start, end;
};

struct probe_weights {
	uint32_t of[MAX_PROBES];	// any not 0: rates are weighted probe hits
};

/** What differs between releases: core/damon/profile.py. */
struct region_rules {
	bool stores_moving_sum;
	bool age_resets_at_zero;
	bool enforces_min_regions;
	bool splits_above_half;
	bool notes_every_count;
	bool samples_whole_regions;
};

struct region_table {
	uint64_t min_region;	// bytes
	struct region_rules rules;
	uint32_t samples;	// per window, for the stored moving sum
	struct region_list regions;
	struct region_list next;	// what an operation builds; swapped with regions when done
	struct region_target *targets;
	size_t nr_targets;
	uint64_t rotation;	// calls of table_split_every
	size_t previous_nr;	// regions at the last table_split that counted them
};

// Functions that return int return 0 or a negative errno, and have changed nothing if it is one.

void table_init(struct region_table *table, uint64_t min_region, const struct region_rules *rules,
		uint32_t samples);
void table_deinit(struct region_table *table);

/** Replace everything. @targets are slices of @regions; both are copied. */
int table_load(struct region_table *table, const struct region_target *targets, size_t nr_targets,
	       const struct region *regions, size_t nr);
/** Have exactly the targets @ids in this order (-EINVAL: twice the same). */
int table_set_targets(struct region_table *table, const uint32_t *ids, size_t nr);
/** -ENOENT: no such target; -EINVAL: bad ranges. @ranges are aligned in place. */
int table_set_regions(struct region_table *table, uint32_t id, struct address_range *ranges,
		      size_t nr);

uint32_t table_end_window(struct region_table *table, uint32_t samples);
void table_merge(struct region_table *table, uint64_t threshold, uint64_t size_limit, bool count_age,
		 const struct probe_weights *weights);
void table_merge_to(struct region_table *table, size_t max_nr, uint64_t threshold,
		    uint64_t size_limit, uint32_t samples, const struct probe_weights *weights);
int table_enforce_min(struct region_table *table, uint64_t min_nr, uint64_t *size_limit);
void table_reset(struct region_table *table);

int table_split(struct region_table *table, size_t max_nr, struct rng *rng);
int table_split_all(struct region_table *table, unsigned int pieces, struct rng *rng);
int table_split_every(struct region_table *table, size_t step, struct rng *rng);

struct region_intervals {
	uint32_t samples;	// per window
	uint64_t aggr_us;
};
void table_rescale(struct region_table *table, struct region_intervals from,
		   struct region_intervals to, bool aggregating);

/** A scheme's pattern: closed bounds of bytes, accesses and age. */
struct region_limits {
	uint64_t min_size, max_size, min_accesses, max_accesses, min_age, max_age;
};
/** @known: a region of which nothing could be observed matches nothing. */
bool table_matches(const struct region_table *table, const struct region *region,
		   const struct region_limits *limits, uint32_t left_bp, bool known);
/** Split the region at @place after @size bytes. -ENOENT, -EINVAL (not inside it), -ENOMEM. */
int table_cut(struct region_table *table, size_t place, uint64_t size);
/** Merge neighbours of equal age and counters that are together below @size_limit bytes. */
void table_rejoin(struct region_table *table, uint64_t size_limit);

/** Access rate over a whole window that ends now; @left_bp of the running one is still to come. */
uint64_t table_rate(const struct region_table *table, const struct region *region,
		    uint32_t left_bp);
/** Where the bytes of @region end of which one is sampled, if spans have 32 bits. */
static inline uint64_t region_sampled_end(const struct region *region)
{
	return region->start + ((region->end - region->start - 1) & UINT32_MAX) + 1;
}
/** Take a check of one of @samples into the moving sum. */
void region_move(struct region *region, uint32_t samples, bool accessed);
/** Count one check: an enum check_result, possibly with CHECK_WAS_YOUNG. */
void region_count(struct region *region, uint8_t result);
