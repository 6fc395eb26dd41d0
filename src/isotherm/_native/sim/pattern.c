// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include "sim/pattern.h"

#define SECOND 1e9

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9E3779B97F4A7C15);
	x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
	return x ^ x >> 31;
}

bool sim_pattern_is_good(const struct sim_pattern *p)
{
	bool steady = p->rate == p->rate_end;

	return p->first < p->last && p->last < UINT64_C(1) << 44 && p->from_ns < p->until_ns &&
	       p->until_ns <= UINT64_C(1) << 62 && p->on_ns <= p->period_ns &&
	       p->rate >= 0 && p->rate_end >= 0 && p->rate <= 1e9 && p->rate_end <= 1e9 &&
	       (p->rate > 0 || p->rate_end > 0) && p->unit && p->group && p->group <= 65536 &&
	       p->levels >= 1 && p->levels <= 40 && (p->group > 1 || p->levels == 1) &&
	       p->gain > 0 && pow(p->gain, p->levels) * p->rate <= 1e9 && p->kind < NR_SIM_KINDS &&
	       (p->kind == SIM_RANDOM || (p->levels == 1 && steady)) &&
	       (steady || !p->period_ns);
}

double sim_uses(const struct sim_pattern *p, uint64_t ns)
{
	double active, length;
	uint64_t since;

	if (ns <= p->from_ns)
		return 0;
	since = (ns < p->until_ns ? ns : p->until_ns) - p->from_ns;
	active = (double)since;
	if (p->period_ns) {
		uint64_t rest = since % p->period_ns;

		active = (double)(since / p->period_ns) * (double)p->on_ns +
			 (double)(rest < p->on_ns ? rest : p->on_ns);
	}
	active /= SECOND;
	if (p->rate == p->rate_end)
		return p->rate * active;
	length = (double)(p->until_ns - p->from_ns) / SECOND;
	return p->rate * active + (p->rate_end - p->rate) * active * active / (2 * length);
}

/** Which of the @group members of a group is chosen. */
static uint64_t choice(const struct sim_pattern *p, unsigned int level, uint64_t group)
{
	return p->regular ? 0 : mix(p->seed ^ mix(group * 64 + level)) % p->group;
}

/** How many of the first @units units are of @level or above. */
static uint64_t chosen_units(const struct sim_pattern *p, uint64_t units, unsigned int level)
{
	uint64_t size = 1, at;

	for (unsigned int i = 0; i < level && size <= units; i++)
		size *= p->group;
	uint64_t whole = units / size;

	// Which unit of the group that is cut is the chosen one: from the top down.
	at = whole;
	for (unsigned int i = level; i > 0 && at <= units; i--)
		at = at * p->group + choice(p, i, at);
	return whole + (at < units);
}

static bool is_chosen(const struct sim_pattern *p, uint64_t unit, unsigned int level)
{
	for (unsigned int i = 1; i <= level; i++, unit /= p->group)
		if (unit % p->group != choice(p, i, unit / p->group))
			return false;
	return true;
}

/** Likewise pages, of the first @pages. */
static uint64_t chosen_pages(const struct sim_pattern *p, uint64_t pages, unsigned int level)
{
	uint64_t units = pages / p->unit, rest = pages % p->unit;

	return chosen_units(p, units, level) * p->unit + (rest && is_chosen(p, units, level) ? rest : 0);
}

uint64_t sim_chosen(const struct sim_pattern *p, uint64_t first, uint64_t last, unsigned int level)
{
	first = first > p->first ? first : p->first;
	last = last < p->last ? last : p->last;
	if (first >= last)
		return 0;
	if (p->group == 1)
		return level <= 1 ? last - first : 0;
	return chosen_pages(p, last - p->first, level) - chosen_pages(p, first - p->first, level);
}

unsigned int sim_level(const struct sim_pattern *p, uint64_t page)
{
	uint64_t unit = (page - p->first) / p->unit;
	unsigned int level = 0;

	if (p->group == 1)
		return 1;
	while (level < p->levels && unit % p->group == choice(p, level + 1, unit / p->group)) {
		unit /= p->group;
		level++;
	}
	return level;
}

