// SPDX-License-Identifier: Apache-2.0
// Samples: single pages, read at each turn, and cleared where young as far as the budget goes.
#include <errno.h>
#include <stdlib.h>
#include "map/page_map.h"
#include "sim/world.h"
#include "sys/page.h"

static int reserve(struct sim_world *world, size_t nr)
{
	struct sim_sample *samples;
	uint32_t *order;

	if (nr <= world->room)
		return 0;
	samples = realloc(world->samples, nr * sizeof(*samples));
	if (samples)
		world->samples = samples;
	order = realloc(world->order, 2 * nr * sizeof(*order));
	if (order)
		world->order = order;
	if (!samples || !order)
		return -ENOMEM;
	world->room = nr;
	return 0;
}

/** The frames that share the accessed bit of an address. */
static void bit_of(const struct sim_area *area, uint64_t addr, uint64_t *first, uint64_t *last)
{
	uint64_t nr = area->huge ? BLOCK_PAGES : 1;

	*first = sim_frame(area, addr) & ~(nr - 1);
	*last = *first + nr;
}

static uint8_t result_of(const struct sim_world *world, const struct sim_sample *sample)
{
	const struct sim_area *area = sim_area_at(world, sample->process, sample->addr);
	uint64_t first, last;

	if (sample->known)
		return sample->result;
	if (!area || area->hidden)
		return CHECK_IDLE;
	bit_of(area, sample->addr, &first, &last);
	return (sim_is_young(world, first, last) ? CHECK_ACCESSED : CHECK_IDLE) |
	       (sample->was_young && world->limited ? CHECK_WAS_YOUNG : 0);
}

/** Find out about a sample; whether it is of a young page, which has to be cleared. */
static bool look_at(const struct sim_world *world, struct sim_sample *sample)
{
	const struct sim_area *area = sim_area_at(world, sample->process, sample->addr);
	uint64_t first, last;

	sample->known = !area || area->hidden;
	sample->result = area ? CHECK_UNOBSERVABLE : CHECK_IDLE;
	if (sample->known)
		return false;
	bit_of(area, sample->addr, &first, &last);
	sample->was_young = sim_is_young(world, first, last);
	return sample->was_young;
}

static int clear(struct sim_world *world, const struct sim_sample *sample)
{
	const struct sim_area *area = sim_area_at(world, sample->process, sample->addr);
	uint64_t first, last, start;
	int err;

	if (!area)
		return 0;
	bit_of(area, sample->addr, &first, &last);
	start = area->start + (first - area->frame) * PAGE;
	err = sim_clear(world, first, last);
	if (world->map)
		page_map_seen(world->map, sample->target, start, start + (last - first) * PAGE, world->now_ns);
	world->cleared++;
	world->stats.clears++;
	world->stats.ranges++;
	return err;
}

/** Put the least checked first; equals take turns, as always beginning with the first serves none else. */
static void put_in_order(struct sim_world *world, const struct access_sample *samples, size_t nr)
{
	uint32_t *order = world->order, *from = order + world->room;
	size_t turn = world->turn++ % nr, done = 0;
	uint32_t least = UINT32_MAX, next;

	for (size_t i = 0; i < nr; i++) {
		from[i] = order[(i + turn) % nr];
		least = samples[from[i]].checked < least ? samples[from[i]].checked : least;
	}
	// There are as many passes as different counts, which are few.
	for (; done < nr; least = next) {
		next = UINT32_MAX;
		for (size_t i = 0; i < nr; i++) {
			uint32_t checked = samples[from[i]].checked;

			if (checked == least)
				order[done++] = from[i];
			else if (checked > least && checked < next)
				next = checked;
		}
	}
}

/** How many of @nr clears are paid for. */
static size_t affordable(struct sim_world *world, size_t nr)
{
	if (!world->limited)
		return nr;
	budget_other(&world->budget, world->cpu_mark ? world->cpu_ns - world->cpu_mark : 0, world->now_ns);
	world->cpu_mark = world->cpu_ns;
	size_t paid = budget_affords(&world->budget);

	return paid < nr ? paid : nr;
}

static int prepare(struct sim_world *world, const struct access_sample *samples, size_t nr)
{
	size_t young = 0, paid;
	int64_t begin;
	int err = 0;

	for (size_t i = 0; i < nr; i++) {
		world->samples[i] = (struct sim_sample){.addr = samples[i].addr, .target = samples[i].target,
							.process = sim_process(world, samples[i].target)};
		if (look_at(world, &world->samples[i]))
			world->order[young++] = (uint32_t)i;
	}
	world->nr_samples = nr;
	paid = affordable(world, young);
	if (paid < young)
		put_in_order(world, samples, young);
	begin = world->cpu_ns;
	for (size_t i = 0; i < young && !err; i++) {
		struct sim_sample *sample = &world->samples[world->order[i]];

		if (i < paid) {
			err = clear(world, sample);
			continue;
		}
		sample->known = true;
		sample->result = CHECK_MISSED;
		world->stats.missed++;
	}
	sim_charge(world, (double)paid * (world->costs.clear_ns + world->costs.clear_page_ns));
	if (world->limited) {
		budget_pay(&world->budget, paid, world->cpu_ns - begin);
		world->cpu_mark = world->cpu_ns;
	}
	return err;
}

static int turn(struct sim_world *world, uint8_t *results, const struct access_sample *samples, size_t nr)
{
	size_t old = world->nr_samples;
	int err = reserve(world, nr);

	if (err)
		return err;
	world->stats.reads += old + nr;
	sim_charge(world, (double)(old + nr) * world->costs.read_page_ns);
	for (size_t i = 0; results && i < old; i++)
		results[i] = result_of(world, &world->samples[i]);
	world->nr_samples = 0;
	return prepare(world, samples, nr);
}

int sim_turn(void *ctx, uint8_t *results, size_t nr_results, const struct access_sample *samples, size_t nr)
{
	struct sim_world *world = ctx;
	int err = gate_enter(&world->gate, true);

	if (err)
		return err;
	err = results && nr_results != world->nr_samples ? -ESTALE : turn(world, results, samples, nr);
	gate_leave(&world->gate);
	return err;
}
