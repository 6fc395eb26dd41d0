// SPDX-License-Identifier: Apache-2.0
// A map of pages: which were used when, of all memory of the targets, within a share of a CPU.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "access/budget.h"
#include "map/bulk.h"
#include "map/table.h"

#define MAP_CHUNK_BLOCKS 64	// blocks of 2 MiB that are visited together
#define MAP_RETURN_AGES 18	// lengths of time, ascending: those of model/page_use.py

/** A mapping of a target, as its owner tells it. */
struct map_area {
	uint64_t start, end;
	uint32_t row;		// what its pages are summed up as
	uint8_t kind;		// enum map_kind
	uint8_t flags;		// MAP_AREA_*
};
#define MAP_AREA_PRIVATE_FILE 1	// pages that may be written to are the process' own
#define MAP_AREA_KEPT 2		// shared, and nowhere but in memory: no action takes its pages out

/** Blocks side by side, and what is known of them, by kind of area. */
struct map_chunk {
	uint64_t base;
	map_time due;		// of the next read
	map_time read;		// the last visit; came: when it was not mapped yet
	struct map_turn turn;
	uint32_t turn_number;	// of the map's turn that it took part in
	bool visited, came;	// came: mapped since `read`, while the target was watched
	uint8_t empty;		// visits in a row that found nothing
	bool arm;		// something in it waits to be armed
	struct map_table **tables[NR_MAP_KINDS];	// MAP_CHUNK_BLOCKS each; NULL: none
};

/** Addresses that were mapped lately. */
struct map_came {
	uint64_t start, end;
	map_time at;
};

struct map_target {
	uint32_t id;
	bool gone;
	bool sized;		// all of it was read once, so that it is known how to clear it
	struct map_area *areas;
	size_t nr_areas;
	struct map_came *came;		// in chunks that were not read since; in no order
	size_t nr_came;
	struct map_chunk *chunks;	// in order
	size_t nr_chunks;
	uint64_t present[NR_MAP_KINDS];	// pages, as last read
	uint64_t shared[NR_MAP_KINDS];	// of them those whose use is not seen as others map them too
	bool all_at_once[NR_MAP_KINDS];	// cleared together: by ops.clear_all(), or...
	bool by_frames[NR_MAP_KINDS];	// ...a piece after the other by who clears frames
	bool never_all[NR_MAP_KINDS];	// ops.clear_all() was tried, and cannot do it
	uint64_t stopped_ns;		// for so long in all it stood still, and its clock with it
	struct map_bursts bursts;	// as of the last sum
	uint64_t stopped_at_ns;		// it does so since this time or before; 0: it runs
	bool any_left;
	uint64_t left[MAP_RETURN_AGES];	// bytes of what went, by the length of time before in which it was used
};

/** Pages that were used, and those of them in tables of which as good as the same were before. */
struct map_change {
	uint64_t used, calm;
};
/** Cleared together, by ops.clear_all(). */
struct map_rounds {
	map_time due;
	bool any, armed;
	uint8_t calm;
	double page_ns;		// CPU time that a clear takes a page, as measured
	uint64_t held_ns;	// the longest that an address map was held
	uint64_t rounds;
};

/**
 * What is cleared in the background, by somebody who clears frames in all who map them: a piece of all
 * targets at a time. Its frames are asked for; once whoever clears them is ready, all that is cleared
 * so is read, and it begins; when it has ended, the piece is armed.
 */
enum map_piece_state {
	MAP_PIECE_NONE,
	MAP_PIECE_ASKED,	// ranges[] tell what
	MAP_PIECE_READY,	// they are known to who clears them, and nothing is cleared yet
	MAP_PIECE_BEGUN,	// to be cleared now
	MAP_PIECE_ENDED,
};
struct map_piece {
	enum map_piece_state state;
	uint64_t at;			// addresses from here on are for the pieces to come
	uint64_t start, end;		// addresses, of whole blocks
	uint64_t (*ranges)[2];		// bytes of physical memory, in order
	size_t nr, room;
	uint64_t begun_ns, ended_ns;	// between the last read before the clear and its end
	int64_t cpu_ns;			// what it cost whoever cleared
	uint64_t weight;		// entries to look at
	double entry_ns;		// time that it takes to clear an entry, as measured
	map_time round_began, due;
	bool any, armed;		// something is cleared so; all of it was once
	uint8_t calm;
	struct map_change change;
	uint64_t rounds, pieces;
	int64_t spent_ns;		// of CPU time, by whoever cleared
};

