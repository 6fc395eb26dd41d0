// SPDX-License-Identifier: Apache-2.0
// The bulk face of the backend "bpf": whole leaf tables through the walker, cleared by ranges.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "access/access_bpf.h"
#include "access/bulk_bpf.h"
#include "access/clear.h"
#include "access/whole.h"
#include "sys/clock.h"
#include "sys/page.h"
#include "sys/page_idle.h"
#include "sys/vma.h"
#include "walker/page_table.h"

#define MAX_PIECES 1024
#define MOST_CLUMPS 256
#define FRAME_GAP 32	// frames apart that are still read at once

static uint64_t now_ns(void *ctx)
{
	(void)ctx;
	return monotonic_ns();
}

static int64_t ran_ns(void *ctx, size_t target)
{
	const struct access_bpf *access = ctx;
	struct timespec t;

	if (target >= access->nr_memories)
		return -1;
	// The clock of a process, as clock_getcpuclockid() has it.
	if (clock_gettime((clockid_t)((~(unsigned int)access->memories[target].pid << 3) | 2), &t))
		return -1;
	return (int64_t)t.tv_sec * (int64_t)SECOND_NS + t.tv_nsec;
}

static int view(void *ctx, size_t target, uint64_t start, size_t nr, struct bulk_view *out)
{
	struct access_bpf *access = ctx;
	uint64_t *upper;
	int err = walker_view_tables(access->walker, target, start, nr, &out->tables, &upper);

	out->upper = upper;
	return err;
}

/** The bits of a clump out of the entries around it; nothing if it is of another kind than what is there. */
static void peek_clump(const struct access_bpf *access, const struct page_bits *bits, const struct bulk_clump *clump,
		       const uint64_t *entries, uint64_t pmd, uint64_t *present, uint64_t *young)
{
	bool table = walker_is_table(access->walker, pmd);
	size_t first = clump->start / PAGE % WALKER_CLUMP;

	*present = *young = 0;
	if (clump->huge) {
		*present = !table && pmd & (bits->present | bits->hidden) ? 1 : 0;
		*young = *present && pmd & bits->young ? 1 : 0;
		return;
	}
	for (size_t i = 0; table && i < clump->nr; i++) {
		uint64_t entry = entries[first + i], there = entry & bits->present ? 1 : 0;

		*present |= there << i;
		*young |= (entry & bits->young ? there : 0) << i;
	}
}

/** Clumps of pages that lie in one aligned clump of the walker's, and single huge pages. */
static int peek(void *ctx, size_t target, const struct bulk_clump *clumps, size_t nr, uint64_t *present,
		uint64_t *young)
{
	struct access_bpf *access = ctx;
	struct page_bits bits = page_bits(walker_format(access->walker));
	uint32_t most = walker_facts(access->walker)->max_clumps;

	for (size_t done = 0; done < nr;) {
		uint64_t addrs[MOST_CLUMPS], pmds[MOST_CLUMPS];
		const uint64_t (*entries)[WALKER_CLUMP];
		size_t n = nr - done < most ? nr - done : most;

		n = n < MOST_CLUMPS ? n : MOST_CLUMPS;
		for (size_t i = 0; i < n; i++) {
			const struct bulk_clump *clump = &clumps[done + i];

			if (clump->huge ? clump->nr != 1 : clump->start / PAGE % WALKER_CLUMP + clump->nr > WALKER_CLUMP)
				return -EINVAL;
			addrs[i] = clump->start;
		}
		int err = walker_view_clumps(access->walker, target, addrs, n, &entries, pmds);

		if (err)
			return err;
		for (size_t i = 0; i < n; i++)
			peek_clump(access, &bits, &clumps[done + i], entries[i], pmds[i], &present[done + i],
				   &young[done + i]);
		done += n;
	}
	return 0;
}

/** A range of a clear, cut into pieces that split no folio. */
struct cut {
	struct iovec pieces[MAX_PIECES];
	uint8_t outcomes[MAX_PIECES];
	uint16_t of[MAX_PIECES];	// the range of each
	size_t nr;
};

static int flush(struct access_bpf *access, size_t target, struct cut *cut, struct bulk_range *ranges)
{
	int err = cut->nr ? access_advise_cold(access, target, cut->pieces, cut->nr, cut->outcomes) : 0;

	for (size_t i = 0; i < cut->nr && !err; i++) {
		if (cut->outcomes[i] == CLEAR_REFUSED)
			ranges[cut->of[i]].refused = BULK_REFUSED;
		else if (cut->outcomes[i] == CLEAR_HOLE && !ranges[cut->of[i]].refused)
			ranges[cut->of[i]].refused = BULK_GONE;
	}
	cut->nr = 0;
	return err;
}

