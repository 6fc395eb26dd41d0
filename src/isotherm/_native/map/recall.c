// SPDX-License-Identifier: Apache-2.0
#include "map/recall.h"
#include "sys/page.h"

#define HASTY 1	// the calm of a table that somebody waits for

static enum recalled recalled_of(const struct map_table *table, uint8_t byte, uint64_t idle_ns, map_time now)
{
	unsigned int epoch = map_epoch_of(byte);

	if (!table->nr_epochs || epoch >= MAP_UNSEEN)
		return RECALL_EARLY;
	if (epoch == MAP_UNTOUCHED)
		return map_time_ns(now - table->first) >= idle_ns ? RECALL_IDLE : RECALL_EARLY;
	// Used in this epoch: it is not armed, and who cleared it may have done so just now.
	if (!epoch || epoch >= table->nr_epochs)
		return RECALL_USED;
	return map_time_ns(now - table->began[epoch - 1]) >= idle_ns ? RECALL_IDLE : RECALL_USED;
}

static uint8_t byte_of(const struct map_table *table, uint64_t addr)
{
	return table ? table->pages[table->huge ? 0 : addr / PAGE % MAP_PAGES] : MAP_ABSENT;
}

enum recalled page_map_recall(const struct page_map *map, size_t index, uint64_t addr, uint64_t idle_ns,
			      uint64_t now_ns)
{
	if (index >= map->nr_targets)
		return RECALL_EARLY;
	const struct map_target *target = &map->targets[index];
	const struct map_chunk *chunk = map_target_chunk(target, addr);

	for (size_t kind = 0; chunk && kind < NR_MAP_KINDS; kind++) {
		const struct map_table *table = map_chunk_table(chunk, kind, (addr - chunk->base) / BLOCK);
		uint8_t byte = byte_of(table, addr);

		if (byte != MAP_ABSENT)
			return recalled_of(table, byte, idle_ns, map_now(map, target, now_ns));
	}
	return RECALL_EARLY;
}

void page_map_hasten(struct page_map *map, size_t index, uint64_t addr, uint64_t now_ns)
{
	struct map_chunk *chunk = index < map->nr_targets ? map_target_chunk(&map->targets[index], addr) : NULL;

	for (size_t kind = 0; chunk && kind < NR_MAP_KINDS; kind++) {
		struct map_table *table = map_chunk_table(chunk, kind, (addr - chunk->base) / BLOCK);

		if (table && table->calm > HASTY) {
			table->calm = HASTY;
			chunk->due = map_now(map, &map->targets[index], now_ns);
		}
	}
}

bool page_map_may_be_idle(const struct page_map *map, size_t index, uint64_t addr, uint64_t idle_ns,
			  uint64_t now_ns, bool *early)
{
	const struct map_target *target = &map->targets[index];
	const struct map_chunk *chunk = index < map->nr_targets ? map_target_chunk(target, addr) : NULL;

	for (size_t kind = 0; chunk && kind < NR_MAP_KINDS; kind++) {
		const struct map_table *table = map_chunk_table(chunk, kind, (addr - chunk->base) / BLOCK);
		size_t pages = table ? map_table_pages(table) : 0;

		for (size_t i = 0; i < pages; i++) {
			if (table->pages[i] == MAP_ABSENT)
				continue;
			enum recalled what = recalled_of(table, table->pages[i], idle_ns, map_now(map, target, now_ns));

			*early |= what == RECALL_EARLY;
			if (what == RECALL_IDLE)
				return true;
		}
	}
	return false;
}
