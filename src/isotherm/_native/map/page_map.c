// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "map/gone.h"
#include "map/returns.h"
#include "sentinels/panel.h"
#include "sys/page.h"

#define CHUNK (MAP_CHUNK_BLOCKS * BLOCK)
#define FIRST_PAGE_NS 100
#define FIRST_ENTRY_NS 150

void page_map_init(struct page_map *map, const struct bulk_ops *ops, const struct map_settings *settings,
		   uint64_t now_ns)
{
	*map = (struct page_map){.ops = *ops, .settings = *settings, .began_ns = now_ns,
				 .random = now_ns | 1};
	map->rounds.page_ns = FIRST_PAGE_NS;
	map->piece.entry_ns = FIRST_ENTRY_NS;
}

struct map_totals map_totals_of(const struct map_table *table)
{
	int64_t pages = table ? (table->huge ? MAP_PAGES : 1) : 0;

	return table ? (struct map_totals){table->present * pages, table->shared * pages,
					   table->used * pages, table->fresh * pages}
		     : (struct map_totals){0};
}

void map_account(struct page_map *map, struct map_target *target, enum map_kind kind,
		 struct map_totals before, struct map_totals after)
{
	target->present[kind] += (uint64_t)(after.present - before.present);
	target->shared[kind] += (uint64_t)(after.shared - before.shared);
	map->used += (uint64_t)(after.used - before.used);
	if (after.fresh > before.fresh)
		map->fresh += (uint64_t)(after.fresh - before.fresh);
}

static void forget_tables(struct page_map *map, struct map_target *target, struct map_chunk *chunk)
{
	for (size_t kind = 0; kind < NR_MAP_KINDS; kind++) {
		for (size_t i = 0; chunk->tables[kind] && i < MAP_CHUNK_BLOCKS; i++) {
			struct map_table *table = chunk->tables[kind][i];

			if (!table)
				continue;
			map_account(map, target, kind, map_totals_of(table), (struct map_totals){0});
			map_gone_all(target, table);
			map->stats.tables--;
			free(table);
		}
		free(chunk->tables[kind]);
		chunk->tables[kind] = NULL;
	}
}

static void forget_target(struct page_map *map, struct map_target *target)
{
	for (size_t i = 0; i < target->nr_chunks; i++)
		forget_tables(map, target, &target->chunks[i]);
	free(target->chunks);
	free(target->areas);
	free(target->came);
	*target = (struct map_target){.id = target->id};
}

void page_map_deinit(struct page_map *map)
{
	if (map->panel)
		map->panel->map = NULL;
	map->panel = NULL;
	for (size_t i = 0; i < map->nr_targets; i++)
		forget_target(map, &map->targets[i]);
	free(map->targets);
	free(map->piece.ranges);
	free(map->returns.bytes);
	map->returns = (struct map_returns){0};
	map->targets = NULL;
	map->piece.ranges = NULL;
	map->nr_targets = 0;
}

/** The same targets in the same order; what is gone may be another program's memory from here on. */
static bool go_on_with(struct page_map *map, const uint32_t *ids, size_t nr)
{
	for (size_t i = 0; i < map->nr_targets; i++)
		map->targets[i].gone = false;
	for (size_t i = 0; i < nr && nr == map->nr_targets; i++)
		if (map->targets[i].id != ids[i])
			return false;
	return nr == map->nr_targets;
}

int page_map_set_targets(struct page_map *map, const uint32_t *ids, size_t nr)
{
	if (go_on_with(map, ids, nr))
		return 0;
	struct map_target *targets = calloc(nr + 1, sizeof(*targets));

	if (!targets)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		targets[i].id = ids[i];
		for (size_t j = 0; j < map->nr_targets; j++)
			if (map->targets[j].id == ids[i]) {
				targets[i] = map->targets[j];
				map->targets[j] = (struct map_target){.id = UINT32_MAX};
				break;
			}
	}
	for (size_t j = 0; j < map->nr_targets; j++)
		forget_target(map, &map->targets[j]);
	free(map->targets);
	map->targets = targets;
	map->nr_targets = nr;
	map->at_target = map->at_chunk = 0;
	return 0;
}

