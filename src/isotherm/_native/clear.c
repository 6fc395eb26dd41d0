// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "clear.h"

#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#define MAX_RETRIES 100

int clear_cold(int pidfd, const struct iovec *ranges, size_t nr, uint8_t *outcomes)
{
	size_t at = 0, retries = 0;

	while (at < nr) {
		size_t n = nr - at < CLEAR_MAX_VECTOR ? nr - at : CLEAR_MAX_VECTOR;
		long done = syscall(SYS_process_madvise, pidfd, ranges + at, n, MADV_COLD, 0);

		if (done < 0) {
			if (errno == EINVAL)
				outcomes[at++] = CLEAR_REFUSED;
			else if (errno == ENOMEM)
				outcomes[at++] = CLEAR_HOLE;
			else if ((errno != EINTR && errno != EAGAIN) || ++retries > MAX_RETRIES)
				return -errno;
			continue;
		}
		size_t first = at;

		for (size_t left = done; at < first + n && left >= ranges[at].iov_len; at++) {
			left -= ranges[at].iov_len;
			outcomes[at] = CLEAR_DONE;
		}
		if (at == first)	// never seen; without progress the loop would not end
			outcomes[at++] = CLEAR_HOLE;
	}
	return 0;
}
