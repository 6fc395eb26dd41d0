// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include "map/block.h"
#include "map/gone.h"
#include "sys/page.h"

#define SPARSE 6	// so few young pages of a table are cleared one by one

static const uint64_t no_pages[MAP_PAGES];

static bool any_present(const struct page_map *map, const struct map_block *block)
{
	size_t nr = block->huge ? 1 : MAP_PAGES;

	for (size_t i = 0; i < nr; i++)
		if (block->entries[i] & map->ops.format.present && map_in(block->mask, i))
			return true;
	return false;
}

bool map_block_at(const struct page_map *map, const struct map_target *target, struct map_chunk *chunk,
		  enum map_kind kind, const struct bulk_view *view, size_t i, struct map_block *block)
{
	uint64_t upper = view->upper[i];
	bool is_table = bulk_is_table(&map->ops.format, upper);

	block->huge = bulk_is_huge(&map->ops.format, upper);
	block->table = chunk->tables[kind] ? &chunk->tables[kind][i] : NULL;
	block->address = chunk->base + i * BLOCK;
	block->entries = is_table ? view->tables[i] : block->huge ? &view->upper[i] : no_pages;
	if (!is_table && !block->huge && !(block->table && *block->table))
		return false;
	size_t inside = map_mask_of(target, kind, block->address, block->mask);

	if (!inside)
		block->entries = no_pages;
	return inside || (block->table && *block->table);
}

struct map_table *map_block_table(struct page_map *map, struct map_target *target, struct map_chunk *chunk,
				  enum map_kind kind, size_t i, struct map_block *block)
{
	struct map_table *table = block->table ? *block->table : NULL;

	if (!any_present(map, block)) {
		if (table) {
			map_gone_all(target, table);
			free(table);
			*block->table = NULL;
			map->stats.tables--;
		}
		return NULL;
	}
	if (!chunk->tables[kind])
		chunk->tables[kind] = calloc(MAP_CHUNK_BLOCKS, sizeof(struct map_table *));
	if (!chunk->tables[kind])
		return NULL;
	block->table = &chunk->tables[kind][i];
	if (!table) {
		*block->table = map_table_new(block->huge);
		map->stats.tables += *block->table != NULL;
		if (*block->table && (chunk->visited || chunk->came))
			map_table_born(*block->table, chunk->read);
	} else if (table->huge != block->huge) {
		struct map_table *other = map_table_reshaped(table);

		if (other) {
			free(table);
			*block->table = other;
		} else {
			return NULL;
		}
	}
	return *block->table;
}

/** Add a range, or go on with the last one; false: there is no room. */
static bool add_range(struct map_ranges *ranges, uint64_t start, uint64_t end, bool goes_on)
{
	size_t nr = ranges->nr;

	if (goes_on && nr && ranges->at[nr - 1].end == start) {
		ranges->at[nr - 1].end = end;
		return true;
	}
	if (nr == MAP_MOST_RANGES)
		return false;
	ranges->at[ranges->nr++] = (struct bulk_range){.start = start, .end = end};
	return true;
}

/** The areas of a kind in a block: a range goes on from block to block within its area only. */
static bool add_areas(struct map_ranges *ranges, const struct map_target *target, enum map_kind kind,
		      uint64_t block)
{
	for (size_t i = map_first_area(target, block);
	     i < target->nr_areas && target->areas[i].start < block + BLOCK; i++) {
		const struct map_area *area = &target->areas[i];
		uint64_t start = area->start > block ? area->start : block;
		uint64_t end = area->end < block + BLOCK ? area->end : block + BLOCK;

		if (area->kind == kind && !add_range(ranges, start, end, start != area->start))
			return false;
	}
	return true;
}

bool map_ranges_add(struct map_ranges *ranges, const struct page_map *map, const struct map_target *target,
		    enum map_kind kind, const struct map_block *block)
{
	const struct entry_format *format = &map->ops.format;
	uint64_t young[SPARSE + 1];
	size_t nr_young = 0, pages = block->huge ? 1 : MAP_PAGES;
	struct bulk_range last = ranges->nr ? ranges->at[ranges->nr - 1] : (struct bulk_range){0};
	size_t had = ranges->nr;
	bool fits = true;

	for (size_t i = 0; i < pages && nr_young <= SPARSE; i++)
		if (block->entries[i] & format->present && block->entries[i] & format->young &&
		    map_in(block->mask, i))
			young[nr_young++] = block->address + i * PAGE;
	if (nr_young && (block->huge || nr_young > SPARSE))
		fits = add_areas(ranges, target, kind, block->address);
	else	// Neighbours may be of other areas: they must not become one range.
		for (size_t i = 0; i < nr_young && fits; i++)
			fits = add_range(ranges, young[i], young[i] + PAGE, false);
	if (fits)
		return true;
	ranges->nr = had;
	if (had)
		ranges->at[had - 1] = last;
	return false;
}
