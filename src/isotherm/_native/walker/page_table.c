// SPDX-License-Identifier: Apache-2.0
// Sources: arch/x86/include/asm/pgtable{,_types,-invert}.h, arch/arm64/include/asm/pgtable{,-prot,-hwdef}.h
#include "sys/page.h"
#include "walker/page_table.h"

#define BIT(n) (1ULL << (n))
#define BITS(high, low) (BIT(high) * 2 - BIT(low))

enum {
	X86_WRITE = 1, X86_YOUNG = 5, X86_DIRTY = 6, X86_LEAF = 7, X86_NONE = 8,
	ARM_TABLE = 1, ARM_READ_ONLY = 7, ARM_YOUNG = 10, ARM_NONE = 11, ARM_WRITE = 51, ARM_DIRTY = 55,
};

struct page_format page_format(enum machine machine, int levels, int physical_bits)
{
	bool x86 = machine == MACHINE_X86_64;
	struct page_format format = {
		.machine = machine,
		.levels = levels,
		// Kernels before 6.11 mark PROT_NONE with bit 58 on arm64; found out when the walker opens.
		.none_bit = x86 ? X86_NONE : ARM_NONE,
		// With 52-bit addresses arm64 keeps bits 51:50 elsewhere; no such machine has Linux tables there.
		.pfn_mask = x86 ? BITS(51, 12) : BITS(levels == 5 ? 49 : 47, 12),
	};
	int user_bits = x86 ? (levels == 5 ? 56 : 47) : (levels == 5 ? 52 : levels == 4 ? 48 : 39);

	if (physical_bits > 12 && physical_bits < 52)
		format.pfn_mask &= BIT(physical_bits) - 1;
	format.task_size = BIT(user_bits) - (x86 ? PAGE : 0);
	return format;
}

struct walk_format walk_format(const struct page_format *format, uint64_t direct_map,
			       uint64_t table_limit)
{
	bool x86 = format->machine == MACHINE_X86_64;

	return (struct walk_format){
		.direct_map = direct_map,
		.pfn_mask = format->pfn_mask,
		.table_limit = table_limit,
		.has5 = format->levels >= 5 ? ~0ULL : 0,
		.has4 = format->levels >= 4 ? ~0ULL : 0,
		.top_index = x86 ? 511 : 15,
		.leaf_bit = x86 ? X86_LEAF : ARM_TABLE,
		.leaf_flip = x86 ? 0 : 1,
	};
}

static bool is_leaf(const struct page_format *format, uint64_t entry, int level)
{
	if (!level)
		return true;
	if (format->machine == MACHINE_X86_64)
		return entry & BIT(X86_LEAF);
	return !(entry & BIT(ARM_TABLE));
}

// A page that is there though its entry is not valid: PROT_NONE and NUMA hinting; on x86 also a huge
// page that is just being split, whose entry keeps the leaf bit.
static bool is_hidden(const struct page_format *format, uint64_t entry, int level)
{
	if (entry & BIT(format->none_bit))
		return true;
	return format->machine == MACHINE_X86_64 && level == 1 && entry & BIT(X86_LEAF);
}

struct leaf page_decode(const struct page_format *format, uint64_t entry, uint32_t meta,
			uint64_t addr)
{
	int level = meta & WALK_LEVEL;
	struct leaf leaf = {.level = level};
	bool valid = entry & 1;
	uint64_t inside = (addr >> 12) & ((1ULL << 9 * level) - 1), address = entry;

	// A present table where a leaf was expected: torn while it was read.
	if (meta & WALK_UNSTABLE || (valid && !is_leaf(format, entry, level))) {
		leaf.state = LEAF_UNREAD;
		return leaf;
	}
	if (!entry) {
		leaf.state = LEAF_NONE;
		return leaf;
	}
	if (!valid && !is_hidden(format, entry, level)) {
		leaf.state = LEAF_SWAPPED;
		return leaf;
	}
	leaf.state = LEAF_PRESENT;
	if (format->machine == MACHINE_X86_64) {
		// Entries that are not valid hold the address inverted, against L1 terminal fault.
		if (!valid)
			address = ~address;
		leaf.young = entry >> X86_YOUNG & 1;
		leaf.dirty = entry >> X86_DIRTY & 1;
		leaf.write = entry >> X86_WRITE & 1;
	} else {
		leaf.young = entry >> ARM_YOUNG & 1;
		leaf.write = entry >> ARM_WRITE & 1;
		leaf.dirty = (entry >> ARM_DIRTY & 1) | (leaf.write & !(entry & BIT(ARM_READ_ONLY)));
	}
	leaf.pfn = (((address & format->pfn_mask) >> 12) & ~((1ULL << 9 * level) - 1)) | inside;
	return leaf;
}

bool page_is_table(const struct page_format *format, uint64_t entry)
{
	return entry & 1 && !is_leaf(format, entry, 1);
}

struct page_bits page_bits(const struct page_format *format)
{
	bool x86 = format->machine == MACHINE_X86_64;

	return (struct page_bits){
		.present = 1 | BIT(format->none_bit),
		.young = BIT(x86 ? X86_YOUNG : ARM_YOUNG),
		.write = BIT(x86 ? X86_WRITE : ARM_WRITE),
		.hidden = x86 ? BIT(X86_LEAF) : 0,
		.straight = x86 ? 1 : 0,
	};
}

uint64_t page_split_entry(const struct page_format *format, uint64_t entry, uint64_t addr)
{
	uint64_t part = addr & (BIT(30) - BIT(21));

	if (format->machine == MACHINE_X86_64 && !(entry & 1))
		return entry & ~part;	// the address is inverted there
	return entry | part;
}
