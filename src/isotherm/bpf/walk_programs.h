/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The programs that both objects have in common. Includer defines
 *   WALK_READ(address)          8 bytes of kernel memory, 0 if unreadable
 *   FOR_EACH(i, nr, max) {...}  a loop the verifier accepts, ended by END_EACH
 *   RCU_LOCK(), RCU_UNLOCK()
 *   MAX_SLOTS, MAX_TARGETS, MAX_PAGES, MAX_TABLES, MAX_CLUMPS, CPU_WORDS
 *   PROGRAM_TYPE                section prefix, which the loader knows
 *
 * A target's task is kept as a plain address and may be stale. It is believed only if the task there
 * has the wanted tgid and start time and still has the wanted memory map: a task lets go of its map
 * long before its memory is freed, so stale memory never passes. Likewise a map whose mm_users is
 * not 0 after the walk, with the same top-level table, was alive all through it.
 */
#pragma once
#include "walk_core.h"

#define SEC(name) __attribute__((section(name), used))

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static w64 (*bpf_get_current_pid_tgid)(void) = (void *)14;

struct map_symbol { int unused; };
struct map_symbol SEC("maps") area, SEC("maps") tables;

WALK_INLINE struct walk_area *the_area(void)
{
	w32 zero = 0;

	return bpf_map_lookup_elem(&area, &zero);
}

WALK_INLINE w64 read_word(w64 address)
{
	return WALK_READ(address);
}

/* Fields of 4 bytes are read as the word that holds them: one way to read for all. */
WALK_INLINE w32 read_half(w64 address)
{
	return WALK_READ(address & ~7ULL) >> ((address & 4) * 8);
}

WALK_INLINE void load_target(const struct walk_config *c, struct walk_target *t)
{
	w64 task = t->task, mm, pgd, start, differs, seen = 0, many = 0;
	s32w tgid;

	tgid = read_half(task + c->task_tgid);
	start = read_word(read_word(task + c->task_leader) + c->task_start);
	mm = read_word(task + c->task_mm);
	pgd = read_word(mm + c->mm_pgd);
	t->tgid = tgid;
	t->start = start;
	t->mm = mm;
	t->pgd = pgd;
	t->cpu = read_half(task + c->task_cpu);
	for (w32 i = 0; i < CPU_WORDS; i++) {
		w64 used = walk_nonzero_mask((w64)i < c->cpu_words);
		w64 word = read_word(mm + ((c->mm_cpumask + i * 8) & used)) & used;

		many |= (word & (word - 1)) | (word & walk_nonzero_mask(seen));
		seen |= word;
	}
	t->one_cpu = walk_nonzero_mask(seen) & ~walk_nonzero_mask(many) & 1;
	differs = (mm ^ t->want_mm) | (start ^ t->want_start) | (w32)(tgid ^ t->want_tgid);
	t->root = pgd & ~walk_nonzero_mask(differs);
}

WALK_INLINE void recheck_target(const struct walk_config *c, struct walk_target *t)
{
	w64 mm = t->mm;

	t->users_after = read_half(mm + c->mm_users);
	t->pgd_after = read_word(mm + c->mm_pgd);
}

/* Check the targets, walk the slots, check the targets again. */
SEC(PROGRAM_TYPE "/walk") int walk(void *ctx)
{
	struct walk_area *a = the_area();

	if (!a)
		return 1;
	RCU_LOCK();
	FOR_EACH(i, a->config.nr_targets, MAX_TARGETS)
		load_target(&a->config, &a->targets[i]);
	END_EACH
	FOR_EACH(i, a->config.nr_slots, MAX_SLOTS)
		struct walk_slot *s = &a->slots[i];
		struct walk_leaf leaf = walk_leaf(&a->config.format,
						  a->targets[s->target & (MAX_TARGETS - 1)].root,
						  s->addr);

		s->entry = leaf.entry;
		s->meta = leaf.meta;
	END_EACH
	FOR_EACH(i, a->config.nr_targets, MAX_TARGETS)
		recheck_target(&a->config, &a->targets[i]);
	END_EACH
	RCU_UNLOCK();
	return 0;
}

/* Plain words at slots[].addr: the core follows a few kernel pointers with it when it opens. */
SEC(PROGRAM_TYPE "/peek") int peek(void *ctx)
{
	struct walk_area *a = the_area();

	if (!a)
		return 1;
	a->config.caller = bpf_get_current_pid_tgid() >> 32;
	FOR_EACH(i, a->config.nr_slots, MAX_TARGETS)
		a->slots[i].entry = read_word(a->slots[i].addr);
	END_EACH
	return 0;
}

