// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include "sys/fault_in.h"
#include "sys/page.h"

#define BATCH 512		// below UIO_MAXIOV

/** Read the byte at each of @nr places; the kernel stops at the first one that it cannot read. */
static int read_places(int pid, const struct iovec *places, size_t nr, uint64_t *pages)
{
	uint8_t bytes[BATCH];

	for (size_t at = 0; at < nr;) {
		struct iovec to = {bytes, nr - at};
		ssize_t n = process_vm_readv(pid, &to, 1, places + at, nr - at, 0);

		if (n < 0 && errno != EFAULT && errno != EINTR)
			return -errno;
		if (n < 0 && errno == EINTR)
			continue;
		if (n > 0)
			*pages += n;
		// Behind what was read stands one that cannot be.
		at += n > 0 ? (size_t)n : 0;
		if (at < nr)
			at++;
	}
	return 0;
}

int fault_in_pages(int pid, const struct iovec *ranges, size_t nr, uint64_t *pages)
{
	struct iovec places[BATCH];
	size_t n = 0;
	int err = 0;

	*pages = 0;
	for (size_t i = 0; i < nr && !err; i++) {
		uint64_t start = (uintptr_t)ranges[i].iov_base, end = start + ranges[i].iov_len;

		for (uint64_t addr = start; addr < end && !err; addr += PAGE) {
			places[n++] = (struct iovec){(void *)addr, 1};
			if (n == BATCH) {
				err = read_places(pid, places, n, pages);
				n = 0;
			}
		}
	}
	return err || !n ? err : read_places(pid, places, n, pages);
}
