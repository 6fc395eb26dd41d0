// SPDX-License-Identifier: Apache-2.0
// Clears accessed bits of another process: process_madvise(MADV_COLD) on exact ranges.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum clear_outcome {
	CLEAR_DONE = 0,		// the kernel took it; pages that it skips in silence are not told apart
	CLEAR_REFUSED = 1,	// mlocked, hugetlb or PFN-mapped
	CLEAR_HOLE = 2,		// not, or not wholly, mapped
};

/**
 * Clear @nr ranges, telling the outcome of each in @outcomes. See advise_ranges().
 * 0, or a negative errno that holds for all that was left: -ESRCH, -EPERM, -EBADF, -ENOSYS.
 */
int clear_cold(int pidfd, const struct iovec *ranges, size_t nr, uint8_t *outcomes);
