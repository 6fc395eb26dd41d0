// SPDX-License-Identifier: Apache-2.0
// What /proc/kpageflags and /proc/kpagecount say of page frames: the slower witness where the BPF
// program cannot look at folios. Needs CAP_SYS_ADMIN.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "walker/walker.h"

struct kpage {
	int flags_fd, count_fd;	// -1: not available
};

void kpage_open(struct kpage *kpage);
void kpage_close(struct kpage *kpage);
static inline bool kpage_available(const struct kpage *kpage)
{
	return kpage->flags_fd >= 0 && kpage->count_fd >= 0;
}

/** Whether a word of /proc/kpageflags is of anonymous memory. */
bool kpage_is_anonymous(uint64_t flags);

/** Whether one is of memory that nobody was noted to use since DAMON, or page_idle, cleared it. */
bool kpage_is_aged(uint64_t flags);

/** Have [@start, @end) begin and end with whole folios, as far as can be told. */
void kpage_whole(const struct kpage *kpage, uint64_t *start, uint64_t *end);

/** Fill the folio fields of a present @leaf; FOLIO_KNOWN stays missing if they cannot be told. */
void kpage_folio(const struct kpage *kpage, struct leaf *leaf);

/**
 * Whether MADV_COLD on @nr neighbouring pages, whose frames are @pfns (0: no page), would split no
 * folio: all of them are single pages or, if @large_ok, large folios that lie inside as a whole.
 */
bool kpage_whole_folios(const struct kpage *kpage, const uint64_t *pfns, size_t nr, bool large_ok);
