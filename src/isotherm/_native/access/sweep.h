// SPDX-License-Identifier: Apache-2.0
// Clears anonymous memory by ranges, a step between two ticks: bits set long ago would eat the budget.
#pragma once
#include "access/budget.h"
#include "access/kpage.h"
#include "access/target_memory.h"
#include "sys/page.h"
#include "sys/thp.h"
#include "walker/walker.h"

#define SWEEP_BLOCKS (SWEEP_UNIT / BLOCK)

struct sweeper {
	struct walker *walker;		// not owned
	struct kpage *kpage;		// not owned
	struct thp thp;
	struct bucket bucket;
	int idle_fd;			// the page_idle bitmap, not owned; negative: MADV_COLD
	int64_t steady_rate;		// ns of CPU per second once everything has been swept
	bool large_ok;			// large folios inside a range are not split
	bool first_done;
	size_t memory, unit;		// where to look next
	size_t found_none;		// units passed since one was due
	uint64_t steps, bytes, skipped;	// skipped: bytes left alone for fear of splitting
};

/**
 * @idle_fd: of the page_idle bitmap, negative: MADV_COLD. @first_ns, @steady_ns: CPU time per second of
 * the first sweep and of later ones; 0: none.
 */
void sweeper_init(struct sweeper *sweeper, struct walker *walker, struct kpage *kpage,
		  int idle_fd, int64_t first_ns, int64_t steady_ns);
void sweeper_deinit(struct sweeper *sweeper);
/** The unit to sweep now, if one is due and can be paid; @target is whose. */
struct sweep_unit *sweeper_due(struct sweeper *sweeper, struct target_memory *memories, size_t nr,
			       uint64_t now_ns, size_t *target);
/** Whether a sample's findings say that a unit's accessed bits are stale. */
bool sweep_unit_due(const struct sweep_unit *unit, uint64_t now_ns);
/**
 * Sweep @unit of @memory (walker target @target). Returns 0, -EINVAL if the kernel refused a range of
 * it (the caller remembers the mapping), or what clear_cold() returns.
 */
int sweeper_step(struct sweeper *sweeper, struct target_memory *memory, size_t target,
		 struct sweep_unit *unit, uint64_t now_ns);
/** Pay for a step: @ns of CPU time. */
void sweeper_pay(struct sweeper *sweeper, int64_t ns);
