// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "sys/advise.h"

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#define MAX_RETRIES 100

/** How many of @nr ranges go into one call. */
static size_t call_size(const struct iovec *ranges, size_t nr, size_t max_bytes)
{
	size_t n = 1, bytes = ranges[0].iov_len;

	while (n < nr && n < ADVISE_MAX_VECTOR && (!max_bytes || bytes + ranges[n].iov_len <= max_bytes))
		bytes += ranges[n++].iov_len;
	return n;
}

/** Whether an error is about one range, and not about the target or the call. */
static bool of_range(int code)
{
	return code == EINVAL || code == ENOMEM || code == EBUSY || code == EAGAIN || code == EFAULT;
}

int advise_ranges(int pidfd, int advice, size_t max_bytes, const struct iovec *ranges, size_t nr,
		  uint8_t *outcomes)
{
	size_t at = 0, retries = 0;

	while (at < nr) {
		size_t n = call_size(ranges + at, nr - at, max_bytes);
		long done = syscall(SYS_process_madvise, pidfd, ranges + at, n, advice, 0);

		if (done < 0) {
			// A collapse has tried again by itself.
			bool again = errno == EINTR || (errno == EAGAIN && advice != MADV_COLLAPSE);

			if (again && ++retries <= MAX_RETRIES)
				continue;
			if (!of_range(errno))
				return -errno;
			outcomes[at++] = errno;
			continue;
		}
		size_t first = at;

		for (size_t left = done; at < first + n && left >= ranges[at].iov_len; at++) {
			left -= ranges[at].iov_len;
			outcomes[at] = 0;
		}
		if (at == first)	// never seen; without progress the loop would not end
			outcomes[at++] = ENOMEM;
	}
	return 0;
}
