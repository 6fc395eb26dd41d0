// SPDX-License-Identifier: Apache-2.0
// The access check of the backend "bpf": reads leaves through the walker, clears only what is young,
// exactly by folio, within a budget.
#pragma once
#include <stdbool.h>
#include <sys/uio.h>
#include "access/access.h"
#include "access/budget.h"
#include "access/kpage.h"
#include "access/target_memory.h"
#include "sys/failure.h"
#include "access/sweep.h"
#include "walker/walker.h"

struct access_settings {
	int64_t overhead_ns;		// CPU time per second for the monitoring thread
	int64_t first_sweep_ns;		// CPU time per second of the sweep at the start; 0: no sweep
	int64_t steady_sweep_ns;	// ... of later ones
	int follow_from;		// clear on the target's own CPU from so many clears on; 0: never
	const char *page_idle;		// bitmap to clear with, or NULL to use MADV_COLD
	bool ignore_folios;		// do not believe the walker's folio fields: for tests of kpage
};

enum pending_state {
	SAMPLE_OLD,	// not young when chosen: needed no clear
	SAMPLE_CLEARED,
	SAMPLE_MISSED,	// young, left as it was
	SAMPLE_UNSEEN,	// accesses cannot be seen
	SAMPLE_RESTING,	// of a target whose turn it is not: nobody looked
};

struct pending {
	uint64_t addr;
	uint32_t target;	// UINT32_MAX: the target is gone
	uint8_t state;
};

/** A young page that could be cleared. */
struct candidate {
	uint32_t sample;
	uint32_t checked;
	uint64_t start, size;	// the folio
	struct leaf leaf;
	uint32_t range;		// which range of the call it is in
	uint8_t proven;		// the kernel will clear it: what it asks for was seen to hold
	uint8_t chosen;
};

struct access_stats {
	uint64_t reads, young, clears, missed, stuck, followed;
};

struct page_map;

struct access_bpf {
	struct access_ops ops;
	struct page_map *map;	// told of what is cleared; not owned, NULL: there is none
	struct walker *walker;	// not owned
	bool closed;
	uint64_t targets_epoch;	// of the walker's targets that the memories belong to
	struct access_settings settings;
	struct kpage kpage;
	struct sweeper sweeper;
	struct budget budget;
	struct target_memory *memories;
	size_t nr_memories;
	struct pending *pending;
	size_t nr_pending;
	// Scratch of a turn, all of the same capacity except the first two, which have twice that.
	struct leaf_request *requests;
	struct leaf *leaves;
	struct candidate *candidates;
	struct iovec *ranges;
	uint64_t *pfns;
	uint8_t *outcomes;
	size_t capacity;
	struct access_stats stats;
	uint64_t cleared;	// since take_cleared()
	uint64_t zero_pfn;	// 0: unknown
	uint64_t random;
	int64_t cpu_mark;	// thread CPU time up to which everything is accounted
	int idle_fd;		// -1: MADV_COLD
	double read_ns, clear_ns;	// of the self-test
};

/**
 * @walker must outlive it; all of this is called from inside the walker's gate. NULL and @failure set
 * on failure. Runs the self-test.
 */
struct access_bpf *access_bpf_create(struct walker *walker, const struct access_settings *settings,
				     struct failure *failure);
/** Give all back but the structure itself: turns and calls of its ops end with -ESHUTDOWN. */
void access_bpf_close(struct access_bpf *access);
/** Once nobody knows it any more. */
void access_bpf_destroy(struct access_bpf *access);

/** A process to watch; @pidfd stays the caller's and must stay open. */
struct access_process {
	uint32_t id;
	int pid, pidfd;
};
/**
 * Replace the targets; those with a known id keep what is known of them, unless they exec'd: then
 * their new memory is accepted. 0 or -errno.
 */
int access_bpf_set_targets(struct access_bpf *access, const struct access_process *processes, size_t nr);
/** Tell the mappings of a target. 0 or -errno. */
int access_bpf_set_mappings(struct access_bpf *access, size_t target, const struct mapping *mappings,
			    size_t nr);
/** Whether nothing has changed that access_bpf_set_targets() and _set_mappings() would settle. */
bool access_bpf_is_settled(const struct access_bpf *access);
/** Whose turn it is not: a byte for each target, not 0 until told otherwise. New ones do not rest. */
int access_bpf_rest(struct access_bpf *access, const uint8_t *resting, size_t nr);
/** See struct access_ops. The only one here that goes through the walker's gate by itself. */
int access_bpf_turn(void *access, uint8_t *results, size_t nr_results,
		    const struct access_sample *samples, size_t nr);

/**
 * On a page of our own: it must read as accessed, be cleared, and read as accessed again after a
 * touch. Measures reads and young clears. Loses all targets. 0, or -ENOTSUP with @failure set.
 */
int access_bpf_self_test(struct access_bpf *access, struct failure *failure);

// Shared between access_bpf.c, access_clear.c and bulk_bpf.c.
/** Clear ranges of one target, from its own CPU where that pays; see clear_cold(). */
int access_advise_cold(struct access_bpf *access, size_t target, const struct iovec *ranges, size_t nr,
		       uint8_t *outcomes);
/** Decide about a young leaf: true if it may be cleared (then @candidate is filled), else @state is set. */
bool access_judge(struct access_bpf *access, struct pending *sample, struct leaf *leaf,
		  struct candidate *candidate);
/** Choose which of @nr candidates the budget pays for, clear those, settle the states of all. */
void access_clear(struct access_bpf *access, struct candidate *candidates, size_t nr);
/** The kernel refused to clear at @addr: find out how far that goes and why, and remember it. */
void access_refused(struct access_bpf *access, uint32_t target, uint64_t addr, const struct leaf *leaf);
