// SPDX-License-Identifier: Apache-2.0
// What there is: areas, patterns, which of them meet where; time and what is spent of it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "sim/world.h"
#include "sys/page.h"

#define HIGHEST (UINT64_C(1) << 56)
#define MOST_FRAMES (UINT64_C(1) << 44)
#define MOST_LISTED (UINT64_C(1) << 26)

static int by_place(const void *a, const void *b)
{
	const struct sim_area *x = a, *y = b;

	if (x->process != y->process)
		return x->process < y->process ? -1 : 1;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->from_ns < y->from_ns ? -1 : x->from_ns > y->from_ns;
}

static bool area_is_good(const struct sim_area *area)
{
	uint64_t unit = area->huge ? BLOCK : PAGE, size = area->end - area->start;

	return area->start < area->end && area->end <= HIGHEST && area->start % unit == 0 && size % unit == 0 &&
	       area->from_ns < area->until_ns && area->frame + size / PAGE < MOST_FRAMES &&
	       // A table of addresses is a table of frames.
	       area->frame % BLOCK_PAGES == area->start / PAGE % BLOCK_PAGES;
}

/** Whether two areas show the same frames at the same time. */
static bool share_frames(const struct sim_area *a, const struct sim_area *b)
{
	return a->frame < b->frame + (b->end - b->start) / PAGE && b->frame < a->frame + (a->end - a->start) / PAGE &&
	       a->from_ns < b->until_ns && b->from_ns < a->until_ns;
}

/** Mark the areas that share frames. */
static void find_shared(struct sim_world *world)
{
	for (size_t i = 0; i < world->nr_areas; i++)
		for (size_t j = 0; j < i; j++)
			if (share_frames(&world->areas[i], &world->areas[j]))
				world->shared = world->areas[i].shared = world->areas[j].shared = true;
}

/** Areas at the same addresses follow each other; others do not meet. */
static bool areas_are_good(const struct sim_area *areas, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		const struct sim_area *area = &areas[i], *last = area - 1;

		if (!area_is_good(area))
			return false;
		if (!i || last->process != area->process || last->end <= area->start)
			continue;
		if (last->start != area->start || last->end != area->end || last->until_ns > area->from_ns)
			return false;
	}
	return true;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/** Segments between the @nr distinct @borders, with the patterns of each. */
static int fill_segments(struct sim_world *world, const uint64_t *borders, size_t nr)
{
	size_t listed = 0;

	for (int pass = 0; pass < 2; pass++) {
		listed = 0;
		world->nr_segments = 0;
		for (size_t i = 0; i + 1 < nr; i++) {
			struct sim_segment segment = {borders[i], borders[i + 1], (uint32_t)listed, 0};

			for (size_t j = 0; j < world->nr_patterns; j++) {
				const struct sim_pattern *pattern = &world->patterns[j];

				if (pattern->first > segment.first || pattern->last <= segment.first)
					continue;
				if (pass)
					world->lists[listed] = (uint32_t)j;
				segment.nr++;
				listed++;
			}
			if (!segment.nr)
				continue;
			if (pass)
				world->segments[world->nr_segments] = segment;
			world->nr_segments++;
		}
		if (listed > MOST_LISTED)
			return -EINVAL;
		if (!pass) {
			world->segments = calloc(world->nr_segments + 1, sizeof(*world->segments));
			world->lists = calloc(listed + 1, sizeof(*world->lists));
			if (!world->segments || !world->lists)
				return -ENOMEM;
		}
	}
	return 0;
}

static int make_segments(struct sim_world *world)
{
	uint64_t *borders = calloc(2 * world->nr_patterns + 1, sizeof(*borders));
	size_t nr = 0;
	int err;

	if (!borders)
		return -ENOMEM;
	for (size_t i = 0; i < world->nr_patterns; i++) {
		borders[2 * i] = world->patterns[i].first;
		borders[2 * i + 1] = world->patterns[i].last;
	}
	qsort(borders, 2 * world->nr_patterns, sizeof(*borders), by_number);
	for (size_t i = 0; i < 2 * world->nr_patterns; i++)
		if (!nr || borders[nr - 1] != borders[i])
			borders[nr++] = borders[i];
	err = fill_segments(world, borders, nr);
	free(borders);
	return err;
}

static void *copy_of(const void *from, size_t nr, size_t size)
{
	void *to = calloc(nr + 1, size);

	if (to && nr)
		memcpy(to, from, nr * size);
	return to;
}

