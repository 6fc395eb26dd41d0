// SPDX-License-Identifier: Apache-2.0
// Accessed bits: nothing is kept but when frames were cleared. What was not is young.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "sim/world.h"
#include "sys/page.h"

static uint64_t place_of(uint64_t table)
{
	return (table * UINT64_C(0x9E3779B97F4A7C15)) >> 20;
}

/** The place of a table, or a free one for it. */
static struct sim_table *find(const struct sim_world *world, uint64_t table)
{
	size_t at = place_of(table) & (world->nr_places - 1);

	while (world->tables[at].table && world->tables[at].table != table + 1)
		at = (at + 1) & (world->nr_places - 1);
	return &world->tables[at];
}

static int grow(struct sim_world *world)
{
	struct sim_table *old = world->tables;
	size_t nr_old = world->nr_places, nr = nr_old ? 2 * nr_old : 1024;
	struct sim_table *tables = calloc(nr, sizeof(*tables));

	if (!tables)
		return -ENOMEM;
	world->tables = tables;
	world->nr_places = nr;
	for (size_t i = 0; i < nr_old; i++)
		if (old[i].table)
			*find(world, old[i].table - 1) = old[i];
	free(old);
	return 0;
}

static bool was_used(const struct sim_world *world, uint64_t first, uint64_t last, uint64_t since_ns)
{
	for (size_t i = sim_segment_at(world, first); i < world->nr_segments; i++) {
		const struct sim_segment *segment = &world->segments[i];

		if (segment->first >= last)
			break;
		for (uint32_t j = 0; j < segment->nr; j++) {
			const struct sim_pattern *pattern = &world->patterns[world->lists[segment->at + j]];
			double begin, end;

			// A pattern that meets several segments of a huge page is asked once.
			if (pattern->first < segment->first && segment->first > first)
				continue;
			if (world->now_ns <= pattern->from_ns || since_ns >= pattern->until_ns)
				continue;
			begin = sim_uses(pattern, since_ns);
			end = sim_uses(pattern, world->now_ns);
			if (sim_was_used(pattern, first, last, begin, end))
				return true;
		}
	}
	return false;
}

/** The run that holds a page of a table, or NULL. */
static const struct sim_run *run_at(const struct sim_table *table, uint16_t page)
{
	uint32_t low = 0, high = table->nr;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (table->runs[middle].last <= page)
			low = middle + 1;
		else
			high = middle;
	}
	return low < table->nr && table->runs[low].first <= page ? &table->runs[low] : NULL;
}

bool sim_is_young(const struct sim_world *world, uint64_t first, uint64_t last)
{
	const struct sim_table *table = world->nr_places ? find(world, first / BLOCK_PAGES) : NULL;
	const struct sim_run *run = table && table->table ? run_at(table, first % BLOCK_PAGES) : NULL;

	return !run || was_used(world, first, last, run->at_ns);
}

/** Make room for two more runs. */
static int make_room(struct sim_table *table)
{
	uint32_t room = table->room ? 2 * table->room : 2;
	struct sim_run *runs;

	if (table->nr + 2 <= table->room)
		return 0;
	runs = realloc(table->runs, (room + 2) * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	table->runs = runs;
	table->room = room + 2;
	return 0;
}

int sim_clear(struct sim_world *world, uint64_t first, uint64_t last)
{
	struct sim_run new = {first % BLOCK_PAGES, (uint16_t)(last - first + first % BLOCK_PAGES), world->now_ns};
	struct sim_table *table;
	struct sim_run *runs;
	uint32_t from = 0, to;

	if (2 * (world->nr_tables + 1) > world->nr_places && grow(world))
		return -ENOMEM;
	table = find(world, first / BLOCK_PAGES);
	if (make_room(table))
		return -ENOMEM;
	if (!table->table)
		world->nr_tables++;
	table->table = first / BLOCK_PAGES + 1;
	runs = table->runs;
	// Runs [from, to) meet the new one, and what sticks out of it stays.
	while (from < table->nr && runs[from].last <= new.first)
		from++;
	for (to = from; to < table->nr && runs[to].first < new.last; to++)
		;
	struct sim_run pieces[3];
	uint32_t nr = 0;

	if (to > from && runs[from].first < new.first)
		pieces[nr++] = (struct sim_run){runs[from].first, new.first, runs[from].at_ns};
	pieces[nr++] = new;
	if (to > from && runs[to - 1].last > new.last)
		pieces[nr++] = (struct sim_run){new.last, runs[to - 1].last, runs[to - 1].at_ns};
	memmove(runs + from + nr, runs + to, (table->nr - to) * sizeof(*runs));
	memcpy(runs + from, pieces, nr * sizeof(*runs));
	table->nr += nr - (to - from);
	return 0;
}

/** Let the frames of [first, last) that a pattern used since @since_ns be young. */
static void add_uses(const struct sim_world *world, const struct sim_pattern *pattern, uint64_t since_ns,
		     uint64_t first, uint64_t last, bool *young)
{
	double begin, end;

	if (world->now_ns <= pattern->from_ns || since_ns >= pattern->until_ns)
		return;
	begin = sim_uses(pattern, since_ns);
	end = sim_uses(pattern, world->now_ns);
	for (uint64_t page = first; begin < end && page < last; page++)
		if (!young[page - first])
			young[page - first] = sim_was_used(pattern, page, page + 1, begin, end);
}

void sim_read(const struct sim_world *world, uint64_t first, uint64_t last, bool *young)
{
	const struct sim_table *table = world->nr_places ? find(world, first / BLOCK_PAGES) : NULL;
	uint64_t base = first - first % BLOCK_PAGES;
	size_t at = sim_segment_at(world, first);

	memset(young, true, last - first);
	for (uint32_t i = 0; table && i < table->nr; i++) {
		const struct sim_run *run = &table->runs[i];
		uint64_t from = base + run->first > first ? base + run->first : first;
		uint64_t to = base + run->last < last ? base + run->last : last;

		if (from >= to)
			continue;
		memset(young + (from - first), false, to - from);
		for (size_t j = at; j < world->nr_segments && world->segments[j].first < to; j++) {
			const struct sim_segment *segment = &world->segments[j];
			uint64_t begin = segment->first > from ? segment->first : from;
			uint64_t end = segment->last < to ? segment->last : to;

			for (uint32_t k = 0; begin < end && k < segment->nr; k++)
				add_uses(world, &world->patterns[world->lists[segment->at + k]], run->at_ns, begin, end,
					 young + (begin - first));
		}
	}
}
