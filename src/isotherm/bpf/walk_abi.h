/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the BPF programs and the C core write to each other: two map values of fixed layout.
 *
 * Nothing of the running kernel is compiled in. The offsets of its structures and the format of its
 * page tables are parameters in struct walk_config, so one object serves every kernel and machine.
 * Compiled without system headers.
 */
#pragma once

typedef __UINT64_TYPE__ w64;
typedef __UINT32_TYPE__ w32;
typedef __INT32_TYPE__ s32w;

/* One call of each program handles at most so many. The base program's loops are unrolled by the
 * verifier, whose time grows with them; the fast program's are not. */
#define WALK_BASE_SLOTS 256
#define WALK_BASE_TARGETS 32
#define WALK_BASE_PAGES 32
#define WALK_BASE_TABLES 64
#define WALK_BASE_CLUMPS 64
#define WALK_FAST_SLOTS 4096
#define WALK_FAST_TARGETS 4096
#define WALK_FAST_PAGES 1024
#define WALK_FAST_TABLES 512
#define WALK_FAST_CLUMPS WALK_FAST_SLOTS
/* Entries that are copied around one address: two lines of a cache. */
#define WALK_CLUMP 16
/* Words of mm_cpumask() that are looked at: 1024 CPUs. */
#define WALK_CPU_WORDS 16

struct walk_format {
	w64 direct_map;	 /* virtual address of physical address 0 */
	w64 pfn_mask;	 /* bits of an entry that are a physical address */
	w64 table_limit; /* a table never lies at or above this physical address */
	w64 has5, has4;	 /* all ones if the table of that level exists, else 0 */
	w64 top_index;	 /* mask of the index into the level-5 table */
	w32 leaf_bit;	 /* in an upper table: bit that tells a leaf from a table ... */
	w32 leaf_flip;	 /* ... 0 if a set bit means leaf, 1 if a clear one does */
};

struct walk_config {
	struct walk_format format;
	w32 nr_targets, nr_slots, nr_pages, nr_tables;
	w64 table_start;
	w64 caller;	/* out, of peek: our own pid as the initial PID namespace counts */
	/* byte offsets in struct task_struct */
	w32 task_tgid, task_leader, task_start, task_mm, task_cpu;
	/* and in struct mm_struct; words of the CPU mask to read, 0 for none */
	w32 mm_pgd, mm_users, mm_cpumask, cpu_words;
	/* in struct page and the head of a folio, rounded down to whole words */
	w32 page_size, page_head, page_flags, page_mapping, page_mapcount;
	w32 folio_order, folio_large_mapcount, folio_entire_mapcount, folio_mm_ids;
	w64 head_flag;	/* 1 << PG_head */
	w64 vmemmap;	/* virtual address of the struct page of frame 0 */
};

struct walk_target {
	/* in */
	w64 task;	/* the task's address as last resolved; may be stale, see walk_programs.h */
	w64 want_mm, want_start;
	s32w want_tgid;
	s32w tid;	/* of the thread to look up: the pid, unless the main thread has ended */
	/* out, all as found; root is 0 unless everything is as wanted */
	w64 mm, start, pgd, root;
	w64 pgd_after;
	w32 users_after;
	s32w tgid;
	s32w cpu;
	w32 one_cpu;
};

/* walk_slot.meta */
#define WALK_LEVEL 3
#define WALK_UNSTABLE 0x80

struct walk_slot {
	w64 addr;	/* in */
	w32 target;	/* in: index of walk_area.targets */
	w32 meta;	/* out: level, WALK_UNSTABLE if a table changed while it was followed */
	w64 entry;	/* out: the raw leaf entry */
};

struct walk_page {
	w64 pfn;	/* in */
	/* out, raw words */
	w64 head, flags, mapping, mapcount;
	/* out, 0 for an order-0 folio */
	w64 order, large_mapcount, entire_mapcount, mm_ids;
};

struct walk_area {
	struct walk_config config;
	struct walk_target targets[WALK_FAST_TARGETS];
	struct walk_slot slots[WALK_FAST_SLOTS];
	struct walk_page pages[WALK_FAST_PAGES];
};

struct walk_tables {
	w64 entry[WALK_FAST_TABLES][512];
	w64 pmd[WALK_FAST_TABLES];	/* 0 also if the table changed while it was copied */
	w64 level[WALK_FAST_TABLES];	/* of pmd[]: 2 if it is a 1 GiB leaf */
};

/* What the task iterator of the base object writes for each process that has a memory map. */
struct walk_process {
	w64 task;
	s32w tgid, tid;
};
