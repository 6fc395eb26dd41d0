// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include "map/bits.h"
#include "map/table.h"

#define S UINT64_C(1000000000)
#define SHORTEST_EPOCH S
#define CALMEST 2		// the longest epoch is 4 times the shortest: windows are of what was lately
#define RETRY_UNSEEN (30 * S)
// Of the pages used in an epoch so many may be others than in the one before: calm.
#define CALM_SHARE 10
#define CALM_PAGES 2

struct map_table *map_table_new(bool huge)
{
	size_t pages = huge ? MAP_HUGE_BYTES : MAP_PAGES;
	struct map_table *table = calloc(1, sizeof(*table) + pages);

	if (!table)
		return NULL;
	table->huge = huge;
	memset(table->pages, MAP_ABSENT, pages);
	return table;
}

void map_table_born(struct map_table *table, map_time since)
{
	table->began[0] = table->first = table->read = since;
	table->nr_epochs = 1;
}

struct map_table *map_table_reshaped(const struct map_table *table)
{
	struct map_table *other = map_table_new(!table->huge);
	size_t nr = map_table_pages(table), to = other ? map_table_pages(other) : 0;
	uint8_t newest = MAP_ABSENT;
	bool unknown = false;

	if (!other)
		return NULL;
	for (size_t i = 0; i < nr; i++) {
		if (table->pages[i] < newest)
			newest = table->pages[i];
		unknown |= table->pages[i] != MAP_ABSENT && map_epoch_of(table->pages[i]) >= MAP_UNSEEN;
	}
	// What nobody saw may have been used last.
	if (unknown && map_epoch_of(newest))
		newest = table->nr_epochs ? MAP_BYTE(0, MAP_PERHAPS) : MAP_BYTE(MAP_NEW, 0);
	memcpy(other, table, sizeof(*table));
	other->huge = !table->huge;
	memset(other->pages, newest, to);
	return other;
}

/** Whether a class is over: it was read when it ended, or later. */
static bool was_read(const struct map_reads *reads, unsigned int class_)
{
	return reads->classes >> class_ & 1 && (class_ >= MAP_TIMED || reads->at[class_] >= MAP_READ_PARTS);
}

unsigned int map_reads_class(const struct map_reads *reads, uint64_t passed_ns)
{
	unsigned int class_ = map_class_of(passed_ns);

	// What a late read may still be of is over if another one came before it.
	return class_ + (class_ < MAP_CLASSES - 1 && passed_ns > map_class_end(class_) && was_read(reads, class_));
}

void map_reads_add(struct map_reads *reads, uint64_t passed_ns)
{
	unsigned int class_ = map_reads_class(reads, passed_ns);

	// A read that comes early says little of its class, where it is not kept when it was.
	if (class_ < MAP_TIMED)
		reads->at[class_] = (uint8_t)(passed_ns * MAP_READ_PARTS / map_class_end(class_));
	else if (passed_ns < map_class_end(class_))
		return;
	reads->classes |= 1u << class_;
}

/** A step may have begun before the clear or the read that another part of it did. */
static map_time not_before(const struct map_table *table, map_time now)
{
	return table->nr_epochs && (int32_t)(now - table->read) < 0 ? table->read : now;
}

/** Pages may leave and come back any number of times in an epoch. */
static void count_fresh(struct map_table *table)
{
	table->fresh += table->fresh < MAP_PAGES;
}

/** Whether an epoch was over when this one began, or so shortly before that nothing can be told from it. */
static bool is_just_before(const struct map_table *table, unsigned int epoch)
{
	return epoch && epoch < table->nr_epochs && map_since(table->began[0], table->began[epoch - 1]) < SHORTEST_EPOCH / 2;
}

static void used(struct map_table *table, size_t i, unsigned int class_)
{
	bool again = is_just_before(table, map_epoch_of(table->pages[i]));

	if (!again)
		count_fresh(table);
	// Of what was before the first epoch nobody knows.
	table->pages[i] = MAP_BYTE(0, class_) | (again || table->nr_epochs < 2 ? MAP_AGAIN : 0);
}

