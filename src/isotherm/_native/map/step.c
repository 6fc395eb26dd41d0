// SPDX-License-Identifier: Apache-2.0
// What the map does when: reads that are due, clears that can be paid, rounds that clear all at once.
#include <errno.h>
#include "map/page_map.h"
#include "sentinels/panel.h"
#include "sys/clock.h"

#define WAKE_NS SECOND_NS
#define WAKE_PAGES 64
#define WAKE_SHARE 20		// more than a twentieth of the used pages are new ones: look again
#define SHARED_PAGES 256	// of anonymous memory so much, and a share of it, is worth a round
#define SHARED_SHARE 64
#define READS_SAVED_S 4		// seconds of unspent time that a burst of reads may use
#define CLEARS_SAVED 8		// parts of a second likewise for clears
#define ROUND_READS 5		// a round pays for so many reads of all that it cleared: those of its first seconds
#define LONGEST_REST_NS SECOND_NS
#define SHORTEST_REST_NS UINT64_C(4000000)
#define ROUND_NS SECOND_NS
#define SHORTEST_TURN_NS SECOND_NS
#define CALMEST_TURN 4
#define CALMEST_ROUND 4

static bool has_rounds(const struct page_map *map)
{
	for (size_t i = 0; i < map->nr_targets; i++)
		for (size_t kind = 0; kind < NR_MAP_KINDS; kind++)
			if (map->targets[i].all_at_once[kind])
				return true;
	return false;
}

/**
 * Decide which areas are cleared all at once: shared ones, as long as nobody waits long for it. True if
 * something is cleared in another way now: what waits for it is not known before it was read again.
 */
static bool choose_ways(struct page_map *map, uint64_t now_ns)
{
	bool any_changed = false;

	for (size_t i = 0; i < map->nr_targets; i++) {
		struct map_target *target = &map->targets[i];
		bool changed = !target->sized;

		for (size_t kind = 0; kind < NR_MAP_KINDS; kind++) {
			uint64_t shared = target->shared[kind], present = target->present[kind];
			bool stays = target->all_at_once[kind];
			bool wanted = kind == MAP_FILE || stays || map->ops.frames_cleared ||
				      (shared > SHARED_PAGES && shared > present / SHARED_SHARE);
			uint64_t stall_ns = map->ops.frames_cleared
				? 0 : (uint64_t)((double)present * map->rounds.page_ns);

			if (map->ops.frames_cleared && map->nr_targets < 2)
				wanted = false;
			target->all_at_once[kind] =
				wanted && present && (map->ops.clear_all || map->ops.frames_cleared) &&
				(map->ops.frames_cleared || map->settings.stall_ns) &&
				stall_ns <= map->settings.stall_ns;
			changed |= target->all_at_once[kind] != stays;
		}
		for (size_t j = 0; changed && j < target->nr_chunks; j++)
			target->chunks[j].due = map_now(map, target, now_ns);
		target->sized = true;
		any_changed |= changed;
	}
	return any_changed;
}

static void set_rate(struct bucket *bucket, int64_t rate, int64_t depth, uint64_t now_ns)
{
	bucket->rate = rate;
	bucket->depth = depth + 1;
	bucket_fill(bucket, now_ns);
}

/** What the reads cost that follow a round. */
static int64_t reads_of_round(const struct page_map *map)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < map->nr_targets; i++)
		for (size_t kind = 0; kind < NR_MAP_KINDS; kind++)
			if (map->targets[i].all_at_once[kind])
				pages += map->targets[i].present[kind];
	return (int64_t)(pages / MAP_PAGES * MAP_LOOK_NS * ROUND_READS);
}

/** A part is kept for reads: what is cleared and not read in time teaches little. */
static void share_out(struct page_map *map, uint64_t now_ns)
{
	int64_t share = map->settings.share_ns, rounds, reads;

	if (!map->covered && map->settings.first_ns > share)
		share = map->settings.first_ns;
	rounds = map->rounds.any ? share / 2 : 0;
	reads = map->covered ? share / 4 : share / 20;
	// A round may begin whenever the last one is paid. The reads after a clear come in a burst.
	set_rate(&map->all_at_once, rounds, 0, now_ns);
	set_rate(&map->reads, reads, READS_SAVED_S * reads + reads_of_round(map), now_ns);
	set_rate(&map->clears, share - reads - rounds, (share - reads - rounds) / CLEARS_SAVED, now_ns);
}

static int64_t spent(struct page_map *map, int64_t *mark)
{
	int64_t now = bulk_cpu_ns(&map->ops), ns = now - *mark;

	map->stats.cpu_ns += ns;
	*mark = now;
	return ns;
}

