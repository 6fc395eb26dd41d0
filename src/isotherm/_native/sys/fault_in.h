// SPDX-License-Identifier: Apache-2.0
// Reads a byte of pages of another process: faults them in, and tells the kernel that they are wanted.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/**
 * Read a byte of every page of @nr ranges with process_vm_readv(), which marks a page as wanted and
 * leaves its accessed bit alone. What cannot be read is passed over; @pages: how many were read.
 * 0, or -ESRCH, -EPERM, -ENOSYS.
 */
int fault_in_pages(int pid, const struct iovec *ranges, size_t nr, uint64_t *pages);
