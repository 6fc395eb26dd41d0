// SPDX-License-Identifier: Apache-2.0
// Where the kernel maps all of physical memory, and how many levels its page tables have.
//
// On x86-64 a process's top-level table maps the kernel too, so a guess is checked by translating the
// address of that table itself: the guess is right if the translation says so. Elsewhere, and if no
// guess passes, /proc/kcore names the offset, or it is guessed; then a page of ours must translate to
// the frame that /proc/self/pagemap tells.
#define _GNU_SOURCE
#include "sys/page.h"
#include "walker/walker_private.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#define GIB (1ull << 30)
#define MAX_GUESSES (1 << 16)
#define OLD_ARM_NONE 58		// PTE_PROT_NONE before 6.11

// Bits of a physical address in an entry: without the one that marks encrypted memory.
static int physical_bits(void)
{
#ifdef __x86_64__
	unsigned int a, b, c, d;
	int bits = 0;

	if (__get_cpuid(0x80000008, &a, &b, &c, &d))
		bits = a & 0xff;
	if (__get_cpuid(0x8000001f, &a, &b, &c, &d) && a & 3 && (int)(b & 0x3f) < bits)
		bits = b & 0x3f;
	return bits;
#else
	return 0;
#endif
}

uint64_t walker_memory_end(const struct page_format *format)
{
	uint64_t start, spanned = 0, end = 0, value;
	FILE *file = fopen("/proc/zoneinfo", "re");
	char *line = NULL;
	size_t room = 0;

	while (file && getline(&line, &room, file) > 0) {
		if (sscanf(line, " spanned %" SCNu64, &value) == 1) {
			spanned = value;
		} else if (sscanf(line, " start_pfn: %" SCNu64, &start) == 1) {
			if (spanned && (start + spanned) << 12 > end)
				end = (start + spanned) << 12;
			spanned = 0;
		}
	}
	free(line);
	if (file)
		fclose(file);
	return end ? end : format->pfn_mask + PAGE;
}

// ---- our own pages ----

struct own_pages {
	uint8_t *touched;	// one page, young
	uint8_t *hidden;	// one page, touched, then PROT_NONE
	uint64_t pfn;		// of touched, 0 if we may not know
	uint64_t root;
};

static uint64_t frame_of(const void *page)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (uintptr_t)page / PAGE * 8) != sizeof(entry))
		entry = 0;
	close(fd);
	return entry >> 63 ? entry & ((1ull << 55) - 1) : 0;
}

static int own_pages_init(struct own_pages *own, struct walker *walker)
{
	own->touched = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (own->touched == MAP_FAILED)
		return -errno;
	own->hidden = own->touched + PAGE;
	*own->touched = *own->hidden = 1;
	if (mprotect(own->hidden, PAGE, PROT_NONE))
		return -errno;
	own->pfn = frame_of(own->touched);
	own->root = walker->area->targets[0].pgd;
	return 0;
}

static bool own_page_matches(struct walker *walker, const struct own_pages *own)
{
	uint64_t entry, addr = (uintptr_t)own->touched;
	struct leaf leaf;
	uint32_t meta;

	if (walker_peek_leaf(walker, own->root, addr, &entry, &meta))
		return false;
	leaf = page_decode(&walker->format, entry, meta, addr);
	if (leaf.state != LEAF_PRESENT || !leaf.young)
		return false;
	return !own->pfn || leaf.pfn == own->pfn;
}

// ---- guesses ----

static void guess(struct walker *walker, int levels, uint64_t direct_map)
{
	walker->format = page_format(walker->format.machine, levels, physical_bits());
	walker->area->config.format = walk_format(&walker->format, direct_map,
						  walker_memory_end(&walker->format));
}

static bool table_finds_itself(struct walker *walker, uint64_t root)
{
	uint64_t entry, page, direct_map = walker->area->config.format.direct_map;
	uint32_t meta;

	if (root < direct_map || walker_peek_leaf(walker, root, root, &entry, &meta))
		return false;
	if (!(entry & 1) || meta & WALK_UNSTABLE)
		return false;
	page = page_decode(&walker->format, entry, meta, root).pfn << 12;
	return page == root - direct_map;
}

