// SPDX-License-Identifier: Apache-2.0
// Choosing: pure arithmetic over what survey.c found.
#include "survey/survey.h"
#include "sys/page.h"

/** A folio as far as it lies here: pages that belong together, with the facts of all of them. */
struct unit {
	uint64_t start, size, cgroup;
	uint16_t facts;
};

/** The unit that begins with page @i. */
static struct unit unit_at(const struct survey *survey, size_t i)
{
	struct unit unit = {survey->start + i * PAGE, PAGE, survey->cgroups[i], survey->facts[i]};

	for (size_t k = i + 1; k < survey->nr && survey->facts[k] & PAGE_JOINED; k++) {
		unit.facts |= survey->facts[k];
		unit.size += PAGE;
	}
	unit.facts &= ~PAGE_JOINED;
	return unit;
}

static bool is_inside(const struct survey_wish *wish, uint64_t start, uint64_t size)
{
	uint64_t middle = start + size / 2;

	if (wish->strict)
		return start >= wish->from && start + size <= wish->to;
	return middle >= wish->from && middle < wish->to;
}

static bool test(const struct survey_rule *rule, const struct unit *unit)
{
	switch (rule->test) {
	case TEST_FACT:
		return unit->facts & rule->low;
	case TEST_SIZE:
		return unit->size >= rule->low && unit->size <= rule->high;
	case TEST_CGROUP:
		return unit->cgroup == rule->low;
	case TEST_ABSENT:
		return !(unit->facts & (PAGE_PRESENT | PAGE_SWAPPED));
	}
	return false;
}

static bool rules_allow(const struct survey_wish *wish, const struct unit *unit)
{
	for (size_t i = 0; i < wish->nr_rules; i++)
		if (test(&wish->rules[i], unit) == (wish->rules[i].matching != 0))
			return wish->rules[i].allow;
	return !wish->reject_rest;
}

static bool has_facts(const struct survey_wish *wish, uint16_t facts)
{
	return (facts & wish->need) == wish->need && !(facts & wish->avoid);
}

size_t survey_pick(const struct survey *survey, const struct survey_wish *wish,
		   struct survey_run *runs, uint64_t *passed)
{
	size_t nr = 0;

	*passed = 0;
	for (size_t i = 0; i < survey->nr;) {
		struct unit unit = unit_at(survey, i);
		bool chosen = has_facts(wish, unit.facts);

		i += unit.size / PAGE;
		if (!is_inside(wish, unit.start, unit.size) || !(chosen || unit.facts & PAGE_PRESENT) ||
		    !rules_allow(wish, &unit))
			continue;
		*passed += wish->nr_rules ? unit.size : 0;
		if (!chosen)
			continue;
		struct survey_run *last = nr ? &runs[nr - 1] : NULL;

		if (last && last->start + last->size == unit.start &&
		    (!wish->max_run || last->size + unit.size <= wish->max_run))
			last->size += unit.size;
		else
			runs[nr++] = (struct survey_run){unit.start, unit.size};
	}
	return nr;
}

/** Whether the block whose first page is @first may be chosen; @passes: by the rules. */
static bool block_chosen(const struct survey *survey, const struct survey_wish *wish, size_t first,
			 bool *passes)
{
	size_t end = first + BLOCK_PAGES, present = 0;
	bool needed = !wish->need;
	// A folio that lies across the border of a block.
	bool avoided = survey->facts[first] & PAGE_JOINED ||
		       (end < survey->nr && survey->facts[end] & PAGE_JOINED);

	*passes = true;
	for (size_t i = first; i < end;) {
		struct unit unit = unit_at(survey, i);

		i += unit.size / PAGE;
		present += unit.facts & PAGE_PRESENT && !(unit.facts & PAGE_ZERO) ? unit.size / PAGE : 0;
		needed |= (unit.facts & wish->need) == wish->need;
		avoided |= (unit.facts & wish->avoid) != 0;
		if (unit.facts & PAGE_PRESENT && !rules_allow(wish, &unit))
			*passes = false;
	}
	return needed && !avoided && present >= wish->min_present && *passes;
}

size_t survey_blocks(const struct survey *survey, const struct survey_wish *wish,
		     struct survey_run *runs, uint64_t *passed)
{
	size_t first = (BLOCK_PAGES - survey->start / PAGE % BLOCK_PAGES) % BLOCK_PAGES, nr = 0;

	*passed = 0;
	for (; first + BLOCK_PAGES <= survey->nr; first += BLOCK_PAGES) {
		uint64_t start = survey->start + first * PAGE;
		bool passes, chosen;

		if (!is_inside(wish, start, BLOCK))
			continue;
		chosen = block_chosen(survey, wish, first, &passes);
		*passed += wish->nr_rules && passes ? BLOCK : 0;
		if (chosen)
			runs[nr++] = (struct survey_run){start, BLOCK};
	}
	return nr;
}

uint64_t survey_count(const struct survey *survey, const struct survey_run *runs, size_t nr,
		      uint16_t need, uint16_t avoid)
{
	uint64_t bytes = 0, end = survey->start + survey->nr * PAGE;

	for (size_t r = 0; r < nr; r++) {
		uint64_t from = runs[r].start > survey->start ? runs[r].start : survey->start;
		uint64_t to = runs[r].start + runs[r].size < end ? runs[r].start + runs[r].size : end;

		for (uint64_t addr = from; addr < to; addr += PAGE) {
			uint16_t facts = survey->facts[(addr - survey->start) / PAGE];

			bytes += (facts & need) == need && !(facts & avoid) ? PAGE : 0;
		}
	}
	return bytes;
}