static uint8_t appeared(const struct map_table *table, unsigned int class_, bool young, bool came)
{
	if (!table->nr_epochs)
		return MAP_BYTE(MAP_NEW, 0);
	// A page that was not there was brought in by whoever uses it, or moved here by mremap().
	return !young ? MAP_BYTE(0, MAP_PERHAPS) : came ? MAP_BYTE(0, MAP_LIKELY) : MAP_BYTE(0, class_);
}

/** What a read shows, and where: a turn of map_table_read(). */
struct reading {
	const struct entry_format *format;
	const struct map_shown *shown;
	const struct map_turn *turn;	// an epoch may begin with it; NULL: none does
	map_time now;
	unsigned int class_;
	unsigned int present, used, unseen, shared, waiting, gone;
};

static bool is_zero_page(const struct entry_format *format, uint64_t entry)
{
	return format->zero_frame && bulk_frame(format, entry) == format->zero_frame;
}

static void begin_epoch(struct map_table *table, map_time began, map_time now);

/** Something was used: in the turn's epoch, if it is one. */
static void follow_turn(struct map_table *table, struct reading *reading)
{
	if (!reading->turn)
		return;
	begin_epoch(table, reading->turn->began, reading->now);
	table->reads = reading->turn->reads;
	reading->class_ = map_reads_class(&table->reads, map_since(reading->now, reading->turn->began));
	reading->turn = NULL;
}

/** Pages of a word that are @there and have no byte yet. */
static uint64_t take_new(struct map_table *table, struct reading *reading, size_t first, uint64_t there, uint64_t young)
{
	for (uint64_t left = there; left; left &= left - 1) {
		size_t i = first + (size_t)__builtin_ctzll(left);

		if (is_zero_page(reading->format, reading->shown->entries[i])) {
			there &= ~(UINT64_C(1) << (i - first));
			continue;
		}
		follow_turn(table, reading);
		if (table->nr_epochs)
			count_fresh(table);
		table->pages[i] = appeared(table, reading->class_, young >> (i - first) & 1,
					   reading->shown->came && map_in(reading->shown->came, i));
	}
	return there;
}

static void leave(uint8_t *byte, struct reading *reading)
{
	if (reading->shown->gone)
		reading->shown->gone[*byte]++;
	reading->gone++;
	*byte = MAP_ABSENT;
}

static void take_word(struct map_table *table, struct reading *reading, size_t first, uint64_t there, uint64_t young)
{
	uint8_t *bytes = table->pages + first;
	uint64_t absent = bits_of_bytes(bytes, MAP_ABSENT, MAP_ABSENT);
	uint64_t armed = bits_of_bytes(bytes, MAP_BYTE(1, 0), MAP_BYTE(MAP_UNTOUCHED, 15));

	for (uint64_t left = ~there & ~absent; left; left &= left - 1)
		leave(&bytes[__builtin_ctzll(left)], reading);
	if (there & young & armed)
		follow_turn(table, reading);
	for (uint64_t left = there & young & armed; left; left &= left - 1)
		used(table, first + (size_t)__builtin_ctzll(left), reading->class_);
	if (there & absent)
		there = (there & ~absent) | take_new(table, reading, first, there & absent, young);
	reading->present += (unsigned int)__builtin_popcountll(there);
	if (!(there & ~(armed & ~young)))
		return;	// all are armed still
	uint64_t unseen = there & bits_of_bytes(bytes, MAP_BYTE(MAP_UNSEEN, 0), MAP_BYTE(MAP_UNSEEN, 15));

	// Of those that turned old somebody cleared the bits, so that it can be done.
	for (uint64_t left = unseen & ~young; left; left &= left - 1)
		bytes[__builtin_ctzll(left)] = table->nr_epochs ? MAP_BYTE(0, MAP_PERHAPS) : MAP_BYTE(MAP_NEW, 0);
	unseen &= young;
	reading->unseen += (unsigned int)__builtin_popcountll(unseen);
	if (unseen)
		reading->shared += (unsigned int)__builtin_popcountll(
			unseen & bits_of_bytes(bytes, MAP_BYTE(MAP_UNSEEN, MAP_SHARED), MAP_BYTE(MAP_UNSEEN, MAP_SHARED)));
	reading->used += (unsigned int)__builtin_popcountll(
		bits_of_bytes(bytes, MAP_BYTE(0, 0), MAP_BYTE(0, 15) | MAP_AGAIN));
	reading->waiting += (unsigned int)__builtin_popcountll(
		bits_of_bytes(bytes, MAP_BYTE(MAP_NEW, 0), MAP_BYTE(MAP_NEW, 14)));
}

