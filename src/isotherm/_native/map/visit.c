// SPDX-License-Identifier: Apache-2.0
// A visit of a chunk: look at its tables, clear what is due, look again, and arm what was cleared.
#include <errno.h>
#include <string.h>
#include "map/returns.h"
#include "sys/clock.h"
#include "sys/page.h"

#define EMPTY_NS UINT64_C(500000000)	// where nothing is it is looked that soon, then twice as late
#define MOST_EMPTY 6
#define JUDGE_AGAIN 8	// one in so many pages that always are in use at once is judged again

static int view_chunk(struct page_map *map, size_t target, const struct map_chunk *chunk, struct bulk_view *view)
{
	map->stats.reads++;
	return map->ops.view(map->ops.ctx, target, chunk->base, MAP_CHUNK_BLOCKS, view);
}

/** Let the tables take what a view shows. */
static void take(struct page_map *map, struct map_target *target, struct map_chunk *chunk,
		 const struct bulk_view *view, map_time now)
{
	struct map_before known;

	for (size_t kind = 0; kind < NR_MAP_KINDS; kind++) {
		for (size_t i = 0; i < MAP_CHUNK_BLOCKS; i++) {
			struct map_block block;

			if (!map_block_at(map, target, chunk, kind, view, i, &block))
				continue;
			struct map_totals before = map_totals_of(block.table ? *block.table : NULL);
			struct map_table *table = map_block_table(map, chunk, kind, i, &block);

			uint64_t mask[MAP_PAGES / 64];

			map_before_read(&known, table);
			if (table)
				map_table_read(table, &map->ops.format, block.entries, block.mask,
					       map_came_of(target, chunk, block.address, mask), &chunk->turn, now);
			map_returns_add(map, target, kind, &known, &block);
			map_account(map, target, kind, before, map_totals_of(table));
		}
	}
}

static bool may_arm(const struct map_target *target, enum map_kind kind,
		    const struct map_table *table, bool turn, map_time now)
{
	if (!table || !target->sized || target->all_at_once[kind])
		return false;
	return map_table_waits(table) || (turn && map_table_due(table, now));
}

/** Of a page that could be cleared now only: what it did before is not known. */
static uint8_t armed_late(const struct map_table *table)
{
	return table->nr_epochs > 1 ? MAP_BYTE(1, MAP_PERHAPS) : MAP_BYTE(MAP_UNTOUCHED, 0);
}

static void were_aged(struct page_map *map, const uint64_t *entries, size_t nr, bool *aged)
{
	uint64_t frames[MAP_PAGES];

	for (size_t i = 0; i < nr; i++)
		frames[i] = bulk_frame(&map->ops.format, entries[i]);
	map->ops.aged(map->ops.ctx, frames, nr, aged);
}

/**
 * Of pages that are young right after the clear: those that cannot be cleared, unlike those just in
 * use, are not seen. @together: the clear was one that reaches shared and locked pages as well;
 * @by_frames: unless they were passed by, as they were moving between the kernel's lists.
 */
static void judge(struct page_map *map, struct map_table *table, const struct map_block *block, bool together,
		  bool by_frames)
{
	const struct entry_format *format = &map->ops.format;
	uint64_t entries[MAP_PAGES];
	uint16_t which[MAP_PAGES];
	uint8_t why[MAP_PAGES];
	bool aged[MAP_PAGES];
	size_t nr = 0, pages = map_table_pages(table);
	bool again = table->suspect || map->random % JUDGE_AGAIN == 0;

	table->suspect = false;
	map->random = map->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	map->random ^= map->random >> 33;
	for (size_t i = 0; i < pages; i++) {
		uint8_t byte = table->pages[i];

		if (!(block->entries[i] & format->present) || !map_in(block->mask, i) || byte == MAP_ABSENT)
			continue;
		if (!(block->entries[i] & format->young)) {
			if (map_epoch_of(byte) == MAP_UNSEEN)
				table->pages[i] = armed_late(table);
			continue;
		}
		if ((byte & ~MAP_AGAIN) == MAP_BYTE(1, 0) && !again)
			continue;	// always in use so soon
		entries[nr] = block->entries[i];
		which[nr++] = i;
	}
	if (!nr || !map->ops.judge)
		return;
	map->ops.judge(map->ops.ctx, entries, nr, table->huge, why);
	if (by_frames && map->ops.aged)
		were_aged(map, entries, nr, aged);
	else
		memset(aged, true, sizeof(aged));
	map->stats.judged += nr;
	for (size_t i = 0; i < nr; i++) {
		bool seen = why[i] == MAP_SEEN || (together && why[i] != MAP_OTHER && aged[i]);
		uint8_t *byte = &table->pages[which[i]];

		if (!seen)
			map_table_unseen(table, which[i], why[i]);
		else if (map_epoch_of(*byte) == MAP_UNSEEN)
			*byte = armed_late(table);
	}
}

