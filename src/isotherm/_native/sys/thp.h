// SPDX-License-Identifier: Apache-2.0
// Whether large folios of anonymous memory may be mapped page by page anywhere on this machine.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define THP_MAX_SIZES 24

struct thp {
	int nr_anon_fds[THP_MAX_SIZES];	// of sizes below a PMD's: number of anonymous folios
	size_t nr_fds;
	int pmd_fd;			// the same for PMD-sized ones
	int meminfo_fd;
	bool known;			// the kernel has these counters (6.12)
	uint64_t pmd_kib;
	uint64_t asked_ns;
	bool none;			// last answer
};

void thp_open(struct thp *thp);
void thp_close(struct thp *thp);
/** True only if there surely are none; asks the kernel at most once a second. */
bool thp_none_split(struct thp *thp, uint64_t now_ns);
