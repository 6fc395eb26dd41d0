// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "map/known.h"

#define SHORTEST_NS 100000000	// a map tells of no shorter time; less is told as if uses came at random
#define ALIKE 0.1		// a rate is what it was as long as it changes by no more of the possible
#define CHANCE 1.25		// samples find so much more than there is by chance

/** What all of it is told by, and what is made. */
struct telling {
	struct known_regions *told;
	const struct known_regions *before;
	const struct known_terms *terms;
};

/** A region as samples know it. */
struct sampled {
	uint64_t start, end, unobservable;
	double share;		// of samples that found an access
	uint32_t place, target, count, age;
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t in_proportion(uint64_t size, uint64_t part, uint64_t whole)
{
	return (uint64_t)((unsigned __int128)size * part / whole);
}

static bool is_blind(uint64_t size, uint64_t unobservable)
{
	return 2 * unobservable > size || !size;
}

/** Which share is used within @ns, of pages of which @share is in SHORTEST_NS. */
static double within(double share, uint64_t ns)
{
	if (ns >= SHORTEST_NS || share >= 1)
		return share < 1 ? share : 1;
	return -expm1(log1p(-share) * (double)ns / SHORTEST_NS);
}

static double share_of_part(const struct map_part *part, uint64_t ns)
{
	uint64_t seen = part->present > part->unknown ? part->present - part->unknown : 1;

	return within((double)part->soon / (double)seen, ns);
}

static int add(struct known_regions *told, const struct known_region *region)
{
	if (told->nr == told->room) {
		size_t room = told->room ? 2 * told->room : 256;
		struct known_region *at = reallocarray(told->at, room, sizeof(*at));

		if (!at)
			return -ENOMEM;
		told->at = at;
		told->room = room;
	}
	told->at[told->nr++] = *region;
	return 0;
}

/** For how many windows a rate has been what it is, by what was told of the place before. */
static uint32_t age_of(const struct telling *telling, uint32_t target, uint64_t address, uint32_t count)
{
	const struct known_regions *before = telling->before;
	size_t low = 0, high = before->nr;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct known_region *one = &before->at[middle];

		if (one->target < target || (one->target == target && one->start <= address))
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return 0;
	const struct known_region *one = &before->at[low - 1];

	if (one->target != target || address >= one->end || !one->by_map)
		return 0;
	uint32_t change = count > one->count ? count - one->count : one->count - count;

	return change <= ALIKE * telling->terms->most && !count == !one->count ? one->age + 1 : 0;
}

/** A part of a region whose rate is the map's. */
static struct known_region by_map(const struct telling *telling, const struct sampled *region,
				  const struct map_part *part)
{
	uint64_t size = part->end - part->start;
	uint32_t most_samples = telling->terms->most, count = 0;
	double share = share_of_part(part, telling->terms->soon_ns);

	if (part->used) {
		double samples = nearbyint(share * most_samples);

		count = samples < 1 ? 1 : samples > most_samples ? most_samples : (uint32_t)samples;
	}
	return (struct known_region){
		.start = part->start,
		.end = part->end,
		.unobservable = in_proportion(size, part->unknown, part->present),
		.used = least(part->used, size),
		.share = count ? share : 0,
		.place = region->place,
		.target = region->target,
		.count = count,
		.age = age_of(telling, region->target, part->start / 2 + part->end / 2, count),
		.by_map = true,
	};
}

/** A part of a region as samples know it, of the pages that are there. */
static struct known_region by_samples(const struct sampled *region, const struct map_part *part,
				      const struct map_part *whole)
{
	uint64_t size = part->end - part->start, all = region->end - region->start, hidden = region->unobservable;
	uint64_t there = most(whole->present + whole->unread, hidden);
	struct known_region told = {
		.start = part->start,
		.end = part->end,
		.used = least(part->used, size),
		.place = region->place,
		.target = region->target,
		.count = region->count,
		.age = region->age,
	};

	there = there ? there : all;
	if (is_blind(there, hidden)) {
		told.unobservable = size;
		return told;
	}
	told.unobservable = least(size, in_proportion(hidden, part->present + part->unread, there));
	if (!region->count)
		told.unobservable = most(told.unobservable, part->unread);
	uint64_t seen = least(there, all) > hidden ? least(there, all) - hidden : 1;
	double share = region->share * ((double)all - (double)hidden) / (double)seen;

	told.share = share < 1 ? share : 1;
	return told;
}

/** Tell of a region, part for part of its addresses. */
static int tell(const struct telling *telling, const struct sampled *region, const struct map_part *known, size_t nr)
{
	uint64_t size = region->end - region->start, hidden = region->unobservable;
	struct map_part whole = {.target = region->target, .start = region->start, .end = region->end};
	int err = 0;

	for (size_t i = 0; i < nr; i++) {
		whole.present += known[i].present;
		whole.unread += known[i].unread;
	}
	uint64_t there = whole.present + whole.unread;

	if (region->share * (double)(size - least(size, hidden)) > CHANCE * (double)there || (hidden && !there)) {
		// Samples saw what the map does not know yet.
		struct map_part all_there = whole;

		all_there.present = size;
		all_there.unread = 0;
		for (size_t i = 0; i < nr; i++)
			all_there.used += known[i].used;
		struct known_region told = by_samples(region, &all_there, &all_there);

		return add(telling->told, &told);
	}
	for (size_t i = 0; i < nr && !err; i++) {
		const struct map_part *part = &known[i];

		if (!part->present && !part->unread)
			continue;
		if (hidden && !part->unread && 2 * part->unknown <= part->present) {
			struct known_region told = by_map(telling, region, part);

			err = add(telling->told, &told);
		} else {
			struct known_region told = by_samples(region, part, &whole);

			// Samples are few: what the map saw used a little is not idle.
			if (told.used && !told.count && !is_blind(size, hidden))
				told.share = share_of_part(part, telling->terms->soon_ns);
			err = add(telling->told, &told);
		}
	}
	return err;
}

/** A region of which a part knows all, where nothing is hidden: as nearly all are. */
static int tell_seen(const struct telling *telling, const struct sampled *region, const struct map_part *part)
{
	uint64_t size = region->end - region->start, there = part->present ? part->present : size;
	double share = region->share * ((double)size / (double)there);

	if (!part->present && !region->count)
		return 0;
	if (part->used && !region->count)
		share = share_of_part(part, telling->terms->soon_ns);
	return add(telling->told, &(struct known_region){
		.start = region->start,
		.end = region->end,
		.used = part->used,
		.share = share < 1 ? share : 1,
		.place = region->place,
		.target = region->target,
		.count = region->count,
		.age = region->age,
	});
}

/** [low, high) of a part, in proportion. */
static struct map_part cut(const struct map_part *part, uint64_t low, uint64_t high)
{
	uint64_t size = part->end - part->start, left = high - low;