void page_map_set_stopped(struct page_map *map, size_t index, uint64_t stopped_ns, bool stopped, uint64_t now_ns)
{
	struct map_target *target = &map->targets[index];

	if (stopped_ns > target->stopped_ns)
		target->stopped_ns = stopped_ns;
	target->stopped_at_ns = stopped ? now_ns : 0;
}

/** The chunks that hold @areas; only counts if @chunks is NULL. */
static size_t cut_chunks(const struct map_area *areas, size_t nr, struct map_chunk *chunks)
{
	size_t n = 0;
	uint64_t last = UINT64_MAX;

	for (size_t i = 0; i < nr; i++)
		for (uint64_t base = areas[i].start / CHUNK * CHUNK; base < areas[i].end; base += CHUNK) {
			if (base == last)
				continue;
			if (chunks)
				chunks[n] = (struct map_chunk){.base = base};
			last = base;
			n++;
		}
	return n;
}

/**
 * Both in order: chunks that go on keep what is known; of the others it is forgotten. New ones are
 * read @now; @since, unless that is NULL, nothing was mapped in them.
 */
static void keep_chunks(struct page_map *map, struct map_target *target, struct map_chunk *chunks, size_t nr,
			map_time now, const map_time *since)
{
	size_t j = 0;

	for (size_t i = 0; i < nr; i++) {
		for (; j < target->nr_chunks && target->chunks[j].base < chunks[i].base; j++)
			forget_tables(map, target, &target->chunks[j]);
		if (j < target->nr_chunks && target->chunks[j].base == chunks[i].base)
			chunks[i] = target->chunks[j++];
		else
			chunks[i] = (struct map_chunk){.base = chunks[i].base, .due = now,
						       .came = since != NULL, .read = since ? *since : 0};
	}
	for (; j < target->nr_chunks; j++)
		forget_tables(map, target, &target->chunks[j]);
}

int page_map_set_areas(struct page_map *map, size_t index, const struct map_area *areas, size_t nr,
		       uint64_t since_ns)
{
	struct map_target *target = &map->targets[index];
	size_t bytes = nr * sizeof(*areas);

	if (index >= map->nr_targets)
		return -EINVAL;
	if (nr == target->nr_areas && nr && !memcmp(areas, target->areas, bytes))
		return 0;
	size_t nr_chunks = cut_chunks(areas, nr, NULL);
	struct map_chunk *chunks = calloc(nr_chunks + 1, sizeof(*chunks));
	struct map_area *copy = malloc(bytes + 1);

	if (!chunks || !copy) {
		free(chunks);
		free(copy);
		return -ENOMEM;
	}
	if (nr)
		memcpy(copy, areas, bytes);
	cut_chunks(copy, nr, chunks);
	// New memory may be anywhere in chunks that were known: they are read soon.
	map_time now = map_now(map, target, map->reads.filled > map->began_ns ? map->reads.filled
									      : map->began_ns);
	map_time since = map_now(map, target, since_ns);

	keep_chunks(map, target, chunks, nr_chunks, now, since_ns && target->nr_areas ? &since : NULL);
	free(target->chunks);
	target->chunks = chunks;
	target->nr_chunks = nr_chunks;
	int err = map_note_came(target, copy, nr, map_now(map, target, map->ops.now_ns(map->ops.ctx)));

	free(target->areas);
	target->areas = copy;
	target->nr_areas = nr;
	return err;
}

