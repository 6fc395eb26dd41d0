// SPDX-License-Identifier: Apache-2.0
// One mapping of another process, asked for by address (ioctl PROCMAP_QUERY on /proc/PID/maps, 6.11).
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct vma {
	uint64_t start, end, page_size;
	bool anonymous;		// no file behind it
	bool shared;
};

/** Open the map of @pid as it is now: an exec makes the descriptor useless. -errno on failure. */
int vma_open(int pid);
/** The mapping that holds @addr: 0; -ENOENT: there is none; -ENOTTY: this kernel cannot tell. */
int vma_query(int fd, uint64_t addr, struct vma *vma);
