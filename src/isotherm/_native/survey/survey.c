// SPDX-License-Identifier: Apache-2.0
// Looking: what is known of each page.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "survey/survey.h"
#include "sys/clock.h"
#include "sys/huge_scan.h"
#include "sys/page.h"

// Documentation/admin-guide/mm/pagemap.rst
#define PM_FRAME ((1ULL << 55) - 1)
#define PM_EXCLUSIVE (1ULL << 56)
#define PM_FILE (1ULL << 61)
#define PM_SWAPPED (1ULL << 62)
#define PM_PRESENT (1ULL << 63)
// linux/kernel-page-flags.h
#define KPF_REFERENCED (1ULL << 2)
#define KPF_DIRTY (1ULL << 4)
#define KPF_ACTIVE (1ULL << 6)
#define KPF_WRITEBACK (1ULL << 8)
#define KPF_ANON (1ULL << 12)
#define KPF_SWAPBACKED (1ULL << 14)
#define KPF_HEAD (1ULL << 15)
#define KPF_TAIL (1ULL << 16)
#define KPF_HUGE (1ULL << 17)
#define KPF_UNEVICTABLE (1ULL << 18)
#define KPF_HWPOISON (1ULL << 19)
#define KPF_NOPAGE (1ULL << 20)
#define KPF_OFFLINE (1ULL << 23)
#define KPF_ZERO (1ULL << 24)
#define KPF_RESERVED (1ULL << 32)
#define KPF_MLOCKED (1ULL << 33)

void survey_init(struct survey *survey, struct walker *walker)
{
	*survey = (struct survey){.walker = walker};
	survey->flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	survey->cgroup_fd = open("/proc/kpagecgroup", O_RDONLY | O_CLOEXEC);
	thp_open(&survey->thp);
	survey->scans = huge_scan_works();
}

void survey_deinit(struct survey *survey)
{
	if (survey->flags_fd >= 0)
		close(survey->flags_fd);
	if (survey->cgroup_fd >= 0)
		close(survey->cgroup_fd);
	thp_close(&survey->thp);
	contents_deinit(&survey->contents);
	free(survey->facts);
	free(survey->frames);
	free(survey->words);
	free(survey->cgroups);
}

/** Enlarge *@array to @nr elements; its content is lost. */
static bool renew(void *array, size_t nr, size_t size)
{
	void *fresh = malloc(nr * size), **at = array;

	if (!fresh)
		return false;
	free(*at);
	*at = fresh;
	return true;
}

int survey_reset(struct survey *survey, uint64_t start, size_t nr)
{
	survey->nr = 0;
	if (nr > survey->capacity) {
		survey->capacity = 0;
		if (!renew(&survey->facts, nr, sizeof(*survey->facts)) ||
		    !renew(&survey->frames, nr, sizeof(*survey->frames)) ||
		    !renew(&survey->words, nr + 1, sizeof(*survey->words)) ||
		    !renew(&survey->cgroups, nr, sizeof(*survey->cgroups)))
			return -ENOMEM;
		survey->capacity = nr;
	}
	survey->start = start;
	survey->nr = nr;
	if (nr) {
		memset(survey->facts, 0, nr * sizeof(*survey->facts));
		memset(survey->frames, 0, nr * sizeof(*survey->frames));
		memset(survey->cgroups, 0, nr * sizeof(*survey->cgroups));
	}
	return 0;
}

static bool read_words(int fd, uint64_t first, uint64_t *words, size_t nr)
{
	return pread(fd, words, nr * sizeof(*words), first * sizeof(*words)) ==
	       (ssize_t)(nr * sizeof(*words));
}

/** What the entries of a page say, into its facts and frame. */
static void take_entry(struct survey *survey, size_t i, const struct leaf *leaf)
{
	if (leaf->state == LEAF_PRESENT) {
		survey->frames[i] = leaf->pfn;
		survey->facts[i] = PAGE_PRESENT | (leaf->young ? PAGE_YOUNG : 0) |
				   (leaf->level == 1 ? PAGE_HUGE : 0) |
				   (leaf->level > 1 ? PAGE_SPECIAL : 0);
	} else if (leaf->state == LEAF_SWAPPED) {
		survey->facts[i] = PAGE_SWAPPED | PAGE_ANON;
	}
}

/** The part of the 2 MiB at @base that is surveyed, from its level-2 entry or the table below it. */
static void take_table(struct survey *survey, uint64_t base, uint64_t pmd, const uint64_t *table)
{
	uint64_t end = survey->start + survey->nr * PAGE;
	uint64_t from = base > survey->start ? base : survey->start;
	uint64_t to = base + BLOCK < end ? base + BLOCK : end;
	bool is_table = walker_is_table(survey->walker, pmd);

	for (uint64_t addr = from; pmd && addr < to; addr += PAGE) {
		uint64_t entry = is_table ? table[(addr - base) / PAGE] : pmd;

		if (entry) {
			struct leaf leaf = walker_decode(survey->walker, entry, !is_table, addr);

			take_entry(survey, (addr - survey->start) / PAGE, &leaf);
		}
	}
}

