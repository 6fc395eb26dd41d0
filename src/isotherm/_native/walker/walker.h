// SPDX-License-Identifier: Apache-2.0
// Reads leaf page-table entries of other processes through a BPF program, many in one system call.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum leaf_state {
	LEAF_NONE = 0,		// nothing was ever mapped here, or a table is missing
	LEAF_PRESENT = 1,	// a page is mapped (PROT_NONE pages included)
	LEAF_SWAPPED = 2,	// swapped out, or under migration: an entry without a page
	LEAF_UNREAD = 3,	// the target is gone, or the table was freed while it was read
};

enum folio_flag {
	FOLIO_KNOWN = 1,	// the fields below are true; without it nothing is known of the folio
	FOLIO_SHARED = 2,	// mapped more than once
	FOLIO_PARTIAL = 4,	// not all of it is mapped here as one piece: never clear it
	FOLIO_LRU = 8,
	FOLIO_MLOCKED = 16,	// unevictable or mlocked
	FOLIO_ANON = 32,
};

struct leaf {
	uint64_t pfn;
	uint8_t state;		// enum leaf_state
	uint8_t level;		// 0: 4 KiB, 1: 2 MiB, 2: 1 GiB (x86-64 with 4 KiB pages)
	uint8_t young, dirty, write;
	uint8_t folio_flags;	// enum folio_flag
	uint8_t folio_order;	// the folio has 4096 << order bytes
	uint8_t pad;
	uint32_t folio_index;	// pages from the folio's head to this page
	uint32_t pad2;
};

struct leaf_request {
	uint64_t addr;
	uint32_t target;	// index of walker_set_targets()
	uint32_t plain;		// its folio does not matter, whatever walker_read() is asked
};

enum walker_target_state {
	WALKER_ALIVE = 0,
	WALKER_GONE = 1,	// no such process, or it has no memory map any more
	WALKER_EXECED = 2,	// same process, other memory map
	WALKER_REUSED = 3,	// the pid belongs to another process now
};

struct walker_target {
	int32_t pid;		// in: as the initial PID namespace counts
	uint8_t state;		// out, of every read: enum walker_target_state
	uint8_t single_cpu;	// out: its page tables are in use on one CPU only
	int16_t cpu;		// out: that CPU, or where its main thread ran last; -1 unknown
	uint64_t start_time;	// in: 0 = take what is found first; else nanoseconds since boot, as the kernel keeps it
	uint64_t mm;		// in: 0 = take what is found first
};

struct walker;
struct failure;
struct page_format;
struct gate;

/** The BPF object files, as read from the package: isotherm/bpf/walk_{base,fast}.bpf.o. */
struct walker_objects {
	const void *base, *fast;
	size_t base_size, fast_size;
};

/** What was found when the walker was opened: facts for `doctor`. */
struct walker_facts {
	bool fast;			// the kernel took the program that needs kfuncs
	bool folios;			// walker_read() can tell of folios
	uint8_t levels;			// of page tables: 3 to 5
	uint64_t direct_map;		// virtual address of physical address 0
	const char *direct_map_source;	// "self-check", "kcore" or "pagemap"
	uint32_t max_tables;		// of one walker_view_tables()
	uint32_t max_clumps;		// of one walker_view_clumps()
	char fast_why_not[256];		// empty if fast
	char folios_why_not[256];	// empty if folios
};

/**
 * Load the programs, find the direct map, check on our own page. NULL: @failure says what failed.
 * A walker is used by one thread at a time: all below is called from inside its gate, by whoever
 * shares it.
 */
struct walker *walker_open(const struct walker_objects *objects, struct failure *failure);
const struct walker_facts *walker_facts(const struct walker *walker);
struct gate *walker_gate(struct walker *walker);
/** Give all back but the structure itself, and close the gate. */
void walker_close(struct walker *walker);
/** Once nobody knows it any more. */
void walker_free(struct walker *walker);

/** Replace the targets; the walker keeps a copy. 0 or -errno. */
int walker_set_targets(struct walker *walker, const struct walker_target *targets, size_t nr);
/** The walker's copy, brought up to date by every read; @nr: how many, NULL if it does not matter. */
const struct walker_target *walker_targets(const struct walker *walker, size_t *nr);
/** Changes with every walker_set_targets(): indices of before mean nothing any more. */
uint64_t walker_targets_epoch(const struct walker *walker);
/** Take a target that exec'd (or is new) as it is found at the next read. */
void walker_accept(struct walker *walker, size_t target);

/**
 * Read @nr leaves into @out, any number, in as few system calls as possible. With @folios, also tell
 * what is known of the folio of each young page (costs more; FOLIO_KNOWN is missing where the kernel
 * does not let us know). 0 or -errno; a target that is gone is no error: its leaves are LEAF_UNREAD.
 */
int walker_read(struct walker *walker, const struct leaf_request *requests, size_t nr,
		struct leaf *out, bool folios);

/**
 * Copy whole leaf tables: for each of @nr 2 MiB-aligned steps from @start, 512 raw entries to @tables
 * (zero where there is no table) and the PMD entry to @pmds (a 2 MiB leaf has its bits there).
 * @nr at most WALKER_MAX_TABLES.
 */
#define WALKER_MAX_TABLES 2048
int walker_read_tables(struct walker *walker, size_t target, uint64_t start, size_t nr,
		       uint64_t (*tables)[512], uint64_t *pmds);

/**
 * The same without a copy, @nr at most walker_facts.max_tables (-E2BIG): the tables lie in memory shared with the program, until the next call of either function.
 * Where @pmds[i] does not point to a table (walker_is_table()), (*tables)[i] is left over from before.
 * -ESRCH: the target is gone, see its state.
 */
int walker_view_tables(struct walker *walker, size_t target, uint64_t start, size_t nr,
		       const uint64_t (**tables)[512], uint64_t **pmds);
/**
 * Likewise the entries around each of @nr addresses, at most walker_facts.max_clumps (-E2BIG):
 * (*entries)[i] are those of the aligned clump that holds @addrs[i], left over from before where
 * @pmds[i] does not point to a table.
 */
#define WALKER_CLUMP 16
int walker_view_clumps(struct walker *walker, size_t target, const uint64_t *addrs, size_t nr,
		       const uint64_t (**entries)[WALKER_CLUMP], uint64_t *pmds);
bool walker_is_table(const struct walker *walker, uint64_t pmd);
/** The format of the entries in these tables. */
const struct page_format *walker_format(const struct walker *walker);
/** Take an entry of these tables apart, @level 0 for one of @tables, 1 for one of @pmds. */
struct leaf walker_decode(const struct walker *walker, uint64_t entry, int level, uint64_t addr);
