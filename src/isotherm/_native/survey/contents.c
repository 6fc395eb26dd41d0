// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "survey/contents.h"
#include "sys/clock.h"
#include "sys/page.h"

#define CHUNK_PAGES 16		// read at a time; then it is asked whether more is needed
#define SHARE 50		// one part in so many of a CPU
#define MOST_CREDIT_NS (100 * 1000000)
#define FIRST_HOLD_NS (2 * SECOND_NS)
#define MOST_DOUBLINGS 7	// 256 s
#define FIRST_SLOTS 1024
#define MOST_SLOTS (1 << 17)	// half of them are taken: 128 GiB of huge pages, 6 MiB of ours

struct contents_entry {
	uint64_t space, block, frame;	// block 0: free, as nothing is ever mapped there
	uint64_t until_ns;		// 0: forgotten
	uint64_t refused_by;
	struct zeros zeros;
	uint8_t doublings;
	bool split;
};

void contents_deinit(struct contents *contents)
{
	free(contents->entries);
	free(contents->buffer);
	*contents = (struct contents){0};
}

static struct contents_entry *slot_of(struct contents_entry *entries, size_t nr_slots, uint64_t space,
				      uint64_t block)
{
	uint64_t key = (block / BLOCK + (space << 40)) * UINT64_C(0x9e3779b97f4a7c15);
	size_t mask = nr_slots - 1, slot = key >> 20 & mask;

	while (entries[slot].block && (entries[slot].block != block || entries[slot].space != space))
		slot = (slot + 1) & mask;
	return &entries[slot];
}

static struct contents_entry *find(const struct contents *contents, uint64_t space, uint64_t block)
{
	struct contents_entry *entry;

	if (!contents->nr_slots)
		return NULL;
	entry = slot_of(contents->entries, contents->nr_slots, space, block);
	return entry->block ? entry : NULL;
}

static uint64_t hold_ns(const struct contents_entry *entry)
{
	return FIRST_HOLD_NS << entry->doublings;
}

/** Whether an entry says anything: a while after it ran out it still tells how long it held. */
static bool is_of_use(const struct contents_entry *entry, uint64_t now_ns)
{
	return entry->block && entry->until_ns && now_ns < entry->until_ns + hold_ns(entry);
}

/** Room for one more, without what is of no use any more; false if there is none. */
static bool make_room(struct contents *contents, uint64_t now_ns)
{
	size_t used = 0, slots = FIRST_SLOTS;

	if (2 * contents->nr < contents->nr_slots)
		return true;
	for (size_t i = 0; i < contents->nr_slots; i++)
		used += is_of_use(&contents->entries[i], now_ns);
	while (slots < 4 * used && slots < MOST_SLOTS)
		slots *= 2;
	if (2 * used >= slots)
		return false;
	struct contents_entry *fresh = calloc(slots, sizeof(*fresh));

	if (!fresh)
		return false;
	for (size_t i = 0; i < contents->nr_slots; i++) {
		const struct contents_entry *old = &contents->entries[i];

		if (is_of_use(old, now_ns))
			*slot_of(fresh, slots, old->space, old->block) = *old;
	}
	free(contents->entries);
	contents->entries = fresh;
	contents->nr_slots = slots;
	contents->nr = used;
	return true;
}

/** The entry of a block, a new one if need be; NULL without memory. */
static struct contents_entry *entry_of(struct contents *contents, uint64_t space, uint64_t block,
				       uint64_t now_ns)
{
	struct contents_entry *entry = find(contents, space, block);

	if (entry || !block || !make_room(contents, now_ns))
		return entry;
	entry = slot_of(contents->entries, contents->nr_slots, space, block);
	*entry = (struct contents_entry){.space = space, .block = block};
	contents->nr++;
	return entry;
}

static const struct contents_entry *known(const struct contents *contents, const struct huge_page *page,
					  uint64_t now_ns)
{
	const struct contents_entry *entry = find(contents, page->space, page->block);

	if (!entry || now_ns >= entry->until_ns || (page->frame && entry->frame != page->frame))
		return NULL;
	return entry;
}

struct zeros contents_recall(const struct contents *contents, const struct huge_page *page,
			     uint64_t now_ns)
{
	const struct contents_entry *entry = known(contents, page, now_ns);

	return entry ? entry->zeros : (struct zeros){0, BLOCK_PAGES};
}

bool contents_refused(const struct contents *contents, const struct huge_page *page, uint64_t rules,
		      uint64_t now_ns)
{
	const struct contents_entry *entry = known(contents, page, now_ns);

	return entry && entry->refused_by == rules;
}

