// SPDX-License-Identifier: Apache-2.0
// process_madvise() on many ranges of another process, each with an outcome of its own.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/** Ranges per call: the target waits for its mmap_lock that long at most. */
#define ADVISE_MAX_VECTOR 64

/**
 * Advise @nr ranges, telling in @outcomes of each 0 or the errno of its refusal (EINVAL, ENOMEM, EBUSY,
 * EAGAIN, EFAULT). The kernel stops a vector at a range that it refuses; the rest is taken up again
 * behind it. A call takes at most @max_bytes, or one range that is larger; 0: no limit.
 * 0, or a negative errno that holds for all that was left: -ESRCH, -EPERM, -EBADF, -ENOSYS.
 */
int advise_ranges(int pidfd, int advice, size_t max_bytes, const struct iovec *ranges, size_t nr,
		  uint8_t *outcomes);
