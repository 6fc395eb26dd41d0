// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "map/frames.h"
#include "map/sum.h"
#include "map/sum_rows.h"
#include "sys/clock.h"
#include "sys/page.h"

/**
 * Pages that others map too: the first of @nr frames, one after the other as they were found, the row that
 * has a share of them, and of how many pages of 4 KiB each of them is.
 */
struct sharer {
	uint32_t frame, row;
	uint16_t nr, pages;
};

struct work {
	struct page_map *map;
	struct sum *sum;
	struct frames frames;
	struct sharer *sharers;
	size_t nr_sharers, room;
};

static uint8_t place_of(const struct sum *sum, uint64_t ns)
{
	uint8_t i = 0;

	while (i < sum->nr_windows && sum->windows[i] < ns)
		i++;
	return i;
}

/** The windows between the ends of when it was used: the longer, the likelier. */
static void set_parts(const struct sum *sum, const struct map_age *age, struct page_use *page)
{
	for (unsigned int i = page->use.best; i-- > 0 && page->nr_parts < MOST_PARTS;) {
		if (age->from >= sum->windows[i])
			break;
		page->parts[page->nr_parts++] = (float)map_age_share(age, sum->windows[i]);
	}
	if (page->nr_parts)
		page->use.best_part = (uint8_t)(page->parts[0] * 255);
}

static struct page_use use_of(const struct sum *sum, const struct map_table *table, const struct map_bursts *bursts,
			      uint8_t byte)
{
	unsigned int epoch = map_epoch_of(byte);
	uint8_t none = (uint8_t)sum->nr_windows;

	if (epoch == MAP_UNSEEN)
		return (struct page_use){.use = {none, none, 0, 0, 1, 0, 0}};
	if (epoch == MAP_NEW)
		return (struct page_use){.use = {none, none, 0, 0, 0, 1, 0}};
	struct map_age age = map_table_age(table, bursts, byte);
	uint8_t idle = 0;

	while (idle < sum->nr_windows && sum->windows[idle] <= age.idle)
		idle++;
	struct page_use page = {.use = {place_of(sum, age.low), place_of(sum, age.best), place_of(sum, age.high),
					idle, 0, 0, 0}};

	if (age.best != UINT64_MAX && age.from < age.best)
		set_parts(sum, &age, &page);
	return page;
}

/** Programs map the pages of a file in the same order: most of them go on with the last run of frames. */
static int add_sharer(struct work *work, uint32_t frame, uint32_t row, uint16_t pages)
{
	struct sharer *last = work->nr_sharers ? &work->sharers[work->nr_sharers - 1] : NULL;

	if (!row)
		return -ENOMEM;
	if (last && last->row == row && last->pages == pages && last->frame + last->nr == frame &&
	    last->nr < UINT16_MAX) {
		last->nr++;
		return 0;
	}
	if (work->nr_sharers == work->room) {
		size_t room = work->room ? 2 * work->room : 4096;
		struct sharer *sharers = reallocarray(work->sharers, room, sizeof(*sharers));

		if (!sharers)
			return -ENOMEM;
		work->sharers = sharers;
		work->room = room;
	}
	work->sharers[work->nr_sharers++] = (struct sharer){frame, row, 1, pages};
	return 0;
}

/** A page that may be mapped by others as well. */
struct doubtful {
	uint64_t frame;
	uint32_t known;	// where it is among those that several map
	uint16_t page;
	bool alone;	// nobody else maps it
	bool anonymous;	// though its mapping is of a file
	bool kept;	// no action takes it out: of a shared file, and may have been written to
};

/** A page among others whose frame is asked for. */
struct asked {
	uint64_t frame;
	uint16_t at;
};

static int by_frame(const void *a, const void *b)
{
	const struct asked *x = a, *y = b;

	return x->frame < y->frame ? -1 : x->frame > y->frame;
}

/** Sort what is asked, and tell the frames in that order: neighbours are read at once. */
static void sort_asked(struct asked *asked, size_t nr, uint64_t *frames)
{
	qsort(asked, nr, sizeof(*asked), by_frame);
	for (size_t i = 0; i < nr; i++)
		frames[i] = asked[i].frame;
}

/** Add a frame that was not found yet; -ENOMEM. */
static int add_frame(struct work *work, struct doubtful *page, uint32_t mappers)
{
	page->alone = mappers == 1;
	if (page->alone)
		return 0;
	// The same one twice in a table is found the second time.
	page->known = frames_find(&work->frames, page->frame);
	if (page->known == NO_FRAME)
		page->known = frames_new(&work->frames, page->frame, mappers);
	return page->known == NO_FRAME ? -ENOMEM : 0;
}