static uint64_t take_cleared(void *ctx)
{
	struct sim_world *world = ctx;
	uint64_t cleared;

	if (gate_enter(&world->gate, true))
		return 0;
	cleared = world->cleared;
	world->cleared = 0;
	gate_leave(&world->gate);
	return cleared;
}

int sim_world_init(struct sim_world *world, const struct sim_costs *costs, const struct sim_area *areas,
		   size_t nr_areas, const struct sim_pattern *patterns, size_t nr_patterns)
{
	int err = -ENOMEM;

	*world = (struct sim_world){.costs = *costs};
	world->ops = (struct access_ops){sim_turn, take_cleared, world};
	gate_init(&world->gate);
	world->areas = copy_of(areas, nr_areas, sizeof(*areas));
	world->patterns = copy_of(patterns, nr_patterns, sizeof(*patterns));
	if (world->areas && world->patterns) {
		world->nr_areas = nr_areas;
		world->nr_patterns = nr_patterns;
		qsort(world->areas, nr_areas, sizeof(*areas), by_place);
		err = areas_are_good(world->areas, nr_areas) ? 0 : -EINVAL;
		for (size_t i = 0; i < nr_patterns && !err; i++)
			err = sim_pattern_is_good(&patterns[i]) ? 0 : -EINVAL;
	}
	if (!err) {
		find_shared(world);
		err = make_segments(world);
	}
	if (err)
		sim_world_deinit(world);
	return err;
}

void sim_world_deinit(struct sim_world *world)
{
	for (size_t i = 0; i < world->nr_places; i++)
		free(world->tables[i].runs);
	free(world->tables);
	free(world->areas);
	free(world->patterns);
	free(world->segments);
	free(world->lists);
	free(world->samples);
	free(world->order);
	free(world->targets);
	gate_deinit(&world->gate);
	*world = (struct sim_world){0};
}

int sim_set_targets(struct sim_world *world, const uint32_t *processes, size_t nr)
{
	uint32_t *targets = copy_of(processes, nr, sizeof(*processes));

	if (!targets)
		return -ENOMEM;
	free(world->targets);
	world->targets = targets;
	world->nr_targets = nr;
	return 0;
}

void sim_limit(struct sim_world *world, int64_t overhead_ns)
{
	world->limited = overhead_ns > 0;
	budget_init(&world->budget, overhead_ns, world->costs.clear_ns + world->costs.clear_page_ns);
}

void sim_charge(struct sim_world *world, double ns)
{
	uint64_t whole;

	world->owed_ns += ns;
	whole = (uint64_t)world->owed_ns;
	world->owed_ns -= (double)whole;
	world->cpu_ns += (int64_t)whole;
	world->now_ns += whole;
}

uint64_t sim_sleep_until(struct sim_world *world, uint64_t ns)
{
	if (world->now_ns < ns) {
		world->now_ns = ns;
		sim_charge(world, world->costs.wake_ns);
	}
	return world->now_ns - ns;
}

double sim_read_ns(const struct sim_costs *costs, size_t pages)
{
	if (!pages)
		return 0;
	if (pages <= 16)
		return costs->read_page_ns +
		       (costs->read_clump_ns - costs->read_page_ns) * (double)(pages - 1) / 15;
	return costs->read_clump_ns +
	       (costs->read_table_ns - costs->read_clump_ns) * (double)(pages - 16) / (BLOCK_PAGES - 16);
}

/** The first area that begins above an address of a process, or belongs to a later one. */
static size_t area_above(const struct sim_world *world, uint32_t process, uint64_t addr)
{
	size_t low = 0, high = world->nr_areas;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct sim_area *area = &world->areas[middle];

		if (area->process > process || (area->process == process && area->start > addr))
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

uint64_t sim_next_area(const struct sim_world *world, uint32_t process, uint64_t addr)
{
	size_t at = area_above(world, process, addr);

	return at < world->nr_areas && world->areas[at].process == process ? world->areas[at].start : UINT64_MAX;
}

const struct sim_area *sim_area_at(const struct sim_world *world, uint32_t process, uint64_t addr)
{
	for (size_t i = area_above(world, process, addr); i-- > 0;) {
		const struct sim_area *area = &world->areas[i];

		if (area->process != process || area->end <= addr)
			return NULL;
		if (area->from_ns <= world->now_ns && world->now_ns < area->until_ns)
			return area;
	}
	return NULL;
}

size_t sim_segment_at(const struct sim_world *world, uint64_t frame)
{
	size_t low = 0, high = world->nr_segments;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (world->segments[middle].last <= frame)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