/** What came back after it was idle: see map/returns.h. */
struct map_returns {
	uint64_t *bytes;	// of a row: of what is not, and of what is, the process' own, by length of time
	size_t nr_rows;
};

struct map_settings {
	int64_t share_ns;	// CPU time per second
	int64_t first_ns;	// likewise until all was covered once, for FIRST_S of it at most; 0 is no more
	uint64_t stall_ns;	// an address map may be held so long to clear shared memory; 0: never
	bool frames;		// there is somebody who clears frames: see struct map_piece
};

struct map_stats {
	uint64_t tables;
	uint64_t visits, reads, clears, ranges, judged;
	int64_t cpu_ns;
};

struct panel;

struct page_map {
	struct bulk_ops ops;
	struct panel *panel;	// sentinels, told of what is cleared; not owned, NULL: there are none
	struct map_settings settings;
	struct map_target *targets;
	size_t nr_targets;
	struct bucket clears, reads, all_at_once, by_frames;	// what each may cost
	struct map_rounds rounds;
	struct map_piece piece;
	uint64_t began_ns;
	bool covered;
	size_t at_target, at_chunk;	// where to go on
	uint32_t turn_number;
	uint8_t turn_calm;		// turns come twice as seldom so many times
	map_time turn_began;
	struct map_change change;	// of this turn
	uint64_t fresh, used;		// pages, since the last look at how much changes
	map_time woken;
	struct map_stats stats;
	struct map_returns returns;
	uint64_t random;
};

void page_map_init(struct page_map *map, const struct bulk_ops *ops, const struct map_settings *settings,
		   uint64_t now_ns);
void page_map_deinit(struct page_map *map);

/** Replace the targets, in the order that ops.view() knows; those with a known id keep what is known. */
int page_map_set_targets(struct page_map *map, const uint32_t *ids, size_t nr);
/** Tell for how long a target has stood still by @now_ns, which never becomes less, and whether it does. */
void page_map_set_stopped(struct page_map *map, size_t target, uint64_t stopped_ns, bool stopped, uint64_t now_ns);
/**
 * Replace the areas of a target, in address order and apart. @since_ns: when it had those that it had
 * until now, and no others; 0: that is not known. 0 or -ENOMEM.
 */
int page_map_set_areas(struct page_map *map, size_t target, const struct map_area *areas, size_t nr,
		       uint64_t since_ns);

/**
 * Do what is due and can be paid; when there will be something to do is returned in
 * @next_ns. 0 or -errno.
 */
int page_map_step(struct page_map *map, uint64_t now_ns, uint64_t *next_ns);

/** Who clears frames does so no more: what only it could clear is not seen from here on. */
void page_map_lose_frames(struct page_map *map);

/** Read what is known of [start, end) of a target now. 0; -ESRCH. */
int page_map_look(struct page_map *map, size_t target, uint64_t start, uint64_t end);

/** Somebody else found pages of [start, end) young and clears them. */
void page_map_seen(struct page_map *map, size_t target, uint64_t start, uint64_t end, uint64_t now_ns);

/** Likewise, but the sentinels know. */
void map_note_seen(struct page_map *map, size_t target, uint64_t start, uint64_t end, uint64_t now_ns);

/** Bytes of memory that the map needs. */
uint64_t page_map_bytes(const struct page_map *map);

/** Whether pages of a target came of a sudden in their newest epochs, as far as was read. */
struct map_bursts map_target_bursts(const struct map_target *target);
/** The table of a block, or NULL. */
struct map_table *map_chunk_table(const struct map_chunk *chunk, enum map_kind kind, size_t block);
/** The first chunk that ends above @addr: nr_chunks if there is none. */
size_t map_first_chunk(const struct map_target *target, uint64_t addr);
/** The chunk that holds @addr, or NULL. */
struct map_chunk *map_target_chunk(const struct map_target *target, uint64_t addr);
/** The first area that ends above @addr: nr_areas if there is none. */
size_t map_first_area(const struct map_target *target, uint64_t addr);

