// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "sys/vma.h"

// linux/fs.h of 6.11; headers of the machine that builds may be older.
struct procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
#define QUERY _IOWR('f', 17, struct procmap_query)
#define VMA_SHARED 8

int vma_open(int pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int vma_query(int fd, uint64_t addr, struct vma *vma)
{
	struct procmap_query query = {.size = sizeof(query), .query_addr = addr};

	if (ioctl(fd, QUERY, &query) < 0)
		return -errno;
	vma->start = query.vma_start;
	vma->end = query.vma_end;
	vma->page_size = query.vma_page_size;
	vma->anonymous = !query.inode && !query.dev_major && !query.dev_minor;
	vma->shared = query.vma_flags & VMA_SHARED;
	return 0;
}
