// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <sys/uio.h>
#include "access/clear.h"
#include "sys/page_idle.h"
#include "access/sweep.h"
#include "access/whole.h"
#include "sys/page.h"
#include "sys/vma.h"

#define LOOK_AHEAD 16		// units looked at per tick
#define MIN_AGE_NS 5000000000ULL
#define MAX_AGE_NS 60000000000ULL
#define MIN_CLEARED 3
#define MIN_YOUNG 6

void sweeper_init(struct sweeper *sweeper, struct walker *walker, struct kpage *kpage,
		  int idle_fd, int64_t first_ns, int64_t steady_ns)
{
	*sweeper = (struct sweeper){.walker = walker, .kpage = kpage, .idle_fd = idle_fd,
				    .steady_rate = steady_ns, .first_done = !first_ns};
	sweeper->bucket.rate = first_ns;
	sweeper->bucket.depth = 1;	// a step may start whenever the last one is paid
	thp_open(&sweeper->thp);
}

void sweeper_deinit(struct sweeper *sweeper)
{
	thp_close(&sweeper->thp);
}

bool sweep_unit_due(const struct sweep_unit *unit, uint64_t now_ns)
{
	if (!unit->swept_ns)
		return true;
	uint64_t age = now_ns - unit->swept_ns;

	// Often young when chosen, rarely accessed once cleared: bits of long ago.
	if (age >= MIN_AGE_NS && unit->cleared >= MIN_CLEARED && unit->young >= MIN_YOUNG &&
	    unit->hits * 4 <= unit->cleared)
		return true;
	return age >= MAX_AGE_NS && unit->young && unit->hits * 2 <= unit->cleared;
}

/** On to the next target; a whole round without a due unit ends the first sweep. */
static void next_target(struct sweeper *sweeper, const struct target_memory *memories, size_t nr)
{
	size_t total = 0;

	sweeper->unit = 0;
	sweeper->memory = sweeper->memory + 1 < nr ? sweeper->memory + 1 : 0;
	if (sweeper->memory || sweeper->first_done || !sweeper->steps)
		return;
	for (size_t i = 0; i < nr; i++)
		total += memories[i].nr_units;
	if (sweeper->found_none >= total) {
		sweeper->first_done = true;
		sweeper->bucket.rate = sweeper->steady_rate;
	}
}

struct sweep_unit *sweeper_due(struct sweeper *sweeper, struct target_memory *memories, size_t nr,
			       uint64_t now_ns, size_t *target)
{
	bucket_fill(&sweeper->bucket, now_ns);
	if (sweeper->bucket.tokens <= 0 || !sweeper->bucket.rate)
		return NULL;
	for (size_t looked = 0, passed = 0; looked < LOOK_AHEAD;) {
		if (sweeper->memory >= nr || sweeper->unit >= memories[sweeper->memory].nr_units) {
			if (passed++ > nr)
				return NULL;
			next_target(sweeper, memories, nr);
			continue;
		}
		struct sweep_unit *unit = &memories[sweeper->memory].units[sweeper->unit++];

		looked++;
		if (sweep_unit_due(unit, now_ns)) {
			sweeper->found_none = 0;
			*target = sweeper->memory;
			return unit;
		}
		sweeper->found_none++;
	}
	return NULL;
}

void sweeper_pay(struct sweeper *sweeper, int64_t ns)
{
	sweeper->bucket.tokens -= ns;
}

/** The frames of young pages among @nr entries of a leaf table from @first on; their number. */
static size_t young_frames(const struct sweeper *sweeper, const uint64_t *table, size_t first, size_t nr,
			   uint64_t addr, uint64_t *frames)
{
	size_t found = 0;

	for (size_t i = 0; i < nr; i++) {
		struct leaf leaf = walker_decode(sweeper->walker, table[first + i], 0, addr + i * PAGE);

		if (leaf.state == LEAF_PRESENT && leaf.young)
			frames[found++] = leaf.pfn;
	}
	return found;
}

/**
 * Clear what is young in [start, end) through the bitmap, which splits nothing whatever lies there.
 * The tail pages of a large folio mapped page by page have no bit: samples clear those.
 */
static int sweep_frames(struct sweeper *sweeper, size_t target, uint64_t start, uint64_t end)
{
	const uint64_t (*tables)[512];
	uint64_t frames[512], *pmds, base = start & ~(BLOCK - 1);
	size_t blocks = (end - base + BLOCK - 1) / BLOCK;
	int err = walker_view_tables(sweeper->walker, target, base, blocks, &tables, &pmds);

	for (size_t i = 0; i < blocks && !err; i++) {
		uint64_t from = base + i * BLOCK, to = from + BLOCK;
		size_t nr = 0;

		from = from < start ? start : from;
		to = to > end ? end : to;
		if (walker_is_table(sweeper->walker, pmds[i])) {
			nr = young_frames(sweeper, tables[i], from / PAGE % 512, (to - from) / PAGE,
					  from, frames);
		} else if (pmds[i]) {
			struct leaf leaf = walker_decode(sweeper->walker, pmds[i], 1, base + i * BLOCK);

			frames[nr] = leaf.pfn;
			nr += leaf.state == LEAF_PRESENT && leaf.young;
		}
		err = page_idle_clear(sweeper->idle_fd, frames, nr);
		sweeper->bytes += to - from;
	}
	return err;
}

int sweeper_step(struct sweeper *sweeper, struct target_memory *memory, size_t target,
		 struct sweep_unit *unit, uint64_t now_ns)
{
	struct iovec pieces[SWEEP_BLOCKS + 1];
	uint8_t outcomes[SWEEP_BLOCKS + 1];
	uint64_t start = unit->start, end = unit->end;
	size_t nr;

	*unit = (struct sweep_unit){.start = start, .end = end, .swept_ns = now_ns};
	if (!whole_mapping(memory, &start, &end) || memory_refused(memory, start))
		return 0;
	sweeper->steps++;
	if (sweeper->idle_fd >= 0)
		return sweep_frames(sweeper, target, start, end);
	if (thp_none_split(&sweeper->thp, now_ns)) {
		pieces[0] = (struct iovec){(void *)start, end - start};
		nr = 1;
	} else {
		nr = whole_pieces(sweeper->walker, sweeper->kpage, sweeper->large_ok, target, start, end, pieces,
				  &sweeper->skipped);
	}
	int err = clear_cold(memory->pidfd, pieces, nr, outcomes);

	for (size_t i = 0; !err && i < nr; i++) {
		if (outcomes[i] == CLEAR_DONE)
			sweeper->bytes += pieces[i].iov_len;
		else if (outcomes[i] == CLEAR_REFUSED)
			err = -EINVAL;
	}
	return err;
}
