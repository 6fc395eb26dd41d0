// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "map/bits.h"
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

/** Parts of a range in the making: @made is open while it holds pages, up to @until. */
struct cutting {
	const struct map_target *target;
	struct times times;
	uint64_t least;
	struct map_parts *parts;
	struct map_part made;
	uint64_t until;
	bool open;
};

int map_parts_push(struct map_parts *parts, const struct map_part *part)
{
	if (parts->nr == parts->room) {
		size_t room = parts->room ? 2 * parts->room : 64;
		struct map_part *at = reallocarray(parts->at, room, sizeof(*at));

		if (!at)
			return -ENOMEM;
		parts->at = at;
		parts->room = room;
	}
	parts->at[parts->nr++] = *part;
	return 0;
}

/** Nothing is in memory from @until up to @start: a part of its own, if that is worth one or all there is. */
static int end_gap(struct cutting *cut, uint64_t start, bool last)
{
	struct map_part absent = {.target = cut->made.target, .start = cut->until, .end = start};
	bool apart = absent.end - absent.start >= cut->least || (last && !cut->open);
	int err = 0;

	if (cut->open && (apart || last)) {
		cut->made.end = apart ? absent.start : start;
		err = map_parts_push(cut->parts, &cut->made);
		cut->open = false;
	}
	return err || !apart || absent.start >= absent.end ? err : map_parts_push(cut->parts, &absent);
}

/** There are pages from @start on: in the part that is made, or in a new one. */
static int begin_pages(struct cutting *cut, uint64_t start)
{
	bool fresh = !cut->open || start - cut->until >= cut->least;
	uint64_t from = start - cut->until < cut->least ? cut->until : start;
	int err = end_gap(cut, start, false);

	if (fresh) {
		cut->made = (struct map_part){.target = cut->made.target, .start = from};
		cut->open = true;
	}
	return err;
}

/** Of the pages [from, to) of a table what is in memory, and how it was used. */
static void add_pages(struct map_part *part, const struct map_table *table, const struct map_bursts *bursts,
		      size_t from, size_t to, const struct times *times)
{
	uint16_t counts[256] = {0};

	if (table->huge)	// each of its small pages as all of it
		counts[table->pages[0]] = (uint16_t)(to - from);
	for (size_t i = from; i < to && !table->huge; i++)
		counts[table->pages[i]]++;
	for (size_t byte = 0; byte < MAP_ABSENT; byte++) {
		if (!counts[byte])
			continue;
		uint64_t bytes = counts[byte] * PAGE;

		part->present += bytes;
		if (map_epoch_of((uint8_t)byte) >= MAP_UNSEEN) {
			part->unknown += bytes;
			continue;
		}
		struct map_age age = map_table_age(table, bursts, (uint8_t)byte);

		part->soon += (uint64_t)((double)bytes * map_age_share(&age, times->soon_ns));
		part->used += (uint64_t)((double)bytes * map_age_share(&age, times->used_ns));
	}
}

/** A bit for each page of a block that is in memory. */
static void mask_present(const struct map_table *const *tables, uint64_t *mask)
{
	memset(mask, 0, MAP_PAGES / 8);
	for (size_t kind = 0; kind < NR_MAP_KINDS; kind++)
		for (size_t word = 0; tables[kind] && word < MAP_PAGES / 64; word++)
			mask[word] |= !tables[kind]->huge ? ~bits_of_bytes(tables[kind]->pages + 64 * word, MAP_ABSENT, MAP_ABSENT)
				      : tables[kind]->pages[0] != MAP_ABSENT ? UINT64_MAX : 0;
}

/** The first page from @at on that is in memory, or is not; @to for none before it. */
static size_t next_page(const uint64_t *mask, size_t at, size_t to, bool present)
{
	while (at < to) {
		uint64_t word = (present ? mask[at / 64] : ~mask[at / 64]) >> at % 64;

		if (word) {
			at += (size_t)__builtin_ctzll(word);
			break;
		}
		at += 64 - at % 64;
	}
	return at < to ? at : to;
}

/** Take pages [from, to) of a block. */
static int cut_block(struct cutting *cut, const struct map_table *const *tables, uint64_t block, size_t from, size_t to)
{
	uint64_t mask[MAP_PAGES / 64];
	size_t counted = from;	// pages before this one are in a part
	int err = 0;

	mask_present(tables, mask);
	for (size_t at = next_page(mask, from, to, true); at < to && !err;) {
		size_t end = next_page(mask, at, to, false), next = next_page(mask, end, to, true);

		if (!cut->open || block + at * PAGE - cut->until >= cut->least) {
			err = begin_pages(cut, block + at * PAGE);
			counted = at;
		}
		cut->until = block + end * PAGE;
		if (next == to || (next - end) * PAGE >= cut->least) {
			for (size_t kind = 0; kind < NR_MAP_KINDS; kind++)
				if (tables[kind])
					add_pages(&cut->made, tables[kind], &cut->target->bursts, counted, end, &cut->times);
			counted = next;
		}
		at = next;
	}
	return err;
}

/** Nobody looked at [start, end) yet. */
static int cut_unread(struct cutting *cut, uint64_t start, uint64_t end)
{
	int err = 0;

	if (!cut->open || start - cut->until >= cut->least)
		err = begin_pages(cut, start);
	cut->made.unread += end - start;
	cut->until = end;
	return err;
}

int page_map_parts(struct page_map *map, size_t index, uint64_t start, uint64_t end, const struct map_part_terms *terms,
		    struct map_parts *parts)
{
	const struct map_target *target = &map->targets[index];
	struct cutting cut = {.target = target, .times = {terms->soon_ns, terms->used_ns}, .least = terms->least,
			      .parts = parts, .made = {.target = index}};
	int err = 0;

	cut.until = start -= start % PAGE;
	for (uint64_t block = start / BLOCK * BLOCK; block < end && !err;) {
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
		if (chunk->visited) {
			const struct map_table *tables[NR_MAP_KINDS];

			for (size_t kind = 0; kind < NR_MAP_KINDS; kind++)
				tables[kind] = map_chunk_table(chunk, kind, (block - chunk->base) / BLOCK);
			err = cut_block(&cut, tables, block, from, to);
		} else {
			err = cut_unread(&cut, block + from * PAGE, block + to * PAGE < end ? block + to * PAGE : end);
		}
		block += BLOCK;
	}
	if (cut.until > end)	// within its last page
		cut.until = end;
	return err ? err : end_gap(&cut, end, true);
}
