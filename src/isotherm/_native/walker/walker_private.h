// SPDX-License-Identifier: Apache-2.0
// What the parts of the walker share: walker.c (targets and reading), walker_open.c (loading),
// walker_layout.c (offsets), walker_map.c (finding the direct map), walker_task.c (finding processes),
// walker_folio.c.
#pragma once
#include "loader/bpf_load.h"
#include "walker/page_table.h"
#include "sys/failure.h"
#include "sys/gate.h"
#include "walker/walker.h"

enum kernel_symbol {
	SYMBOL_AREA, SYMBOL_TABLES, SYMBOL_WORD, SYMBOL_RDONLY_CAST, SYMBOL_ITER_NEW, SYMBOL_ITER_NEXT,
	SYMBOL_ITER_DESTROY, SYMBOL_RCU_LOCK, SYMBOL_RCU_UNLOCK, SYMBOL_TASK_FROM_PID,
	SYMBOL_TASK_RELEASE, NR_SYMBOLS,
};

// How the walker keeps track of a target besides what it tells of it.
struct tracked {
	uint64_t task;	// address of the task, 0 = to be looked up
	int32_t tid;	// of the thread that was found to stand for the process
	uint32_t local;	// index in this call, valid if call is the current one
	uint64_t call;
};

struct walker {
	struct gate gate;
	struct walker_facts facts;
	enum failure_code failed;	// why it could not be opened
	struct page_format format;
	struct bpf_symbol symbols[NR_SYMBOLS];
	struct bpf_object object;	// the one whose programs are loaded; data is ours
	struct walk_area *area;
	struct walk_tables *tables;
	int area_fd, tables_fd;
	int walk_fd, peek_fd, find_fd, folios_fd, copy_fd, clumps_fd;
	int iter_type;			// BTF number of bpf_iter_task
	uint32_t max_slots, max_targets, max_pages, max_tables;
	uint64_t limit_checked_ns;
	// how to take apart the raw words of walk_page
	struct {
		uint8_t mapcount_shift, order_shift, large_shift, entire_shift;
		bool has_large, has_entire, has_mm_ids;
		int lru, mlocked, unevictable;	// bits of page flags
		int stack_area, area_pages, area_addr;	// offsets: task_struct, vm_struct, vm_struct
	} folio;

	struct walker_target *targets;
	struct tracked *tracked;
	size_t nr_targets;
	uint64_t targets_epoch;
	uint64_t call;
	uint32_t *local_target;		// max_targets: index of each target of this call
	uint32_t *slot_request;		// max_slots: request of each slot of this call
};

/** Write a reason to @error; returns @code. */
int walker_fail(char *error, size_t size, int code, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/** Offsets of the running kernel's structures into the area, numbers of its functions. */
int walker_find_layout(struct walker *walker, char *error, size_t error_size);
/** Words of mm_cpumask() that the loaded programs can look at, 0 if it means nothing here. */
uint32_t walker_cpu_words(const struct walker *walker);

/** Run the walk over what is in the area. 0 or -errno. */
int walker_run(struct walker *walker, uint32_t nr_targets, uint32_t nr_slots);
/** Fill the area's target @local from target @index. */
void walker_stage(struct walker *walker, uint32_t local, size_t index);
/** Read one address from @root, a top-level table, whatever the target. */
int walker_peek_leaf(struct walker *walker, uint64_t root, uint64_t addr, uint64_t *entry,
		     uint32_t *meta);
/** Read the kernel's word at @address. */
int walker_peek(struct walker *walker, uint64_t address, uint64_t *word);

/** Look up the tasks of @nr targets in @indices and bring their states up to date. 0 or -errno. */
int walker_resolve(struct walker *walker, const uint32_t *indices, size_t nr);

/** Find the direct map, decide on the levels, check on a page of ours; @error says why not. */
int walker_find_map(struct walker *walker, char *error, size_t error_size);
/** End of physical memory, or the end of the format's if it cannot be known. */
uint64_t walker_memory_end(const struct page_format *format);

/** What walker_view_tables() needs, made when it is first called: 8 MiB. */
int walker_tables_init(struct walker *walker);
/** Likewise walker_view_clumps(), in the same memory. */
int walker_clumps_init(struct walker *walker);

/** Find the array of struct page; -errno with why_not in the facts. */
int walker_folios_init(struct walker *walker);
/** Tell the folios of the young ones of @nr leaves. 0 or -errno. */
int walker_folios_read(struct walker *walker, const struct leaf_request *requests, size_t nr,
		       struct leaf *leaves);
