// SPDX-License-Identifier: Apache-2.0
#include "map/returns.h"
#include <stdlib.h>
#include <string.h>
#include "map/bits.h"
#include "sys/page.h"

#define TENTHS(n) (UINT64_C(100000000) * (n))
const uint64_t map_return_ages_ns[MAP_RETURN_AGES] = {
	TENTHS(1), TENTHS(2), TENTHS(5), TENTHS(10), TENTHS(20), TENTHS(50), TENTHS(100), TENTHS(200), TENTHS(300),
	TENTHS(600), TENTHS(1200), TENTHS(3000), TENTHS(6000), TENTHS(18000), TENTHS(36000), TENTHS(72000),
	TENTHS(216000), TENTHS(864000),
};
#define ROW_WORDS (2 * MAP_RETURN_AGES)
#define MOST_ROWS (1u << 20)

void map_before_read(struct map_before *before, const struct map_table *table)
{
	before->any = table && table->nr_epochs;
	if (!before->any)
		return;
	memcpy(before->began, table->began, sizeof(before->began));
	before->first = table->first;
	before->read = table->read;
	before->huge = table->huge;
	memcpy(before->pages, table->pages, table->huge ? 1 : MAP_PAGES);
}

uint64_t *map_returns_of(struct map_returns *returns, size_t row, bool own)
{
	if (row >= returns->nr_rows && row < MOST_ROWS) {
		size_t nr = row + row / 2 + 8;
		uint64_t *bytes = reallocarray(returns->bytes, nr, ROW_WORDS * sizeof(*bytes));

		if (!bytes)
			return NULL;
		memset(bytes + returns->nr_rows * ROW_WORDS, 0, (nr - returns->nr_rows) * ROW_WORDS * sizeof(*bytes));
		returns->bytes = bytes;
		returns->nr_rows = nr;
	}
	return row < returns->nr_rows ? returns->bytes + row * ROW_WORDS + (own ? MAP_RETURN_AGES : 0) : NULL;
}

/** Of how many lengths of time a page was not used; 0: it was not armed, or used too soon. */
static unsigned int idle_ages(const struct map_before *before, uint8_t byte, map_time now)
{
	unsigned int epoch = map_epoch_of(byte), nr = 0;

	if (!epoch || (epoch >= MAP_EPOCHS && epoch != MAP_UNTOUCHED))
		return 0;
	map_time since = epoch == MAP_UNTOUCHED ? before->first : before->began[epoch - 1];
	// It was used at some time between the last read and this one.
	uint64_t ns = map_time_ns(before->read - since) / 2 + map_time_ns(now - since) / 2;

	while (nr < MAP_RETURN_AGES && map_return_ages_ns[nr] <= ns)
		nr++;
	return nr;
}

/** Pages that others may map as well: counted if they do not. */
struct doubts {
	uint64_t frames[MAP_PAGES];
	uint32_t rows[MAP_PAGES], bytes[MAP_PAGES];
	uint8_t ages[MAP_PAGES];
	size_t nr;
};

static void count(struct page_map *map, size_t row, bool own, unsigned int ages, uint64_t bytes)
{
	uint64_t *counts = map_returns_of(&map->returns, row, own);

	if (counts)
		counts[ages - 1] += bytes;
}

static void settle(struct page_map *map, const struct doubts *doubts)
{
	uint32_t mappers[MAP_PAGES] = {0};

	if (!doubts->nr || !map->ops.mappers)
		return;
	map->ops.mappers(map->ops.ctx, doubts->frames, doubts->nr, mappers);
	for (size_t i = 0; i < doubts->nr; i++)
		if (mappers[i] == 1)
			count(map, doubts->rows[i], false, doubts->ages[i], doubts->bytes[i]);
}

static void add_page(struct page_map *map, const struct map_area *area, uint64_t entry, unsigned int ages,
		     uint64_t bytes, struct doubts *doubts)
{
	const struct entry_format *format = &map->ops.format;
	bool apart = area->kind == MAP_ANON || area->flags & MAP_AREA_PRIVATE_FILE;

	if (area->flags & MAP_AREA_KEPT || (!apart && entry & format->write))
		return;
	if ((apart && entry & format->write) || !format->frame_mask) {
		count(map, area->row, apart, ages, bytes);
		return;
	}
	doubts->frames[doubts->nr] = bulk_frame(format, entry);
	doubts->rows[doubts->nr] = area->row;
	doubts->bytes[doubts->nr] = (uint32_t)bytes;
	doubts->ages[doubts->nr++] = (uint8_t)ages;
}

/** Which pages of a word are used in the newest epoch, and were armed before. */
static uint64_t came_back(const struct map_before *before, const struct map_table *table, size_t first)
{
	if (table->huge)
		return map_epoch_of(table->pages[0]) == 0 && map_epoch_of(before->pages[0]) != 0;
	uint64_t once = bits_of_bytes(table->pages + first, MAP_BYTE(0, 0), MAP_BYTE(0, MAP_PERHAPS - 1));
	uint64_t again = bits_of_bytes(table->pages + first, MAP_BYTE(0, 0) | MAP_AGAIN,
				       MAP_BYTE(0, MAP_PERHAPS - 1) | MAP_AGAIN);

	return (once | again) &
	       bits_of_bytes(before->pages + first, MAP_BYTE(1, 0), MAP_BYTE(MAP_UNTOUCHED, 15));
}

void map_returns_add(struct page_map *map, const struct map_target *target, enum map_kind kind,
		     const struct map_before *before, const struct map_block *block)
{
	const struct map_table *table = block->table ? *block->table : NULL;
	struct doubts doubts;
	size_t area;

	if (!before->any || !table || table->huge != before->huge ||
	    !memcmp(before->pages, table->pages, table->huge ? 1 : MAP_PAGES))
		return;
	doubts.nr = 0;
	area = map_first_area(target, block->address);
	for (size_t first = 0; first < map_table_pages(table); first += 64)
		for (uint64_t left = came_back(before, table, first); left; left &= left - 1) {
			size_t page = first + (size_t)__builtin_ctzll(left);
			uint64_t address = block->address + page * PAGE;
			unsigned int ages = idle_ages(before, before->pages[page], table->read);

			while (area < target->nr_areas && (target->areas[area].kind != kind ||
				(!table->huge && target->areas[area].end <= address)))
				area++;
			if (ages && area < target->nr_areas)
				add_page(map, &target->areas[area], block->entries[page], ages,
					 table->huge ? BLOCK : PAGE, &doubts);
		}
	settle(map, &doubts);
}

void map_returns_seen(struct page_map *map, const struct map_target *target, enum map_kind kind,
		      const struct map_table *table, uint64_t address, map_time now)
{
	size_t page = table->huge ? 0 : address / PAGE % MAP_PAGES, area = map_first_area(target, address);
	struct map_before before;
	unsigned int ages;

	// Somebody else may be ahead of the last read, and behind it.
	if (kind != MAP_ANON || (int32_t)(now - table->read) < 0 || area == target->nr_areas ||
	    target->areas[area].kind != kind)
		return;
	map_before_read(&before, table);
	ages = before.any ? idle_ages(&before, before.pages[page], now) : 0;
	if (ages)
		count(map, target->areas[area].row, true, ages, table->huge ? BLOCK : PAGE);
}
