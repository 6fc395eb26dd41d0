// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include "sys/page.h"
#include "walker/cleared_pages.h"

#define WAYS 4
#define SETS (1UL << 15)	// 128 Ki pages, 2 MiB: the clears of a minute, as far as the budget lets
#define MS 1000000ULL

int cleared_pages_begin(struct cleared_pages *cleared)
{
	if (!cleared->pages)
		cleared->pages = calloc(SETS * WAYS, sizeof(*cleared->pages));
	return cleared->pages ? 0 : -ENOMEM;
}

void cleared_pages_end(struct cleared_pages *cleared)
{
	free(cleared->pages);
	cleared->pages = NULL;
}

static struct cleared_page *set_of(const struct cleared_pages *cleared, int32_t pid, uint64_t page)
{
	uint64_t hash = (page ^ (uint64_t)(uint32_t)pid << 40) * 0x9e3779b97f4a7c15ULL;

	return cleared->pages + (hash >> 32) % SETS * WAYS;
}

void cleared_pages_note(struct cleared_pages *cleared, int32_t pid, uint64_t addr, uint64_t now_ns)
{
	uint64_t page = addr >> PAGE_SHIFT;
	uint32_t now_ms = now_ns / MS;

	if (!cleared->pages)
		return;
	struct cleared_page *set = set_of(cleared, pid, page), *taken = set;

	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].pid == pid && set[i].page == page) {
			taken = &set[i];
			break;
		}
		// Free ones before the oldest.
		if (taken->pid && (!set[i].pid || now_ms - set[i].at_ms > now_ms - taken->at_ms))
			taken = &set[i];
	}
	*taken = (struct cleared_page){page, pid, now_ms};
}

bool cleared_pages_since(const struct cleared_pages *cleared, int32_t pid, uint64_t addr,
			 uint64_t now_ns, uint64_t within_ns)
{
	uint64_t page = addr >> PAGE_SHIFT;

	if (!cleared->pages || !within_ns)
		return false;
	const struct cleared_page *set = set_of(cleared, pid, page);

	for (size_t i = 0; i < WAYS; i++)
		if (set[i].pid == pid && set[i].page == page)
			return (uint32_t)(now_ns / MS) - set[i].at_ms <= within_ns / MS;
	return false;
}
