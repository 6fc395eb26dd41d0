// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include "map/runs.h"
#include "sys/clock.h"
#include "sys/page.h"

#define ALIKE 0.1	// shares that differ by less are alike

struct times {
	uint64_t soon_ns, used_ns;
};

/** @inside: bytes of the block that are in areas, of which a huge page may hold others as well. */
static void add_table(struct map_run *run, const struct map_table *table, const struct map_bursts *bursts, uint64_t inside,
		      const struct times *times)
{
	uint16_t counts[256] = {0};
	size_t pages = map_table_pages(table);
	uint64_t each = table->huge ? inside : PAGE;

	for (size_t i = 0; i < pages; i++)
		counts[table->pages[i]]++;
	for (size_t byte = 0; byte < MAP_ABSENT; byte++) {
		if (!counts[byte])
			continue;
		uint64_t bytes = counts[byte] * each;

		run->present += bytes;
		if (map_epoch_of((uint8_t)byte) >= MAP_UNSEEN) {
			run->unknown += bytes;
			continue;
		}
		struct map_age age = map_table_age(table, bursts, (uint8_t)byte);

		run->soon += (uint64_t)((double)bytes * map_age_share(&age, times->soon_ns));
		run->used += (uint64_t)((double)bytes * map_age_share(&age, times->used_ns));
	}
}

static double share_of(const struct map_run *run)
{
	uint64_t known = run->present - run->unknown;

	return known ? (double)run->soon / (double)known : 0;
}

static bool are_alike(const struct map_run *a, const struct map_run *b, double alike)
{
	bool a_known = a->present > a->unknown, b_known = b->present > b->unknown;

	if (a->end != b->start)
		return false;
	if (alike > 1)
		return true;
	return a_known == b_known && !a->used == !b->used && fabs(share_of(a) - share_of(b)) < alike;
}

static void absorb(struct map_run *run, const struct map_run *next)
{
	run->end = next->end;
	run->present += next->present;
	run->unknown += next->unknown;
	run->soon += next->soon;
	run->used += next->used;
}

static int add_run(struct map_runs *runs, const struct map_run *run)
{
	if (runs->nr && are_alike(&runs->at[runs->nr - 1], run, ALIKE)) {
		absorb(&runs->at[runs->nr - 1], run);
		return 0;
	}
	if (runs->nr == runs->room) {
		size_t room = runs->room ? 2 * runs->room : 64;
		struct map_run *at = reallocarray(runs->at, room, sizeof(*at));

		if (!at)
			return -ENOMEM;
		runs->at = at;
		runs->room = room;
	}
	runs->at[runs->nr++] = *run;
	return 0;
}

static void join(struct map_runs *runs, double alike)
{
	size_t out = 0;

	for (size_t i = 0; i < runs->nr; i++) {
		if (out && are_alike(&runs->at[out - 1], &runs->at[i], alike))
			absorb(&runs->at[out - 1], &runs->at[i]);
		else
			runs->at[out++] = runs->at[i];
	}
	runs->nr = out;
}

/** Blocks begin and end where the first mapping in them begins, and the last one ends. */
static void cut_to_areas(const struct map_target *target, struct map_run *run)
{
	uint64_t block = run->start;
	size_t i = map_first_area(target, block);

	if (i < target->nr_areas && target->areas[i].start > block)
		run->start = target->areas[i].start;
	while (i + 1 < target->nr_areas && target->areas[i + 1].start < block + BLOCK)
		i++;
	if (i < target->nr_areas && target->areas[i].end < run->end)
		run->end = target->areas[i].end;
}

int page_map_runs(struct page_map *map, size_t index, uint64_t soon_ns, uint64_t used_ns,
		  size_t most, struct map_runs *runs)
{
	const struct map_target *target = &map->targets[index];
	struct times times = {soon_ns, used_ns};
	int64_t begin = bulk_cpu_ns(&map->ops);
	int err = 0;

	for (size_t j = 0; j < target->nr_chunks && !target->gone; j++) {
		const struct map_chunk *chunk = &target->chunks[j];

		if (!chunk->tables[MAP_ANON] && !chunk->tables[MAP_FILE])
			continue;
		for (size_t i = 0; i < MAP_CHUNK_BLOCKS && !err; i++) {
			uint64_t block = chunk->base + i * BLOCK;
			struct map_run run = {.start = block, .end = block + BLOCK};

			for (size_t kind = 0; kind < NR_MAP_KINDS; kind++) {
				const struct map_table *table = map_chunk_table(chunk, kind, i);

				uint64_t mask[MAP_PAGES / 64];

				if (table)
					add_table(&run, table, &target->bursts, map_mask_of(target, kind, block, mask) * PAGE,
						  &times);
			}
			cut_to_areas(target, &run);
			if (run.present && run.start < run.end)
				err = add_run(runs, &run);
		}
	}
	for (double alike = 2 * ALIKE; !err && runs->nr > most && alike < 4; alike *= 2)
		join(runs, alike);
	map->stats.cpu_ns += bulk_cpu_ns(&map->ops) - begin;
	return err;
}

/** Of the pages [from, to) of a table how many bytes were used within a time. */
static uint64_t used_in_table(const struct map_table *table, const struct map_bursts *bursts, size_t from, size_t to,
			      uint64_t used_ns)
{
	uint16_t counts[256] = {0};
	uint64_t bytes = 0;

	if (table->huge)	// each of its small pages as all of it
		counts[table->pages[0]] = (uint16_t)(to - from);
	for (size_t i = from; i < to && !table->huge; i++)
		counts[table->pages[i]]++;
	for (size_t byte = 0; byte < MAP_ABSENT; byte++) {
		if (!counts[byte] || map_epoch_of((uint8_t)byte) >= MAP_UNSEEN)
			continue;
		struct map_age age = map_table_age(table, bursts, (uint8_t)byte);

		bytes += (uint64_t)(counts[byte] * PAGE * map_age_share(&age, used_ns));
	}
	return bytes;
}

uint64_t page_map_used(const struct page_map *map, size_t index, uint64_t start, uint64_t end,
		       uint64_t used_ns)
{
	const struct map_target *target = &map->targets[index];
	uint64_t bytes = 0;

	for (uint64_t block = start / BLOCK * BLOCK; block < end;) {
		const struct map_chunk *chunk = map_target_chunk(target, block);
		size_t from = start > block ? (start - block) / PAGE : 0;
		size_t to = end < block + BLOCK ? (end - block + PAGE - 1) / PAGE : MAP_PAGES;

		if (!chunk) {	// addresses without a mapping: on to where the next one begins
			size_t next = map_first_area(target, block);

			if (next >= target->nr_areas)
				break;
			uint64_t begin = target->areas[next].start / BLOCK * BLOCK;

			block = begin > block ? begin : block + BLOCK;
			continue;
		}
		for (size_t kind = 0; kind < NR_MAP_KINDS; kind++) {
			const struct map_table *table =
				map_chunk_table(chunk, kind, (block - chunk->base) / BLOCK);

			if (table)
				bytes += used_in_table(table, &target->bursts, from, to, used_ns);
		}
		block += BLOCK;
	}
	return bytes < end - start ? bytes : end - start;
}
