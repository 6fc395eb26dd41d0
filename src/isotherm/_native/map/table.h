// SPDX-License-Identifier: Apache-2.0
// What the map knows of the 512 pages of a leaf table, or of one huge page, in a byte each.
//
// Time goes by in epochs: one begins when the table's accessed bits are cleared, and its pages are
// *armed*: the next read that finds one young knows that it was used since. A page's byte holds the
// epoch in which it was last used and how soon after the epoch's beginning that was seen. A page that
// was used is not armed until the next epoch; what happens to it meanwhile is not known.
// The newest epochs are kept apart; older ones are joined so that their ends grow like powers.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "map/bulk.h"
#include "map/scale.h"

#define MAP_PAGES 512
#define MAP_EPOCHS 11
#define MAP_HUGE_BYTES 64

// High half of a page's byte: two for each of the newest epochs, of which the second one says that the page
// was used in the epoch before as well; one for each that is older; or one of these, in this order.
enum {
	MAP_UNTOUCHED = 13,	// armed ever since it was armed first
	MAP_UNSEEN = 14,	// low half: enum map_unseen
	MAP_NEW = 15,		// there, and never armed
};
#define MAP_PAIRED 2	// so many epochs have two
#define MAP_AGAIN 0x10
#define MAP_BYTE(epoch, low) \
	((uint8_t)(((epoch) < MAP_PAIRED ? 2 * (epoch) : (epoch) < MAP_EPOCHS ? (epoch) + MAP_PAIRED : (epoch)) << 4 | (low)))
#define MAP_ABSENT 0xff	// no page
// Low half instead of a class: whether it was used in that epoch is not known, but not after it.
#define MAP_PERHAPS 15
// Likewise, but it likely was: it came to this address, with whoever uses it or moved from another one.
#define MAP_LIKELY (MAP_PERHAPS | MAP_AGAIN)
#define MAP_LIKELY_OLD 14	// the same in epochs that have one byte, where the class tells nothing
static inline unsigned int map_epoch_of(uint8_t byte)
{
	unsigned int half = byte >> 4;

	return half < 2 * MAP_PAIRED ? half / 2 : half < MAP_UNTOUCHED ? half - MAP_PAIRED : half;
}
/** Of a page used in one of the newest epochs: in the one before it as well. */
static inline bool map_was_again(uint8_t byte)
{
	return byte < MAP_BYTE(MAP_PAIRED, 0) && byte & MAP_AGAIN;
}

/** Whether it is not known if a page was used in its epoch. */
static inline bool map_was_perhaps(uint8_t byte)
{
	unsigned int epoch = map_epoch_of(byte), low = byte & 15;

	return epoch < MAP_EPOCHS && (low == MAP_PERHAPS || (epoch >= MAP_PAIRED && low == MAP_LIKELY_OLD));
}
/** Of such a page: it likely was. */
static inline bool map_was_likely(uint8_t byte)
{
	return map_epoch_of(byte) < MAP_PAIRED ? map_was_again(byte) : (byte & 15) == MAP_LIKELY_OLD;
}

/**
 * Reads since the beginning of an epoch: a bit per class at whose end one was, or a little late, and
 * when the last one of each of the shortest classes was, in parts of MAP_READ_PARTS of the class's end.
 * A late read of a longer class is not late by much.
 */
#define MAP_TIMED 4
#define MAP_READ_PARTS 200
struct map_reads {
	uint16_t classes;
	uint8_t at[MAP_TIMED];
};
void map_reads_add(struct map_reads *reads, uint64_t passed_ns);
/** The class of what is seen so long after the beginning of the epoch, and was not by these reads. */
unsigned int map_reads_class(const struct map_reads *reads, uint64_t passed_ns);

struct map_table {
	map_time began[MAP_EPOCHS];	// of each epoch, the newest first
	map_time first;			// when pages were armed for the first time
	map_time read;			// the last read
	uint32_t fresh : 10;		// pages used in this epoch that were not in the one before
	uint32_t used : 10, present : 10;
	uint32_t huge : 1;		// a single page of 2 MiB
	uint32_t waiting : 1;		// has new pages
	uint32_t unseen : 10;		// pages whose use is not seen
	uint32_t shared : 10;		// of them: as others map them too
	uint32_t nr_epochs : 4;		// 0: never armed
	uint32_t calm : 4;		// epochs get twice as long so many times
	uint32_t suspect : 1;		// pages that always are in use may not be cleared any more
	struct map_reads reads, reads_before;	// of this epoch, of the one before
	uint8_t pages[];		// MAP_PAGES, or MAP_HUGE_BYTES of which the first one counts
};