/** Pages whose use is not seen, as their entries tell. */
static void take_unseen(struct map_table *table, const struct reading *reading)
{
	size_t nr = map_table_pages(table);

	for (size_t i = 0; i < nr; i++)
		if (reading->shown->entries[i] & reading->format->unseen && map_in(reading->shown->mask, i))
			table->pages[i] = MAP_BYTE(MAP_UNSEEN, MAP_OTHER);
}

/** Whether an epoch may begin with a turn: its beginning was seen, and nothing was used before it. */
static bool turns(const struct map_table *table, const struct map_turn *turn)
{
	return turn && table->nr_epochs && !table->used && (int32_t)(turn->began - table->began[0]) > 0 &&
	       (int32_t)(table->read - turn->began) >= 0;
}

size_t map_table_read(struct map_table *table, const struct entry_format *format, const struct map_shown *shown,
		    const struct map_turn *turn, map_time now)
{
	const uint64_t *entries = shown->entries;
	map_mask mask = shown->mask;

	now = not_before(table, now);
	struct reading reading = {.format = format, .shown = shown, .now = now,
				  .turn = turns(table, turn) ? turn : NULL};

	reading.class_ = table->nr_epochs ? map_reads_class(&table->reads, map_since(now, table->began[0])) : 0;
	if (format->unseen)
		take_unseen(table, &reading);
	if (table->huge) {
		// A word of which the other pages never are there.
		take_word(table, &reading, 0, (entries[0] & (format->present | format->hidden)) && map_in(mask, 0),
			  (entries[0] & (format->young | format->unseen)) != 0);
	} else {
		for (size_t word = 0; word < MAP_PAGES / 64; word++) {
			uint64_t there, young;

			bits_of_entries(entries + 64 * word, format->present, format->young | format->unseen, &there, &young);
			take_word(table, &reading, 64 * word, mask ? there & mask[word] : there, young);
		}
	}
	table->present = reading.present;
	table->used = reading.used;
	table->unseen = reading.unseen;
	table->shared = reading.shared;
	table->waiting = reading.waiting != 0;
	table->read = now;
	if (table->nr_epochs)
		map_reads_add(&table->reads, map_since(now, table->began[0]));
	return reading.gone;
}

/** The epoch to join with the next older one: where the ends stay nearest to each other. */
static size_t least_lost(const map_time *began, size_t nr, map_time now)
{
	size_t best = 1;
	double least = 0;

	for (size_t i = 1; i + 1 < nr; i++) {
		double ratio = (double)(now - began[i + 1] + 1) / (now - began[i - 1] + 1);

		if (i == 1 || ratio < least) {
			best = i;
			least = ratio;
		}
	}
	return best;
}

/** Whether as good as the same pages were used in this epoch as in the one before. */
static bool is_calm(const struct map_table *table)
{
	unsigned int left = 0;
	size_t nr = map_table_pages(table);

	for (size_t i = 0; i < nr; i++)
		left += map_epoch_of(table->pages[i]) == 1;
	return left + table->fresh <= CALM_PAGES + (unsigned int)table->used / CALM_SHARE;
}

/** What is known of a page, with another number of its epoch, not less than it was. */
static uint8_t renumbered(uint8_t byte, unsigned int to)
{
	unsigned int low = byte & 15;

	if (to < MAP_PAIRED)
		return MAP_BYTE(to, low) | (map_was_again(byte) ? MAP_AGAIN : 0);
	// Of older ones the class tells nothing any more.
	if (to < MAP_EPOCHS && map_was_perhaps(byte))
		low = map_was_likely(byte) ? MAP_LIKELY_OLD : MAP_PERHAPS;
	else if (to < MAP_EPOCHS && low == MAP_LIKELY_OLD)
		low--;
	return MAP_BYTE(to, low);
}

