// SPDX-License-Identifier: Apache-2.0
// The panel: all sentinels of all targets, what they cost, and the rounds in which they are armed, read
// and learned from.
#pragma once
#include "access/budget.h"
#include "map/bulk.h"
#include "sentinels/learn.h"
#include "table/rng.h"

struct page_map;

/** Memory to be watched, as its owner tells it; in the panel, in order of target and address. */
struct panel_area {
	uint64_t start, end;
	uint32_t target;
	uint64_t place;		// of its first page, among the pages of all areas
	uint64_t block;		// of its first block of 2 MiB, among those of all areas
	uint64_t owed;		// clumps to explore of an area that is new
};

struct panel_target {
	uint32_t id;
	bool lost;		// it is gone, or another program
	uint64_t stopped_ns;	// how long it has not been running
	int64_t ran_ns;		// its CPU time ...
	uint64_t asked_ns;	// ... as it was then; 0: nobody asked
	uint64_t still_ns;	// since then it has not run
	bool stopped;		// it cannot run: by a signal, a debugger, a freezer
};

struct panel_settings {
	int64_t share_ns;	// CPU time per second, of all that this thread does
	uint64_t seed;
	uint32_t clump;		// pages of a sentinel that explores
	bool counts;		// costs are counted, not measured: time is simulated
};

/** CPU time in ns that a step of its kind costs, smoothed. */
struct panel_costs {
	double read;	// of a clump
	double clear;	// of a range that held a young page
	double wake;	// of being woken up
	double learn;	// of a sentinel in a learn pass
};

struct panel_pool {
	double clears, surprise;	// of the last seconds
};

struct panel_stats {
	uint64_t rounds, wakes, reads, clears, armed, learned, explored, dropped;
	int64_t cpu_ns;
};

struct panel {
	struct bulk_ops ops;
	struct panel_settings settings;
	struct page_map *map;		// told of what is cleared; not owned, NULL: there is none
	struct panel_target *targets;
	size_t nr_targets;
	struct panel_area *areas;
	size_t nr_areas;
	uint64_t nr_places, nr_blocks;

	struct sentinel *sentinels;	// the first nr_sorted in the order of their places
	size_t nr, nr_sorted, room, most;
	struct learner learner;

	struct rng rng;
	uint64_t explored;		// draws of a place to explore
	struct panel_costs costs;
	struct bucket bucket;
	int64_t counted_ns, cpu_mark;
	struct panel_pool pools[NR_POOLS];

	unsigned int phase;		// what the next step does
	uint64_t round_ns;		// when the round began
	uint64_t length_ns;		// how long it lasts
	uint64_t due_ns, learned_ns, learned_before_ns;
	uint64_t bisected_ns;		// which learn pass gaps were cut by last
	size_t turn;			// the sentinel to go on reading from
	size_t *fresh;			// armed in this round
	size_t nr_fresh, room_fresh;
	bool began;
	uint64_t began_ns;
	struct panel_stats stats;
	struct panel_piece *pieces;
	size_t nr_pieces;
	uint64_t pieces_ns;
};

int panel_init(struct panel *panel, const struct bulk_ops *ops, const struct panel_settings *settings,
	       uint64_t now_ns);
void panel_deinit(struct panel *panel);

/**
 * Replace targets and areas, these in the order of targets and addresses and apart. Those of known ids
 * keep what is known of areas that stay. 0 or -ENOMEM.
 */
int panel_set_space(struct panel *panel, const uint32_t *ids, size_t nr_ids, const struct panel_area *areas,
		    size_t nr_areas);
/** Do what is due; when to come again is returned in @next_ns. 0; -ESRCH: all targets are gone; -errno. */
int panel_step(struct panel *panel, uint64_t now_ns, uint64_t *next_ns);

/** Somebody is about to clear [start, end) of a target: take note of what was accessed there. 0 or -errno. */
int panel_before_clear(struct panel *panel, size_t target, uint64_t start, uint64_t end);
/** Somebody found pages of [start, end) young, and clears them. */
void panel_seen(struct panel *panel, size_t target, uint64_t start, uint64_t end, uint64_t now_ns);

/** A region as DAMON has it. */
struct panel_piece {
	uint64_t start, end;
	uint32_t target;
	uint32_t age;		// windows since its rate changed
	double count;		// accesses of a window, on average
	double carry;		// of them not yet told
	uint32_t nr_accesses;
	double rate, low, high;	// of a page a second
	double used;		// bytes used within a time
	double blind;		// bytes of unknown use
};

struct piece_settings {
	double sample_s, used_s;
	uint32_t samples;	// of a window
	size_t least, most;	// pieces
};

/** Conclude from a window: panel->pieces. 0 or -ENOMEM. */
int panel_cut(struct panel *panel, const struct piece_settings *settings);

// Between the parts of the panel.

/** Time that a target ran. */
uint64_t panel_running(const struct panel *panel, uint32_t target, uint64_t now_ns);
/** See who has run since the last look: memory of who did not run is not idle because of that. */
void panel_see_who_ran(struct panel *panel, uint64_t now_ns);
/** CPU time so far, as it is charged or counted. */
int64_t panel_cpu_ns(const struct panel *panel);
/** Account for CPU time. */
void panel_pay(struct panel *panel, uint64_t now_ns);
/** Read sentinels, by index, and take what they show. 0 or -errno. */
int panel_read(struct panel *panel, const size_t *which, size_t nr);
/** Arm sentinels, by index: clear what is young. 0 or -errno; @paid is how many needed it. */
int panel_arm(struct panel *panel, const size_t *which, size_t nr, size_t *paid);
/** A new sentinel at the end; its index, or SIZE_MAX. */
size_t panel_add(struct panel *panel, size_t area, uint64_t addr, uint32_t clump, enum sentinel_pool pool);
/** Read something, so that what is made at the first read is there. 0 or -errno. */
int panel_warm_up(struct panel *panel);
/** Have all sentinels in order, one at a place. */
void panel_sort(struct panel *panel);
/** Learn from all of them, in order. 0 or -ENOMEM. */
int panel_learn(struct panel *panel, struct learn_time time);
/** The area that holds a place. */
size_t panel_area_at(const struct panel *panel, uint64_t place);
/** The first of the sorted sentinels that is at @place or behind. */
size_t panel_first_at(const struct panel *panel, uint64_t place);
/** CPU time that may be spent now. */
static inline double panel_affords(const struct panel *panel)
{
	return panel->bucket.tokens > 0 ? (double)panel->bucket.tokens : 0;
}
/** Choose where to clear, for @ns of CPU time, and arm. 0 or -errno. */
int panel_choose(struct panel *panel, double ns, uint64_t now_ns);