/** The folio of a single page that is part of a large one, if it lies inside its table and mapping. */
static bool whole_folio(struct access_bpf *access, size_t target, uint64_t addr, struct iovec *piece)
{
	struct leaf_request request = {addr, target, 0};
	struct vma vma;
	struct leaf leaf;
	struct target_memory *memory = &access->memories[target];

	if (walker_read(access->walker, &request, 1, &leaf, false) < 0 || leaf.state != LEAF_PRESENT || leaf.level)
		return false;
	kpage_folio(&access->kpage, &leaf);
	uint64_t start = addr - leaf.folio_index * PAGE, size = PAGE << leaf.folio_order;

	if (!(leaf.folio_flags & FOLIO_KNOWN) || leaf.folio_flags & FOLIO_PARTIAL ||
	    (leaf.folio_order && !access->sweeper.large_ok) || (start ^ (start + size - 1)) & ~(BLOCK - 1))
		return false;
	if (leaf.folio_order && (memory->maps_fd < 0 || vma_query(memory->maps_fd, start, &vma) < 0 ||
				 vma.end < start + size))
		return false;
	*piece = (struct iovec){(void *)start, size};
	return true;
}

static size_t cut_range(struct access_bpf *access, size_t target, const struct bulk_range *range, bool single,
			struct iovec *pieces)
{
	uint64_t skipped = 0;

	if (single) {
		pieces[0] = (struct iovec){(void *)range->start, range->end - range->start};
		return 1;
	}
	if (range->end - range->start == PAGE)
		return whole_folio(access, target, range->start, pieces);
	return whole_pieces(access->walker, &access->kpage, access->sweeper.large_ok, target, range->start,
			    range->end, pieces, &skipped);
}

static int clear_by_advice(struct access_bpf *access, size_t target, struct bulk_range *ranges, size_t nr)
{
	struct target_memory *memory = &access->memories[target];
	// An answer of a second ago is not good enough for what is cleared all the time.
	access->sweeper.thp.asked_ns = 0;
	bool none_split = thp_none_split(&access->sweeper.thp, monotonic_ns());
	uint64_t known_start = 0, known_end = 0;
	struct cut cut = {.nr = 0};
	int err = 0;

	if (memory->pidfd < 0)
		return -ESRCH;
	for (size_t i = 0; i < nr && !err; i++) {
		// Only of private anonymous memory is it known that it has no large folios.
		bool anonymous = ranges[i].start >= known_start && ranges[i].end <= known_end;

		if (none_split && !anonymous) {
			known_start = ranges[i].start;
			known_end = UINT64_MAX;
			anonymous = whole_mapping(memory, &known_start, &known_end) && known_end >= ranges[i].end;
			if (!anonymous)
				known_end = 0;
		}
		size_t room = (ranges[i].end - ranges[i].start + 2 * BLOCK - 1) / BLOCK + 1;

		if (cut.nr + room > MAX_PIECES)
			err = flush(access, target, &cut, ranges);
		size_t pieces = cut_range(access, target, &ranges[i], none_split && anonymous, cut.pieces + cut.nr);

		if (!pieces)
			ranges[i].refused = BULK_TORN;
		for (size_t j = 0; j < pieces; j++)
			cut.of[cut.nr + j] = i;
		cut.nr += pieces;
	}
	return err ? err : flush(access, target, &cut, ranges);
}

/** Frames of the young pages of a range, of a folio its first one. */
static int clear_frames(struct access_bpf *access, size_t target, const struct bulk_range *range)
{
	bool none_split = thp_none_split(&access->sweeper.thp, monotonic_ns());
	uint64_t base = range->start & ~(BLOCK - 1), frames[BLOCK_PAGES];
	size_t blocks = (range->end - base + BLOCK - 1) / BLOCK;

	for (size_t i = 0; i < blocks; i++) {
		const uint64_t (*tables)[512];
		uint64_t *upper;
		size_t nr = 0;
		int err = walker_view_tables(access->walker, target, base + i * BLOCK, 1, &tables, &upper);

		if (err)
			return err;
		bool table = walker_is_table(access->walker, upper[0]);

		for (size_t j = 0; j < (table ? BLOCK_PAGES : 1); j++) {
			uint64_t addr = base + i * BLOCK + j * PAGE;
			struct leaf leaf = walker_decode(access->walker, table ? tables[0][j] : upper[0],
							 table ? 0 : 1, addr);

			if (leaf.state != LEAF_PRESENT || !leaf.young ||
			    (table && (addr < range->start || addr >= range->end)))
				continue;
			if (table && !none_split)
				kpage_folio(&access->kpage, &leaf);
			frames[nr++] = leaf.folio_flags & FOLIO_KNOWN ? leaf.pfn - leaf.folio_index : leaf.pfn;
		}
		err = page_idle_clear(access->idle_fd, frames, nr);
		if (err)
			return err;
	}
	return 0;
}

static int clear(void *ctx, size_t target, struct bulk_range *ranges, size_t nr)
{
	struct access_bpf *access = ctx;
	int err = 0;

	if (target >= access->nr_memories)
		return -ESRCH;
	if (access->idle_fd < 0)
		return clear_by_advice(access, target, ranges, nr);
	for (size_t i = 0; i < nr && !err; i++)
		err = clear_frames(access, target, &ranges[i]);
	return err;
}

