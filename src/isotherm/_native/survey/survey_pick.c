// SPDX-License-Identifier: Apache-2.0
// Choosing: arithmetic over what survey.c found, and over contents where a rule depends on them.
#include "survey/survey.h"
#include "sys/clock.h"
#include "sys/page.h"

/** A folio as far as it lies here: pages that belong together, with the facts of all of them. */
struct unit {
	uint64_t start, size, cgroup, frame;
	uint16_t facts;
};

/** The unit that begins with page @i. */
static struct unit unit_at(const struct survey *survey, size_t i)
{
	struct unit unit = {survey->start + i * PAGE, PAGE, survey->cgroups[i], survey->frames[i],
			    survey->facts[i]};

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

enum answer { NO, YES, UNKNOWN };

/** Whether so many pages of zeros are in the bounds of a rule, in 1/1,000 of a huge page. */
static enum answer test_zeros(const struct survey_rule *rule, const struct zeros *zeros)
{
	bool least = zeros->least * 1000 >= rule->low * BLOCK_PAGES;
	bool most = zeros->most * 1000 <= rule->high * BLOCK_PAGES;

	if (zeros->most * 1000 < rule->low * BLOCK_PAGES || zeros->least * 1000 > rule->high * BLOCK_PAGES)
		return NO;
	return least && most ? YES : UNKNOWN;
}

static bool is_huge_page(const struct unit *unit)
{
	return unit->size == BLOCK && unit->start % BLOCK == 0 && unit->facts & PAGE_HUGE &&
	       !(unit->facts & (PAGE_TORN | PAGE_ZERO | PAGE_SPECIAL));
}

static enum answer test(const struct survey_rule *rule, const struct unit *unit, const struct zeros *zeros)
{
	switch (rule->test) {
	case TEST_FACT:
		return unit->facts & rule->low ? YES : NO;
	case TEST_SIZE:
		return unit->size >= rule->low && unit->size <= rule->high ? YES : NO;
	case TEST_CGROUP:
		return unit->cgroup == rule->low ? YES : NO;
	case TEST_ABSENT:
		return unit->facts & (PAGE_PRESENT | PAGE_SWAPPED) ? NO : YES;
	case TEST_UNDERUSED:
		return is_huge_page(unit) ? test_zeros(rule, zeros) : NO;
	}
	return NO;
}

/** What the rules say, from the last one to the first: that one decides which matches first. */
static enum answer judge(const struct survey_wish *wish, const struct unit *unit, const struct zeros *zeros)
{
	enum answer verdict = wish->reject_rest ? NO : YES;

	for (size_t i = wish->nr_rules; i--;) {
		const struct survey_rule *rule = &wish->rules[i];
		enum answer found = test(rule, unit, zeros), decides = rule->allow ? YES : NO;

		if (found == (rule->matching ? YES : NO))
			verdict = decides;
		else if (found == UNKNOWN && verdict != decides)
			verdict = UNKNOWN;
	}
	return verdict;
}

uint64_t survey_rules_number(const struct survey_rule *rules, size_t nr)
{
	const uint64_t *words = (const uint64_t *)rules;
	uint64_t number = 1;

	for (size_t i = 0; i < nr * sizeof(*rules) / sizeof(*words); i++)
		number = (number ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15) + (number >> 29);
	return number | 1;
}

/** What the rules say once as much was read of a huge page as they depend on. */
static enum answer judge_contents(const struct survey_wish *wish, const struct unit *unit)
{
	struct contents *contents = wish->contents;
	uint64_t now = monotonic_ns();
	struct reading reading = {.pid = wish->pid, .page = {wish->space, unit->start, unit->frame}};
	struct zeros zeros = contents_recall(contents, &reading.page, now);
	enum answer verdict = judge(wish, unit, &zeros);

	if (verdict != UNKNOWN || !contents_begin(contents, &reading, now))
		return verdict;
	while (verdict == UNKNOWN && contents_more(contents, &reading))
		verdict = judge(wish, unit, &reading.zeros);
	contents_end(contents, &reading);
	if (verdict != UNKNOWN)
		contents_keep(contents, &reading.page, reading.zeros,
			      verdict == NO ? survey_rules_number(wish->rules, wish->nr_rules) : 0, now);
	return verdict;
}

/** @look: contents may be read for it. */
static bool rules_allow(const struct survey_wish *wish, const struct unit *unit, bool look)
{
	const struct zeros any = {0, BLOCK_PAGES};
	enum answer verdict = judge(wish, unit, &any);

	if (verdict == UNKNOWN && look && wish->contents)
		verdict = judge_contents(wish, unit);
	return verdict == YES;
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
		    !rules_allow(wish, &unit, chosen))
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
	size_t end = first + BLOCK_PAGES, present = 0, least = wish->min_present;
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
		if (unit.facts & PAGE_ZERO && wish->min_dense > least)
			least = wish->min_dense;
		if (unit.facts & PAGE_PRESENT && !rules_allow(wish, &unit, false))
			*passes = false;
	}
	return needed && !avoided && present >= least && *passes;
}

size_t survey_blocks(const struct survey *survey, const struct survey_wish *wish,
		     struct survey_run *runs, uint64_t *passed)
{
	size_t first = (BLOCK_PAGES - survey->start / PAGE % BLOCK_PAGES) % BLOCK_PAGES, nr = 0;
	uint64_t now = wish->contents ? monotonic_ns() : 0;

	*passed = 0;
	for (; first + BLOCK_PAGES <= survey->nr; first += BLOCK_PAGES) {
		uint64_t start = survey->start + first * PAGE;
		bool passes, chosen;

		if (!is_inside(wish, start, BLOCK))
			continue;
		chosen = block_chosen(survey, wish, first, &passes);
		if (chosen && wish->contents)
			chosen = !contents_was_split(wish->contents, wish->space, start, now);
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
