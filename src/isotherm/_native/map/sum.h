// SPDX-License-Identifier: Apache-2.0
// Sums up a map: bytes used within windows of time, and idle for so long, by rows of memory.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "map/page_map.h"

#define SUM_WINDOWS 24
#define SUM_NODES 64

/** Whose memory the pages of a row are: its area's kind, or of a private file the process' own. */
enum sum_kind {
	SUM_ANON,
	SUM_FILE,
	NR_SUM_KINDS,
};

/** Bytes; those per window as in model/page_use.py. */
struct sum_row {
	double resident, unseen, uncovered;
	double low[SUM_WINDOWS], best[SUM_WINDOWS], high[SUM_WINDOWS];
	double idle[SUM_WINDOWS], own[SUM_WINDOWS];
	double low_parts[SUM_WINDOWS], best_parts[SUM_WINDOWS];	// but of one window alone
};

/** Frames [start, end) are of a node. */
struct sum_node {
	uint64_t start, end;
	uint32_t node;
};

struct sum {
	uint64_t windows[SUM_WINDOWS];	// ns, ascending
	size_t nr_windows;
	const struct sum_node *nodes;	// in order; none: one node
	size_t nr_nodes;
	size_t nr_node_numbers;		// 1 with one node
	size_t nr_rows;			// of the areas
	struct sum_row *rows;		// nr_rows * NR_SUM_KINDS * nr_node_numbers
	int64_t cpu_ns;			// out
	uint64_t shared_frames;		// out
};

/** 0 or -errno; @sum->rows are zeroed first. Reads the page tables again. */
int page_map_sum(struct page_map *map, struct sum *sum);

/**
 * For each page of [start, end) of a target how long ago it was used: places in ascending @windows, of
 * the shortest within which it surely (@low), likely (@best) and possibly (@high) was used, and @idle:
 * of how many of them it surely was not. 0xff: no page, 0xfe: its use is not seen, 0xfd: not looked at yet.
 */
struct page_ages {
	uint8_t low, best, high, idle;
};
void page_map_ages(const struct page_map *map, size_t target, uint64_t start, uint64_t end,
		   const uint64_t *windows, size_t nr_windows, struct page_ages *ages);