double sim_weight(const struct sim_pattern *p, unsigned int level)
{
	double weight = level ? 1 : 0;

	for (unsigned int i = 1; i < level; i++)
		weight *= p->gain;
	return weight;
}

/** Uses of all pages of [first, last) together while one of level 1 is used once. */
static double weight_of(const struct sim_pattern *p, uint64_t first, uint64_t last)
{
	double weight = 0, above = 0;

	if (last - first == 1)
		return sim_weight(p, sim_level(p, first));
	for (unsigned int level = p->levels; level; level--) {
		double chosen = (double)sim_chosen(p, first, last, level);

		weight += (chosen - above) * sim_weight(p, level);
		above = chosen;
	}
	return weight;
}

// How many uses of a Poisson process of rate 1 fall into a time of 1: by 32 random bits, cumulative.
static const uint32_t uses_in_cell[] = {
	1580030169, 3160060337, 3950075422, 4213413783, 4279248374, 4292415292, 4294609778, 4294923276,
	4294962463,
};
#define MOST_IN_CELL (sizeof(uses_in_cell) / sizeof(uses_in_cell[0]))

/** Whether a use falls into (from, to] of a cell, which is a stretch of 1 of a page's own uses. */
static bool is_in_cell(uint64_t key, uint64_t cell, double from, double to)
{
	uint64_t random = mix(key ^ mix(cell));
	uint32_t which = (uint32_t)random;
	size_t nr = 0;

	while (nr < MOST_IN_CELL && which >= uses_in_cell[nr])
		nr++;
	if (from <= 0 && to >= 1)
		return nr;
	for (size_t i = 0; i < nr; i++) {
		random = mix(random);
		double at = ((double)(random >> 11) + 1) * 0x1p-53;

		if (from < at && at <= to)
			return true;
	}
	return false;
}

/** Whether a Poisson process of rate 1 has anything in (begin, end]. */
static bool is_anything_in(uint64_t key, double begin, double end)
{
	uint64_t first = (uint64_t)begin, last = (uint64_t)end;

	// Every whole cell is empty in one case of e: two or three are looked at, however many there are.
	for (uint64_t cell = first; cell <= last; cell++)
		if (is_in_cell(key, cell, cell == first ? begin - (double)cell : 0,
			       cell == last ? end - (double)cell : 1))
			return true;
	return false;
}

/** The last page of a sweep that was used until there were so many sweeps. */
static uint64_t place_in_sweep(double sweeps, uint64_t nr)
{
	return (uint64_t)((sweeps - (double)(uint64_t)sweeps) * (double)nr);
}

/** Whether a sweep goes over a chosen page of [first, last), both relative to its beginning. */
static bool is_swept(const struct sim_pattern *p, uint64_t first, uint64_t last, double begin, double end)
{
	uint64_t nr = p->last - p->first;

	if (end - begin >= 1)
		return sim_chosen(p, p->first + first, p->first + last, 1) > 0;
	// Page i of sweep k is used when there were k + i / nr: what is counted may not fit into 64 bits.
	uint64_t start = place_in_sweep(begin, nr) + (begin > 0);
	uint64_t stop = place_in_sweep(end, nr) + 1 + ((uint64_t)end - (uint64_t)begin) * nr;

	for (uint64_t turn = 0; turn <= nr; turn += nr) {
		uint64_t a = first + turn > start ? first + turn : start;
		uint64_t b = last + turn < stop ? last + turn : stop;

		if (a < b && sim_chosen(p, p->first + a - turn, p->first + b - turn, 1))
			return true;
	}
	return false;
}

bool sim_was_used(const struct sim_pattern *p, uint64_t first, uint64_t last, double begin, double end)
{
	bool huge = last - first > 1;
	uint64_t name = huge ? first | UINT64_C(1) << 63 : first;

	first = first > p->first ? first : p->first;
	last = last < p->last ? last : p->last;
	if (first >= last || begin >= end)
		return false;
	if (p->kind == SIM_SWEEP)
		return is_swept(p, first - p->first, last - p->first, begin, end);
	double weight = weight_of(p, first, last);

	return weight > 0 && is_anything_in(mix(p->seed ^ mix(name)), begin * weight, end * weight);
}
