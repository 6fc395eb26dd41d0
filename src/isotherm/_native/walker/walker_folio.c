// SPDX-License-Identifier: Apache-2.0
// Folios of young pages: what has to be known before an accessed bit is cleared.
#include "sys/page.h"
#include "walker/walker_private.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ANON 1		// PAGE_MAPPING_ANON, in the low bits of page->mapping
#define MAX_ORDER 18	// 1 GiB
#define MM_IDS_SHARED (1ull << 63)	// FOLIO_MM_IDS_SHARED_BITNUM of 64-bit kernels

static int32_t count_at(uint64_t word, uint8_t shift)
{
	return (int32_t)(uint32_t)(word >> shift) + 1;	// counts start at -1
}

static bool in_memory(const struct walker *walker, uint64_t pfn)
{
	return pfn << 12 < walker->area->config.format.table_limit;
}

static void tell_large(const struct walker *walker, const struct walk_page *page, struct leaf *leaf)
{
	uint32_t order = page->order >> walker->folio.order_shift & 0xff;
	int32_t whole = leaf->level ? 1 : 1 << order, count;

	// A huge mapping of a smaller folio, or an order that cannot be: it changed under our eyes.
	if (!order || order > MAX_ORDER || order < 9 * leaf->level) {
		leaf->folio_flags = 0;
		return;
	}
	leaf->folio_order = order;
	if (walker->folio.has_large) {
		count = count_at(page->large_mapcount, walker->folio.large_shift);
		if (count > whole)
			leaf->folio_flags |= FOLIO_SHARED;
		if (count < whole)
			leaf->folio_flags |= FOLIO_PARTIAL;
		// Two processes may map a half each. As folio_maybe_mapped_shared().
		if (walker->folio.has_mm_ids && count > 1 && page->mm_ids & MM_IDS_SHARED)
			leaf->folio_flags |= FOLIO_SHARED;
	} else if (leaf->level && walker->folio.has_entire) {
		if (count_at(page->entire_mapcount, walker->folio.entire_shift) > 1)
			leaf->folio_flags |= FOLIO_SHARED;
	} else {
		// Kernels that do not count all mappings together also split such a folio when it is cleared.
		leaf->folio_flags |= FOLIO_PARTIAL;
	}
}

static void tell_folio(const struct walker *walker, const struct walk_page *page, struct leaf *leaf)
{
	const struct walk_config *config = &walker->area->config;
	uint64_t head = (page->head - config->vmemmap) / config->page_size;

	leaf->folio_order = 0;
	leaf->folio_index = 0;
	leaf->folio_flags = FOLIO_KNOWN;
	if (page->flags & config->head_flag) {
		tell_large(walker, page, leaf);
		if (!leaf->folio_flags)
			return;
		leaf->folio_index = leaf->pfn - head;
		if (head > leaf->pfn || leaf->folio_index >> leaf->folio_order) {
			leaf->folio_flags = leaf->folio_order = leaf->folio_index = 0;
			return;
		}
	} else if (leaf->level) {
		leaf->folio_flags = 0;
		return;
	} else if (count_at(page->mapcount, walker->folio.mapcount_shift) > 1) {
		leaf->folio_flags |= FOLIO_SHARED;
	}
	if (page->flags >> walker->folio.lru & 1)
		leaf->folio_flags |= FOLIO_LRU;
	if (page->flags >> walker->folio.unevictable & 1 ||
	    (walker->folio.mlocked >= 0 && page->flags >> walker->folio.mlocked & 1))
		leaf->folio_flags |= FOLIO_MLOCKED;
	if (page->mapping & ANON)
		leaf->folio_flags |= FOLIO_ANON;
}

// Tell the leaves whose indices are in @which.
static int run(struct walker *walker, const uint32_t *which, size_t nr, struct leaf *leaves)
{
	int ret;

	for (size_t i = 0; i < nr; i++)
		walker->area->pages[i].pfn = leaves[which[i]].pfn;
	walker->area->config.nr_pages = nr;
	ret = bpf_run(walker->folios_fd);
	for (size_t i = 0; i < nr && !ret; i++)
		tell_folio(walker, &walker->area->pages[i], &leaves[which[i]]);
	return ret;
}

static bool needs_edges(const struct leaf *leaf)
{
	return !leaf->level && leaf->folio_order && leaf->folio_flags & FOLIO_KNOWN &&
	       !(leaf->folio_flags & (FOLIO_SHARED | FOLIO_PARTIAL));
}

