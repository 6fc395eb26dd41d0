// SPDX-License-Identifier: Apache-2.0
// Where huge pages are, without a look at their small pages.
#include <errno.h>
#include "survey/survey.h"
#include "sys/clock.h"
#include "sys/huge_scan.h"
#include "sys/page.h"

#define BATCH 64

bool survey_knows_huge(const struct survey *survey)
{
	return survey->walker || survey->scans;
}

int survey_mark_huge(struct survey *survey, int pagemap_fd)
{
	uint64_t at = survey->start, end = survey->start + survey->nr * PAGE;
	struct huge_range ranges[HUGE_SCAN_RANGES];

	while (survey->scans && at < end) {
		int nr = huge_scan(pagemap_fd, &at, end, ranges);

		if (nr < 0)
			return nr;
		for (int r = 0; r < nr; r++)
			for (uint64_t page = ranges[r].start; page < ranges[r].end; page += PAGE)
				if (survey->facts[(page - survey->start) / PAGE] & PAGE_PRESENT)
					survey->facts[(page - survey->start) / PAGE] |= PAGE_HUGE;
	}
	return 0;
}

/** The first frame of each of @nr blocks from @start, 0 of those that are no huge page. */
static int frames_by_walker(struct survey *survey, size_t target, uint64_t start, size_t nr,
			    uint64_t *frames)
{
	const uint64_t (*entries)[WALKER_CLUMP];
	uint64_t addrs[BATCH], pmds[BATCH];
	size_t most = walker_facts(survey->walker)->max_clumps;

	for (size_t done = 0, n; done < nr; done += n) {
		n = nr - done < most ? nr - done : most;
		for (size_t i = 0; i < n; i++)
			addrs[i] = start + (done + i) * BLOCK;
		int err = walker_view_clumps(survey->walker, target, addrs, n, &entries, pmds);

		if (err)
			return err;
		for (size_t i = 0; i < n; i++) {
			struct leaf leaf = {0};

			if (pmds[i] && !walker_is_table(survey->walker, pmds[i]))
				leaf = walker_decode(survey->walker, pmds[i], 1, addrs[i]);
			frames[done + i] = leaf.state == LEAF_PRESENT ? leaf.pfn : 0;
		}
	}
	return 0;
}

/** Likewise, by the kernel, which tells of no frames here: 1 stands for any. */
static int frames_by_scan(int pagemap_fd, uint64_t start, size_t nr, uint64_t *frames)
{
	struct huge_range ranges[HUGE_SCAN_RANGES];
	uint64_t at = start, end = start + nr * BLOCK;

	for (size_t i = 0; i < nr; i++)
		frames[i] = 0;
	while (at < end) {
		int found = huge_scan(pagemap_fd, &at, end, ranges);

		if (found < 0)
			return found;
		for (int r = 0; r < found; r++)
			for (uint64_t block = ranges[r].start; block < ranges[r].end; block += BLOCK)
				frames[(block - start) / BLOCK] = 1;
	}
	return 0;
}

ssize_t survey_find_huge(struct survey *survey, int pagemap_fd, size_t target, uint64_t space,
			 uint64_t start, uint64_t end, uint64_t rules, struct survey_run *runs)
{
	uint64_t now = monotonic_ns(), frames[BATCH];
	size_t nr = 0, nr_targets = 0;

	if (survey->walker)
		walker_targets(survey->walker, &nr_targets);
	if (survey->walker && target >= nr_targets)
		return -EINVAL;
	start = (start + BLOCK - 1) & ~(BLOCK - 1);
	for (size_t n; start + BLOCK <= end; start += n * BLOCK) {
		n = (end - start) / BLOCK < BATCH ? (end - start) / BLOCK : BATCH;
		int err = survey->walker ? frames_by_walker(survey, target, start, n, frames)
					 : frames_by_scan(pagemap_fd, start, n, frames);

		if (err)
			return err;
		for (size_t i = 0; i < n; i++) {
			struct huge_page page = {space, start + i * BLOCK, survey->walker ? frames[i] : 0};

			if (!frames[i])
				contents_forget(&survey->contents, space, page.block);
			if (!frames[i] || contents_refused(&survey->contents, &page, rules, now))
				continue;
			if (nr && runs[nr - 1].start + runs[nr - 1].size == page.block)
				runs[nr - 1].size += BLOCK;
			else
				runs[nr++] = (struct survey_run){page.block, BLOCK};
		}
	}
	return nr;
}
