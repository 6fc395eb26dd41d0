// SPDX-License-Identifier: Apache-2.0
// How a map of pages reads and clears memory: whole leaf tables at a time, whatever is behind it.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sys/clock.h"

/** What the bits of a raw entry mean, and which of them tell a huge page from a table. */
struct entry_format {
	uint64_t present;	// any of these bits: a page is there
	uint64_t young, write;
	uint64_t unseen;	// any of these: its use cannot be seen; 0: entries do not tell
	uint64_t frame_mask;	// of the physical address; 0: entries do not tell
	uint64_t hidden;	// any of these in an upper entry that is no table: a huge page
	uint64_t straight;	// the address is inverted where none of these is set; 0: never is
	uint64_t zero_frame;	// of the kernel's page of zeros, which is nobody's memory; 0: unknown
	unsigned int leaf_bit, leaf_flip;	// see struct walk_format
};

/** Leaf tables side by side; valid until the next view. */
struct bulk_view {
	const uint64_t (*tables)[512];
	const uint64_t *upper;	// the entry that leads to each table, or is itself a page of 2 MiB
};

/** Addresses [start, end), and what came of clearing them. */
struct bulk_range {
	uint64_t start, end;
	uint8_t refused;	// enum bulk_refusal
};

/** Page-table entries side by side, within one table: of pages, or of huge pages where those are. */
struct bulk_clump {
	uint64_t start;		// address of the first
	uint16_t nr;		// 64 at most
	bool huge;		// entries of 2 MiB each
};

enum bulk_refusal {
	BULK_CLEARED,
	BULK_REFUSED,	// locked, or device memory
	BULK_TORN,	// would have to cut a large folio
	BULK_GONE,	// not mapped any more
};

/** Why the use of a page cannot be seen. */
enum map_unseen {
	MAP_SHARED,	// mapped by several processes
	MAP_LOCKED,
	MAP_TORN,	// part of a large folio that cannot be cleared as a whole
	MAP_OTHER,	// huge-page reserve, device memory
	MAP_SEEN = 15,
};

/** Which areas are cleared together, one process at once. */
enum map_kind {
	MAP_ANON,
	MAP_FILE,	// files, and memory of shmem and tmpfs
	NR_MAP_KINDS,
};

struct bulk_ops {
	void *ctx;
	struct entry_format format;
	bool frames_cleared;	// clear() reaches everybody who maps the frame
	/** CLOCK_MONOTONIC, or what stands for it. */
	uint64_t (*now_ns)(void *ctx);
	/** CPU time that was spent, where it is not that of this thread; NULL: it is. */
	int64_t (*cpu_ns)(void *ctx);
	/** CPU time of a target so far; -1: not known. NULL: nobody knows. */
	int64_t (*ran_ns)(void *ctx, size_t target);
	/** Look at @nr blocks of 2 MiB from @start. 0; -ESRCH: the target is gone. */
	int (*view)(void *ctx, size_t target, uint64_t start, size_t nr, struct bulk_view *view);
	/**
	 * Read @nr clumps: bit i of @present and @young is about entry i. Where a clump of pages lies in a huge page,
	 * or the other way round, nothing of it is present. 0; -ESRCH. NULL: there is no such way.
	 */
	int (*peek)(void *ctx, size_t target, const struct bulk_clump *clumps, size_t nr, uint64_t *present,
		    uint64_t *young);
	/** Clear what is young in ranges of one target, never a part of a folio. 0; -ESRCH. */
	int (*clear)(void *ctx, size_t target, struct bulk_range *ranges, size_t nr);
	/**
	 * Clear all areas of a kind of one target at once, shared pages too; NULL: there is no such way.
	 * 0; -ESRCH; -ENOTSUP. @held_ns: how long its address map was held.
	 */
	int (*clear_all)(void *ctx, size_t target, enum map_kind kind, uint64_t *held_ns);
	/**
	 * Tell of @nr pages, by entry, which stayed young when they were cleared, why: enum map_unseen,
	 * MAP_SEEN if they are just in use. @huge: they are pages of 2 MiB.
	 */
	void (*judge)(void *ctx, const uint64_t *entries, size_t nr, bool huge, uint8_t *why);
	/** Tell how many map each of @nr frames, in ascending order; 0: not known. NULL: nobody knows. */
	void (*mappers)(void *ctx, const uint64_t *frames, size_t nr, uint32_t *mappers);
	/** Make frames [@start, @end) whole folios. NULL: nobody knows. */
	void (*whole)(void *ctx, uint64_t *start, uint64_t *end);
	/** Tell which of @nr frames were cleared by who clears frames, as far as the kernel notes it. */
	void (*aged)(void *ctx, const uint64_t *frames, size_t nr, bool *aged);
	/** Tell which of @nr frames, in ascending order, hold anonymous memory. NULL: nobody knows. */
	void (*anonymous)(void *ctx, const uint64_t *frames, size_t nr, bool *anonymous);
};

/** CPU time of who works with this. */
static inline int64_t bulk_cpu_ns(const struct bulk_ops *ops)
{
	return ops->cpu_ns ? ops->cpu_ns(ops->ctx) : thread_ns();
}
static inline bool bulk_is_table(const struct entry_format *format, uint64_t upper)
{
	return upper & 1 && ((upper >> format->leaf_bit & 1) ^ format->leaf_flip) == 0;
}
static inline bool bulk_is_huge(const struct entry_format *format, uint64_t upper)
{
	return upper & (format->present | format->hidden) && !bulk_is_table(format, upper);
}
static inline uint64_t bulk_frame(const struct entry_format *format, uint64_t entry)
{
	if (format->straight && !(entry & format->straight))
		entry = ~entry;
	return (entry & format->frame_mask) >> 12;
}
