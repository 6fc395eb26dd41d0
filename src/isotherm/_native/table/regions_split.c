// SPDX-License-Identifier: Apache-2.0
// Random splitting.
#include <string.h>
#include "table/regions_inner.h"

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
	bool few = nr <= max_nr / 2 && nr < max_nr;

	if (few || table->rules.notes_every_count)
		table->previous_nr = nr;
	if (few)
		return table_split_all(table, previous == nr && nr < max_nr / 3 ? 3 : 2, rng);
	if (nr < max_nr && table->rules.splits_above_half)
		return table_split_every(table, max_nr / (max_nr - nr), rng);
	return 0;
}