static void refuse(struct map_table *table, const struct map_block *block, const struct map_ranges *ranges)
{
	size_t pages = map_table_pages(table);

	for (size_t i = 0; i < ranges->nr; i++) {
		const struct bulk_range *range = &ranges->at[i];

		if (!range->refused || range->refused == BULK_GONE ||
		    range->end <= block->address || range->start >= block->address + BLOCK)
			continue;
		enum map_unseen why = range->refused == BULK_TORN ? MAP_TORN : MAP_LOCKED;

		for (size_t page = 0; page < pages; page++) {
			uint64_t at = block->address + page * PAGE;

			if ((table->huge || (at >= range->start && at < range->end)) && map_in(block->mask, page))
				map_table_unseen(table, page, why);
		}
	}
}

/**
 * Begin an epoch of a table that was cleared just now, and settle what is young already. @ranges: by
 * which it was cleared, and what came of each; NULL: all was cleared together.
 */
static void arm_table(struct page_map *map, struct map_target *target, const struct map_chunk *chunk,
		      enum map_kind kind, struct map_block *block, const struct map_ranges *ranges, map_time now)
{
	uint64_t mask[MAP_PAGES / 64];
	struct map_table *table = *block->table;
	struct map_totals before = map_totals_of(table), after;

	if (table->huge != block->huge)
		return;	// its next read will find out
	map_table_arm(table, now);
	judge(map, table, block, !ranges, target->by_frames[kind]);
	if (ranges)
		refuse(table, block, ranges);
	map_table_read(table, &map->ops.format, block->entries, block->mask,
		       map_came_of(target, chunk, block->address, mask), NULL, now);
	after = map_totals_of(table);
	after.fresh = before.fresh;	// what is hot is no news
	map_account(map, target, kind, before, after);
}

/** Clear and arm what is due of a kind; @whole turns false if something is left for another visit. */
static int arm_kind(struct page_map *map, size_t index, struct map_chunk *chunk, enum map_kind kind, bool turn,
		    struct bulk_view *view, map_time now, bool *whole)
{
	struct map_target *target = &map->targets[index];
	struct map_ranges ranges;
	bool due[MAP_CHUNK_BLOCKS] = {0};
	size_t nr_due = 0;
	struct map_block block;

	ranges.nr = 0;
	for (size_t i = 0; i < MAP_CHUNK_BLOCKS; i++) {
		struct map_table *table = map_chunk_table(chunk, kind, i);

		if (!may_arm(target, kind, table, turn, now) || !map_block_at(map, target, chunk, kind, view, i, &block))
			continue;
		if (!map_ranges_add(&ranges, map, target, kind, &block)) {
			*whole = false;
			break;
		}
		due[i] = true;
		nr_due++;
	}
	if (!nr_due)
		return 0;
	int err = ranges.nr ? map_clear(map, index, ranges.at, ranges.nr) : 0;

	now = map_now(map, target, map->ops.now_ns(map->ops.ctx));
	map->stats.clears++;
	map->stats.ranges += ranges.nr;
	if (!err)
		err = view_chunk(map, index, chunk, view);
	for (size_t i = 0; !err && i < MAP_CHUNK_BLOCKS; i++)
		if (due[i] && map_block_at(map, target, chunk, kind, view, i, &block) && block.table && *block.table)
			arm_table(map, target, chunk, kind, &block, &ranges, now);
	return err;
}

