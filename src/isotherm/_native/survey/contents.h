// SPDX-License-Identifier: Apache-2.0
// How many small pages of a huge page are nothing but zeros: read from its memory by
// process_vm_readv(), which sets no accessed bit of a huge page (x86: pmdp_set_access_flags() writes
// dirty entries only). What was read is overwritten by the next read; numbers alone are kept.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Pages of zeros of a huge page: at least, and at most. */
struct zeros {
	uint16_t least, most;
};

/** A huge page: @space is a number for its address space, @frame its first one, 0 if not known. */
struct huge_page {
	uint64_t space, block, frame;
};

struct contents_entry;

struct contents {
	struct contents_entry *entries;	// a hash of (space, block)
	size_t nr, nr_slots;		// slots taken; a power of two, or 0
	uint8_t *buffer;
	int64_t credit_ns;		// CPU time that may be spent on reading
	uint64_t credited_ns;		// when it was given, CLOCK_MONOTONIC
	uint64_t nr_read;		// huge pages, in part or whole
	int error;			// why one could not be read, since contents_take_error()
};

/** One huge page while it is read. */
struct reading {
	int pid;
	struct huge_page page;
	struct zeros zeros;
	size_t done;			// small pages
	int64_t begun_ns;
};

void contents_deinit(struct contents *contents);

/**
 * What is known of a page: all that may be true, {0, 512}, if nothing is. What was found holds for 2 s,
 * and twice as long each time that it is found again, up to 256 s, while the page has the same frames.
 */
struct zeros contents_recall(const struct contents *contents, const struct huge_page *page,
			     uint64_t now_ns);
/** Whether what is known of a page made these @rules refuse it, so that it need not be looked at. */
bool contents_refused(const struct contents *contents, const struct huge_page *page, uint64_t rules,
		      uint64_t now_ns);
/** Keep what was found; @refused_by: the rules that refused the page for it, 0 if none did. */
void contents_keep(struct contents *contents, const struct huge_page *page, struct zeros zeros,
		   uint64_t refused_by, uint64_t now_ns);
/** There is no huge page here any more; that it was split is remembered. */
void contents_forget(struct contents *contents, uint64_t space, uint64_t block);

/** A page was split for its zeros: for a while, as of contents_recall(), it is not to be made huge. */
void contents_split(struct contents *contents, uint64_t space, uint64_t block, uint64_t now_ns);
bool contents_was_split(const struct contents *contents, uint64_t space, uint64_t block,
			uint64_t now_ns);

/** Begin to read; false if no CPU time is left for it, of which there is 2 % of a CPU. */
bool contents_begin(struct contents *contents, struct reading *reading, uint64_t now_ns);
/** Read on, and narrow reading->zeros; false at the end, or if it cannot be read. */
bool contents_more(struct contents *contents, struct reading *reading);
void contents_end(struct contents *contents, const struct reading *reading);
/** The error of a page that could not be read since the last call, 0 if there was none. */
int contents_take_error(struct contents *contents);
