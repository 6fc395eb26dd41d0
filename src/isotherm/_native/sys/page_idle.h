// SPDX-License-Identifier: Apache-2.0
// Clears accessed bits through /sys/kernel/mm/page_idle/bitmap: one bit per page frame, of the head
// frame for a folio. Works on shared and mlocked pages, flushes no TLB, never splits a folio.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define PAGE_IDLE_BITMAP "/sys/kernel/mm/page_idle/bitmap"

/** Open the bitmap; -errno (-ENOENT: the kernel has none). Close with close(2). */
int page_idle_open(const char *path);
/** Mark @nr head frames idle, which clears their accessed bits in every process. 0 or -errno. */
int page_idle_clear(int fd, const uint64_t *pfns, size_t nr);