// All pages of a folio may be mapped here and yet not side by side (mremap). Its first and last page
// tell: if they are where they belong, clearing that range clears exactly the folio.
static int check_edges(struct walker *walker, const struct leaf_request *requests,
		       const uint32_t *which, size_t nr, struct leaf *leaves)
{
	struct leaf_request *ends = calloc(2 * nr, sizeof(*ends));
	struct leaf *found = calloc(2 * nr, sizeof(*found));
	int ret = ends && found ? 0 : -ENOMEM;

	for (size_t i = 0; i < nr && !ret; i++) {
		const struct leaf *leaf = &leaves[which[i]];
		uint64_t first = (requests[which[i]].addr & ~4095ull) - ((uint64_t)leaf->folio_index << 12);

		ends[2 * i] = ends[2 * i + 1] = requests[which[i]];
		ends[2 * i].addr = first;
		ends[2 * i + 1].addr = first + (PAGE << leaf->folio_order) - PAGE;
	}
	if (!ret)
		ret = walker_read(walker, ends, 2 * nr, found, false);
	for (size_t i = 0; i < nr && !ret; i++) {
		struct leaf *leaf = &leaves[which[i]];
		uint64_t head = leaf->pfn - leaf->folio_index;

		if (found[2 * i].state != LEAF_PRESENT || found[2 * i].pfn != head ||
		    found[2 * i + 1].state != LEAF_PRESENT ||
		    found[2 * i + 1].pfn != head + (1ull << leaf->folio_order) - 1)
			leaf->folio_flags |= FOLIO_PARTIAL;
	}
	free(ends);
	free(found);
	return ret;
}

int walker_folios_read(struct walker *walker, const struct leaf_request *requests, size_t nr,
		       struct leaf *leaves)
{
	uint32_t *which = malloc(nr * sizeof(*which) + 1);
	size_t nr_young = 0, nr_edges = 0;
	int ret = which ? 0 : -ENOMEM;

	for (size_t i = 0; i < nr && !ret; i++)
		if (!requests[i].plain && leaves[i].state == LEAF_PRESENT && leaves[i].young &&
		    in_memory(walker, leaves[i].pfn))
			which[nr_young++] = i;
	for (size_t done = 0; done < nr_young && !ret;) {
		size_t step = nr_young - done < walker->max_pages ? nr_young - done : walker->max_pages;

		ret = run(walker, which + done, step, leaves);
		done += step;
	}
	for (size_t i = 0; i < nr_young && !ret; i++)
		if (needs_edges(&leaves[which[i]]))
			which[nr_edges++] = which[i];
	if (!ret && nr_edges)
		ret = check_edges(walker, requests, which, nr_edges, leaves);
	free(which);
	return ret;
}

// ---- opening ----

// A kernel stack tells both the struct page of a page and, by its address, the frame: ours will do.
static int find_page_array(struct walker *walker)
{
	struct walk_config *config = &walker->area->config;
	uint64_t task = walker->tracked[0].task, root = walker->area->targets[0].pgd;
	uint64_t area, pages, page, addr, entry;
	uint32_t meta;

	if (walker_peek(walker, task + walker->folio.stack_area, &area) || !area ||
	    walker_peek(walker, area + walker->folio.area_pages, &pages) || !pages ||
	    walker_peek(walker, pages, &page) || !page ||
	    walker_peek(walker, area + walker->folio.area_addr, &addr) ||
	    walker_peek_leaf(walker, root, addr, &entry, &meta) || !(entry & 1))
		return -ENOENT;
	config->vmemmap = page - page_decode(&walker->format, entry, meta, addr).pfn * config->page_size;
	return 0;
}

// A page that we have just touched must be told as ours alone and anonymous.
static int check_own_page(struct walker *walker)
{
	const size_t size = PAGE;
	uint8_t *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct leaf_request request = {.addr = (uintptr_t)page};
	struct leaf leaf = {};
	int ret;

	if (page == MAP_FAILED)
		return -errno;
	*page = 1;
	walker->facts.folios = true;
	ret = walker_read(walker, &request, 1, &leaf, true);
	munmap(page, size);
	if (ret)
		return ret;
	return leaf.folio_flags & FOLIO_KNOWN && leaf.folio_flags & FOLIO_ANON &&
	       !(leaf.folio_flags & FOLIO_SHARED) ? 0 : -ENOENT;
}

int walker_folios_init(struct walker *walker)
{
	const char *why = NULL;

	// The kernel half of the address space is in another table there.
	if (walker->format.machine != MACHINE_X86_64)
		why = "struct page cannot be found on this machine";
	else if (find_page_array(walker))
		why = "the array of struct page was not found";
	else if (check_own_page(walker))
		why = "struct page says something else of our own page";
	if (!why)
		return 0;
	snprintf(walker->facts.folios_why_not, sizeof(walker->facts.folios_why_not), "%s", why);
	walker->facts.folios = false;
	return -ENOTSUP;
}