static int read_tables(struct survey *survey, size_t target)
{
	uint64_t end = survey->start + survey->nr * PAGE, base = survey->start & ~(BLOCK - 1);
	size_t most = walker_facts(survey->walker)->max_tables;

	while (base < end) {
		const uint64_t (*tables)[512];
		uint64_t *pmds;
		size_t nr = (end - base + BLOCK - 1) / BLOCK;
		int err;

		nr = nr < most ? nr : most;
		err = walker_view_tables(survey->walker, target, base, nr, &tables, &pmds);
		if (err)
			return err;
		for (size_t i = 0; i < nr; i++, base += BLOCK)
			take_table(survey, base, pmds[i], tables[i]);
	}
	return 0;
}

/** What pagemap says of a page, and tables said a moment before: of a page that changed nothing is known. */
static void take_word(struct survey *survey, size_t i, uint64_t word)
{
	uint16_t facts = word & PM_PRESENT ? PAGE_PRESENT : word & PM_SWAPPED ? PAGE_SWAPPED : 0;
	uint16_t before = survey->facts[i];
	uint64_t frame = word & PM_FRAME;

	if (facts && !(word & PM_FILE))
		facts |= PAGE_ANON;
	if (!(facts & PAGE_PRESENT)) {
		survey->facts[i] = facts;
		survey->frames[i] = 0;
		return;
	}
	if (!(word & PM_EXCLUSIVE))
		facts |= PAGE_SHARED;
	if (!survey->walker) {
		survey->frames[i] = frame;
	} else if (before & PAGE_PRESENT && (!frame || frame == survey->frames[i])) {
		facts |= before;
	} else {
		facts |= PAGE_TORN;
		survey->frames[i] = 0;
	}
	survey->facts[i] = facts;
}

/** A short answer means that the memory is gone: all of it at once, by exit or exec. */
static int read_pagemap(struct survey *survey, int fd, size_t first, size_t nr)
{
	size_t size = nr * sizeof(*survey->words), done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (uint8_t *)survey->words + done, size - done,
				  (survey->start / PAGE + first) * sizeof(*survey->words) + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ESRCH;
		done += n;
	}
	for (size_t i = 0; i < nr; i++)
		take_word(survey, first + i, survey->words[i]);
	return 0;
}

static bool any_present(const struct survey *survey, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++)
		if (survey->facts[i] & PAGE_PRESENT)
			return true;
	return false;
}

/** Where tables show no page there is nothing to ask; one word at least, to know that the memory lives. */
static int read_sharing(struct survey *survey, int fd)
{
	int err = survey->walker && survey->nr ? read_pagemap(survey, fd, 0, 1) : 0;

	for (size_t first = 0, end; first < survey->nr && !err; first = end) {
		end = first + BLOCK_PAGES - (survey->start / PAGE + first) % BLOCK_PAGES;
		end = end < survey->nr ? end : survey->nr;
		if (!survey->walker || any_present(survey, first, end))
			err = read_pagemap(survey, fd, first, end - first);
	}
	return err;
}

/**
 * Nothing of KPF_KSM: Linux 6.12 sets it for every anonymous page. What KSM merged is mapped more than
 * once, which pagemap tells.
 */
static uint16_t facts_of(uint64_t flags)
{
	return (flags & KPF_ACTIVE ? PAGE_ACTIVE : 0) | (flags & KPF_REFERENCED ? PAGE_REFERENCED : 0) |
	       (flags & (KPF_UNEVICTABLE | KPF_MLOCKED) ? PAGE_LOCKED : 0) |
	       (flags & (KPF_DIRTY | KPF_WRITEBACK | KPF_SWAPBACKED) && !(flags & KPF_ANON) ? PAGE_DIRTY : 0) |
	       (flags & KPF_ZERO ? PAGE_ZERO : 0) |
	       (flags & (KPF_HUGE | KPF_HWPOISON | KPF_NOPAGE | KPF_OFFLINE) ? PAGE_SPECIAL : 0) |
	       (flags & KPF_RESERVED && !(flags & KPF_ZERO) ? PAGE_SPECIAL : 0);
}

/**
 * Frames of pages [i, i + nr) follow each other, their flags stand at @flags, and behind them that of
 * the next frame: every folio shows where it begins and ends.
 */
static void join_run(struct survey *survey, size_t i, size_t nr, const uint64_t *flags)
{
	for (size_t k = 0, pages; k < nr; k += pages) {
		bool whole = true;

		pages = 1;
		if (flags[k] & KPF_HEAD) {
			while (k + pages < nr && flags[k + pages] & KPF_TAIL)
				pages++;
			// Across the border of a page table the kernel sees a part, and would split it.
			whole = !(flags[k + pages] & KPF_TAIL) &&
				(survey->start / PAGE + i + k) % BLOCK_PAGES + pages <= BLOCK_PAGES;
		} else if (flags[k] & KPF_TAIL) {
			whole = false;
		}
		for (size_t p = 0; p < pages; p++) {
			uint16_t *facts = &survey->facts[i + k + p];

			*facts |= facts_of(flags[k + p]) | (whole ? p ? PAGE_JOINED : 0 : PAGE_TORN);
			if (*facts & PAGE_ZERO)	// everybody's, but nobody's to lose
				*facts &= ~PAGE_SHARED;
		}
	}
}

