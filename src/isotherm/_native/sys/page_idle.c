// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "sys/page_idle.h"

#define BITS_PER_WORD 64

int page_idle_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int page_idle_clear(int fd, const uint64_t *pfns, size_t nr)
{
	for (size_t i = 0; i < nr;) {
		uint64_t word = pfns[i] / BITS_PER_WORD, bits = 0;

		// Zero bits are ignored by the kernel, so neighbours can share one write.
		for (; i < nr && pfns[i] / BITS_PER_WORD == word; i++)
			bits |= 1ULL << pfns[i] % BITS_PER_WORD;
		// Frames beyond the end of memory (device memory) have no bit.
		if (pwrite(fd, &bits, sizeof(bits), word * sizeof(bits)) < 0 && errno != ENXIO)
			return -errno;
	}
	return 0;
}
