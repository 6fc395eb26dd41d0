// SPDX-License-Identifier: Apache-2.0
// The end of a window: counters, ageing, merging, the minimum count.
#include "access/access.h"
#include "table/regions_inner.h"

void region_count(struct region *r, uint8_t result)
{
	bool hit = false, young = result & CHECK_WAS_YOUNG;

	switch (result & ~CHECK_WAS_YOUNG) {
	case CHECK_MISSED:
	case CHECK_RESTING:
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

void region_move(struct region *r, uint32_t samples, bool accessed)
{
	uint32_t gone = r->last_nr_accesses * UINT32_C(10000) / samples;

	r->moving_bp += (accessed ? 10000 : 0) - gone;
}

static void end_window(struct region *r, uint32_t samples)
{
	const struct region_window *w = &r->window;
	uint64_t total = (uint64_t)w->old + w->young_cleared + w->missed;
	uint64_t asked = total + w->unobservable;
	uint64_t hits = w->young_hits, of = w->young_cleared;
	u128 numerator, denominator;

	if (asked) {
		uint64_t unseen = (uint64_t)((u128)size_of(r) * w->unobservable / asked);

		if (w->old || w->young_cleared || unseen > r->unobservable)
			r->unobservable = unseen;
	}
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
		set_moving_sum(r, r->nr_accesses);
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

static bool taught_nothing(const struct region_window *w)
{
	return w->missed && !w->old && !w->young_cleared && !w->unobservable;
}

static void count_age(struct region *r, uint64_t threshold, const struct probe_weights *weights,
		      bool resets_at_zero)
{
	uint64_t now = rate(r, weights), last = last_rate(r, weights);

	if (taught_nothing(&r->window)) {
		r->waits += r->waits < UINT32_MAX;
		return;
	}
	if (distance(now, last) > threshold || (resets_at_zero && !now != !last))
		r->age = 0;
	else
		r->age = clamp_u32((u128)r->age + r->waits + 1);
	r->waits = 0;
}

static uint32_t mean(uint32_t l, uint64_t l_size, uint32_t r, uint64_t r_size)
{
	return (uint32_t)(((u128)l * l_size + (u128)r * r_size) / (l_size + r_size));
}

void region_absorb(struct region *l, const struct region *r)
{
	uint64_t ls = size_of(l), rs = size_of(r);

	l->nr_accesses = mean(l->nr_accesses, ls, r->nr_accesses, rs);
	l->age = mean(l->age, ls, r->age, rs);
	l->waits = l->waits < r->waits ? l->waits : r->waits;
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
				count_age(&at[i], threshold, weights,
					  table->rules.age_resets_at_zero);
			if (l && l->end == at[i].start &&
			    distance(rate(l, weights), rate(&at[i], weights)) <= threshold &&
			    at[i].end - l->start <= size_limit) {
				region_absorb(l, &at[i]);
				set_moving_sum(l, l->nr_accesses);
			} else {
				at[out++] = at[i];
			}
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
	if (!table->rules.enforces_min_regions)
		return 0;
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