/** Look up frames, and ask who maps those that are not known yet. */
static int find_new(struct work *work, struct doubtful *pages, size_t nr)
{
	struct asked asked[MAP_PAGES];
	uint64_t frames[MAP_PAGES];
	uint32_t found[MAP_PAGES] = {0}, mappers[MAP_PAGES];
	size_t nr_new = 0;
	int err = 0;

	for (size_t i = 0; i < nr; i++) {
		pages[i].known = frames_find(&work->frames, pages[i].frame);
		if (pages[i].known == NO_FRAME)
			asked[nr_new++] = (struct asked){pages[i].frame, (uint16_t)i};
	}
	if (!nr_new)
		return 0;
	sort_asked(asked, nr_new, frames);
	if (work->map->ops.mappers)
		work->map->ops.mappers(work->map->ops.ctx, frames, nr_new, found);
	for (size_t i = 0; i < nr_new; i++)
		mappers[asked[i].at] = found[i];
	// In the order of addresses, in which others map them too: see add_sharer().
	for (size_t i = 0; i < nr && !err; i++)
		if (pages[i].known == NO_FRAME)
			err = add_frame(work, &pages[i], mappers[i]);
	return err;
}

/** Of a frame that several map it is asked once. */
static void find_anonymous(const struct work *work, struct doubtful *pages, size_t nr)
{
	struct asked asked[MAP_PAGES];
	uint64_t frames[MAP_PAGES];
	bool anonymous[MAP_PAGES];
	size_t nr_asked = 0;

	if (!work->map->ops.anonymous)
		return;
	for (size_t i = 0; i < nr; i++) {
		const struct frame *frame = pages[i].alone ? NULL : &work->frames.at[pages[i].known];

		if (frame && frame->judged)
			pages[i].anonymous = frame->anonymous;
		else
			asked[nr_asked++] = (struct asked){pages[i].frame, (uint16_t)i};
	}
	if (!nr_asked)
		return;
	sort_asked(asked, nr_asked, frames);
	work->map->ops.anonymous(work->map->ops.ctx, frames, nr_asked, anonymous);
	for (size_t i = 0; i < nr_asked; i++) {
		struct doubtful *page = &pages[asked[i].at];

		page->anonymous = anonymous[i];
		if (!page->alone) {
			work->frames.at[page->known].judged = true;
			work->frames.at[page->known].anonymous = anonymous[i];
		}
	}
}

static int settle(struct work *work, const struct map_table *table, const struct map_area *area,
		  struct doubtful *pages, size_t nr, uint16_t each, const struct page_use *uses)
{
	double bytes = (double)each * PAGE;
	int err = find_new(work, pages, nr);

	if (!err && area->flags & MAP_AREA_PRIVATE_FILE)
		find_anonymous(work, pages, nr);
	for (size_t i = 0; i < nr && !err; i++) {
		const struct page_use *use = &uses[table->pages[pages[i].page]];
		uint32_t row = sum_place(work->sum, area, pages[i].anonymous, pages[i].frame);

		if (pages[i].alone) {
			err = sum_add_to(work->sum, row, use, bytes, !use->use.unseen && !pages[i].kept);
			continue;
		}
		frame_add(&work->frames.at[pages[i].known], &use->use);
		err = add_sharer(work, pages[i].known, row, each);
	}
	return err;
}

/** Sum up the pages of one table that are in one area. */
static int sum_area(struct work *work, const struct map_table *table, const struct map_area *area,
		    const uint64_t *entries, uint64_t block, const struct page_use *uses)
{
	const struct entry_format *format = &work->map->ops.format;
	struct doubtful doubtful[MAP_PAGES];
	bool anon = area->kind == MAP_ANON, one_node = work->sum->nr_node_numbers == 1;
	uint64_t writable = anon || area->flags & MAP_AREA_PRIVATE_FILE ? format->write : 0;
	uint16_t counts[256] = {0};
	int err = 0;
	size_t nr = 0, from = area->start > block ? (area->start - block) / PAGE : 0;
	size_t to = area->end < block + BLOCK ? (area->end - block) / PAGE : MAP_PAGES;
	uint16_t each = 1;

	if (table->huge) {	// the one page, and what of it is in the area
		each = (uint16_t)(to - from);
		from = 0;
		to = 1;
	}
	for (size_t i = from; i < to && !err; i++) {
		uint8_t byte = table->pages[i];
		uint64_t entry = entries[i];

		if (byte == MAP_ABSENT || !(entry & format->present))
			continue;
		bool own = entry & writable || !format->frame_mask;

		// What a process may write to in its own memory nobody else maps.
		if (own && one_node)
			counts[byte]++;
		else if (own)
			err = sum_add_to(work->sum, sum_place(work->sum, area, true, bulk_frame(format, entry)),
				     &uses[byte], (double)each * PAGE, !uses[byte].use.unseen);
		else
			doubtful[nr++] = (struct doubtful){
				.frame = bulk_frame(format, entry), .page = (uint16_t)i,
				.kept = area->flags & MAP_AREA_KEPT || (!writable && entry & format->write)};
	}
	for (size_t byte = 0; one_node && byte < MAP_ABSENT && !err; byte++)
		if (counts[byte])
			err = sum_add_to(work->sum, sum_place(work->sum, area, writable != 0, 0), &uses[byte],
				     (double)counts[byte] * each * PAGE, !uses[byte].use.unseen);
	return nr && !err ? settle(work, table, area, doubtful, nr, each, uses) : err;
}

