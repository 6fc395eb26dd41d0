// SPDX-License-Identifier: Apache-2.0
// Rounds: memory that several processes map, and of files, is cleared all at once where nobody waits long for it.
#include <errno.h>
#include "map/page_map.h"
#include "sentinels/panel.h"
#include "sys/clock.h"

#define SHARED_PAGES 256	// of anonymous memory so much, and a share of it, is worth a round
#define SHARED_SHARE 64
#define ROUND_NS SECOND_NS
#define CALMEST_ROUND 2
#define ROUND_READS 5		// a round pays for so many reads of all that it cleared: those of its first seconds

static bool in_rounds(const struct map_target *target, enum map_kind kind)
{
	return target->all_at_once[kind] && !target->by_frames[kind];
}

static bool has_rounds(const struct page_map *map)
{
	for (size_t i = 0; i < map->nr_targets; i++)
		for (size_t kind = 0; kind < NR_MAP_KINDS; kind++)
			if (in_rounds(&map->targets[i], kind))
				return true;
	return false;
}

static bool has_frames(const struct page_map *map)
{
	for (size_t i = 0; i < map->nr_targets; i++)
		for (size_t kind = 0; kind < NR_MAP_KINDS; kind++)
			if (map->targets[i].by_frames[kind])
				return true;
	return false;
}

static void come_soon(struct page_map *map, struct map_target *target, uint64_t now_ns)
{
	for (size_t j = 0; j < target->nr_chunks; j++)
		target->chunks[j].due = map_now(map, target, now_ns);
}

static bool is_much_shared(const struct map_target *target, enum map_kind kind)
{
	return target->shared[kind] > SHARED_PAGES &&
	       target->shared[kind] > target->present[kind] / SHARED_SHARE;
}

/** Whether a kind of a target's areas is left to who clears frames. */
static bool wants_frames(const struct page_map *map, const struct map_target *target, enum map_kind kind)
{
	if (!map->settings.frames || !map->ops.format.frame_mask || map->ops.frames_cleared)
		return false;
	return target->present[kind] && (target->by_frames[kind] || is_much_shared(target, kind));
}

/** Whether a kind of a target's areas is to be cleared all at once: shared ones, if nobody waits long for it. */
static bool wants_all(const struct page_map *map, const struct map_target *target, enum map_kind kind)
{
	uint64_t present = target->present[kind];

	if (map->ops.frames_cleared)
		return present && map->nr_targets >= 2;
	if (!map->ops.clear_all || target->never_all[kind] || !present)
		return false;
	bool worth = kind == MAP_FILE || target->all_at_once[kind] ||
		     is_much_shared(target, kind);

	return worth && map->settings.stall_ns &&
	       (uint64_t)((double)present * map->rounds.page_ns) <= map->settings.stall_ns;
}

/** True if something is cleared in another way from here on. */
static bool choose_way(struct page_map *map, struct map_target *target, uint64_t now_ns)
{
	bool changed = !target->sized;

	for (size_t kind = 0; kind < NR_MAP_KINDS; kind++) {
		bool all = wants_all(map, target, kind), frames = !all && wants_frames(map, target, kind);

		changed |= (all || frames) != target->all_at_once[kind] || frames != target->by_frames[kind];
		target->all_at_once[kind] = all || frames;
		target->by_frames[kind] = frames;
	}
	if (changed)
		come_soon(map, target, now_ns);
	target->sized = true;
	return changed;
}

static bool is_looked_at(const struct map_target *target)
{
	for (size_t j = 0; j < target->nr_chunks; j++)
		if (!target->chunks[j].visited)
			return false;
	return true;
}

bool map_rounds_choose(struct page_map *map, uint64_t now_ns, bool end)
{
	bool any_changed = false;

	for (size_t i = 0; i < map->nr_targets; i++) {
		struct map_target *target = &map->targets[i];

		if (end || (!target->sized && is_looked_at(target)))
			any_changed |= choose_way(map, target, now_ns);
	}
	map->rounds.any = has_rounds(map);
	map->piece.any = has_frames(map);
	return any_changed;
}

/** Look at all of a target, or arm all of it just after it was cleared. */
static void for_chunks(struct page_map *map, size_t index, enum map_kind kind, struct map_change *armed)
{
	struct map_target *target = &map->targets[index];
	int err = 0;

	for (size_t j = 0; j < target->nr_chunks && !err; j++) {
		struct map_chunk *chunk = &target->chunks[j];
		map_time now = map_now(map, target, map->ops.now_ns(map->ops.ctx));
		struct bulk_view view;

		err = armed ? map_arm_all(map, index, chunk, kind, armed) : map_look(map, index, chunk, now, &view);
	}
	if (err == -ESRCH)
		target->gone = true;
}