static int clear_all(void *ctx, size_t target, enum map_kind kind, uint64_t *held_ns)
{
	struct access_bpf *access = ctx;
	char path[48];
	int fd, err = 0;

	if (target >= access->nr_memories)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", access->memories[target].pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? -ESRCH : -ENOTSUP;
	uint64_t begin = monotonic_ns();

	if (write(fd, kind == MAP_ANON ? "2" : "3", 1) != 1)
		err = errno == ESRCH ? -ESRCH : -ENOTSUP;
	*held_ns = monotonic_ns() - begin;
	close(fd);
	return err;
}

static enum map_unseen why_young(struct access_bpf *access, uint64_t entry, bool huge)
{
	struct leaf leaf = walker_decode(access->walker, entry, huge, 0);

	if (leaf.state != LEAF_PRESENT)
		return MAP_SEEN;
	kpage_folio(&access->kpage, &leaf);
	if (!(leaf.folio_flags & FOLIO_KNOWN))
		return MAP_TORN;
	if (leaf.folio_flags & FOLIO_SHARED && access->idle_fd < 0)
		return MAP_SHARED;
	if (leaf.folio_flags & FOLIO_MLOCKED && access->idle_fd < 0)
		return MAP_LOCKED;
	// Off the LRU lists for a moment, in a batch of some CPU, or for ever.
	if (!(leaf.folio_flags & FOLIO_LRU) && (huge || !(leaf.folio_flags & FOLIO_ANON)))
		return MAP_OTHER;
	return MAP_SEEN;
}

static void judge(void *ctx, const uint64_t *entries, size_t nr, bool huge, uint8_t *why)
{
	for (size_t i = 0; i < nr; i++)
		why[i] = why_young(ctx, entries[i], huge);
}

/** Read a word of a file of /proc for each of @nr frames in ascending order; 0 where it cannot be read. */
static void read_words(int fd, const uint64_t *frames, size_t nr, uint64_t *found)
{
	uint64_t words[BLOCK_PAGES];

	memset(found, 0, nr * sizeof(*found));
	for (size_t i = 0, end; fd >= 0 && i < nr; i = end) {
		for (end = i + 1; end < nr && frames[end] - frames[end - 1] <= FRAME_GAP &&
				  frames[end] - frames[i] < BLOCK_PAGES; end++)
			;
		size_t size = (frames[end - 1] - frames[i] + 1) * sizeof(*words);

		if (pread(fd, words, size, (off_t)(frames[i] * sizeof(*words))) != (ssize_t)size)
			continue;
		for (size_t j = i; j < end; j++)
			found[j] = words[frames[j] - frames[i]];
	}
}

static void mappers(void *ctx, const uint64_t *frames, size_t nr, uint32_t *counts)
{
	uint64_t words[BLOCK_PAGES];

	read_words(((struct access_bpf *)ctx)->kpage.count_fd, frames, nr, words);
	for (size_t i = 0; i < nr; i++)
		counts[i] = (uint32_t)words[i];
}

static void anonymous(void *ctx, const uint64_t *frames, size_t nr, bool *found)
{
	uint64_t words[BLOCK_PAGES];

	read_words(((struct access_bpf *)ctx)->kpage.flags_fd, frames, nr, words);
	for (size_t i = 0; i < nr; i++)
		found[i] = kpage_is_anonymous(words[i]);
}

static void aged(void *ctx, const uint64_t *frames, size_t nr, bool *found)
{
	uint64_t words[BLOCK_PAGES];

	read_words(((struct access_bpf *)ctx)->kpage.flags_fd, frames, nr, words);
	for (size_t i = 0; i < nr; i++)
		found[i] = kpage_is_aged(words[i]);
}

static void whole(void *ctx, uint64_t *start, uint64_t *end)
{
	kpage_whole(&((struct access_bpf *)ctx)->kpage, start, end);
}

struct bulk_ops access_bulk_ops(struct access_bpf *access)
{
	const struct page_format *format = walker_format(access->walker);
	struct page_bits bits = page_bits(format);
	struct walk_format walk = walk_format(format, 0, 0);

	return (struct bulk_ops){
		.ctx = access,
		.format = {
			.present = bits.present,
			.young = bits.young,
			.write = bits.write,
			.frame_mask = format->pfn_mask,
			.hidden = bits.hidden,
			.straight = bits.straight,
			.zero_frame = access->zero_pfn,
			.leaf_bit = walk.leaf_bit,
			.leaf_flip = walk.leaf_flip,
		},
		.frames_cleared = access->idle_fd >= 0,
		.now_ns = now_ns,
		.ran_ns = ran_ns,
		.view = view,
		.peek = peek,
		.clear = clear,
		.clear_all = access->idle_fd < 0 ? clear_all : NULL,
		.judge = judge,
		.mappers = mappers,
		.aged = aged,
		.whole = whole,
		.anonymous = anonymous,
	};
}
