// SPDX-License-Identifier: Apache-2.0
// What schemes do with the table: the fast twin of core/reference/regions_schemes.py.
#include <string.h>
#include "table/regions_inner.h"

bool table_matches(const struct region_table *table, const struct region *r,
		   const struct region_limits *limits, uint32_t left_bp, bool known)
{
	uint64_t rate = table_rate(table, r, left_bp);

	return size_of(r) >= limits->min_size && size_of(r) <= limits->max_size &&
	       rate >= limits->min_accesses && rate <= limits->max_accesses &&
	       r->age >= limits->min_age && r->age <= limits->max_age &&
	       !(known && r->unobservable >= size_of(r));
}

int table_cut(struct region_table *table, size_t place, uint64_t size)
{
	struct region_list *regions = &table->regions;
	struct region rest;

	if (place >= regions->nr)
		return -ENOENT;
	if (!size || size >= size_of(&regions->at[place]))
		return -EINVAL;
	if (reserve(regions, regions->nr + 1) < 0)
		return -ENOMEM;
	rest = cut(&regions->at[place], size);
	memmove(regions->at + place + 2, regions->at + place + 1,
		(regions->nr - place - 1) * sizeof(rest));
	regions->at[place + 1] = rest;
	regions->nr++;
	for (size_t t = 0; t < table->nr_targets; t++) {
		struct region_target *target = &table->targets[t];

		if (target->first > place)
			target->first++;
		else if (place < target->first + target->nr)
			target->nr++;
	}
	return 0;
}

static bool same(const struct region *l, const struct region *r)
{
	return l->end == r->start && l->age == r->age && l->nr_accesses == r->nr_accesses &&
	       l->last_nr_accesses == r->last_nr_accesses;
}

void table_rejoin(struct region_table *table, uint64_t size_limit)
{
	struct region *at = table->regions.at;
	size_t out = 0;

	for (size_t t = 0; t < table->nr_targets; t++) {
		struct region_target *target = &table->targets[t];
		size_t first = out, end = target->first + target->nr;

		for (size_t i = target->first; i < end; i++) {
			struct region *l = out > first ? &at[out - 1] : NULL;

			if (l && same(l, &at[i]) && at[i].end - l->start < size_limit)
				region_absorb(l, &at[i]);
			else
				at[out++] = at[i];
		}
		target->first = first;
		target->nr = out - first;
	}
	table->regions.nr = out;
}
