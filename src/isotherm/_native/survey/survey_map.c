// SPDX-License-Identifier: Apache-2.0
// What a map of pages adds to a survey: bits that others cleared, and for how long pages were idle.
#include "map/recall.h"
#include "survey/survey.h"
#include "sys/clock.h"
#include "sys/page.h"

void survey_recall(struct survey *survey, size_t target, uint64_t now_ns)
{
	uint64_t hastened = UINT64_MAX;

	for (size_t i = 0; i < survey->nr; i++) {
		uint64_t addr = survey->start + i * PAGE;
		uint16_t *facts = &survey->facts[i];
		enum recalled what = RECALL_IDLE;

		if (!(*facts & PAGE_PRESENT))
			continue;
		if (survey->map)
			what = page_map_recall(survey->map, target, addr, survey->idle_ns, now_ns);
		if (*facts & PAGE_YOUNG || what == RECALL_USED)
			*facts |= PAGE_USED;
		else if (what == RECALL_EARLY)
			*facts |= PAGE_EARLY;
		if (survey->map && *facts & (PAGE_USED | PAGE_EARLY) && addr / BLOCK != hastened) {
			hastened = addr / BLOCK;
			page_map_hasten(survey->map, target, addr, now_ns);
		}
	}
}

void survey_tell(struct survey *survey, size_t target, const struct survey_run *runs, size_t nr)
{
	uint64_t now = monotonic_ns(), end = survey->start + survey->nr * PAGE;

	for (size_t r = 0; survey->map && r < nr; r++) {
		uint64_t from = runs[r].start > survey->start ? runs[r].start : survey->start;
		uint64_t to = runs[r].start + runs[r].size < end ? runs[r].start + runs[r].size : end;

		for (uint64_t addr = from; addr < to; addr += PAGE)
			if (survey->facts[(addr - survey->start) / PAGE] & PAGE_YOUNG)
				page_map_seen(survey->map, target, addr, addr + PAGE, now);
	}
}

size_t survey_may_be_idle(const struct survey *survey, size_t target, uint64_t start, uint64_t end,
			  struct survey_run *runs, bool *early)
{
	uint64_t now = monotonic_ns();
	size_t nr = 0;

	for (uint64_t from = start, to; from < end; from = to) {
		to = (from / BLOCK + 1) * BLOCK < end ? (from / BLOCK + 1) * BLOCK : end;
		if (!survey->map || !page_map_may_be_idle(survey->map, target, from, survey->idle_ns, now, early))
			continue;
		if (nr && runs[nr - 1].start + runs[nr - 1].size == from)
			runs[nr - 1].size += to - from;
		else
			runs[nr++] = (struct survey_run){from, to - from};
	}
	return nr;
}