size_t map_first_chunk(const struct map_target *target, uint64_t addr)
{
	size_t low = 0, high = target->nr_chunks;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (target->chunks[middle].base + CHUNK <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct map_chunk *map_target_chunk(const struct map_target *target, uint64_t addr)
{
	size_t i = map_first_chunk(target, addr);

	return i < target->nr_chunks && target->chunks[i].base <= addr ? &target->chunks[i] : NULL;
}

struct map_bursts map_target_bursts(const struct map_target *target)
{
	struct map_comings comings = {0};

	for (size_t j = 0; j < target->nr_chunks && !target->gone; j++)
		for (size_t i = 0; i < NR_MAP_KINDS * MAP_CHUNK_BLOCKS; i++) {
			const struct map_table *table =
				map_chunk_table(&target->chunks[j], i / MAP_CHUNK_BLOCKS, i % MAP_CHUNK_BLOCKS);

			if (table)
				map_comings_add(&comings, table);
		}
	return map_bursts_of(&comings);
}

struct map_table *map_chunk_table(const struct map_chunk *chunk, enum map_kind kind, size_t block)
{
	return chunk->tables[kind] ? chunk->tables[kind][block] : NULL;
}

size_t map_first_area(const struct map_target *target, uint64_t addr)
{
	size_t low = 0, high = target->nr_areas;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (target->areas[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void map_set_bits(uint64_t *mask, size_t from, size_t to)
{
	for (size_t i = from; i < to;) {
		size_t end = (i / 64 + 1) * 64 < to ? (i / 64 + 1) * 64 : to;
		uint64_t bits = end - i == 64 ? ~UINT64_C(0) : (UINT64_C(1) << (end - i)) - 1;

		mask[i / 64] |= bits << i % 64;
		i = end;
	}
}

size_t map_mask_of(const struct map_target *target, enum map_kind kind, uint64_t block, uint64_t *mask)
{
	size_t nr = 0;

	memset(mask, 0, MAP_PAGES / 8);
	for (size_t i = map_first_area(target, block);
	     i < target->nr_areas && target->areas[i].start < block + BLOCK; i++) {
		uint64_t start = target->areas[i].start, end = target->areas[i].end;

		if (target->areas[i].kind != kind)
			continue;
		start = start > block ? start : block;
		end = end < block + BLOCK ? end : block + BLOCK;
		map_set_bits(mask, (start - block) / PAGE, (end - block) / PAGE);
		nr += (end - start) / PAGE;
	}
	return nr;
}

int map_clear(struct page_map *map, size_t target, struct bulk_range *ranges, size_t nr)
{
	for (size_t i = 0; map->panel && i < nr; i++) {
		int err = panel_before_clear(map->panel, target, ranges[i].start, ranges[i].end);

		if (err)
			return err;
	}
	return map->ops.clear(map->ops.ctx, target, ranges, nr);
}

void page_map_seen(struct page_map *map, size_t index, uint64_t start, uint64_t end, uint64_t now_ns)
{
	if (map->panel)
		panel_seen(map->panel, index, start, end, now_ns);
	map_note_seen(map, index, start, end, now_ns);
}

void map_note_seen(struct page_map *map, size_t index, uint64_t start, uint64_t end, uint64_t now_ns)
{
	if (index >= map->nr_targets)
		return;
	struct map_target *target = &map->targets[index];
	map_time now = map_now(map, target, now_ns);

	for (uint64_t addr = start & ~(PAGE - 1); addr < end; addr += PAGE) {
		struct map_chunk *chunk = map_target_chunk(target, addr);

		for (size_t kind = 0; chunk && kind < NR_MAP_KINDS; kind++) {
			struct map_table *table =
				map_chunk_table(chunk, kind, (addr - chunk->base) / BLOCK);

			struct map_totals before = map_totals_of(table);

			if (table)
				map_returns_seen(map, target, kind, table, addr, now);
			if (table)
				map_table_seen(table, table->huge ? 0 : addr / PAGE % MAP_PAGES, now);
			map_account(map, target, kind, before, map_totals_of(table));
		}
	}
}

uint64_t page_map_bytes(const struct page_map *map)
{
	uint64_t bytes = map->nr_targets * sizeof(*map->targets);

	for (size_t i = 0; i < map->nr_targets; i++) {
		const struct map_target *target = &map->targets[i];

		bytes += target->nr_areas * sizeof(*target->areas) + target->nr_chunks * sizeof(*target->chunks);
		for (size_t j = 0; j < target->nr_chunks; j++)
			for (size_t kind = 0; kind < NR_MAP_KINDS; kind++) {
				struct map_table **tables = target->chunks[j].tables[kind];

				bytes += tables ? MAP_CHUNK_BLOCKS * sizeof(*tables) : 0;
				for (size_t k = 0; tables && k < MAP_CHUNK_BLOCKS; k++)
					bytes += tables[k] ? sizeof(**tables) + (tables[k]->huge ? MAP_HUGE_BYTES : MAP_PAGES) : 0;
			}
	}
	return bytes;
}
