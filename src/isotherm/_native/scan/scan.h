// SPDX-License-Identifier: Apache-2.0
// Goes over the regions of a block of a recording, many windows at a time. What stands in a block was
// written by others: scan_init() looks at lengths and offsets, scan_check() at the regions; what
// follows them may believe both.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scan {
	size_t rows;	// windows
	const int32_t *offsets;	// rows + 1: where the regions of each are
	const uint32_t *target, *nr_accesses;
	const uint64_t *start, *end, *unobservable;
	const uint64_t *sample_us, *aggr_us;	// of windows
	const int64_t *start_ns, *end_ns;
	const double *heat;	// of regions, 0..1; NULL: nr_accesses tells it
};

/** Whether the offsets of rows [@low, @high) rise, and stay within @regions. */
bool scan_offsets(const int32_t *offsets, size_t rows, size_t regions);

/** NULL, or what is wrong with the regions of rows [@low, @high) of @nr_targets targets: for people. */
const char *scan_check(const struct scan *scan, size_t low, size_t high, uint32_t nr_targets);

/**
 * Whether @used has an item for each region of rows [@low, @high) that @valid has a bit for (NULL: all),
 * and none that is more than the region: @offsets says where those of each row are. Both are believed.
 */
bool scan_check_used(const struct scan *scan, size_t low, size_t high, const uint8_t *valid, const int32_t *offsets,
		     const uint64_t *used);

/**
 * What each of the rows [@low, @high) had in use, and what could not be observed, in bytes: into
 * @used and @unseen. @least_percent: of samples, for a region to count; @shares: nr_accesses is the
 * share of bytes that were used. False if a sum does not fit.
 */
bool scan_used(const struct scan *scan, size_t low, size_t high, double least_percent, bool shares, uint64_t *used,
	       uint64_t *unseen);

/** Adjacent regions of a target. */
struct scan_run {
	uint64_t target, start, end;
};

/**
 * The runs of @row into @runs, which has room for as many as it has regions; how many. Byte-samples
 * that were accessed are added to @heat, one for each target.
 */
size_t scan_runs(const struct scan *scan, size_t row, struct scan_run *runs, double *heat);

/** A grid of rows of addresses and columns of time, and what falls into its cells. */
struct scan_grid {
	size_t rows, columns;
	const uint64_t *starts, *ends;	// of rows, ascending
	int64_t start_ns, end_ns;
	double *hot, *seen, *unseen;	// byte-nanoseconds: rows x columns
	double *peak;	// rows x columns: the highest rate of a region, 0..1
	double *sums;	// 4 x rows, to work in
};

/**
 * Add rows [@low, @high) to @grid: regions of the target of this index, and @nr_gaps ranges of which
 * nothing is known in any of them.
 */
void scan_heat(const struct scan *scan, size_t low, size_t high, uint32_t target, const uint64_t *gap_starts,
	       const uint64_t *gap_ends, size_t nr_gaps, struct scan_grid *grid);
