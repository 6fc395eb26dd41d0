// SPDX-License-Identifier: Apache-2.0
// What a world really does, in figures: integrals of rates, nothing is drawn.
#include <math.h>
#include "sim/world.h"
#include "sys/page.h"

/** Frames [first, last) in an interval. */
struct stretch {
	uint64_t first, last, since_ns, until_ns;
	double hot;	// uses that make a page hot
	bool huge;
	// Gathered from the patterns.
	double base;	// uses of every page
	double unused;	// probability that a page, or a huge one, was not used
	double uses;
};

/** How probable it is that what has this many uses on average has none. */
static double none_of(const struct sim_pattern *pattern, const struct stretch *s, double uses)
{
	double pages = (double)(pattern->last - pattern->first);

	if (pattern->kind == SIM_RANDOM)
		return exp(-uses * (s->huge ? BLOCK_PAGES : 1));
	uses += s->huge ? (BLOCK_PAGES - 1) / pages : 0;
	return uses < 1 ? 1 - uses : 0;
}

/** Take a pattern that picks some of the pages. */
static void add_picked(struct stretch *s, const struct sim_pattern *pattern, double uses)
{
	double pages = (double)(s->last - s->first), above = 0, unused = 0, sum = 0;

	for (unsigned int level = pattern->levels; level; level--) {
		double chosen = (double)sim_chosen(pattern, s->first, s->last, level);
		double of_one = uses * sim_weight(pattern, level);

		unused += (chosen - above) / pages * none_of(pattern, s, of_one);
		sum += (chosen - above) * of_one;
		above = chosen;
	}
	s->uses += sum;
	// Many small units in a huge page: each has about as many uses as the others.
	if (s->huge && pattern->unit < BLOCK_PAGES)
		s->unused *= none_of(pattern, s, sum / pages);
	else
		s->unused *= unused + 1 - above / pages;
}

/** Which share of the pages is hot through a pattern that picks some. */
static double hot_share(const struct stretch *s, const struct sim_pattern *pattern, double uses)
{
	for (unsigned int level = 1; level <= pattern->levels; level++)
		if (s->base + uses * sim_weight(pattern, level) >= s->hot)
			return (double)sim_chosen(pattern, s->first, s->last, level) / (double)(s->last - s->first);
	return 0;
}

static double uses_in(const struct sim_pattern *pattern, const struct stretch *s)
{
	return sim_uses(pattern, s->until_ns) - sim_uses(pattern, s->since_ns);
}

static void add_stretch(const struct sim_world *world, const struct sim_segment *segment, struct stretch *s,
			struct sim_truth *truth)
{
	double pages = (double)(s->last - s->first), cool = 1;

	s->base = s->uses = 0;
	s->unused = 1;
	for (uint32_t i = 0; i < segment->nr; i++) {
		const struct sim_pattern *pattern = &world->patterns[world->lists[segment->at + i]];
		double uses = uses_in(pattern, s);

		if (uses <= 0)
			continue;
		if (pattern->group > 1) {
			add_picked(s, pattern, uses);
			continue;
		}
		s->base += uses;
		s->uses += uses * pages;
		s->unused *= none_of(pattern, s, uses);
	}
	for (uint32_t i = 0; i < segment->nr && s->base < s->hot; i++) {
		const struct sim_pattern *pattern = &world->patterns[world->lists[segment->at + i]];

		if (pattern->group > 1)
			cool *= 1 - hot_share(s, pattern, uses_in(pattern, s));
	}
	truth->hot += PAGE * pages * (s->base >= s->hot ? 1 : 1 - cool);
	truth->used += PAGE * pages * (1 - s->unused);
	truth->uses += s->uses;
}

static void add_area(const struct sim_world *world, const struct sim_area *area, uint64_t start, uint64_t end,
		     struct stretch *s, struct sim_truth *truth)
{
	uint64_t first, last;

	start = start > area->start ? start : area->start;
	end = end < area->end ? end : area->end;
	if (start >= end || s->until_ns < area->from_ns || s->until_ns >= area->until_ns)
		return;
	first = sim_frame(area, start);
	last = sim_frame(area, end);
	s->huge = area->huge;
	for (size_t i = sim_segment_at(world, first); i < world->nr_segments; i++) {
		const struct sim_segment *segment = &world->segments[i];

		if (segment->first >= last)
			break;
		s->first = segment->first > first ? segment->first : first;
		s->last = segment->last < last ? segment->last : last;
		add_stretch(world, segment, s, truth);
	}
}

struct sim_truth sim_truth_of(const struct sim_world *world, uint32_t process, uint64_t start, uint64_t end,
			      uint64_t since_ns, uint64_t until_ns, double hot_rate)
{
	struct stretch s = {
		.since_ns = since_ns, .until_ns = until_ns,
		// What is used at just that rate is hot, whatever became of it in the last digit.
		.hot = hot_rate * (double)(until_ns - since_ns) / 1e9 * (1 - 1e-9),
	};
	struct sim_truth truth = {0};

	for (size_t i = 0; i < world->nr_areas; i++)
		if (world->areas[i].process == process)
			add_area(world, &world->areas[i], start, end, &s, &truth);
	return truth;
}
