// SPDX-License-Identifier: Apache-2.0
// What a map knows of single pages, asked by who is about to act on them.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "map/page_map.h"

enum recalled {
	RECALL_IDLE,	// surely not used for so long, if its accessed bit is clear now
	RECALL_USED,	// may have been used, although its accessed bit is clear now: it was cleared since
	RECALL_EARLY,	// nobody watched it for so long
};

/** What of @addr's page, which is present, if @idle_ns are asked for. */
enum recalled page_map_recall(const struct page_map *map, size_t target, uint64_t addr, uint64_t idle_ns,
			      uint64_t now_ns);
/** Have the pages around @addr looked at again soon: somebody waits for them to be idle. */
void page_map_hasten(struct page_map *map, size_t target, uint64_t addr, uint64_t now_ns);
/**
 * Whether any page of the block at @addr may have been idle for so long; @early is set if one was not
 * watched for so long.
 */
bool page_map_may_be_idle(const struct page_map *map, size_t target, uint64_t addr, uint64_t idle_ns,
			  uint64_t now_ns, bool *early);
