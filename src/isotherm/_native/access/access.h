// SPDX-License-Identifier: Apache-2.0
// The Look seam, seen from C. core/look.py is the same seam in Python and says what each word means.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define ACCESS_OPS_CAPSULE "isotherm.access_ops"

enum check_result {
	CHECK_IDLE = 0,
	CHECK_ACCESSED = 1,
	CHECK_MISSED = 2,
	CHECK_UNOBSERVABLE = 3,
	/**
	 * Flag on CHECK_IDLE and CHECK_ACCESSED: the page was young when chosen, and was cleared. An ops
	 * that leaves some young pages uncleared (CHECK_MISSED) must set it: the rate at which cleared
	 * young pages are accessed again stands for the missed ones. Others never set it.
	 */
	CHECK_WAS_YOUNG = 4,
	/** The target was not looked at, because others had their turn: what was known of it stands. */
	CHECK_RESTING = 8,
};

struct access_sample {
	uint64_t addr;
	uint32_t target;	// index into the targets of the ops
	uint32_t checked;	// young pages of its region cleared and checked so far this window
};

/**
 * A batched access check.
 *
 * turn() checks the batch given to the previous turn, writing one enum check_result for each of its
 * @nr_results samples into @results (NULL if the caller has no use for them), then prepares @samples,
 * which the ops copies if it needs them later. @nr may be 0: check only. The first turn has nothing to check, and
 * a batch may be given up: the next turn then has no @results either.
 * One call for both, because an ops may then read both in one system call.
 * Returns 0, or a negative errno: -ESRCH: every target is gone; -ESHUTDOWN: it was closed; -ESTALE:
 * the batch or the targets are not those that the caller knows, because somebody else uses it too.
 */
struct access_ops {
	int (*turn)(void *ctx, uint8_t *results, size_t nr_results,
		    const struct access_sample *samples, size_t nr);
	/** Accessed bits cleared since the last call of this function. */
	uint64_t (*take_cleared)(void *ctx);
	void *ctx;
};
