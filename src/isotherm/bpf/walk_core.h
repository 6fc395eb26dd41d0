/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The walk itself: from a top-level table to the leaf entry of one address.
 *
 * Includer defines WALK_READ(address), which gives the 8 bytes there, or 0 if it cannot read them.
 * Without branches, because the verifier of old kernels follows both sides of each and the base
 * program walks hundreds of addresses in a loop it unrolls. A level that is not to be followed is
 * read from the table last known good, and masked away: the walk only ever dereferences tables.
 */
#pragma once
#include "walk_abi.h"

#define WALK_INLINE static inline __attribute__((always_inline))
/* Keeps the compiler from turning a mask back into a branch. */
#define WALK_OPAQUE(x) __asm__ volatile("" : "+r"(x))

struct walk_leaf {
	w64 entry;
	w64 meta;
};

/* All ones if bit 0 of @x is set, else 0. */
WALK_INLINE w64 walk_bit0_mask(w64 x)
{
	x &= 1;
	WALK_OPAQUE(x);
	return -x;
}

/* All ones if @x is not 0, else 0. */
WALK_INLINE w64 walk_nonzero_mask(w64 x)
{
	w64 negative = -x;

	WALK_OPAQUE(negative);
	x = (x | negative) >> 63;
	return -x;
}

WALK_INLINE w64 walk_select(w64 mask, w64 yes, w64 no)
{
	return no ^ ((no ^ yes) & mask);
}

/* All ones if @entry of an upper table is present and points to a table. */
WALK_INLINE w64 walk_points_mask(const struct walk_format *f, w64 entry)
{
	return walk_bit0_mask(entry) & ~walk_bit0_mask((entry >> f->leaf_bit) ^ f->leaf_flip);
}

/* All ones if the table that @entry points to can exist: garbage must not lead us to devices. */
WALK_INLINE w64 walk_inside_mask(const struct walk_format *f, w64 entry)
{
	w64 below = ((entry & f->pfn_mask) - f->table_limit) >> 63;

	WALK_OPAQUE(below);
	return -below;
}

WALK_INLINE w64 walk_slot_address(w64 table, w64 va, w32 shift, w64 mask)
{
	return table + ((va >> shift) & mask) * 8;
}

/* One step down: the next table, or @table itself if @entry does not lead on. */
WALK_INLINE w64 walk_down(const struct walk_format *f, w64 table, w64 entry, w64 go)
{
	return walk_select(go, f->direct_map + (entry & f->pfn_mask), table);
}

/*
 * Upper entries are read again after the leaf: a table that was freed in between was unhooked from
 * its parent before, and then these differ. Hardware sets accessed bits there, so only the address
 * and the presence count.
 */
WALK_INLINE struct walk_leaf walk_leaf(const struct walk_format *f, w64 root, w64 va)
{
	w64 has5 = f->has5, has4 = f->has4, same = f->pfn_mask | 1, wild = 0;
	w64 a5, a4, a3, a2, e5, e4, e3, e2, e1, go5, go4, go3, go2, t, in;

	a5 = walk_slot_address(root, va, 48, f->top_index);
	e5 = WALK_READ(a5) & has5;
	in = walk_inside_mask(f, e5);
	go5 = walk_points_mask(f, e5);
	wild |= go5 & ~in;
	go5 &= in;
	t = walk_down(f, root, e5, go5);

	a4 = walk_slot_address(t, va, 39, 511);
	e4 = WALK_READ(a4) & has4 & (go5 | ~has5);
	in = walk_inside_mask(f, e4);
	go4 = walk_points_mask(f, e4);
	wild |= go4 & ~in;
	go4 &= in;
	t = walk_down(f, t, e4, go4);

	a3 = walk_slot_address(t, va, 30, 511);
	e3 = WALK_READ(a3) & (go4 | ~has4);
	in = walk_inside_mask(f, e3);
	go3 = walk_points_mask(f, e3);
	wild |= go3 & ~in;
	go3 &= in;
	t = walk_down(f, t, e3, go3);

	a2 = walk_slot_address(t, va, 21, 511);
	e2 = WALK_READ(a2) & go3;
	in = walk_inside_mask(f, e2);
	go2 = walk_points_mask(f, e2);
	wild |= go2 & ~in;
	go2 &= in;
	t = walk_down(f, t, e2, go2);

	e1 = WALK_READ(walk_slot_address(t, va, 12, 511)) & go2;

	wild |= (WALK_READ(a2) ^ e2) & same & go2;
	wild |= (WALK_READ(a3) ^ e3) & same & go3;
	wild |= (WALK_READ(a4) ^ e4) & same & go4;

	return (struct walk_leaf){
		.entry = e1 | (e2 & ~go2) | (e3 & ~go3),
		.meta = (~go3 & 2) | (go3 & ~go2 & 1) | (walk_nonzero_mask(wild) & WALK_UNSTABLE),
	};
}

/* The address of the level-2 entry of @va, or 0; @leaf tells a 1 GiB leaf found above it. */
WALK_INLINE w64 walk_pmd_address(const struct walk_format *f, w64 root, w64 va, w64 *leaf)
{
	w64 has5 = f->has5, has4 = f->has4, e5, e4, e3, go5, go4, go3, t;

	e5 = WALK_READ(walk_slot_address(root, va, 48, f->top_index)) & has5;
	go5 = walk_points_mask(f, e5) & walk_inside_mask(f, e5);
	t = walk_down(f, root, e5, go5);
	e4 = WALK_READ(walk_slot_address(t, va, 39, 511)) & has4 & (go5 | ~has5);
	go4 = walk_points_mask(f, e4) & walk_inside_mask(f, e4);
	t = walk_down(f, t, e4, go4);
	e3 = WALK_READ(walk_slot_address(t, va, 30, 511)) & (go4 | ~has4);
	go3 = walk_points_mask(f, e3) & walk_inside_mask(f, e3);
	t = walk_down(f, t, e3, go3);
	/* A table outside of memory is nonsense, not a leaf. */
	*leaf = e3 & ~walk_points_mask(f, e3);
	return walk_slot_address(t, va, 21, 511) & go3;
}
