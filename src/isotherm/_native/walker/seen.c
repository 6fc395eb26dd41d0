// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include "walker/seen.h"

#define PAGE_SHIFT 12
#define WAYS 4
#define SETS (1UL << 15)	// 128 Ki pages, 2 MiB: the clears of a minute, as far as the budget lets
#define MS 1000000ULL

int seen_begin(struct seen *seen)
{
	if (!seen->pages)
		seen->pages = calloc(SETS * WAYS, sizeof(*seen->pages));
	return seen->pages ? 0 : -ENOMEM;
}

void seen_end(struct seen *seen)
{
	free(seen->pages);
	seen->pages = NULL;
}

static struct seen_page *set_of(const struct seen *seen, int32_t pid, uint64_t page)
{
	uint64_t hash = (page ^ (uint64_t)(uint32_t)pid << 40) * 0x9e3779b97f4a7c15ULL;

	return seen->pages + (hash >> 32) % SETS * WAYS;
}

void seen_note(struct seen *seen, int32_t pid, uint64_t addr, uint64_t now_ns)
{
	uint64_t page = addr >> PAGE_SHIFT;
	uint32_t now_ms = now_ns / MS;

	if (!seen->pages)
		return;
	struct seen_page *set = set_of(seen, pid, page), *taken = set;

	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].pid == pid && set[i].page == page) {
			taken = &set[i];
			break;
		}
		// Free ones before the oldest.
		if (taken->pid && (!set[i].pid || now_ms - set[i].at_ms > now_ms - taken->at_ms))
			taken = &set[i];
	}
	*taken = (struct seen_page){page, pid, now_ms};
}

bool seen_since(const struct seen *seen, int32_t pid, uint64_t addr, uint64_t now_ns,
		uint64_t within_ns)
{
	uint64_t page = addr >> PAGE_SHIFT;

	if (!seen->pages || !within_ns)
		return false;
	const struct seen_page *set = set_of(seen, pid, page);

	for (size_t i = 0; i < WAYS; i++)
		if (set[i].pid == pid && set[i].page == page)
			return (uint32_t)(now_ns / MS) - set[i].at_ms <= within_ns / MS;
	return false;
}
