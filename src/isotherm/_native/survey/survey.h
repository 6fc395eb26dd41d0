// SPDX-License-Identifier: Apache-2.0
// What a piece of another process' memory consists of, page by page, and which of it an action may
// be done to: only whole folios, of this process alone.
//
// Accessed bits and huge mappings come from page tables (walker), sharing from /proc/PID/pagemap,
// folios and their state from /proc/kpageflags. Where one of them is missing, less is known, and
// what cannot be told to be harmless is not chosen.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "survey/contents.h"
#include "sys/thp.h"
#include "walker/walker.h"

enum page_fact {
	PAGE_PRESENT = 1,
	PAGE_SWAPPED = 2,	// swapped out, or under migration
	PAGE_YOUNG = 4,		// accessed since its bit was cleared
	PAGE_ANON = 8,
	PAGE_SHARED = 16,	// not known to be mapped here only
	PAGE_HUGE = 32,		// mapped as one piece of 2 MiB
	PAGE_ACTIVE = 64,
	PAGE_REFERENCED = 128,
	PAGE_LOCKED = 256,	// mlocked or unevictable
	PAGE_ZERO = 512,	// the kernel's page of zeros
	PAGE_SPECIAL = 1024,	// hugetlb, reserved, poisoned
	PAGE_JOINED = 2048,	// of the same folio as the page before
	PAGE_TORN = 4096,	// its folio reaches beyond what was surveyed, is mapped in part, or unknown
	PAGE_DIRTY = 8192,	// no anonymous one, and in memory only: not written yet, or of shmem
	PAGE_USED = 16384,	// young, or cleared by others since it was used; see survey_ask()
	PAGE_EARLY = 32768,	// not watched for so long as was asked for
};

struct page_map;

struct survey {
	struct walker *walker;	// not owned; NULL: accessed bits are unknown
	int flags_fd, cgroup_fd;	// -1: not available
	bool scans;		// the kernel scans page maps for huge pages
	struct thp thp;
	struct page_map *map;	// survey_ask()
	uint64_t idle_ns;
	uint64_t start;
	size_t nr, capacity;	// pages
	uint16_t *facts;
	uint64_t *frames;	// 0: none, or hidden from us
	uint64_t *words;	// scratch, one more than pages
	uint64_t *cgroups;	// inode of the cgroup that pays for each present page; 0 unknown
	struct contents contents;
};

/** What may be chosen: of folios in [from, to), those with all facts @need and none of @avoid. */
struct survey_wish {
	uint64_t from, to;
	uint16_t need, avoid;
	bool strict;		// wholly inside [from, to); else the middle of the folio decides
	bool reject_rest;	// what no rule matches is left out
	const struct survey_rule *rules;
	size_t nr_rules;
	uint64_t max_run;	// bytes of a run, unless one folio is larger; 0: no limit
	size_t min_present;	// survey_blocks(): pages of a block that must be there
	size_t min_dense;	// the same where the rest is zeros: it was sparse not long ago
	struct contents *contents;	// NULL: contents are not looked at, and unknown
	int pid;			// whose
	uint64_t space;			// a number for its address space
};

enum survey_test {
	TEST_FACT,	// (facts & low) != 0
	TEST_SIZE,	// bytes of the folio in [low, high]
	TEST_CGROUP,	// its cgroup has inode low
	TEST_ABSENT,	// neither present nor swapped: not mapped by any entry
	TEST_UNDERUSED,	// a huge page of which [low, high] of 1,000 small pages are zeros
};

/** A filter of the ops layer: the first one whose test equals @matching decides (@allow). */
struct survey_rule {
	uint64_t test;		// enum survey_test
	uint64_t low, high;
	uint64_t matching, allow;
};

struct survey_run {
	uint64_t start, size;	// laid out as struct iovec
};

/** A number for rules, by which contents_refused() knows them. */
uint64_t survey_rules_number(const struct survey_rule *rules, size_t nr);

void survey_init(struct survey *survey, struct walker *walker);
void survey_deinit(struct survey *survey);
/** Make room for @nr pages from @start, nothing known of any. 0 or -ENOMEM. */
int survey_reset(struct survey *survey, uint64_t start, size_t nr);

enum survey_detail {
	SURVEY_ENTRIES,	// what entries say: no folios, nothing of their state
	SURVEY_FOLIOS,
	SURVEY_CGROUPS,	// also who pays
};

/**
 * From now on survey_read() with SURVEY_FOLIOS or more tells by @map, where there is one, which pages
 * were used in the last @idle_ns: PAGE_USED, PAGE_EARLY. Without a map used is what is young.
 */
static inline void survey_ask(struct survey *survey, struct page_map *map, uint64_t idle_ns)
{
	survey->map = map;
	survey->idle_ns = idle_ns;
}
/**
 * Look at @nr pages from @start, of the memory that @pagemap_fd is open on and that target @target
 * of the walker is. 0, -ESRCH if that memory is gone, or -errno.
 */
int survey_read(struct survey *survey, int pagemap_fd, size_t target, uint64_t start, size_t nr,
		enum survey_detail detail);

/** What was asked, of the pages surveyed now; a part of survey_read(). */
void survey_recall(struct survey *survey, size_t target, uint64_t now_ns);
/** Tell the map that the young pages of @runs, as surveyed now, are about to be cleared. */
void survey_tell(struct survey *survey, size_t target, const struct survey_run *runs, size_t nr);
/**
 * The blocks of [start, end) in which the map knows of a page that may be idle, in @runs; their
 * number. @early is set if a page elsewhere was not watched for so long.
 */
size_t survey_may_be_idle(const struct survey *survey, size_t target, uint64_t start, uint64_t end,
			  struct survey_run *runs, bool *early);

/**
 * The blocks within [start, end) that are huge pages, by the walker, or else by @pagemap_fd (Linux
 * 6.7), and were not refused by @rules lately for what they hold, in @runs; their number, or -errno.
 */
ssize_t survey_find_huge(struct survey *survey, int pagemap_fd, size_t target, uint64_t space,
			 uint64_t start, uint64_t end, uint64_t rules, struct survey_run *runs);
/** Whether survey_find_huge() can tell, and survey_read() which pages are of huge ones. */
bool survey_knows_huge(const struct survey *survey);
/** Without a walker: mark the pages of huge ones, where the kernel tells; a part of survey_read(). */
int survey_mark_huge(struct survey *survey, int pagemap_fd);

/**
 * The chosen folios as runs of neighbours, at most survey.nr; their number. @passed: bytes that the
 * rules let through, of what is present or was chosen; 0 without rules. Contents are read
 * of what is chosen by all else, and would be or not for what it holds.
 */
size_t survey_pick(const struct survey *survey, const struct survey_wish *wish,
		   struct survey_run *runs, uint64_t *passed);
/**
 * The same for aligned blocks of 2 MiB, a run each: chosen if no page of it has a fact of @avoid,
 * one at least has all of @need, all folios in it pass the rules, and it was not split just now for
 * being sparse.
 */
size_t survey_blocks(const struct survey *survey, const struct survey_wish *wish,
		     struct survey_run *runs, uint64_t *passed);
/** Bytes of @runs, of pages surveyed now, with all facts @need and none of @avoid. */
uint64_t survey_count(const struct survey *survey, const struct survey_run *runs, size_t nr,
		      uint16_t need, uint16_t avoid);