/** Whether a page belongs: a bit each. NULL: all of them do. */
typedef const uint64_t *map_mask;
static inline bool map_in(map_mask mask, size_t i)
{
	return !mask || mask[i / 64] >> i % 64 & 1;
}

struct map_table *map_table_new(bool huge);
/** All pages that the first read will find came after @since: they were used then, and are armed so far. */
void map_table_born(struct map_table *table, map_time since);
/**
 * The same of a huge page that was broken up, or of pages that became one: all of it is as what was
 * used last, or may have been. NULL without memory.
 */
struct map_table *map_table_reshaped(const struct map_table *table);
static inline size_t map_table_pages(const struct map_table *table)
{
	return table->huge ? 1 : MAP_PAGES;
}

/**
 * A turn: all memory is read at about the same time, and what was used is armed again, so that windows
 * do not begin when somebody used the memory. reads: those since.
 */
struct map_turn {
	map_time began;
	struct map_reads reads;
};

/**
 * What a read shows: of the pages in mask, the others are none of the table's. Those in came, NULL for
 * none, are at addresses that were mapped since the last read: they may have been elsewhere before.
 * gone: NULL, or how many pages that are not there any more had each byte, which are added.
 */
struct map_shown {
	const uint64_t *entries;
	map_mask mask, came;
	uint16_t *gone;
};
/**
 * Take it. Where nothing was used before @turn, which may be NULL, an epoch begins with it.
 * Returns how many pages are not there any more.
 */
size_t map_table_read(struct map_table *table, const struct entry_format *format, const struct map_shown *shown,
		    const struct map_turn *turn, map_time now);
/** All that a read showed young was cleared just now: begin an epoch. */
void map_table_arm(struct map_table *table, map_time now);
/** A page was found young and cleared by somebody else. */
void map_table_seen(struct map_table *table, size_t page, map_time now);
/** The use of a page cannot be seen. */
void map_table_unseen(struct map_table *table, size_t page, enum map_unseen why);
/** A page that was not used in this epoch, as far as was seen, may have been all the same. */
void map_table_doubt(struct map_table *table, size_t page);
/** Whether pages wait to be armed for the first time. */
static inline bool map_table_waits(const struct map_table *table)
{
	return table->present && (table->waiting || !table->nr_epochs);
}
/** Whether a clear is worth its cost at a turn: of pages that were used, the seldomer the calmer. */
bool map_table_due(const struct map_table *table, map_time now);

/**
 * When pages of many tables came in their two newest epochs, by class: of those that were not used in
 * the epoch before how many, and how many evenly in time; of the others likewise late in their epoch,
 * and what the earlier ones let expect.
 */
struct map_comings {
	double all[MAP_PAIRED], found[MAP_PAIRED][MAP_CLASSES], even[MAP_PAIRED][MAP_CLASSES];
	double late[MAP_PAIRED][MAP_CLASSES], due[MAP_PAIRED][MAP_CLASSES];
};
void map_comings_add(struct map_comings *comings, const struct map_table *table);
/**
 * Whether they came of a sudden, so that it was then, and not all the time: those not used in the epoch
 * before; of the others a bit for each class.
 */
struct map_bursts {
	bool fresh[MAP_PAIRED];
	uint16_t again[MAP_PAIRED];
};
struct map_bursts map_bursts_of(const struct map_comings *comings);

/** What is known of when a page was used, in ns before the last read; UINT64_MAX: never, as far as is known. */
struct map_age {
	uint64_t low, best, high;	// used within a window that is so long: surely, likely, possibly
	uint64_t from;			// likely in windows from here on, the more the longer, up to best
	uint64_t idle;			// for so long it surely was not used
};
struct map_age map_table_age(const struct map_table *table, const struct map_bursts *bursts, uint8_t byte);
/** How likely a page was used within a window of @ns: 0 to 1. */
double map_age_share(const struct map_age *age, uint64_t ns);
