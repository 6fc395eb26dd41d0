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

/** Figures per window, as in model/page_use.py. */
enum sum_figure {
	SUM_LOW, SUM_BEST, SUM_HIGH, SUM_IDLE, SUM_OWN,
	SUM_BEST_PARTS,	// but of one window alone
	NR_SUM_FIGURES,
};

#define NO_GROUP UINT32_MAX

/** Bytes. group: of the target that they are of. */
struct sum_row {
	double resident, unseen, uncovered;
	uint32_t group;
	double figures[];	// nr_windows for each enum sum_figure
};

/** A target, and its group, a number below nr_groups or NO_GROUP. */
struct sum_member {
	uint32_t target, group;
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
	const struct sum_member *members;	// each target once, those of a group together; none: no groups
	size_t nr_members, nr_groups;
	size_t nr_rows;			// of the areas
	uint32_t *places;		// nr_rows * NR_SUM_KINDS * nr_node_numbers: 1 + which of the rows, 0: none
	char *rows;			// those that something is known of, sum_row_size() each
	size_t nr_used, room;
	uint32_t group;			// of the rows that are made
	char *groups;			// what each has, memory that several of it map once; NULL: frames are not told
	int64_t cpu_ns;			// out
	uint64_t shared_frames;		// out
};

static inline size_t sum_row_size(const struct sum *sum)
{
	return sizeof(struct sum_row) + NR_SUM_FIGURES * sum->nr_windows * sizeof(double);
}

/** The row that has a place, which is not 0; until the next is made. */
static inline struct sum_row *sum_row_at(const struct sum *sum, uint32_t place)
{
	return (struct sum_row *)(sum->rows + (place - 1) * sum_row_size(sum));
}

static inline double *sum_figures(const struct sum *sum, struct sum_row *row, enum sum_figure what)
{
	return row->figures + what * sum->nr_windows;
}

/** 0 or -errno; makes places and rows, which sum_free() frees. Reads the page tables again. */
int page_map_sum(struct page_map *map, struct sum *sum);
void sum_free(struct sum *sum);

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
