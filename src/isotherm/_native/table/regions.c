// SPDX-License-Identifier: Apache-2.0
// Targets and their ranges, resetting and rescaling.
#include <string.h>
#include "table/regions_inner.h"

void table_init(struct region_table *table, uint64_t min_region, const struct region_rules *rules,
		uint32_t samples)
{
	*table = (struct region_table){
		.min_region = min_region, .rules = *rules, .samples = samples ? samples : 1};
}

void table_deinit(struct region_table *table)
{
	free(table->regions.at);
	free(table->next.at);
	free(table->targets);
	*table = (struct region_table){0};
}

int table_load(struct region_table *table, const struct region_target *targets, size_t nr_targets,
	       const struct region *regions, size_t nr)
{
	struct region_target *copy;

	if (reserve(&table->regions, nr) < 0)
		return -ENOMEM;
	copy = calloc(nr_targets + 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	if (nr_targets)
		memcpy(copy, targets, nr_targets * sizeof(*copy));
	if (nr)
		memcpy(table->regions.at, regions, nr * sizeof(*regions));
	for (size_t i = 0; i < nr; i++)
		set_moving_sum(&table->regions.at[i], regions[i].nr_accesses);
	table->regions.nr = nr;
	free(table->targets);
	table->targets = copy;
	table->nr_targets = nr_targets;
	return 0;
}

static struct region_target *find_target(struct region_table *table, uint32_t id)
{
	for (size_t t = 0; t < table->nr_targets; t++)
		if (table->targets[t].id == id)
			return &table->targets[t];
	return NULL;
}

int table_set_targets(struct region_table *table, const uint32_t *ids, size_t nr)
{
	struct region_list *next = &table->next;
	struct region_target *targets;

	for (size_t i = 0; i < nr; i++)
		for (size_t j = 0; j < i; j++)
			if (ids[i] == ids[j])
				return -EINVAL;
	targets = calloc(nr + 1, sizeof(*targets));
	if (!targets || reserve(next, table->regions.nr) < 0) {
		free(targets);
		return -ENOMEM;
	}
	next->nr = 0;
	for (size_t i = 0; i < nr; i++) {
		const struct region_target *old = find_target(table, ids[i]);

		targets[i] = (struct region_target){
			.id = ids[i], .first = next->nr, .nr = old ? old->nr : 0};
		if (!targets[i].nr)
			continue;
		memcpy(next->at + next->nr, table->regions.at + old->first,
		       old->nr * sizeof(*next->at));
		next->nr += old->nr;
	}
	free(table->targets);
	table->targets = targets;
	table->nr_targets = nr;
	swap_lists(table);
	return 0;
}

/** Align @ranges outwards; -EINVAL if one is then empty, out of order or overlapping. */
static int align_ranges(struct address_range *ranges, size_t nr, uint64_t unit)
{
	uint64_t previous = 0;

	for (size_t i = 0; i < nr; i++) {
		struct address_range *r = &ranges[i];

		if (r->start > MAX_ADDRESS || r->end > MAX_ADDRESS)
			return -EINVAL;
		r->start -= r->start % unit;
		r->end = (r->end + unit - 1) / unit * unit;
		if (r->start < previous || r->end <= r->start || r->end > MAX_ADDRESS)
			return -EINVAL;
		previous = r->end;
	}
	return 0;
}

static bool intersects_any(const struct region *r, const struct address_range *ranges, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (r->start < ranges[i].end && ranges[i].start < r->end)
			return true;
	return false;
}

/** A region of which nothing is known yet. */
static struct region fresh_region(uint64_t start, uint64_t end)
{
	return (struct region){.start = start, .end = end, .unobservable = end - start};
}

/** Append to next what covers @range: the old regions from *@at on that lie in it, holes filled. */
static int cover(struct region_list *next, const struct region_list *old, size_t *at, size_t end,
		 const struct address_range *range, const struct address_range *all, size_t nr_all)
{
	size_t first = next->nr;

	for (; *at < end && old->at[*at].start < range->end; (*at)++) {
		struct region r = old->at[*at];

		if (r.end <= range->start || !intersects_any(&r, all, nr_all))
			continue;
		if (next->nr == first) {
			r.start = range->start;
		} else if (next->at[next->nr - 1].end != r.start) {
			const struct region hole = fresh_region(next->at[next->nr - 1].end, r.start);

			if (!push(next, &hole))
				return -ENOMEM;
		}
		if (!push(next, &r))
			return -ENOMEM;
	}
	if (next->nr == first) {
		const struct region fresh = fresh_region(range->start, range->end);

		return push(next, &fresh) ? 0 : -ENOMEM;
	}
	next->at[next->nr - 1].end = range->end;
	for (size_t i = first; i < next->nr; i++)
		next->at[i].unobservable =
			min_u64(next->at[i].unobservable, size_of(&next->at[i]));
	return 0;
}

/** Copy the regions of targets from..to (excluding) to next, moving their slices. */
static void copy_targets(struct region_table *table, struct region_target *from,
			 struct region_target *to)
{
	struct region_list *next = &table->next;

	for (; from < to; from++) {
		if (from->nr)
			memcpy(next->at + next->nr, table->regions.at + from->first,
			       from->nr * sizeof(*next->at));
		from->first = next->nr;
		next->nr += from->nr;
	}
}

int table_set_regions(struct region_table *table, uint32_t id, struct address_range *ranges,
		      size_t nr)
{
	struct region_target *target = find_target(table, id);
	struct region_list *next = &table->next;
	size_t at, end;

	if (!target)
		return -ENOENT;
	if (align_ranges(ranges, nr, table->min_region) < 0)
		return -EINVAL;
	// Room for all of it beforehand: at most one hole per old region, one region per range.
	if (reserve(next, table->regions.nr + target->nr + nr) < 0)
		return -ENOMEM;
	at = target->first;
	end = target->first + target->nr;
	next->nr = 0;
	copy_targets(table, table->targets, target);
	target->first = next->nr;
	for (size_t i = 0; i < nr; i++)
		cover(next, &table->regions, &at, end, &ranges[i], ranges, nr);
	target->nr = next->nr - target->first;
	copy_targets(table, target + 1, table->targets + table->nr_targets);
	swap_lists(table);
	return 0;
}

void table_reset(struct region_table *table)
{
	for (size_t i = 0; i < table->regions.nr; i++) {
		struct region *r = &table->regions.at[i];

		r->last_nr_accesses = r->nr_accesses;
		r->nr_accesses = 0;
		memcpy(r->last_probe_hits, r->probe_hits, sizeof(r->probe_hits));
		memset(r->probe_hits, 0, sizeof(r->probe_hits));
		r->window = (struct region_window){0};
	}
}

static uint32_t convert(uint32_t count, uint32_t from, uint32_t to)
{
	return clamp_u32(mult_frac(count, 10000, from) * to / 10000);
}

void table_rescale(struct region_table *table, struct region_intervals from,
		   struct region_intervals to, bool aggregating)
{
	table->samples = to.samples ? to.samples : 1;
	for (size_t i = 0; i < table->regions.nr; i++) {
		struct region *r = &table->regions.at[i];

		r->last_nr_accesses = convert(r->last_nr_accesses, from.samples, to.samples);
		if (aggregating) {
			r->nr_accesses = 0;
			r->window = (struct region_window){0};
			set_moving_sum(r, r->last_nr_accesses);
		} else {
			r->nr_accesses = convert(r->nr_accesses, from.samples, to.samples);
			set_moving_sum(r, r->nr_accesses);
		}
		r->age = clamp_u32((u128)r->age * from.aggr_us / (to.aggr_us ? to.aggr_us : 1));
		r->waits = clamp_u32((u128)r->waits * from.aggr_us / (to.aggr_us ? to.aggr_us : 1));
	}
}

uint64_t table_rate(const struct region_table *table, const struct region *r, uint32_t left_bp)
{
	if (table->rules.stores_moving_sum)
		return r->moving_bp / 10000;
	if (left_bp == 10000)
		return r->last_nr_accesses;
	return r->nr_accesses + (uint64_t)mult_frac(r->last_nr_accesses, left_bp, 10000);
}
