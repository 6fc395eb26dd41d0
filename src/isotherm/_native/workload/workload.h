// SPDX-License-Identifier: Apache-2.0
// A workload whose accesses are known exactly: memory of its own, touched on a schedule.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Anonymous memory, 2 MiB aligned, with inaccessible memory around it so that the kernel
 *  never merges its mapping with a neighbour's. */
struct touch_area {
	uint8_t *start;
	size_t bytes;
	void *reserved;		// the mapping with both guards
	size_t reserved_bytes;
};

/** A part of an area that is touched. */
struct touch_range {
	uint8_t *start;
	size_t bytes;
	uint64_t period_ns;	// paced: between two passes; at least 1
	bool random;		// order of the pages in a pass; busy: random or sequential lines
};

/** Counters for another process to look at while the loop runs: shared memory, eight words. */
struct touch_control {
	uint64_t stop;		// set by the other side: return soon
	uint64_t ops;		// bytes touched
	uint64_t passes;	// passes over a range done
	uint64_t overruns;	// passes left out, as one began a period or more late
	uint64_t reserved[4];
};

/** Map @bytes (a multiple of the page size); @huge asks for transparent huge pages, else none are
 *  used; @shared: with processes that are forked from now on. 0 or a negative errno. */
int touch_area_init(struct touch_area *area, size_t bytes, bool huge, bool shared);
void touch_area_deinit(struct touch_area *area);

/** Write a byte of every page. */
void touch_populate(const struct touch_area *area);

/** Until @until_ns (CLOCK_MONOTONIC), read a byte of every page of each range once per its period,
 *  at absolute times from the moment of the call; sleep in between. */
void touch_paced(const struct touch_range *ranges, size_t nr, uint64_t until_ns,
		 struct touch_control *control);

/** Until @until_ns, read lines of 64 bytes as fast as possible; ranges weigh by size. */
void touch_busy(const struct touch_range *ranges, size_t nr, uint64_t until_ns,
		struct touch_control *control);