static int sum_block(struct work *work, const struct map_target *target, const struct map_chunk *chunk,
		     enum map_kind kind, const struct bulk_view *view, size_t i, struct page_use *uses)
{
	const struct map_table *table = map_chunk_table(chunk, kind, i);
	uint64_t block = chunk->base + i * BLOCK;
	bool known[256] = {0};
	size_t pages;
	int err = 0;

	if (!table)
		return 0;
	const uint64_t *entries = bulk_is_table(&work->map->ops.format, view->upper[i]) ? view->tables[i]
			       : &view->upper[i];
	bool huge = bulk_is_huge(&work->map->ops.format, view->upper[i]);

	if (huge != table->huge || (!huge && entries == &view->upper[i]))
		return 0;	// not what it was at the last read
	pages = map_table_pages(table);
	for (size_t page = 0; page < pages; page++) {
		uint8_t byte = table->pages[page];

		if (!known[byte] && byte != MAP_ABSENT) {
			uses[byte] = use_of(work->sum, table, &target->bursts, byte);
			known[byte] = true;
		}
	}
	for (size_t a = map_first_area(target, block);
	     !err && a < target->nr_areas && target->areas[a].start < block + BLOCK; a++)
		if (target->areas[a].kind == kind && target->areas[a].row < work->sum->nr_rows)
			err = sum_area(work, table, &target->areas[a], entries, block, uses);
	return err;
}

/** It ended while it was summed up: nothing of it, rather than a part. */
static void forget_target(struct work *work, struct map_target *target, size_t sharers)
{
	size_t each = NR_SUM_KINDS * work->sum->nr_node_numbers;

	target->gone = true;
	work->nr_sharers = sharers;
	for (size_t i = 0; i < target->nr_areas; i++) {
		size_t row = target->areas[i].row;
		uint32_t *places = work->sum->places + row * each;

		if (row >= work->sum->nr_rows)
			continue;
		for (size_t j = 0; j < each; j++)
			if (places[j])
				sum_row_at(work->sum, places[j])->group = NO_GROUP;
		memset(places, 0, each * sizeof(*places));
	}
}

/** What was used since the last read is not idle. */
static int look_at_target(struct page_map *map, size_t index)
{
	struct map_target *target = &map->targets[index];
	map_time now = map_now(map, target, map->ops.now_ns(map->ops.ctx));
	int err = 0;

	for (size_t j = 0; j < target->nr_chunks && !err; j++) {
		struct map_chunk *chunk = &target->chunks[j];
		struct bulk_view view;

		if (chunk->tables[MAP_ANON] || chunk->tables[MAP_FILE])
			err = map_look(map, index, chunk, now, &view);
	}
	target->bursts = map_target_bursts(target);
	return err;
}

static int sum_target(struct work *work, size_t index)
{
	struct map_target *target = &work->map->targets[index];
	size_t sharers = work->nr_sharers;
	struct page_use uses[256];
	int err = look_at_target(work->map, index);

	for (size_t j = 0; j < target->nr_chunks && !err; j++) {
		struct map_chunk *chunk = &target->chunks[j];
		struct bulk_view view;

		if (!chunk->tables[MAP_ANON] && !chunk->tables[MAP_FILE])
			continue;
		err = work->map->ops.view(work->map->ops.ctx, index, chunk->base, MAP_CHUNK_BLOCKS, &view);
		for (size_t i = 0; i < MAP_CHUNK_BLOCKS && !err; i++)
			for (size_t kind = 0; kind < NR_MAP_KINDS && !err; kind++)
				err = sum_block(work, target, chunk, kind, &view, i, uses);
	}
	if (err == -ESRCH) {
		forget_target(work, target, sharers);
		return 0;
	}
	return err;
}

static struct sum_row *group_at(const struct sum *sum, uint32_t group)
{
	return (struct sum_row *)(void *)(sum->groups + group * sum_row_size(sum));
}

/** What nobody else maps is of its group as it is. Before anything is divided. */
static int begin_groups(struct sum *sum)
{
	sum->groups = calloc(sum->nr_groups + 1, sum_row_size(sum));
	if (!sum->groups)
		return -ENOMEM;
	for (uint32_t place = 1; place <= sum->nr_used; place++) {
		const struct sum_row *row = sum_row_at(sum, place);

		if (row->group < sum->nr_groups)
			sum_add_row(sum, group_at(sum, row->group), row);
	}
	return 0;
}

