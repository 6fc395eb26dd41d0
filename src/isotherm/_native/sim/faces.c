// SPDX-License-Identifier: Apache-2.0
// The world as a monitor sees it, for money: single pages, clumps and tables, samples and clears.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "map/page_map.h"
#include "sim/world.h"
#include "sys/page.h"

enum { PRESENT = 1, TABLE = 2, YOUNG = 4, UNSEEN = 8, OWN = 16 };
#define FRAME_MASK UINT64_C(0x0ffffffffffff000)

/** Of an area the part in [*addr, end), or NULL for a hole; the next place to look at is in *addr. */
static const struct sim_area *next_part(const struct sim_world *world, uint32_t process, uint64_t *addr,
					uint64_t end, uint64_t *from, uint64_t *to)
{
	const struct sim_area *area = sim_area_at(world, process, *addr);
	uint64_t stop = area ? area->end : sim_next_area(world, process, *addr);

	*from = *addr;
	*to = *addr = stop < end ? stop : end;
	return area;
}

/** The entry of a page, or of a huge page, without its accessed bit. */
static uint64_t entry_of(const struct sim_world *world, const struct sim_area *area, uint64_t frame)
{
	return PRESENT | (area->hidden ? UNSEEN : 0) | (world->shared ? frame << 12 : 0) |
	       (world->shared && area->shared ? 0 : OWN);
}

static uint64_t now_ns(void *ctx)
{
	return ((struct sim_world *)ctx)->now_ns;
}

static int64_t cpu_ns(void *ctx)
{
	return ((struct sim_world *)ctx)->cpu_ns;
}

/** Fill in the pages [from, to) of an area. */
static void read_pages(const struct sim_world *world, const struct sim_area *area, uint64_t from, uint64_t to,
		       uint64_t *entries)
{
	uint64_t first = sim_frame(area, from), nr = (to - from) / PAGE;
	bool young[BLOCK_PAGES] = {false};

	if (!area->hidden)
		sim_read(world, first, first + nr, young);
	for (uint64_t i = 0; i < nr; i++)
		entries[i] = entry_of(world, area, first + i) | (young[i] ? YOUNG : 0);
}

static uint64_t read_huge(const struct sim_world *world, const struct sim_area *area, uint64_t addr)
{
	uint64_t first = sim_frame(area, addr);
	bool young = !area->hidden && sim_is_young(world, first, first + BLOCK_PAGES);

	return entry_of(world, area, first) | (young ? YOUNG : 0);
}

/** Fill in what leads to a block, and its table; whether there is one. */
static bool view_block(struct sim_world *world, uint32_t process, uint64_t block, size_t i)
{
	uint64_t addr = block, from, to;

	world->upper[i] = 0;
	memset(world->view[i], 0, sizeof(world->view[i]));
	while (addr < block + BLOCK) {
		const struct sim_area *area = next_part(world, process, &addr, block + BLOCK, &from, &to);

		if (!area)
			continue;
		if (area->huge) {
			world->upper[i] = read_huge(world, area, block);
			return false;
		}
		world->upper[i] = PRESENT | TABLE;
		read_pages(world, area, from, to, &world->view[i][(from - block) / PAGE]);
	}
	return world->upper[i];
}

static int view(void *ctx, size_t target, uint64_t start, size_t nr, struct bulk_view *out)
{
	struct sim_world *world = ctx;
	size_t tables = 0;

	if (nr > MAP_CHUNK_BLOCKS || start % BLOCK)
		return -EINVAL;
	for (size_t i = 0; i < nr; i++)
		tables += view_block(world, sim_process(world, target), start + i * BLOCK, i);
	*out = (struct bulk_view){world->view, world->upper};
	world->stats.tables += tables;
	sim_charge(world, sim_read_ns(&world->costs, nr - tables) + (double)tables * world->costs.read_table_ns);
	return 0;
}

/** Read a clump; how many entries of it are there. */
static size_t peek_clump(const struct sim_world *world, uint32_t process, const struct bulk_clump *clump,
			 uint64_t *present, uint64_t *young)
{
	uint64_t size = clump->huge ? BLOCK : PAGE;
	size_t nr = 0;

	*present = *young = 0;
	for (size_t i = 0; i < clump->nr && i < SIM_MOST_CLUMP; i++) {
		uint64_t addr = clump->start + i * size;
		const struct sim_area *area = sim_area_at(world, process, addr);

		if (!area || area->huge != clump->huge)
			continue;
		uint64_t frame = sim_frame(area, addr);

		nr++;
		*present |= UINT64_C(1) << i;
		if (!area->hidden && sim_is_young(world, frame, frame + size / PAGE))
			*young |= UINT64_C(1) << i;
	}
	return nr;
}

