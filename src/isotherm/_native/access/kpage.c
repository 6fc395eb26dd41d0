// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>
#include "access/kpage.h"

// linux/kernel-page-flags.h
#define KPF_LRU (1ULL << 5)
#define KPF_ANON (1ULL << 12)
#define KPF_HEAD (1ULL << 15)
#define KPF_TAIL (1ULL << 16)
#define KPF_UNEVICTABLE (1ULL << 18)
#define KPF_IDLE (1ULL << 25)
#define MAX_FOLIO 512		// pages; larger folios are left unknown
#define TABLE 512

void kpage_open(struct kpage *kpage)
{
	kpage->flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	kpage->count_fd = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC);
}

void kpage_close(struct kpage *kpage)
{
	if (kpage->flags_fd >= 0)
		close(kpage->flags_fd);
	if (kpage->count_fd >= 0)
		close(kpage->count_fd);
	kpage->flags_fd = kpage->count_fd = -1;
}

static bool read_words(int fd, uint64_t pfn, uint64_t *words, size_t nr)
{
	return pread(fd, words, nr * sizeof(*words), pfn * sizeof(*words)) ==
	       (ssize_t)(nr * sizeof(*words));
}

/** The order of a folio of @nr pages, or -1 if that is no power of two. */
static int order_of(size_t nr)
{
	return nr && !(nr & (nr - 1)) ? __builtin_ctzl(nr) : -1;
}

/** A large folio mapped by single entries: find its ends, and how often its pages are mapped. */
static void large_folio(const struct kpage *kpage, struct leaf *leaf, uint64_t flags)
{
	uint64_t window[MAX_FOLIO + 1], counts[MAX_FOLIO];
	// Folios are aligned to their size.
	uint64_t base = leaf->pfn & ~(uint64_t)(MAX_FOLIO - 1);
	size_t at = leaf->pfn - base, head = at, nr = 1;
	uint8_t shape = 0;

	if (!read_words(kpage->flags_fd, base, window, MAX_FOLIO + 1))
		return;
	while (head && !(window[head] & KPF_HEAD))
		head--;
	while (head + nr <= MAX_FOLIO && window[head + nr] & KPF_TAIL)
		nr++;
	int order = order_of(nr);

	if (!(window[head] & KPF_HEAD) || order < 0 || head + nr > MAX_FOLIO || at >= head + nr ||
	    !read_words(kpage->count_fd, base + head, counts, nr))
		return;
	for (size_t i = 0; i < nr; i++)
		shape |= counts[i] > 1 ? FOLIO_SHARED : counts[i] ? 0 : FOLIO_PARTIAL;
	leaf->folio_order = order;
	leaf->folio_index = at - head;
	leaf->folio_flags |= FOLIO_KNOWN | shape | (window[head] & KPF_LRU ? FOLIO_LRU : 0) |
			     (flags & KPF_ANON ? FOLIO_ANON : 0) |
			     (window[head] & KPF_UNEVICTABLE ? FOLIO_MLOCKED : 0);
}

bool kpage_is_anonymous(uint64_t flags)
{
	return flags & KPF_ANON;
}

bool kpage_is_aged(uint64_t flags)
{
	return flags & KPF_IDLE;
}

void kpage_whole(const struct kpage *kpage, uint64_t *start, uint64_t *end)
{
	uint64_t flags[MAX_FOLIO], base = *start & ~(uint64_t)(MAX_FOLIO - 1);
	size_t at = *start - base;

	if (kpage->flags_fd < 0)
		return;
	if (read_words(kpage->flags_fd, *start, flags, 1) && flags[0] & KPF_TAIL &&
	    read_words(kpage->flags_fd, base, flags, at + 1)) {
		while (at && flags[at] & KPF_TAIL)
			at--;
		if (flags[at] & KPF_HEAD)
			*start = base + at;
	}
	base = *end & ~(uint64_t)(MAX_FOLIO - 1);
	at = *end - base;
	if (!read_words(kpage->flags_fd, *end, flags, 1) || !(flags[0] & KPF_TAIL) ||
	    !read_words(kpage->flags_fd, *end, flags, MAX_FOLIO - at))
		return;
	for (size_t i = 0; i < MAX_FOLIO - at && flags[i] & KPF_TAIL; i++)
		++*end;
}

void kpage_folio(const struct kpage *kpage, struct leaf *leaf)
{
	uint64_t flags, count, pfn = leaf->pfn;

	leaf->folio_flags = 0;
	if (!kpage_available(kpage) || leaf->level > 1)
		return;
	if (leaf->level == 1)
		pfn &= ~(uint64_t)(MAX_FOLIO - 1);
	if (!read_words(kpage->flags_fd, pfn, &flags, 1))
		return;
	if (leaf->level == 0 && flags & (KPF_HEAD | KPF_TAIL)) {
		large_folio(kpage, leaf, flags);
		return;
	}
	if (!read_words(kpage->count_fd, pfn, &count, 1))
		return;
	leaf->folio_order = leaf->level ? 9 : 0;
	leaf->folio_index = leaf->level ? leaf->pfn - pfn : 0;
	leaf->folio_flags = FOLIO_KNOWN | (count > 1 ? FOLIO_SHARED : 0) |
			    (flags & KPF_LRU ? FOLIO_LRU : 0) | (flags & KPF_ANON ? FOLIO_ANON : 0) |
			    (flags & KPF_UNEVICTABLE ? FOLIO_MLOCKED : 0);
}

/** Pages of the folio that starts at @flags[0], of @nr known ones; 0 if it does not end there. */
static size_t folio_run(const uint64_t *flags, size_t nr)
{
	size_t pages = 1;

	while (pages < nr && flags[pages] & KPF_TAIL)
		pages++;
	return pages < nr ? pages : 0;
}

/** The flags of a run of frames and of the one behind it say where each folio ends. */
static bool run_is_whole(const uint64_t *flags, size_t nr, bool large_ok)
{
	for (size_t i = 0; i < nr;) {
		if (!(flags[i] & (KPF_HEAD | KPF_TAIL))) {
			i++;
			continue;
		}
		size_t pages = flags[i] & KPF_HEAD ? folio_run(flags + i, nr + 1 - i) : 0;

		if (!large_ok || !pages)
			return false;
		i += pages;
	}
	return true;
}

bool kpage_whole_folios(const struct kpage *kpage, const uint64_t *pfns, size_t nr, bool large_ok)
{
	uint64_t flags[TABLE + 1];

	if (nr > TABLE || !kpage_available(kpage))
		return false;
	for (size_t i = 0, run; i < nr; i += run) {
		for (run = 1; pfns[i] && i + run < nr && pfns[i + run] == pfns[i] + run;)
			run++;
		if (!pfns[i])
			continue;
		flags[run] = 0;
		// The frame behind the last one of memory cannot be read: nothing goes on there.
		if (!read_words(kpage->flags_fd, pfns[i], flags, run + 1) &&
		    !read_words(kpage->flags_fd, pfns[i], flags, run))
			return false;
		if (!run_is_whole(flags, run, large_ok))
			return false;
	}
	return true;
}
