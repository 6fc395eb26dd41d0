// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "sys/huge_scan.h"

// linux/fs.h, as of Linux 6.7
struct region {
	uint64_t start, end, categories;
};

struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, mask, anyof, returned;
};

#define SCAN_IOCTL _IOWR('f', 16, struct scan)
#define IS_HUGE (UINT64_C(1) << 6)

int huge_scan(int pagemap_fd, uint64_t *at, uint64_t end, struct huge_range *ranges)
{
	struct region found[HUGE_SCAN_RANGES];
	struct scan scan = {.size = sizeof(scan), .start = *at, .end = end, .vec = (uintptr_t)found,
			    .vec_len = HUGE_SCAN_RANGES, .mask = IS_HUGE, .returned = IS_HUGE};
	int nr;

	do {
		nr = ioctl(pagemap_fd, SCAN_IOCTL, &scan);
	} while (nr < 0 && errno == EINTR);
	if (nr < 0)
		return -errno;
	for (int i = 0; i < nr; i++)
		ranges[i] = (struct huge_range){found[i].start, found[i].end};
	*at = scan.walk_end > *at ? scan.walk_end : end;
	return nr;
}

bool huge_scan_works(void)
{
	struct huge_range ranges[HUGE_SCAN_RANGES];
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), found;
	uint64_t at = 0;

	if (fd < 0)
		return false;
	found = huge_scan(fd, &at, 0, ranges);
	close(fd);
	return found >= 0;
}