static int clear_all(struct page_map *map, size_t index, enum map_kind kind, uint64_t *held_ns)
{
	int err = map->panel ? panel_before_clear(map->panel, index, 0, UINT64_MAX) : 0;

	return err ? err : map->ops.clear_all(map->ops.ctx, index, kind, held_ns);
}

/** Clear all of a kind of a target at once; 0 or -errno. */
static int clear_kind(struct page_map *map, size_t index, enum map_kind kind)
{
	struct map_target *target = &map->targets[index];
	struct map_rounds *rounds = &map->rounds;
	int64_t begin = bulk_cpu_ns(&map->ops);
	uint64_t held_ns = 0;
	int err = map->ops.frames_cleared ? map_clear_used(map, index, kind)
					  : clear_all(map, index, kind, &held_ns);

	if (err == -ESRCH)
		target->gone = true;
	if (err == -ENOTSUP) {
		target->never_all[kind] = true;
		target->all_at_once[kind] = false;
		come_soon(map, target, map->ops.now_ns(map->ops.ctx));
	}
	if (err)
		return err;
	if (target->present[kind] > 1024)
		rounds->page_ns += 0.3 * ((double)(bulk_cpu_ns(&map->ops) - begin) / (double)target->present[kind] - rounds->page_ns);
	rounds->held_ns = held_ns > rounds->held_ns ? held_ns : rounds->held_ns;
	return 0;
}

/** Each process' own bits: the shorter the time from a look to the clear, the less is lost in it. */
static void clear_processes(struct page_map *map, struct map_change *change)
{
	for (size_t i = 0; i < map->nr_targets; i++) {
		const struct map_target *target = &map->targets[i];

		for (size_t kind = 0; kind < NR_MAP_KINDS; kind++) {
			if (target->gone || !in_rounds(target, kind))
				continue;
			for_chunks(map, i, kind, NULL);
			if (!target->gone && !clear_kind(map, i, kind))
				for_chunks(map, i, kind, change);
		}
	}
}

/** Whose frames are cleared for all who map them: all look before any clears, and are armed after all have. */
static void clear_frames(struct page_map *map, struct map_change *change)
{
	enum { LOOK, CLEAR, ARM };

	for (int what = LOOK; what <= ARM; what++)
		for (size_t i = 0; i < map->nr_targets; i++) {
			const struct map_target *target = &map->targets[i];

			for (size_t kind = 0; kind < NR_MAP_KINDS; kind++) {
				if (target->gone || !in_rounds(target, kind))
					continue;
				if (what == CLEAR)
					clear_kind(map, i, kind);
				else
					for_chunks(map, i, kind, what == ARM ? change : NULL);
			}
		}
}

int64_t map_reads_of_round(const struct page_map *map)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < map->nr_targets; i++)
		for (size_t kind = 0; kind < NR_MAP_KINDS; kind++)
			if (in_rounds(&map->targets[i], kind))
				pages += map->targets[i].present[kind];
	return (int64_t)(pages / MAP_PAGES * MAP_LOOK_NS * ROUND_READS);
}

void map_rounds_clear(struct page_map *map, uint64_t now_ns)
{
	struct map_rounds *rounds = &map->rounds;
	map_time now = map_now(map, NULL, now_ns);
	struct map_change change = {0};
	int64_t begin = bulk_cpu_ns(&map->ops), ns;

	if (!rounds->any || (rounds->armed && (int32_t)(rounds->due - now) > 0) ||
	    map->all_at_once.tokens < 0)
		return;
	if (map->ops.frames_cleared)
		clear_frames(map, &change);
	else
		clear_processes(map, &change);
	rounds->calm = change.calm * 10 >= change.used * 9 && change.used
		? rounds->calm + (rounds->calm < CALMEST_ROUND) : 0;
	rounds->due = now + map_time_of(ROUND_NS << rounds->calm);
	rounds->armed = true;
	rounds->rounds++;
	rounds->any = has_rounds(map);
	ns = bulk_cpu_ns(&map->ops) - begin;
	map->stats.cpu_ns += ns;
	map->all_at_once.tokens -= ns + map_reads_of_round(map);
	map->reads.tokens += map_reads_of_round(map);
}
