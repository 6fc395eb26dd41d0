// SPDX-License-Identifier: Apache-2.0
// Which part of a range can be cleared with MADV_COLD without splitting a folio.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "access/kpage.h"
#include "access/target_memory.h"
#include "walker/walker.h"

/**
 * Shrink [start, end) to what is one private anonymous mapping right now; false if nothing is. A
 * kernel that cannot tell leaves it as it was when the map was read.
 */
bool whole_mapping(struct target_memory *memory, uint64_t *start, uint64_t *end);

/**
 * The pieces of [start, end), at most one per block of 2 MiB and one more, that a clear would split
 * no folio of; their number. @skipped grows by the bytes left out.
 */
size_t whole_pieces(struct walker *walker, const struct kpage *kpage, bool large_ok, size_t target, uint64_t start,
		    uint64_t end, struct iovec *pieces, uint64_t *skipped);