void contents_keep(struct contents *contents, const struct huge_page *page, struct zeros zeros,
		   uint64_t refused_by, uint64_t now_ns)
{
	struct contents_entry *entry = entry_of(contents, page->space, page->block, now_ns);
	bool of_use, again;

	if (!entry)
		return;
	of_use = is_of_use(entry, now_ns);
	again = of_use && entry->refused_by == refused_by && entry->frame == page->frame;
	entry->split &= of_use;
	if (again)
		entry->doublings += entry->doublings < MOST_DOUBLINGS;
	else if (!entry->split)
		entry->doublings = 0;
	entry->frame = page->frame;
	entry->zeros = zeros;
	entry->refused_by = refused_by;
	entry->until_ns = now_ns + hold_ns(entry);
}

void contents_forget(struct contents *contents, uint64_t space, uint64_t block)
{
	struct contents_entry *entry = find(contents, space, block);

	if (entry && !entry->split)
		entry->until_ns = 0;
}

void contents_split(struct contents *contents, uint64_t space, uint64_t block, uint64_t now_ns)
{
	struct contents_entry *entry = entry_of(contents, space, block, now_ns);

	if (!entry)
		return;
	// Who is split, made huge, and split again stays small for longer each time.
	if (entry->split && is_of_use(entry, now_ns))
		entry->doublings += entry->doublings < MOST_DOUBLINGS;
	else
		entry->doublings = 0;
	entry->split = true;
	entry->zeros = (struct zeros){0, BLOCK_PAGES};
	entry->refused_by = 0;
	entry->until_ns = now_ns + hold_ns(entry);
}

bool contents_was_split(const struct contents *contents, uint64_t space, uint64_t block,
			uint64_t now_ns)
{
	const struct contents_entry *entry = find(contents, space, block);

	return entry && entry->split && now_ns < entry->until_ns;
}

static bool is_zero(const uint8_t *page)
{
	uint64_t word;

	// Most pages in use differ in their first words.
	memcpy(&word, page, sizeof(word));
	return !word && !memcmp(page, page + sizeof(word), PAGE - sizeof(word));
}

bool contents_begin(struct contents *contents, struct reading *reading, uint64_t now_ns)
{
	uint64_t since = contents->credited_ns ? now_ns - contents->credited_ns : (uint64_t)SHARE * MOST_CREDIT_NS;

	contents->credit_ns += since < (uint64_t)SHARE * MOST_CREDIT_NS ? since / SHARE : MOST_CREDIT_NS;
	if (contents->credit_ns > MOST_CREDIT_NS)
		contents->credit_ns = MOST_CREDIT_NS;
	contents->credited_ns = now_ns;
	if (contents->credit_ns <= 0)
		return false;
	if (!contents->buffer)
		contents->buffer = malloc(CHUNK_PAGES * PAGE);
	reading->zeros = (struct zeros){0, BLOCK_PAGES};
	reading->done = 0;
	reading->begun_ns = thread_ns();
	return contents->buffer;
}

bool contents_more(struct contents *contents, struct reading *reading)
{
	struct iovec to = {contents->buffer, CHUNK_PAGES * PAGE};
	struct iovec from = {(void *)(reading->page.block + reading->done * PAGE), CHUNK_PAGES * PAGE};
	ssize_t n;

	if (reading->done == BLOCK_PAGES)
		return false;
	do {
		n = process_vm_readv(reading->pid, &to, 1, &from, 1, 0);
	} while (n < 0 && errno == EINTR);
	if (n != CHUNK_PAGES * (ssize_t)PAGE) {
		// Unmapped meanwhile, or its process is gone: nothing to tell.
		if (n < 0 && errno != EFAULT && errno != ESRCH)
			contents->error = errno;
		return false;
	}
	for (size_t i = 0; i < CHUNK_PAGES; i++) {
		if (is_zero(contents->buffer + i * PAGE))
			reading->zeros.least++;
		else
			reading->zeros.most--;
	}
	reading->done += CHUNK_PAGES;
	return true;
}

void contents_end(struct contents *contents, const struct reading *reading)
{
	memset(contents->buffer, 0, CHUNK_PAGES * PAGE);
	contents->credit_ns -= thread_ns() - reading->begun_ns;
	contents->nr_read++;
}

int contents_take_error(struct contents *contents)
{
	int error = contents->error;

	contents->error = 0;
	return error;
}