/* Copy the leaf tables of targets[0], one for each 2 MiB from table_start. */
SEC(PROGRAM_TYPE "/tables") int copy_tables(void *ctx)
{
	struct walk_area *a = the_area();
	w32 zero = 0;
	struct walk_tables *out = bpf_map_lookup_elem(&tables, &zero);

	if (!a || !out)
		return 1;
	RCU_LOCK();
	load_target(&a->config, &a->targets[0]);
	FOR_EACH(i, a->config.nr_tables, MAX_TABLES)
		const struct walk_format *f = &a->config.format;
		w64 leaf, at, pmd, go, again;

		at = walk_pmd_address(f, a->targets[0].root,
				      a->config.table_start + ((w64)i << 21), &leaf);
		pmd = WALK_READ(at) & walk_nonzero_mask(at);
		go = walk_points_mask(f, pmd);
		pmd &= ~go | walk_inside_mask(f, pmd);
		go = walk_points_mask(f, pmd);
		if (go) {
			probe_read_kernel(out->entry[i], sizeof(out->entry[i]),
					  (void *)walk_down(f, 0, pmd, go));
			again = WALK_READ(at);
			pmd &= ~walk_nonzero_mask((pmd ^ again) & (f->pfn_mask | 1));
		}
		out->pmd[i] = pmd | leaf;
		out->level[i] = 1 + (walk_nonzero_mask(leaf) & 1);
	END_EACH
	recheck_target(&a->config, &a->targets[0]);
	RCU_UNLOCK();
	return 0;
}

/* Copy the entries around each slots[].addr of targets[0], side by side from the first table on. */
SEC(PROGRAM_TYPE "/clumps") int copy_clumps(void *ctx)
{
	struct walk_area *a = the_area();
	w32 zero = 0;
	struct walk_tables *out = bpf_map_lookup_elem(&tables, &zero);

	if (!a || !out)
		return 1;
	RCU_LOCK();
	load_target(&a->config, &a->targets[0]);
	FOR_EACH(i, a->config.nr_slots, MAX_CLUMPS)
		const struct walk_format *f = &a->config.format;
		struct walk_slot *s = &a->slots[i];
		w64 leaf, at, pmd, go, again, first;

		at = walk_pmd_address(f, a->targets[0].root, s->addr, &leaf);
		pmd = WALK_READ(at) & walk_nonzero_mask(at);
		go = walk_points_mask(f, pmd);
		pmd &= ~go | walk_inside_mask(f, pmd);
		go = walk_points_mask(f, pmd);
		if (go) {
			first = s->addr & ~((w64)WALK_CLUMP * 4096 - 1);
			probe_read_kernel((w64 *)out->entry + i * WALK_CLUMP, WALK_CLUMP * sizeof(w64),
					  (void *)walk_slot_address(walk_down(f, 0, pmd, go), first, 12, 511));
			again = WALK_READ(at);
			pmd &= ~walk_nonzero_mask((pmd ^ again) & (f->pfn_mask | 1));
		}
		s->entry = pmd | leaf;
		s->meta = 1 + (walk_nonzero_mask(leaf) & 1);
	END_EACH
	recheck_target(&a->config, &a->targets[0]);
	RCU_UNLOCK();
	return 0;
}

/* What struct page and its folio's head say of pages[].pfn. */
SEC(PROGRAM_TYPE "/folios") int folios(void *ctx)
{
	struct walk_area *a = the_area();

	if (!a)
		return 1;
	RCU_LOCK();
	FOR_EACH(i, a->config.nr_pages, MAX_PAGES)
		const struct walk_config *c = &a->config;
		struct walk_page *p = &a->pages[i];
		w64 page = c->vmemmap + p->pfn * c->page_size;
		w64 link = read_word(page + c->page_head);
		w64 head = walk_select(walk_bit0_mask(link), link - 1, page);
		w64 flags = read_word(head + c->page_flags);
		w64 large = walk_nonzero_mask(flags & c->head_flag);

		p->head = head;
		p->flags = flags;
		p->mapping = read_word(head + c->page_mapping);
		p->mapcount = read_word(page + c->page_mapcount);
		p->order = read_word(head + (c->folio_order & large)) & large;
		p->large_mapcount = read_word(head + (c->folio_large_mapcount & large)) & large;
		p->entire_mapcount = read_word(head + (c->folio_entire_mapcount & large)) & large;
		p->mm_ids = read_word(head + (c->folio_mm_ids & large)) & large;
	END_EACH
	RCU_UNLOCK();
	return 0;
}