/** Much is used that was not before: what is calm is looked at again too. */
static void wake(struct page_map *map, map_time now)
{
	if (map_time_ns(now - map->woken) < WAKE_NS)
		return;
	if (map->fresh > WAKE_PAGES && map->fresh > map->used / WAKE_SHARE) {
		for (size_t i = 0; i < map->nr_targets; i++)
			for (size_t j = 0; j < map->targets[i].nr_chunks; j++) {
				struct map_chunk *chunk = &map->targets[i].chunks[j];

				for (size_t k = 0; k < NR_MAP_KINDS * MAP_CHUNK_BLOCKS; k++) {
					struct map_table *table = map_chunk_table(
						chunk, k / MAP_CHUNK_BLOCKS, k % MAP_CHUNK_BLOCKS);

					if (table)
						table->calm = 0;
				}
			}
		map->turn_calm = map->rounds.calm = 0;
		if ((int32_t)(map->rounds.due - now) > 0)
			map->rounds.due = now;
	}
	map->woken = now;
	map->fresh = 0;
}

static bool is_read_due(const struct map_chunk *chunk, map_time now)
{
	return (int32_t)(chunk->due - now) <= 0;
}

/** The chunk to go on with; NULL at the end of the last target. */
static struct map_chunk *next_chunk(struct page_map *map)
{
	while (map->at_target < map->nr_targets) {
		struct map_target *target = &map->targets[map->at_target];

		if (!target->gone && map->at_chunk < target->nr_chunks)
			return &target->chunks[map->at_chunk++];
		map->at_target++;
		map->at_chunk = 0;
	}
	map->at_target = map->at_chunk = 0;
	return NULL;
}

/** Go on from chunk to chunk, and visit those that are due, to the end or as far as it can be paid. */
static int go_on(struct page_map *map, uint64_t now_ns, int64_t *mark, bool *ended)
{
	struct map_chunk *chunk;
	bool waits = false;

	while ((chunk = next_chunk(map)) != NULL) {
		struct map_target *target = &map->targets[map->at_target];
		bool wants = chunk->arm || map_turn_is_due(map, target, chunk);
		bool arm = wants && map->clears.tokens > 0;

		// Where nothing is a turn has nothing to do.
		if (chunk->visited && chunk->empty)
			chunk->turn_number = map->turn_number;
		if (!arm && !is_read_due(chunk, map_now(map, target, now_ns))) {
			waits |= wants;
			continue;
		}
		if (!arm && map->reads.tokens <= 0 && map->clears.tokens <= 0) {
			map->at_chunk--;
			return 0;
		}
		int err = map_visit(map, map->at_target, chunk, map->clears.tokens > 0);
		struct bucket *payer = arm || map->reads.tokens <= 0 ? &map->clears : &map->reads;

		payer->tokens -= spent(map, mark);
		if (err == -ESRCH)
			target->gone = true;
		else if (err)
			return err;
		waits |= chunk->arm || map_turn_is_due(map, target, chunk);
	}
	*ended = !waits;
	return 0;
}

