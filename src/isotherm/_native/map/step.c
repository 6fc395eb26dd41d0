// SPDX-License-Identifier: Apache-2.0
// What the map does when: reads that are due, and clears that can be paid.
#include <errno.h>
#include "map/page_map.h"
#include "sys/clock.h"

#define WAKE_NS SECOND_NS
#define WAKE_PAGES 64
#define WAKE_SHARE 20		// more than a twentieth of the used pages are new ones: look again
#define READS_SAVED_S 4		// seconds of unspent time that a burst of reads may use
#define CLEARS_SAVED 8		// parts of a second likewise for clears
#define LONGEST_REST_NS SECOND_NS
#define SHORTEST_REST_NS UINT64_C(4000000)
#define SHORTEST_TURN_NS SECOND_NS
#define CALMEST_TURN 2
#define FIRST_S 10		// seconds of its higher share that the first look at all may take

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/** Returns what there was no room for. */
static int64_t set_rate(struct bucket *bucket, int64_t rate, int64_t depth, uint64_t now_ns)
{
	bucket->rate = rate;
	bucket->depth = depth + 1;
	return bucket_fill(bucket, now_ns);
}

/**
 * A part is kept for reads: what is cleared and not read in time teaches little. What nothing else needs is
 * for clears.
 */
static void share_out(struct page_map *map, uint64_t now_ns)
{
	int64_t share = map->settings.share_ns, rounds, frames, reads, left;

	// Of memory so large that it would go on for minutes a share is promised as well.
	if (map->stats.cpu_ns > FIRST_S * map->settings.first_ns)
		map->settings.first_ns = 0;
	if (!map->covered && map->settings.first_ns > share)
		share = map->settings.first_ns;
	rounds = map->rounds.any ? share / (map->piece.any ? 4 : 2) : 0;
	frames = map->piece.any ? share / (map->piece.armed ? 4 : 2) : 0;
	reads = map->covered ? share / 4 : share / 20;
	// A round may begin whenever the last one is paid. The reads after a clear come in a burst.
	left = set_rate(&map->all_at_once, rounds, 0, now_ns);
	left += set_rate(&map->by_frames, frames, 0, now_ns);
	left += set_rate(&map->reads, reads, READS_SAVED_S * reads + map_reads_of_round(map), now_ns);
	share -= reads + rounds + frames;
	set_rate(&map->clears, share, share / CLEARS_SAVED, now_ns);
	bucket_add(&map->clears, left);
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
		map->piece.calm = 0;
		if ((int32_t)(map->rounds.due - now) > 0)
			map->rounds.due = now;
		if ((int32_t)(map->piece.due - now) > 0)
			map->piece.due = now;
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

/** Whether something waits to be armed for the first time. */
static bool anything_waits(const struct page_map *map)
{
	for (size_t i = 0; i < map->nr_targets; i++)
		for (size_t j = 0; !map->targets[i].gone && j < map->targets[i].nr_chunks; j++)
			if (map->targets[i].chunks[j].arm)
				return true;
	return false;
}

/**
 * Go on from chunk to chunk, and visit those that are due, to the end or as far as it can be paid. Turns
 * wait for what was never armed.
 */
static int go_on(struct page_map *map, uint64_t now_ns, int64_t *mark, bool *ended)
{
	struct map_chunk *chunk;
	bool waits = false, first = anything_waits(map);

	while ((chunk = next_chunk(map)) != NULL) {
		struct map_target *target = &map->targets[map->at_target];
		bool turn = map_turn_is_due(map, target, chunk);
		bool wants = chunk->arm || turn, may = map->clears.tokens > 0 && (chunk->arm || !(first && turn));
		bool arm = wants && may;

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
		int err = map_visit(map, map->at_target, chunk, may);
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
	bool waits = false;

	for (size_t i = 0; i < map->nr_targets; i++) {
		const struct map_target *target = &map->targets[i];
		map_time now = map_now(map, target, now_ns);

		for (size_t j = 0; !target->gone && j < target->nr_chunks; j++) {
			const struct map_chunk *chunk = &target->chunks[j];
			int32_t left = (int32_t)(chunk->due - now);

			// The clock of what stands still gets nowhere.
			if (left > 0 && target->stopped_at_ns)
				continue;
			rest = least(rest, most(read, left <= 0 ? 0 : map_time_ns((map_time)left)));
			if (chunk->arm || map_turn_is_due(map, target, chunk)) {
				rest = least(rest, clear);
				waits = true;
			}
		}
	}
	if (map->covered) {
		int32_t left = (int32_t)(map->turn_began + map_time_of(turn_ns(map)) - map_now(map, NULL, now_ns));

		// A turn whose time is over ends when all that takes part in it was paid for.
		if (left > 0 || !waits)
			rest = least(rest, left <= 0 ? SHORTEST_REST_NS : map_time_ns((map_time)left));
	}
	if (map->rounds.any) {
		int32_t left = (int32_t)(map->rounds.due - map_now(map, NULL, now_ns));

		rest = least(rest, most(until(&map->all_at_once), left <= 0 ? 0 : map_time_ns((map_time)left)));
	}
	rest = least(rest, map_piece_rest(map, now_ns));
	return now_ns + most(rest, SHORTEST_REST_NS);
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
	if (map_rounds_choose(map, now_ns, ended))
		ended = false;
	pay_for_going_through(map, &mark);
	if (!err) {
		map_rounds_clear(map, now_ns);
		map_piece_step(map, now_ns);
	}
	mark = bulk_cpu_ns(&map->ops);
	if (ended && !map->covered && !anything_waits(map) && (map->rounds.armed || !map->rounds.any) &&
	    (map->piece.armed || !map->piece.any))
		map->covered = true;
	if (ended)
		turn_over(map, now_ns);
	wake(map, map_now(map, NULL, now_ns));
	*next_ns = next_due(map, now_ns);
	pay_for_going_through(map, &mark);
	return err;
}
