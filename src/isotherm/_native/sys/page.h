// SPDX-License-Identifier: Apache-2.0
// Sizes of what page tables map; the walker refuses machines with others.
#pragma once
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE (UINT64_C(1) << PAGE_SHIFT)
#define BLOCK (UINT64_C(2) << 20)	// a level-2 entry, a page-table page
#define BLOCK_PAGES 512
