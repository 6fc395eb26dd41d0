// SPDX-License-Identifier: Apache-2.0
#include "sys/coalesce.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/** Addresses [start, end) between two areas. */
struct gap {
	uint64_t start, end;
	bool hidden;
};

/** Whether @a is bridged before @b. */
static bool before(const struct gap *a, const struct gap *b)
{
	uint64_t first = a->end - a->start, second = b->end - b->start;

	if (a->hidden != b->hidden)
		return b->hidden;
	if (first != second)
		return first < second;
	return a->start > b->start;
}

/** A heap whose root is the gap that is bridged first of those that it holds. */
static void sift_down(struct gap *heap, size_t nr)
{
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < nr && before(&heap[child + 1], &heap[child]))
			child++;
		if (child >= nr || !before(&heap[child], &heap[at]))
			return;
		struct gap moved = heap[at];

		heap[at] = heap[child];
		heap[child] = moved;
		at = child;
	}
}

static void sift_up(struct gap *heap, size_t at)
{
	while (at && before(&heap[at], &heap[(at - 1) / 2])) {
		struct gap moved = heap[at];

		heap[at] = heap[(at - 1) / 2];
		heap[(at - 1) / 2] = moved;
		at = (at - 1) / 2;
	}
}

static void keep_largest(struct gap *heap, size_t *nr, size_t most, const struct gap *gap)
{
	if (*nr < most) {
		heap[*nr] = *gap;
		sift_up(heap, (*nr)++);
	} else if (most && before(&heap[0], gap)) {
		heap[0] = *gap;
		sift_down(heap, *nr);
	}
}

static int by_address(const void *a, const void *b)
{
	const struct gap *first = a, *second = b;

	return first->start < second->start ? -1 : first->start > second->start;
}

int coalesce(const struct coalesce_area *areas, size_t nr_areas, size_t max_ranges, uint64_t *ranges, size_t *nr)
{
	size_t most = max_ranges ? max_ranges - 1 : 0, kept = 0;
	bool any = false, hidden = false;
	uint64_t start = 0, end = 0;
	struct gap *gaps = malloc(most * sizeof(*gaps) + 1);

	*nr = 0;
	if (!gaps)
		return -ENOMEM;
	for (size_t i = 0; i < nr_areas; i++) {
		const struct coalesce_area *area = &areas[i];

		if (area->flags & AREA_HIDDEN)
			hidden = true;
		if (!(area->flags & AREA_VISIBLE))
			continue;
		if (!any)
			start = area->start;
		else if (area->start > end)
			keep_largest(gaps, &kept, most, &(struct gap){end, area->start, hidden});
		any = true;
		hidden = false;
		// Of a map that was read while it changed mappings may overlap.
		end = area->end > end ? area->end : end;
	}
	qsort(gaps, kept, sizeof(*gaps), by_address);
	for (size_t i = 0; any && i <= kept; i++) {
		ranges[2 * i] = i ? gaps[i - 1].end : start;
		ranges[2 * i + 1] = i < kept ? gaps[i].start : end;
		*nr = i + 1;
	}
	free(gaps);
	return 0;
}