static int peek(void *ctx, size_t target, const struct bulk_clump *clumps, size_t nr, uint64_t *present,
		uint64_t *young)
{
	struct sim_world *world = ctx;
	double cost = 0;

	for (size_t i = 0; i < nr; i++) {
		size_t found = peek_clump(world, sim_process(world, target), &clumps[i], &present[i], &young[i]);

		world->stats.reads += found;
		cost += sim_read_ns(&world->costs, clumps[i].nr);
	}
	sim_charge(world, cost);
	return 0;
}

/** What was done to a range. */
struct cleared {
	uint64_t entries, young;
	int err;
};

static void clear_part(struct sim_world *world, const struct sim_area *area, uint64_t from, uint64_t to,
		       struct cleared *done)
{
	uint64_t step = area->huge ? BLOCK : PAGE;
	uint64_t first = sim_frame(area, from), last = sim_frame(area, to);
	bool young[BLOCK_PAGES];

	done->entries += (to - from) / step;
	while (first < last && !done->err) {
		uint64_t end = (first / BLOCK_PAGES + 1) * BLOCK_PAGES;

		end = end < last ? end : last;
		if (area->huge) {
			done->young += sim_is_young(world, first, end);
		} else {
			sim_read(world, first, end, young);
			for (uint64_t i = 0; i < end - first; i++)
				done->young += young[i];
		}
		done->err = sim_clear(world, first, end);
		first = end;
	}
}

/** Clear a range of a process, and pay for it. */
static int clear_range(struct sim_world *world, uint32_t process, struct bulk_range *range)
{
	struct cleared done = {0};
	uint64_t addr = range->start, from, to;
	bool found = false;

	range->refused = BULK_CLEARED;
	while (addr < range->end) {
		const struct sim_area *area = next_part(world, process, &addr, range->end, &from, &to);

		if (!area)
			continue;
		found = true;
		if (area->huge && (from % BLOCK || to % BLOCK)) {
			range->refused = BULK_TORN;
			from = (from + BLOCK - 1) & ~(BLOCK - 1);
			to &= ~(BLOCK - 1);
		}
		if (area->hidden)
			range->refused = BULK_REFUSED;
		else if (from < to)
			clear_part(world, area, from, to, &done);
	}
	if (!found)
		range->refused = BULK_GONE;
	world->cleared += done.young;
	world->stats.clears += done.young;
	world->stats.ranges++;
	sim_charge(world, (done.young ? world->costs.clear_ns : world->costs.clear_old_ns) +
			  (double)done.entries * world->costs.clear_page_ns);
	return done.err;
}

static int clear(void *ctx, size_t target, struct bulk_range *ranges, size_t nr)
{
	struct sim_world *world = ctx;
	int err = 0;

	for (size_t i = 0; i < nr && !err; i++)
		err = clear_range(world, sim_process(world, target), &ranges[i]);
	return err;
}

static void mappers(void *ctx, const uint64_t *frames, size_t nr, uint32_t *found)
{
	const struct sim_world *world = ctx;

	for (size_t i = 0; i < nr; i++) {
		found[i] = 0;
		for (size_t j = 0; j < world->nr_areas; j++) {
			const struct sim_area *area = &world->areas[j];

			found[i] += area->from_ns <= world->now_ns && world->now_ns < area->until_ns &&
				    area->frame <= frames[i] &&
				    frames[i] < area->frame + (area->end - area->start) / PAGE;
		}
	}
}

struct bulk_ops sim_bulk_ops(struct sim_world *world)
{
	return (struct bulk_ops){
		.ctx = world,
		.format = {
			.present = PRESENT, .young = YOUNG, .write = OWN, .unseen = UNSEEN, .leaf_bit = 1,
			.leaf_flip = 1, .frame_mask = world->shared ? FRAME_MASK : 0,
		},
		.frames_cleared = world->shared,
		.now_ns = now_ns,
		.cpu_ns = cpu_ns,
		.view = view,
		.peek = peek,
		.clear = clear,
		.mappers = world->shared ? mappers : NULL,
	};
}