// Between the parts of the map.

/** Pages that a table counts. */
struct map_totals {
	int64_t present, shared, used, fresh;
};
struct map_totals map_totals_of(const struct map_table *table);
/** A table of a target counts other pages than before. */
void map_account(struct page_map *map, struct map_target *target, enum map_kind kind,
		 struct map_totals before, struct map_totals after);

/** Look at a chunk, and let its tables take what is seen. 0; -ESRCH. */
int map_look(struct page_map *map, size_t target, struct map_chunk *chunk, map_time now, struct bulk_view *view);
/** Visit a chunk: read it and, if @arm, clear what is due and arm it. 0; -ESRCH. */
int map_visit(struct page_map *map, size_t target, struct map_chunk *chunk, bool arm);
/** Clear what is young of all areas of a kind, by ranges. 0; -ESRCH. */
int map_clear_used(struct page_map *map, size_t target, enum map_kind kind);
/** All areas of a kind in a chunk were cleared just now: arm them. 0; -ESRCH. */
int map_arm_all(struct page_map *map, size_t target, struct map_chunk *chunk, enum map_kind kind,
		struct map_change *change);
/** Clear ranges, which sentinels look at before. As ops.clear(). */
int map_clear(struct page_map *map, size_t target, struct bulk_range *ranges, size_t nr);
/** Clear what is young and mapped once of the areas in a piece, and arm all of it: it was cleared just now. */
int map_arm_piece(struct page_map *map, size_t target, struct map_chunk *chunk, struct map_change *change);
/** Whether anything in a chunk is cleared by frames. */
bool map_has_frames(const struct map_target *target, const struct map_chunk *chunk);
/** Go on with the piece that is cleared in the background, or ask for one. */
void map_piece_step(struct page_map *map, uint64_t now_ns);
/** When to come again for it, at the latest. */
uint64_t map_piece_rest(const struct page_map *map, uint64_t now_ns);
/**
 * Decide how the areas of targets are cleared: of those that were read once by now and, at the @end of
 * a pass, of all. True if some are cleared in another way: what waits for it is not known before they
 * were read again.
 */
bool map_rounds_choose(struct page_map *map, uint64_t now_ns, bool end);
/** What the reads cost that follow a round. */
int64_t map_reads_of_round(const struct page_map *map);
/** Clear together what is cleared together, if it is due and can be paid. */
void map_rounds_clear(struct page_map *map, uint64_t now_ns);
/** Whether a chunk is to take part in the map's turn. */
static inline bool map_turn_is_due(const struct page_map *map, const struct map_target *target,
				   const struct map_chunk *chunk)
{
	return map->covered && target->sized && chunk->turn_number != map->turn_number;
}
#define MAP_LOOK_NS 2000	// what a read of a table costs, about
/** How long it takes until one @part-th of the share has paid for a read of all tables. */
static inline uint64_t map_reading_ns(const struct page_map *map, uint64_t part)
{
	return map->stats.tables * MAP_LOOK_NS * part * 1000 / ((uint64_t)map->settings.share_ns / 1000000 + 1);
}

/**
 * The areas of a target become @areas, but for its chunks: note what comes. 0 or -ENOMEM.
 */
int map_note_came(struct map_target *target, const struct map_area *areas, size_t nr, map_time now);
/** The pages of a block in a chunk that came since it was read, in @mask; NULL: none did. */
const uint64_t *map_came_of(const struct map_target *target, const struct map_chunk *chunk, uint64_t block,
			    uint64_t *mask);
/** Set bits [from, to) of the 512 of a mask. */
void map_set_bits(uint64_t *mask, size_t from, size_t to);
/** The pages of a block that are in areas of a kind. Returns how many bits are set, 512 at most. */
size_t map_mask_of(const struct map_target *target, enum map_kind kind, uint64_t block, uint64_t *mask);
static inline map_time map_now(const struct page_map *map, const struct map_target *target, uint64_t now_ns)
{
	uint64_t running = (target && target->stopped_at_ns ? target->stopped_at_ns : now_ns) - map->began_ns;

	// One turn of the clock away from its beginning, so that there is a time before it.
	return map_time_of((UINT64_C(1) << 40) + running - (target ? target->stopped_ns : 0));
}
