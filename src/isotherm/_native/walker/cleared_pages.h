// SPDX-License-Identifier: Apache-2.0
// Pages that the sampler found young and cleared: whoever asks later how long a page was idle would
// take it for old.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A page of a process, and when it was found young: milliseconds of CLOCK_MONOTONIC, they wrap. */
struct cleared_page {
	uint64_t page;		// number; with pid 0: none
	int32_t pid;
	uint32_t at_ms;
};

/** A table of a fixed size that forgets the oldest of a few; NULL: nobody asks, nothing is kept. */
struct cleared_pages {
	struct cleared_page *pages;
};

/** Begin to keep pages; 0 or -ENOMEM. Harmless if begun. */
int cleared_pages_begin(struct cleared_pages *cleared);
void cleared_pages_end(struct cleared_pages *cleared);
static inline bool cleared_pages_are_kept(const struct cleared_pages *cleared)
{
	return cleared->pages != NULL;
}
/** The page at @addr of @pid was found young at @now_ns. */
void cleared_pages_note(struct cleared_pages *cleared, int32_t pid, uint64_t addr, uint64_t now_ns);
/** Whether it was found so in the last @within_ns. */
bool cleared_pages_since(const struct cleared_pages *cleared, int32_t pid, uint64_t addr,
			 uint64_t now_ns, uint64_t within_ns);