	if (left == size)
		return *part;
	return (struct map_part){
		.target = part->target,
		.start = low,
		.end = high,
		.present = in_proportion(part->present, left, size),
		.unread = in_proportion(part->unread, left, size),
		.unknown = in_proportion(part->unknown, left, size),
		.soon = in_proportion(part->soon, left, size),
		.used = in_proportion(part->used, left, size),
	};
}

static int add_unread(struct map_parts *parts, uint64_t target, uint64_t start, uint64_t end)
{
	struct map_part unread = {.target = target, .start = start, .end = end, .unread = end - start};

	return map_parts_push(parts, &unread);
}

/** What is known of the addresses of a region, by parts of others; of some nobody asked. */
static int inside(struct map_parts *found, const struct sampled *region, const struct map_part *part,
		  const struct map_part *end)
{
	uint64_t address = region->start;
	int err = 0;

	found->nr = 0;
	for (; part < end && part->target == region->target && part->start < region->end && !err; part++) {
		uint64_t low = most(part->start, region->start), high = least(part->end, region->end);

		if (part->start > address)
			err = add_unread(found, region->target, address, part->start);
		if (low >= high)
			continue;
		struct map_part piece = cut(part, low, high);

		err = err ? err : map_parts_push(found, &piece);
		address = high;
	}
	if (!err && address < region->end)
		err = add_unread(found, region->target, address, region->end);
	return err;
}

static bool is_before(const struct map_part *part, const struct sampled *region)
{
	return part->target < region->target || (part->target == region->target && part->end <= region->start);
}

int known_regions_tell(struct known_regions *told, const struct known_columns *columns, const struct map_part *parts,
		       size_t nr_parts, const struct known_regions *before, const struct known_terms *terms)
{
	const struct telling telling = {told, before, terms};
	const struct map_part *at = parts, *end = parts + nr_parts;
	struct map_parts found = {0};
	int err = 0;

	for (size_t i = 0; i < columns->nr && !err; i++) {
		struct sampled region = {
			.start = columns->start[i],
			.end = columns->end[i],
			.unobservable = columns->unobservable[i],
			.share = (double)columns->count[i] / terms->most,
			.place = (uint32_t)i,
			.target = columns->target[i],
			.count = columns->count[i],
			.age = columns->age[i],
		};

		if (at < end && at->target == region.target && at->start == region.start && at->end == region.end) {
			if (region.unobservable || at->unread)
				err = tell(&telling, &region, at, 1);
			else
				err = tell_seen(&telling, &region, at);
			at++;
			continue;
		}
		while (at < end && is_before(at, &region))
			at++;
		err = inside(&found, &region, at, end);
		if (!err)
			err = tell(&telling, &region, found.at, found.nr);
	}
	free(found.at);
	return err;
}