static uint64_t until(const struct bucket *bucket)
{
	if (bucket->tokens > 0)
		return 0;
	return bucket->rate > 0 ? (uint64_t)((double)(1 - bucket->tokens) * SECOND_NS / (double)bucket->rate)
			       : LONGEST_REST_NS;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/** How long a turn lasts: a fifth of the share is for the reads at its beginning. */
static uint64_t turn_ns(const struct page_map *map)
{
	return most(SHORTEST_TURN_NS << map->turn_calm, map_reading_ns(map, 5));
}

/** Begin a turn when the last one is over. */
static void turn_over(struct page_map *map, uint64_t now_ns)
{
	map_time now = map_now(map, NULL, now_ns);

	if (!map->covered || map_time_ns(now - map->turn_began) + SHORTEST_REST_NS < turn_ns(map))
		return;
	if (map->change.used && map->change.calm * 10 >= map->change.used * 9)
		map->turn_calm += map->turn_calm < CALMEST_TURN;
	else
		map->turn_calm = 0;
	map->change = (struct map_change){0};
	map->turn_began = now;
	map->turn_number++;
}

/** When there is something to do: the first read that can be paid, or clear, or round. */
static uint64_t next_due(const struct page_map *map, uint64_t now_ns)
{
	uint64_t rest = LONGEST_REST_NS, clear = until(&map->clears);
	uint64_t read = least(until(&map->reads), clear);

	for (size_t i = 0; i < map->nr_targets; i++) {
		const struct map_target *target = &map->targets[i];
		map_time now = map_now(map, target, now_ns);

		for (size_t j = 0; !target->gone && j < target->nr_chunks; j++) {
			const struct map_chunk *chunk = &target->chunks[j];
			int32_t left = (int32_t)(chunk->due - now);

			rest = least(rest, most(read, left <= 0 ? 0 : map_time_ns((map_time)left)));
			if (chunk->arm || map_turn_is_due(map, target, chunk))
				rest = least(rest, clear);
		}
	}
	if (map->covered) {
		int32_t left = (int32_t)(map->turn_began + map_time_of(turn_ns(map)) - map_now(map, NULL, now_ns));

		rest = least(rest, left <= 0 ? SHORTEST_REST_NS : map_time_ns((map_time)left));
	}
	if (map->rounds.any) {
		int32_t left = (int32_t)(map->rounds.due - map_now(map, NULL, now_ns));

		rest = least(rest, most(until(&map->all_at_once), left <= 0 ? 0 : map_time_ns((map_time)left)));
	}
	return now_ns + most(rest, SHORTEST_REST_NS);
}

/** Whether something waits to be armed for the first time. */
static bool anything_waits(const struct page_map *map)
{
	for (size_t i = 0; i < map->nr_targets; i++)
		for (size_t j = 0; !map->targets[i].gone && j < map->targets[i].nr_chunks; j++)
			if (map->targets[i].chunks[j].arm)
				return true;
	return map->rounds.any && !map->rounds.armed;
}

static int clear_all(struct page_map *map, size_t target, enum map_kind kind, uint64_t *held_ns)
{
	int err = map->panel ? panel_before_clear(map->panel, target, 0, UINT64_MAX) : 0;

	return err ? err : map->ops.clear_all(map->ops.ctx, target, kind, held_ns);
}

/** Clear together what is cleared together, if it is due and can be paid. */
static void clear_together(struct page_map *map, uint64_t now_ns)
{
	struct map_rounds *rounds = &map->rounds;
	map_time now = map_now(map, NULL, now_ns);
	struct map_change change = {0};
	int64_t mark = bulk_cpu_ns(&map->ops);

	if (!rounds->any || (rounds->armed && (int32_t)(rounds->due - now) > 0) ||
	    map->all_at_once.tokens < 0)
		return;
	// All are read before any is cleared: a clear may reach what others map too.
	for (size_t i = 0; i < map->nr_targets; i++)
		for (size_t j = 0; !map->targets[i].gone && j < map->targets[i].nr_chunks; j++)
			if (map->targets[i].all_at_once[MAP_ANON] || map->targets[i].all_at_once[MAP_FILE])
				if (map_visit(map, i, &map->targets[i].chunks[j], false) == -ESRCH)
					map->targets[i].gone = true;
	for (size_t i = 0; i < map->nr_targets; i++) {
		struct map_target *target = &map->targets[i];

		for (size_t kind = 0; kind < NR_MAP_KINDS && !target->gone; kind++) {
			uint64_t held_ns = 0;
			int64_t begin = bulk_cpu_ns(&map->ops);

			if (!target->all_at_once[kind])
				continue;
			int err = map->ops.frames_cleared
				? map_clear_used(map, i, kind)
				: clear_all(map, i, kind, &held_ns);

			if (err == -ESRCH)
				target->gone = true;
			if (err)
				continue;
			if (target->present[kind] > 1024)
				rounds->page_ns += 0.3 * ((double)(bulk_cpu_ns(&map->ops) - begin) /
							  (double)target->present[kind] - rounds->page_ns);
			rounds->held_ns = held_ns > rounds->held_ns ? held_ns : rounds->held_ns;
			for (size_t j = 0; j < target->nr_chunks; j++)
				map_arm_all(map, i, &target->chunks[j], kind, &change);
		}
	}
	rounds->calm = change.calm * 10 >= change.used * 9 && change.used
		? rounds->calm + (rounds->calm < CALMEST_ROUND) : 0;
	rounds->due = now + map_time_of(ROUND_NS << rounds->calm);
	rounds->armed = true;
	rounds->rounds++;
	map->all_at_once.tokens -= spent(map, &mark) + reads_of_round(map);
	map->reads.tokens += reads_of_round(map);
}

/** Going through many chunks costs as well where there is nothing to do in them. */
static void pay_for_going_through(struct page_map *map, int64_t *mark)
{
	struct bucket *payer = map->clears.tokens > map->reads.tokens ? &map->clears : &map->reads;

	payer->tokens -= spent(map, mark);
}

int page_map_step(struct page_map *map, uint64_t now_ns, uint64_t *next_ns)
{
	int64_t mark = bulk_cpu_ns(&map->ops);
	bool ended = false;
	int err;

	share_out(map, now_ns);
	err = go_on(map, now_ns, &mark, &ended);
	if (ended && choose_ways(map, now_ns))
		ended = false;
	map->rounds.any = has_rounds(map);
	pay_for_going_through(map, &mark);
	if (!err)
		clear_together(map, now_ns);
	mark = bulk_cpu_ns(&map->ops);
	if (ended && !map->covered && !anything_waits(map))
		map->covered = true;
	if (ended)
		turn_over(map, now_ns);
	wake(map, map_now(map, NULL, now_ns));
	*next_ns = next_due(map, now_ns);
	pay_for_going_through(map, &mark);
	return err;
}
