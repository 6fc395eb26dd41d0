// SPDX-License-Identifier: Apache-2.0
// A simulated machine that charges: memory of any size whose every use is known, accessed bits, and a
// monitor that pays for reading and clearing them with CPU time, during which the clock goes on.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "access/access.h"
#include "access/budget.h"
#include "map/bulk.h"
#include "sim/pattern.h"
#include "sys/gate.h"

#define SIM_MOST_CLUMP 64	// pages that are read as one clump

/**
 * What it costs the monitor, in ns of CPU time. In between a page, 16 pages and a table of 512 the
 * costs of reads are on straight lines; what is read is charged by table. A clear is charged by
 * range: clear_ns if anything in it was young, else clear_old_ns, and clear_page_ns for each page.
 */
struct sim_costs {
	double read_page_ns, read_clump_ns, read_table_ns;
	double clear_ns, clear_old_ns, clear_page_ns;
	double wake_ns;	// sleeping and waking up
};

/**
 * Addresses of a process that show the frames from @frame on, from @from_ns until @until_ns. Frames are
 * pages of memory: those of two areas may be the same. @huge: 512 of them share an accessed bit.
 */
struct sim_area {
	uint64_t start, end, frame, from_ns, until_ns;
	uint32_t process;
	bool huge, hidden;
	bool shared;	// its pages may be those of other areas
};

/** Frames [first, last) with the same patterns; which of the world's list of them is [at, at + nr). */
struct sim_segment {
	uint64_t first, last;
	uint32_t at, nr;
};

/** Frames of a table that were cleared together; those in no run never were. */
struct sim_run {
	uint16_t first, last;
	uint64_t at_ns;
};
struct sim_table {
	uint64_t table;		// frame / 512, + 1; 0: a free place
	uint32_t nr, room;
	struct sim_run *runs;	// in order
};

struct page_map;
struct sim_sample {
	uint64_t addr;
	uint32_t target, process;
	uint8_t result;		// what is known already
	bool known, was_young;
};

struct sim_stats {
	uint64_t reads, tables, clears, ranges, missed;
};

struct sim_world {
	struct gate gate;	// whoever calls anything but sim_turn() is inside
	struct sim_costs costs;
	struct access_ops ops;
	struct page_map *map;	// told of what samples clear; not owned, NULL: there is none
	uint64_t now_ns;
	bool shared;	// some frames are in several areas at once
	int64_t cpu_ns;
	double owed_ns;		// less than a nanosecond, not charged yet
	struct sim_area *areas;	// by process, address and time
	size_t nr_areas;
	uint32_t *targets;	// the process of each
	size_t nr_targets;
	struct sim_pattern *patterns;
	size_t nr_patterns;
	struct sim_segment *segments;	// in order
	size_t nr_segments;
	uint32_t *lists;
	struct sim_table *tables;
	size_t nr_tables, nr_places;
	// Samples: the budget of clears is kept as the look at real processes does.
	bool limited;
	struct budget budget;
	int64_t cpu_mark;
	struct sim_sample *samples;
	size_t nr_samples, room;
	uint32_t *order;	// twice as much room
	uint64_t cleared;
	uint32_t turn;
	struct sim_stats stats;
	uint64_t view[64][512], upper[64];
};

/** 0; -ENOMEM; -EINVAL: areas that overlap or are not made of pages, patterns that make no sense. */
int sim_world_init(struct sim_world *world, const struct sim_costs *costs, const struct sim_area *areas,
		   size_t nr_areas, const struct sim_pattern *patterns, size_t nr_patterns);
void sim_world_deinit(struct sim_world *world);

/** Say which processes the targets are that the faces are asked for. 0 or -ENOMEM. */
int sim_set_targets(struct sim_world *world, const uint32_t *processes, size_t nr);
/** The process of a target; UINT32_MAX, which has no memory: there is no such target. */
static inline uint32_t sim_process(const struct sim_world *world, size_t target)
{
	return target < world->nr_targets ? world->targets[target] : UINT32_MAX;
}
/** Clear no more samples than a share of CPU, in ns per second, pays for; 0: all. */
void sim_limit(struct sim_world *world, int64_t overhead_ns);
/** Spend CPU time: the clock goes on meanwhile. */
void sim_charge(struct sim_world *world, double ns);
/** Sleep until a time and wake up; how late it became. */
uint64_t sim_sleep_until(struct sim_world *world, uint64_t ns);
double sim_read_ns(const struct sim_costs *costs, size_t pages);

/** The area that shows an address now, or NULL. */
const struct sim_area *sim_area_at(const struct sim_world *world, uint32_t process, uint64_t addr);
static inline uint64_t sim_frame(const struct sim_area *area, uint64_t addr)
{
	return area->frame + (addr - area->start) / 4096;
}
/** Where the next area of a process begins above an address, at whatever time; UINT64_MAX: none. */
uint64_t sim_next_area(const struct sim_world *world, uint32_t process, uint64_t addr);
/** The segment that holds a frame or else the next one; nr_segments: there is none. */
size_t sim_segment_at(const struct sim_world *world, uint64_t frame);

/** Whether the accessed bit of frames [@first, @last), one or 512, is set now. Costs nothing. */
bool sim_is_young(const struct sim_world *world, uint64_t first, uint64_t last);
/** Likewise each of the frames [@first, @last) of one table that share no bits: @young, one each. */
void sim_read(const struct sim_world *world, uint64_t first, uint64_t last, bool *young);
/** Clear the accessed bits of frames of one table. 0 or -ENOMEM. Costs nothing. */
int sim_clear(struct sim_world *world, uint64_t first, uint64_t last);

// The faces.

/** See struct access_ops. The only one that goes through the gate by itself. */
int sim_turn(void *world, uint8_t *results, size_t nr_results, const struct access_sample *samples, size_t nr);
struct bulk_ops sim_bulk_ops(struct sim_world *world);

// The truth.

/** Of a range of addresses in an interval: bytes, and uses of its pages. */
struct sim_truth {
	double hot;	// at least so often used: by pages
	double used;	// used at all, as expected: by accessed bits
	double uses;
};
/**
 * Of what is mapped of [@start, @end) of a process at @until_ns: @hot_rate uses per second and more are
 * hot. Exact where at most one pattern picks among its pages; where several do, as if independent.
 */
struct sim_truth sim_truth_of(const struct sim_world *world, uint32_t process, uint64_t start, uint64_t end,
			      uint64_t since_ns, uint64_t until_ns, double hot_rate);