/** How long new memory may stay unseen: a tenth of the share is for finding it. */
static uint64_t longest_rest(const struct page_map *map)
{
	uint64_t ns = map_reading_ns(map, 10);

	return ns < 2 * SECOND_NS ? 2 * SECOND_NS : ns > 60 * SECOND_NS ? 60 * SECOND_NS : ns;
}

/** When to come again, and whether something waits to be armed. */
static void plan(struct page_map *map, struct map_target *target, struct map_chunk *chunk, map_time now)
{
	uint64_t passed = map_time_ns(now - chunk->turn.began), next = map_next_read(passed);
	uint64_t rest = next - passed < longest_rest(map) ? next - passed : longest_rest(map);
	bool any = false;

	chunk->arm = false;
	for (size_t i = 0; i < NR_MAP_KINDS * MAP_CHUNK_BLOCKS; i++) {
		enum map_kind kind = i / MAP_CHUNK_BLOCKS;
		struct map_table *table = map_chunk_table(chunk, kind, i % MAP_CHUNK_BLOCKS);

		any |= table != NULL;
		chunk->arm |= may_arm(target, kind, table, false, now);
	}
	chunk->empty = any ? 0 : chunk->empty + (chunk->empty < MOST_EMPTY);
	if (!any)
		rest = EMPTY_NS << chunk->empty;
	chunk->due = now + map_time_of(rest) + 1;
}

static void end_turn(struct page_map *map, struct map_chunk *chunk, map_time now)
{
	for (size_t i = 0; i < NR_MAP_KINDS * MAP_CHUNK_BLOCKS; i++) {
		struct map_table *table = map_chunk_table(chunk, i / MAP_CHUNK_BLOCKS, i % MAP_CHUNK_BLOCKS);
		uint64_t pages = table && table->huge ? MAP_PAGES : 1;

		if (table) {
			map->change.used += table->used * pages;
			map->change.calm += table->calm ? table->used * pages : 0;
		}
	}
	chunk->turn = (struct map_turn){.began = now};
	chunk->turn_number = map->turn_number;
}

int map_look(struct page_map *map, size_t index, struct map_chunk *chunk, map_time now, struct bulk_view *view)
{
	int err = view_chunk(map, index, chunk, view);

	if (err)
		return err;
	if (!chunk->visited)
		chunk->turn.began = now;
	take(map, &map->targets[index], chunk, view, now);
	// For those tables that only are armed.
	map_reads_add(&chunk->turn.reads, map_time_ns(now - chunk->turn.began));
	chunk->read = now;
	chunk->visited = true;
	return 0;
}

int page_map_look(struct page_map *map, size_t index, uint64_t start, uint64_t end)
{
	struct map_target *target = &map->targets[index];
	map_time now = map_now(map, target, map->ops.now_ns(map->ops.ctx));
	int err = 0;

	for (size_t j = 0; j < target->nr_chunks && !err; j++) {
		struct map_chunk *chunk = &target->chunks[j];
		struct bulk_view view;

		if (chunk->visited && chunk->base < end && start < chunk->base + MAP_CHUNK_BLOCKS * BLOCK)
			err = map_look(map, index, chunk, now, &view);
	}
	return err;
}

int map_visit(struct page_map *map, size_t index, struct map_chunk *chunk, bool arm)
{
	struct map_target *target = &map->targets[index];
	map_time now = map_now(map, target, map->ops.now_ns(map->ops.ctx));
	bool turn = arm && map_turn_is_due(map, target, chunk), whole = true;
	struct bulk_view view;
	int err = map_look(map, index, chunk, now, &view);

	map->stats.visits++;
	for (size_t kind = 0; arm && !err && kind < NR_MAP_KINDS; kind++)
		err = arm_kind(map, index, chunk, kind, turn, &view, now, &whole);
	if (turn && whole && !err)
		end_turn(map, chunk, now);
	if (!err)
		plan(map, target, chunk, now);
	return err;
}

/** Clear ranges of a target, and have none. 0; -ESRCH. */
static int clear_ranges(struct page_map *map, size_t index, struct map_ranges *ranges)
{
	int err = ranges->nr ? map_clear(map, index, ranges->at, ranges->nr) : 0;

	ranges->nr = 0;
	return err;
}