/** Give a row its share of frames, and its group those that nobody else of it gave it: see struct sum_member. */
static void divide(const struct work *work, const struct sharer *sharer)
{
	const struct sum *sum = work->sum;
	struct sum_row *row = sum_row_at(sum, sharer->row);
	bool grouped = sum->groups && row->group < sum->nr_groups;

	for (size_t i = 0; i < sharer->nr; i++) {
		struct frame *frame = &work->frames.at[sharer->frame + i];
		uint32_t all = frame->mappers > frame->found ? frame->mappers : frame->found;
		struct page_use use = {.use = frame->use, .nr_parts = frame->use.best_part != 0,
				       .parts = {(float)frame->use.best_part / 255}};
		double bytes = (double)sharer->pages * PAGE;

		// Whom of its users nobody could see may have used it since: that is in the most.
		if (use.use.best < sum->nr_windows)
			use.use.unseen = use.use.uncovered = false;
		sum_add(sum, row, &use, bytes / all, false);
		if (grouped && frame->counted != row->group + 1) {
			frame->counted = row->group + 1;
			sum_add(sum, group_at(sum, row->group), &use, bytes, false);
		}
	}
}

/** Those of a group one after the other, so that a frame that it counted was counted last by it. */
static int sum_targets(struct work *work)
{
	const struct sum *sum = work->sum;
	size_t nr = sum->nr_members ? sum->nr_members : work->map->nr_targets;
	int err = 0;

	for (size_t i = 0; i < nr && !err; i++) {
		size_t index = sum->nr_members ? sum->members[i].target : i;

		work->sum->group = sum->nr_members ? sum->members[i].group : NO_GROUP;
		if (index < work->map->nr_targets && !work->map->targets[index].gone)
			err = sum_target(work, index);
	}
	return err;
}

int page_map_sum(struct page_map *map, struct sum *sum)
{
	struct work work = {.map = map, .sum = sum};
	int64_t begin = bulk_cpu_ns(&map->ops);
	int err;

	sum->rows = sum->groups = NULL;
	sum->nr_used = sum->room = 0;
	sum->places = calloc(sum->nr_rows * NR_SUM_KINDS * sum->nr_node_numbers + 1, sizeof(*sum->places));
	if (!sum->places)
		return -ENOMEM;
	err = sum_targets(&work);
	if (!err && sum->nr_groups && map->ops.format.frame_mask)
		err = begin_groups(sum);
	for (size_t i = 0; i < work.nr_sharers && !err; i++)
		divide(&work, &work.sharers[i]);
	for (uint32_t place = 1; place <= sum->nr_used; place++)
		sum_finish(sum, sum_row_at(sum, place));
	for (uint32_t group = 0; sum->groups && group < sum->nr_groups; group++)
		sum_finish(sum, group_at(sum, group));
	sum->shared_frames = work.frames.nr;
	frames_free(&work.frames);
	free(work.sharers);
	sum->cpu_ns = bulk_cpu_ns(&map->ops) - begin;
	map->stats.cpu_ns += sum->cpu_ns;
	map->clears.tokens -= sum->cpu_ns;
	return err;
}

void page_map_ages(const struct page_map *map, size_t index, uint64_t start, uint64_t end,
		   const uint64_t *windows, size_t nr_windows, struct page_ages *ages)
{
	const struct map_target *target = &map->targets[index];
	struct sum sum = {.nr_windows = nr_windows < SUM_WINDOWS ? nr_windows : SUM_WINDOWS};
	struct map_bursts bursts = map_target_bursts(target);

	memcpy(sum.windows, windows, sum.nr_windows * sizeof(*windows));
	for (uint64_t addr = start; addr < end; addr += PAGE, ages++) {
		const struct map_chunk *chunk = map_target_chunk(target, addr);

		*ages = (struct page_ages){0xff, 0xff, 0xff, 0xff};
		for (size_t kind = 0; chunk && kind < NR_MAP_KINDS; kind++) {
			const struct map_table *table =
				map_chunk_table(chunk, kind, (addr - chunk->base) / BLOCK);
			uint8_t byte = table ? table->pages[table->huge ? 0 : addr / PAGE % MAP_PAGES]
					     : MAP_ABSENT;

			if (byte == MAP_ABSENT)
				continue;
			struct frame_use use = use_of(&sum, table, &bursts, byte).use;

			if (use.unseen || use.uncovered)
				memset(ages, use.unseen ? 0xfe : 0xfd, sizeof(*ages));
			else
				*ages = (struct page_ages){use.low, use.best, use.high, use.idle};
		}
	}
}