/** Whether a whole huge page, of one entry, begins with page @i. */
static bool is_huge_page(const struct survey *survey, size_t i)
{
	if ((survey->start / PAGE + i) % BLOCK_PAGES || i + BLOCK_PAGES > survey->nr)
		return false;
	for (size_t k = 0; k < BLOCK_PAGES; k++)
		if (!(survey->facts[i + k] & PAGE_HUGE) || !survey->frames[i] ||
		    survey->frames[i + k] != survey->frames[i] + k)
			return false;
	return true;
}

/** A huge page is one folio, and its first frame tells of all: 512 times less to read. */
static bool join_huge(struct survey *survey, size_t i)
{
	uint64_t flags;

	if (survey->flags_fd < 0 || !is_huge_page(survey, i) ||
	    !read_words(survey->flags_fd, survey->frames[i], &flags, 1) || !(flags & KPF_HEAD))
		return false;
	for (size_t k = 0; k < BLOCK_PAGES; k++)
		survey->facts[i + k] |= facts_of(flags) | (k ? PAGE_JOINED : 0);
	return true;
}

/** Without flags: a huge mapping is a folio, and of small pages it takes a witness that they are single. */
static void join_unknown(struct survey *survey, size_t i, bool single)
{
	uint16_t *facts = &survey->facts[i];
	size_t at = (survey->start / PAGE + i) % BLOCK_PAGES;

	if (!(*facts & PAGE_HUGE))
		*facts |= single && *facts & PAGE_ANON ? 0 : PAGE_TORN;
	else if (i < at || i - at + BLOCK_PAGES > survey->nr)
		*facts |= PAGE_TORN;
	else
		*facts |= at ? PAGE_JOINED : 0;
}

static void read_flags(struct survey *survey)
{
	bool single = survey->flags_fd < 0 && thp_none_split(&survey->thp, monotonic_ns());
	uint64_t *words = survey->words;

	for (size_t i = 0, run; i < survey->nr; i += run) {
		uint64_t frame = survey->frames[i];

		run = 1;
		if (!(survey->facts[i] & PAGE_PRESENT))
			continue;
		if (survey->facts[i] & PAGE_HUGE && join_huge(survey, i)) {
			run = BLOCK_PAGES;
			continue;
		}
		while (frame && i + run < survey->nr && survey->frames[i + run] == frame + run &&
		       survey->facts[i + run] & PAGE_PRESENT &&
		       (survey->facts[i + run] & PAGE_HUGE) == (survey->facts[i] & PAGE_HUGE))
			run++;
		words[i + run] = 0;
		// The frame behind the last one of memory cannot be read: nothing goes on there.
		if (survey->flags_fd >= 0 && frame &&
		    (read_words(survey->flags_fd, frame, words + i, run + 1) ||
		     read_words(survey->flags_fd, frame, words + i, run))) {
			join_run(survey, i, run, words + i);
			continue;
		}
		for (size_t k = 0; k < run; k++)
			join_unknown(survey, i + k, single);
	}
}

static void read_cgroups(struct survey *survey)
{
	for (size_t i = 0, run; i < survey->nr; i += run) {
		for (run = 1; survey->frames[i] && i + run < survey->nr &&
		     survey->frames[i + run] == survey->frames[i] + run;)
			run++;
		if (survey->frames[i] &&
		    !read_words(survey->cgroup_fd, survey->frames[i], survey->cgroups + i, run))
			memset(survey->cgroups + i, 0, run * sizeof(*survey->cgroups));
	}
}

int survey_read(struct survey *survey, int pagemap_fd, size_t target, uint64_t start, size_t nr,
		enum survey_detail detail)
{
	int err = survey_reset(survey, start, nr);
	size_t nr_targets = 0;

	if (survey->walker)
		walker_targets(survey->walker, &nr_targets);
	if (!err && survey->walker)
		err = target < nr_targets ? read_tables(survey, target) : -EINVAL;
	if (!err)
		err = read_sharing(survey, pagemap_fd);
	if (!err && !survey->walker)
		err = survey_mark_huge(survey, pagemap_fd);
	if (err) {
		survey->nr = 0;
		return err;
	}
	if (detail >= SURVEY_FOLIOS)
		read_flags(survey);
	if (detail >= SURVEY_FOLIOS && survey->walker)
		survey_recall(survey, target, monotonic_ns());
	if (detail >= SURVEY_CGROUPS && survey->cgroup_fd >= 0)
		read_cgroups(survey);
	return 0;
}
