// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "map/sum_rows.h"

#define MOST_ROWS (1 << 22)

void sum_add(const struct sum *sum, struct sum_row *row, const struct page_use *page, double bytes, bool own)
{
	const struct frame_use *use = &page->use;

	for (unsigned int i = 0; i < page->nr_parts; i++)
		sum_figures(sum, row, SUM_BEST_PARTS)[use->best - 1 - i] += bytes * page->parts[i];
	row->resident += bytes;
	row->unseen += use->unseen ? bytes : 0;
	row->uncovered += use->uncovered && !use->unseen ? bytes : 0;
	if (use->low < sum->nr_windows)
		sum_figures(sum, row, SUM_LOW)[use->low] += bytes;
	if (use->best < sum->nr_windows)
		sum_figures(sum, row, SUM_BEST)[use->best] += bytes;
	if (use->high < sum->nr_windows)
		sum_figures(sum, row, SUM_HIGH)[use->high] += bytes;
	if (use->idle) {
		sum_figures(sum, row, SUM_IDLE)[use->idle - 1] += bytes;
		sum_figures(sum, row, SUM_OWN)[use->idle - 1] += own ? bytes : 0;
	}
}

void sum_add_row(const struct sum *sum, struct sum_row *group, const struct sum_row *row)
{
	group->resident += row->resident;
	group->unseen += row->unseen;
	group->uncovered += row->uncovered;
	for (size_t i = 0; i < NR_SUM_FIGURES * sum->nr_windows; i++)
		group->figures[i] += row->figures[i];
}

void sum_finish(const struct sum *sum, struct sum_row *row)
{
	double *low = sum_figures(sum, row, SUM_LOW), *best = sum_figures(sum, row, SUM_BEST);
	double *high = sum_figures(sum, row, SUM_HIGH), *idle = sum_figures(sum, row, SUM_IDLE);
	double *own = sum_figures(sum, row, SUM_OWN);

	for (size_t i = 1; i < sum->nr_windows; i++) {
		low[i] += low[i - 1];
		best[i] += best[i - 1];
		high[i] += high[i - 1];
	}
	for (size_t i = sum->nr_windows; i-- > 1;) {
		idle[i - 1] += idle[i];
		own[i - 1] += own[i];
	}
	for (size_t i = 0; i < sum->nr_windows; i++) {
		best[i] += sum_figures(sum, row, SUM_BEST_PARTS)[i];
		// What is known of windows is of the newest measured ones, not all of one moment.
		best[i] = best[i] < low[i] ? low[i] : best[i];
		high[i] = high[i] < best[i] ? best[i] : high[i];
	}
}

static size_t node_of(const struct sum *sum, uint64_t frame)
{
	for (size_t i = 0; i < sum->nr_nodes; i++)
		if (frame >= sum->nodes[i].start && frame < sum->nodes[i].end)
			return sum->nodes[i].node;
	return 0;
}

/** A row that nothing is known of yet; its place, or 0 without memory. */
static uint32_t new_row(struct sum *sum)
{
	size_t size = sum_row_size(sum);

	if (sum->nr_used == sum->room) {
		size_t room = sum->room ? 2 * sum->room : 64;
		char *rows = room < MOST_ROWS ? reallocarray(sum->rows, room, size) : NULL;

		if (!rows)
			return 0;
		sum->rows = rows;
		sum->room = room;
	}
	memset(sum->rows + sum->nr_used * size, 0, size);
	sum->nr_used++;
	sum_row_at(sum, (uint32_t)sum->nr_used)->group = sum->group;
	return (uint32_t)sum->nr_used;
}

uint32_t sum_place(struct sum *sum, const struct map_area *area, bool own, uint64_t frame)
{
	size_t kind = area->kind == MAP_ANON || own ? SUM_ANON : SUM_FILE;
	size_t node = sum->nr_node_numbers > 1 ? node_of(sum, frame) : 0;
	uint32_t *place = &sum->places[(area->row * NR_SUM_KINDS + kind) * sum->nr_node_numbers + node];

	if (!*place)
		*place = new_row(sum);
	return *place;
}

int sum_add_to(struct sum *sum, uint32_t place, const struct page_use *use, double bytes, bool own)
{
	if (!place)
		return -ENOMEM;
	sum_add(sum, sum_row_at(sum, place), use, bytes, own);
	return 0;
}

void sum_free(struct sum *sum)
{
	free(sum->places);
	free(sum->rows);
	free(sum->groups);
	sum->places = NULL;
	sum->rows = sum->groups = NULL;
}