/** Give each page's epoch another number. */
static void renumber(struct map_table *table, const uint8_t *number)
{
	uint8_t bytes[256];
	size_t nr = map_table_pages(table);

	for (unsigned int i = 0; i < 256; i++) {
		unsigned int epoch = map_epoch_of((uint8_t)i), to = epoch < MAP_EPOCHS ? number[epoch] : epoch;

		bytes[i] = renumbered((uint8_t)i, to);
	}
	for (size_t i = 0; i < nr; i++)
		table->pages[i] = bytes[table->pages[i]];
}

static void arm_first(struct map_table *table, map_time now)
{
	size_t nr = map_table_pages(table);

	table->first = table->began[0] = now;
	table->nr_epochs = 1;
	table->reads = (struct map_reads){0};
	table->fresh = 0;
	for (size_t i = 0; i < nr; i++)
		if (map_epoch_of(table->pages[i]) == MAP_NEW && table->pages[i] != MAP_ABSENT)
			table->pages[i] = MAP_BYTE(MAP_UNTOUCHED, 0);
}

/** All epochs get a number more, and the newest begins. */
static void begin_epoch(struct map_table *table, map_time began, map_time now)
{
	uint8_t number[MAP_EPOCHS];
	size_t nr = table->nr_epochs, joined = MAP_EPOCHS;

	if (nr == MAP_EPOCHS)
		joined = least_lost(table->began, nr, now);
	for (size_t i = 0; i < MAP_EPOCHS; i++)
		number[i] = i <= joined ? i + 1 : i;
	renumber(table, number);
	if (joined < MAP_EPOCHS)
		memmove(table->began + joined, table->began + joined + 1,
			(nr - joined - 1) * sizeof(*table->began));
	memmove(table->began + 1, table->began, (MAP_EPOCHS - 1) * sizeof(*table->began));
	table->began[0] = began;
	table->nr_epochs += table->nr_epochs < MAP_EPOCHS;
	table->reads_before = table->reads;
	table->reads = (struct map_reads){0};
	table->fresh = 0;
}

static void arm_again(struct map_table *table, map_time now)
{
	size_t pages = map_table_pages(table);

	begin_epoch(table, now, now);
	// Pages that were there and never armed, while others were.
	for (size_t i = 0; i < pages; i++)
		if (map_epoch_of(table->pages[i]) == MAP_NEW && table->pages[i] != MAP_ABSENT)
			table->pages[i] = MAP_BYTE(1, MAP_PERHAPS);
}

void map_table_arm(struct map_table *table, map_time now)
{
	if (!table->nr_epochs) {
		arm_first(table, now);
	} else {
		if (is_calm(table))
			table->calm += table->calm < CALMEST;
		else
			table->calm = 0;
		arm_again(table, now);
	}
	table->used = 0;
	table->waiting = 0;
	table->read = now;
}

void map_table_seen(struct map_table *table, size_t page, map_time now)
{
	unsigned int epoch = map_epoch_of(table->pages[page]);

	if (epoch && epoch <= MAP_UNTOUCHED) {
		used(table, page, map_reads_class(&table->reads, map_since(not_before(table, now), table->began[0])));
		table->used++;
	}
}

void map_table_unseen(struct map_table *table, size_t page, enum map_unseen why)
{
	if (table->pages[page] != MAP_ABSENT)
		table->pages[page] = MAP_BYTE(MAP_UNSEEN, why);
}

void map_table_doubt(struct map_table *table, size_t page)
{
	unsigned int epoch = map_epoch_of(table->pages[page]);

	if (table->nr_epochs && epoch && epoch <= MAP_UNTOUCHED)
		table->pages[page] = MAP_BYTE(0, MAP_PERHAPS);
}

bool map_table_due(const struct map_table *table, map_time now)
{
	uint64_t passed = table->nr_epochs ? map_since(now, table->began[0]) : 0;

	// Turns are not on the second.
	return (table->used && passed >= (SHORTEST_EPOCH << table->calm) / 4 * 3) ||
	       (table->unseen && passed >= RETRY_UNSEEN);
}
