// SPDX-License-Identifier: Apache-2.0
// The page-table formats of x86-64 and arm64, both with 4 KiB pages: plain arithmetic, no kernel.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "bpf/walk_abi.h"
#include "walker/walker.h"

enum machine {
	MACHINE_X86_64,
	MACHINE_ARM64,
};

struct page_format {
	enum machine machine;
	uint8_t levels;		// 3 (arm64 only), 4 or 5
	uint8_t none_bit;	// set in an entry that is not valid but maps a PROT_NONE page
	uint64_t pfn_mask;	// bits of an entry that are a physical address
	uint64_t task_size;	// user addresses are below
};

/** @physical_bits: as the CPU says; 0 for all that the format has. */
struct page_format page_format(enum machine machine, int levels, int physical_bits);

/** The parameters of the walk. @table_limit: physical address that no table reaches. */
struct walk_format walk_format(const struct page_format *format, uint64_t direct_map,
			       uint64_t table_limit);

/** What a leaf entry as the walk gave it says of the page at @addr: all but its folio. */
struct leaf page_decode(const struct page_format *format, uint64_t entry, uint32_t meta,
			uint64_t addr);

/** Whether a level-2 entry points to a table of leaf entries. */
bool page_is_table(const struct page_format *format, uint64_t entry);

/** Bits of a leaf entry: any of @present: a page is there. */
struct page_bits {
	uint64_t present, young, write;
	uint64_t hidden;	// in an upper entry: a huge page that is just being split
	uint64_t straight;	// the address is inverted where it is missing; 0: never is
};
struct page_bits page_bits(const struct page_format *format);

/** A 2 MiB leaf entry for the part at @addr of a 1 GiB leaf. */
uint64_t page_split_entry(const struct page_format *format, uint64_t entry, uint64_t addr);

/** Physical memory that the walk can be tried on, without a kernel. */
struct page_image {
	const uint8_t *before, *after;	// of the same size; reads see after from read number turn on
	uint64_t size, turn;
	uint64_t reads;			// out
};

struct page_found {
	uint64_t entry;
	uint32_t meta;	// as walk_slot.meta
};

/** The very walk of the BPF programs, over @image; @root is a physical address. */
struct page_found page_walk(const struct page_format *format, struct page_image *image,
			    uint64_t root, uint64_t addr);
