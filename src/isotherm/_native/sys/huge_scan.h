// SPDX-License-Identifier: Apache-2.0
// Where huge pages are mapped in another process, by its /proc/PID/pagemap (PAGEMAP_SCAN, Linux 6.7).
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct huge_range {
	uint64_t start, end;
};

#define HUGE_SCAN_RANGES 128

/**
 * The next parts of [*@at, @end) that huge pages map, at most HUGE_SCAN_RANGES of them; their number,
 * or -errno. *@at becomes where the scan ended: it goes on until that is @end.
 */
int huge_scan(int pagemap_fd, uint64_t *at, uint64_t end, struct huge_range *ranges);
/** Whether this kernel has it. */
bool huge_scan_works(void);
