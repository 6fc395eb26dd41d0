// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "access.h"
#include "regions.h"

typedef unsigned __int128 u128;

static uint64_t size_of(const struct region *r)
{
	return r->end - r->start;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/** @x * @n / @d as mult_frac() of the kernel; its order of divisions decides the rounding. */
static u128 mult_frac(u128 x, u128 n, u128 d)
{
	return x / d * n + x % d * n / d;
}

static uint32_t clamp_u32(u128 x)
{
	return x > UINT32_MAX ? UINT32_MAX : (uint32_t)x;
}

static int reserve(struct region_list *list, size_t room)
{
	struct region *at;

	if (room <= list->room)
		return 0;
	if (room < 2 * list->room)
		room = 2 * list->room;
	if (room < 64)
		room = 64;
	at = reallocarray(list->at, room, sizeof(*at));
	if (!at)
		return -ENOMEM;
	list->at = at;
	list->room = room;
	return 0;
}

static struct region *push(struct region_list *list, const struct region *region)
{
	if (reserve(list, list->nr + 1) < 0)
		return NULL;
	list->at[list->nr] = *region;
	return &list->at[list->nr++];
}

static void swap_lists(struct region_table *table)
{
	struct region_list done = table->next;

	table->next = table->regions;
	table->regions = done;
}

void table_init(struct region_table *table, uint64_t min_region)
{
	*table = (struct region_table){.min_region = min_region};
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
			const struct region hole = {
				.start = next->at[next->nr - 1].end, .end = r.start};

			if (!push(next, &hole))
				return -ENOMEM;
		}
		if (!push(next, &r))
			return -ENOMEM;
	}
	if (next->nr == first) {
		const struct region fresh = {.start = range->start, .end = range->end};

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

void region_count(struct region *r, uint8_t result)
{
	bool hit = false, young = result & CHECK_WAS_YOUNG;

	switch (result & ~CHECK_WAS_YOUNG) {
	case CHECK_MISSED:
		r->window.missed++;
		return;
	case CHECK_UNOBSERVABLE:
		r->window.unobservable++;
		return;
	case CHECK_ACCESSED:
		hit = true;
	}
	r->nr_accesses += hit;
	*(young ? &r->window.young_cleared : &r->window.old) += 1;
	*(young ? &r->window.young_hits : &r->window.old_hits) += hit;
}

static void end_window(struct region *r, uint32_t samples)
{
	const struct region_window *w = &r->window;
	uint64_t total = (uint64_t)w->old + w->young_cleared + w->missed;
	uint64_t asked = total + w->unobservable;
	uint64_t hits = w->young_hits, of = w->young_cleared;
	u128 numerator, denominator;

	r->unobservable = asked ? (uint64_t)((u128)size_of(r) * w->unobservable / asked) : 0;
	if (!total || !(w->missed || w->unobservable))
		return;
	if (!of) {
		of = samples;
		hits = min_u64(r->last_nr_accesses, samples);
	}
	numerator = ((u128)w->old_hits * of + ((u128)w->young_cleared + w->missed) * hits) * samples;
	denominator = (u128)of * total;
	r->nr_accesses = clamp_u32((2 * numerator + denominator) / (2 * denominator));
}

uint32_t table_end_window(struct region_table *table, uint32_t samples)
{
	uint32_t highest = 0;

	for (size_t i = 0; i < table->regions.nr; i++) {
		struct region *r = &table->regions.at[i];

		end_window(r, samples);
		if (r->nr_accesses > highest)
			highest = r->nr_accesses;
	}
	return highest;
}

static uint64_t weighted(const uint8_t *hits, const struct probe_weights *weights)
{
	uint64_t sum = 0;

	for (int p = 0; p < MAX_PROBES; p++)
		sum += (uint64_t)hits[p] * weights->of[p];
	return sum;
}

static bool by_probes(const struct probe_weights *weights)
{
	return weights->of[0] || weights->of[1] || weights->of[2] || weights->of[3];
}

static uint64_t rate(const struct region *r, const struct probe_weights *weights)
{
	return by_probes(weights) ? weighted(r->probe_hits, weights) : r->nr_accesses;
}

static uint64_t last_rate(const struct region *r, const struct probe_weights *weights)
{
	return by_probes(weights) ? weighted(r->last_probe_hits, weights) : r->last_nr_accesses;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static void count_age(struct region *r, uint64_t threshold, const struct probe_weights *weights)
{
	uint64_t now = rate(r, weights), last = last_rate(r, weights);

	if (distance(now, last) > threshold || !now != !last)
		r->age = 0;
	else if (r->age < UINT32_MAX)
		r->age++;
}

static uint32_t mean(uint32_t l, uint64_t l_size, uint32_t r, uint64_t r_size)
{
	return (uint32_t)(((u128)l * l_size + (u128)r * r_size) / (l_size + r_size));
}

static void absorb(struct region *l, const struct region *r)
{
	uint64_t ls = size_of(l), rs = size_of(r);

	l->nr_accesses = mean(l->nr_accesses, ls, r->nr_accesses, rs);
	l->age = mean(l->age, ls, r->age, rs);
	for (int p = 0; p < MAX_PROBES; p++)
		l->probe_hits[p] = (uint8_t)mean(l->probe_hits[p], ls, r->probe_hits[p], rs);
	l->unobservable += r->unobservable;
	l->end = r->end;
}

void table_merge(struct region_table *table, uint64_t threshold, uint64_t size_limit, bool ages,
		 const struct probe_weights *weights)
{
	struct region *at = table->regions.at;
	size_t out = 0;

	for (size_t t = 0; t < table->nr_targets; t++) {
		struct region_target *target = &table->targets[t];
		size_t first = out, end = target->first + target->nr;

		for (size_t i = target->first; i < end; i++) {
			struct region *l = out > first ? &at[out - 1] : NULL;

			if (ages)
				count_age(&at[i], threshold, weights);
			if (l && l->end == at[i].start &&
			    distance(rate(l, weights), rate(&at[i], weights)) <= threshold &&
			    at[i].end - l->start <= size_limit)
				absorb(l, &at[i]);
			else
				at[out++] = at[i];
		}
		target->first = first;
		target->nr = out - first;
	}
	table->regions.nr = out;
}

void table_merge_to(struct region_table *table, size_t max_nr, uint64_t threshold,
		    uint64_t size_limit, uint32_t samples, const struct probe_weights *weights)
{
	table_merge(table, threshold, size_limit, true, weights);
	while (table->regions.nr > max_nr && threshold < samples) {
		if (threshold >= samples / 2)
			threshold = samples;
		else
			threshold = threshold ? 2 * threshold : 1;
		table_merge(table, threshold, size_limit, false, weights);
	}
}

/** Split: keep the left @size bytes, return the rest; both have the same history. */
static struct region cut(struct region *l, uint64_t size)
{
	struct region r = *l;
	uint64_t left = (uint64_t)((u128)l->unobservable * size / size_of(l));

	r.start = l->start + size;
	r.unobservable -= left;
	l->unobservable = left;
	l->end = r.start;
	return r;
}

static int enforce_limit(struct region_list *next, struct region r, uint64_t limit)
{
	while (size_of(&r) > limit) {
		struct region rest = cut(&r, limit);

		if (!push(next, &r))
			return -ENOMEM;
		r = rest;
	}
	return push(next, &r) ? 0 : -ENOMEM;
}

int table_enforce_min(struct region_table *table, uint64_t min_nr, uint64_t *size_limit)
{
	struct region_list *next = &table->next;
	uint64_t unit = table->min_region;
	size_t pieces = 0;
	u128 limit = 0;

	for (size_t i = 0; i < table->regions.nr; i++)
		limit += size_of(&table->regions.at[i]);
	limit /= min_nr ? min_nr : 1;
	limit = ((limit > unit ? limit : unit) + unit - 1) / unit * unit;
	*size_limit = limit > UINT64_MAX ? UINT64_MAX / unit * unit : (uint64_t)limit;
	for (size_t i = 0; i < table->regions.nr; i++)
		pieces += (size_of(&table->regions.at[i]) - 1) / *size_limit + 1;
	if (pieces == table->regions.nr)
		return 0;
	if (reserve(next, pieces) < 0)
		return -ENOMEM;
	next->nr = 0;
	for (size_t t = 0; t < table->nr_targets; t++) {
		struct region_target *target = &table->targets[t];
		size_t first = next->nr;

		for (size_t i = 0; i < target->nr; i++)
			enforce_limit(next, table->regions.at[target->first + i], *size_limit);
		target->first = first;
		target->nr = next->nr - first;
	}
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
		r->unobservable = 0;
	}
}

/** Cut at a random tenth, aligned down; false if a side would be empty. */
static bool split_tenths(struct region *r, uint64_t unit, struct rng *rng, struct region *right)
{
	uint64_t size = size_of(r);
	uint64_t left = (uint64_t)((u128)rng_range(rng, 1, 10) * size / 10) / unit * unit;

	if (!left || left >= size)
		return false;
	*right = cut(r, left);
	return true;
}

/** Append the parts of @r; room was reserved. The left part is what is split again. */
static void split_region(struct region_list *next, struct region r, unsigned int pieces,
			 uint64_t unit, struct rng *rng)
{
	size_t at = next->nr++;

	for (unsigned int i = 1; i < pieces && size_of(&r) > 2 * unit; i++) {
		struct region right;

		if (!split_tenths(&r, unit, rng, &right))
			continue;
		memmove(next->at + at + 2, next->at + at + 1,
			(next->nr - at - 1) * sizeof(*next->at));
		next->at[at + 1] = right;
		next->nr++;
	}
	next->at[at] = r;
}

int table_split_all(struct region_table *table, unsigned int pieces, struct rng *rng)
{
	struct region_list *next = &table->next;

	if (pieces < 1 || reserve(next, table->regions.nr * pieces) < 0)
		return pieces < 1 ? -EINVAL : -ENOMEM;
	next->nr = 0;
	for (size_t t = 0; t < table->nr_targets; t++) {
		struct region_target *target = &table->targets[t];
		size_t first = next->nr;

		for (size_t i = 0; i < target->nr; i++)
			split_region(next, table->regions.at[target->first + i], pieces,
				     table->min_region, rng);
		target->first = first;
		target->nr = next->nr - first;
	}
	swap_lists(table);
	return 0;
}

int table_split_every(struct region_table *table, size_t step, struct rng *rng)
{
	struct region_list *next = &table->next;
	size_t offset, index = 0;

	if (!step || reserve(next, 2 * table->regions.nr) < 0)
		return step ? -ENOMEM : -EINVAL;
	offset = table->rotation++ % step;
	next->nr = 0;
	for (size_t t = 0; t < table->nr_targets; t++) {
		struct region_target *target = &table->targets[t];
		size_t first = next->nr;

		for (size_t i = 0; i < target->nr; i++, index++) {
			struct region *r = push(next, &table->regions.at[target->first + i]);
			struct region right;

			if (index % step == offset && size_of(r) >= 2 * table->min_region &&
			    split_tenths(r, table->min_region, rng, &right))
				push(next, &right);
		}
		target->first = first;
		target->nr = next->nr - first;
	}
	swap_lists(table);
	return 0;
}

int table_split(struct region_table *table, size_t max_nr, struct rng *rng)
{
	size_t nr = table->regions.nr, previous = table->previous_nr;

	table->previous_nr = nr;
	if (nr >= max_nr)
		return 0;
	if (nr > max_nr / 2)
		return table_split_every(table, max_nr / (max_nr - nr), rng);
	return table_split_all(table, previous == nr && nr < max_nr / 3 ? 3 : 2, rng);
}

static uint32_t convert(uint32_t count, uint32_t from, uint32_t to)
{
	return clamp_u32(mult_frac(count, 10000, from) * to / 10000);
}

void table_rescale(struct region_table *table, struct region_intervals from,
		   struct region_intervals to, bool aggregating)
{
	for (size_t i = 0; i < table->regions.nr; i++) {
		struct region *r = &table->regions.at[i];

		r->last_nr_accesses = convert(r->last_nr_accesses, from.samples, to.samples);
		if (aggregating) {
			r->nr_accesses = 0;
			r->window = (struct region_window){0};
		} else {
			r->nr_accesses = convert(r->nr_accesses, from.samples, to.samples);
		}
		r->age = clamp_u32((u128)r->age * from.aggr_us / (to.aggr_us ? to.aggr_us : 1));
	}
}

uint64_t region_mvsum(const struct region *r, uint32_t left_bp)
{
	if (left_bp == 10000)
		return r->last_nr_accesses;
	return r->nr_accesses + (uint64_t)mult_frac(r->last_nr_accesses, left_bp, 10000);
}