int map_clear_used(struct page_map *map, size_t index, enum map_kind kind)
{
	struct map_target *target = &map->targets[index];
	struct map_ranges ranges;
	int err = 0;

	ranges.nr = 0;
	for (size_t j = 0; j < target->nr_chunks && !err; j++) {
		struct map_chunk *chunk = &target->chunks[j];
		struct bulk_view view;
		struct map_block block;

		if (!chunk->tables[kind])
			continue;
		err = view_chunk(map, index, chunk, &view);
		for (size_t i = 0; i < MAP_CHUNK_BLOCKS && !err; i++) {
			if (!map_block_at(map, target, chunk, kind, &view, i, &block) ||
			    map_ranges_add(&ranges, map, target, kind, &block))
				continue;
			err = clear_ranges(map, index, &ranges);
			if (!err)
				err = view_chunk(map, index, chunk, &view);
			i--;	// once more, where there is room
		}
		if (!err)
			err = clear_ranges(map, index, &ranges);
	}
	return err;
}

int map_arm_all(struct page_map *map, size_t index, struct map_chunk *chunk, enum map_kind kind,
		struct map_change *change)
{
	struct map_target *target = &map->targets[index];
	map_time now = map_now(map, target, map->ops.now_ns(map->ops.ctx));
	struct bulk_view view;
	int err = view_chunk(map, index, chunk, &view);

	for (size_t i = 0; !err && i < MAP_CHUNK_BLOCKS; i++) {
		struct map_block block;
		struct map_table *table = map_chunk_table(chunk, kind, i);

		if (!table || !map_block_at(map, target, chunk, kind, &view, i, &block))
			continue;
		uint16_t used = table->used;

		arm_table(map, target, chunk, kind, &block, NULL, now);
		chunk->turn = (struct map_turn){.began = now};
		change->used += used;
		change->calm += table->calm ? used : 0;
	}
	if (!err)
		plan(map, target, chunk, now);
	return err;
}

/** Clear what one process alone maps of a kind in the piece. */
static int clear_rest(struct page_map *map, size_t index, struct map_chunk *chunk, enum map_kind kind,
		      const struct bulk_view *view)
{
	struct map_ranges ranges;
	struct map_block block;

	ranges.nr = 0;
	for (size_t i = 0; i < MAP_CHUNK_BLOCKS; i++) {
		uint64_t address = chunk->base + i * BLOCK;

		if (address >= map->piece.start && address < map->piece.end &&
		    map_block_at(map, &map->targets[index], chunk, kind, view, i, &block) &&
		    !map_ranges_add(&ranges, map, &map->targets[index], kind, &block))
			break;	// what is left is judged, and waits for the next round
	}
	return clear_ranges(map, index, &ranges);
}

int map_arm_piece(struct page_map *map, size_t index, struct map_chunk *chunk, struct map_change *change)
{
	struct map_target *target = &map->targets[index];
	map_time now = map_now(map, target, map->ops.now_ns(map->ops.ctx));
	struct bulk_view view;
	int err = map_look(map, index, chunk, now, &view);

	for (size_t kind = 0; kind < NR_MAP_KINDS && !err; kind++)
		if (target->by_frames[kind])
			err = clear_rest(map, index, chunk, kind, &view);
	if (!err)
		err = view_chunk(map, index, chunk, &view);
	now = map_now(map, target, map->ops.now_ns(map->ops.ctx));
	for (size_t k = 0; k < NR_MAP_KINDS * MAP_CHUNK_BLOCKS && !err; k++) {
		enum map_kind kind = k / MAP_CHUNK_BLOCKS;
		size_t i = k % MAP_CHUNK_BLOCKS;
		uint64_t address = chunk->base + i * BLOCK;
		struct map_table *table = map_chunk_table(chunk, kind, i);
		struct map_block block;

		if (!table || !target->by_frames[kind] || address < map->piece.start || address >= map->piece.end ||
		    !map_block_at(map, target, chunk, kind, &view, i, &block))
			continue;
		uint16_t used = table->used;

		arm_table(map, target, chunk, kind, &block, NULL, now);
		change->used += used;
		change->calm += table->calm ? used : 0;
	}
	if (!err) {
		chunk->turn = (struct map_turn){.began = now};
		plan(map, target, chunk, now);
	}
	return err;
}