// From below: as long as a guess is too low, what it leads to lies in the direct map or in the hole
// before it, never among the mappings of devices behind it.
static bool guess_by_self_check(struct walker *walker, const struct own_pages *own)
{
	int likely = own->root >> 47 == 0x1ffff ? 4 : 5;

	for (int i = 0; i < 2; i++) {
		int levels = i ? 9 - likely : likely;
		uint64_t end, base;

		guess(walker, levels, 0);
		end = walker->area->config.format.table_limit;
		base = (own->root - end) & ~(GIB - 1);
		for (int n = 0; n < MAX_GUESSES && base <= own->root; n++, base += GIB) {
			walker->area->config.format.direct_map = base;
			if (table_finds_itself(walker, own->root) && own_page_matches(walker, own))
				return true;
		}
	}
	return false;
}

static bool try_all_levels(struct walker *walker, const struct own_pages *own, uint64_t direct_map)
{
	int least = walker->format.machine == MACHINE_X86_64 ? 4 : 3;

	for (int levels = 5; levels >= least; levels--) {
		guess(walker, levels, direct_map);
		if (own_page_matches(walker, own))
			return true;
	}
	return false;
}

static bool guess_by_kcore(struct walker *walker, const struct own_pages *own)
{
	int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	bool found = false;
	Elf64_Ehdr header;
	Elf64_Phdr segment;

	if (fd < 0)
		return false;
	if (pread(fd, &header, sizeof(header), 0) != sizeof(header))
		header.e_phnum = 0;
	for (int i = 0; i < header.e_phnum && !found; i++) {
		if (pread(fd, &segment, sizeof(segment), header.e_phoff + i * sizeof(segment)) !=
		    sizeof(segment))
			break;
		if (segment.p_type == PT_LOAD && segment.p_paddr != UINT64_MAX &&
		    own->root - segment.p_vaddr < segment.p_memsz)
			found = try_all_levels(walker, own, segment.p_vaddr - segment.p_paddr);
	}
	close(fd);
	return found;
}

static bool guess_by_pagemap(struct walker *walker, const struct own_pages *own)
{
	uint64_t end, base;

	if (!own->pfn)
		return false;
	guess(walker, 4, 0);
	end = walker->area->config.format.table_limit;
	base = (own->root - end) & ~(GIB - 1);
	for (int n = 0; n < MAX_GUESSES && base <= own->root; n++, base += GIB)
		if (try_all_levels(walker, own, base))
			return true;
	return false;
}

static const char *find_map(struct walker *walker, const struct own_pages *own)
{
	bool x86 = walker->format.machine == MACHINE_X86_64;

	if (x86 && guess_by_self_check(walker, own))
		return "self-check";
	if (guess_by_kcore(walker, own))
		return "kcore";
	if (guess_by_pagemap(walker, own))
		return "pagemap";
	return NULL;
}

// Kernels differ in how arm64 marks a PROT_NONE page: see how this one marks ours.
static void learn_none_bit(struct walker *walker, const struct own_pages *own)
{
	uint64_t entry;
	uint32_t meta;

	if (walker->format.machine != MACHINE_ARM64 ||
	    walker_peek_leaf(walker, own->root, (uintptr_t)own->hidden, &entry, &meta))
		return;
	if (!(entry & 1) && entry >> OLD_ARM_NONE & 1 && !(entry >> walker->format.none_bit & 1))
		walker->format.none_bit = OLD_ARM_NONE;
}

int walker_find_map(struct walker *walker, char *error, size_t error_size)
{
	struct own_pages own = {.touched = MAP_FAILED};
	int ret = own_pages_init(&own, walker);

	if (!ret)
		walker->facts.direct_map_source = find_map(walker, &own);
	if (!ret && !walker->facts.direct_map_source) {
		snprintf(error, error_size, "the kernel's map of physical memory was not found");
		ret = -ENOTSUP;
	}
	if (!ret) {
		learn_none_bit(walker, &own);
		walker->facts.levels = walker->format.levels;
		walker->facts.direct_map = walker->area->config.format.direct_map;
	}
	if (own.touched != MAP_FAILED)
		munmap(own.touched, 2 * PAGE);
	return ret;
}
