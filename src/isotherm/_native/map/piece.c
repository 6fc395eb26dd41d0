// SPDX-License-Identifier: Apache-2.0
// Memory that is cleared in the background, by frames, in whoever maps them: a piece after the other.
//
// It takes a while, and others may use the memory meanwhile. So a piece is small, and all that may be
// cleared with it is read right before: a use that was seen by nobody lies within the time of a clear.
// If that was long, what was cleared without having been seen used is not known to be idle.
#include <errno.h>
#include <stdlib.h>
#include "map/page_map.h"
#include "sentinels/panel.h"
#include "sys/page.h"

#define CHUNK (MAP_CHUNK_BLOCKS * BLOCK)
#define PIECE_NS 8000000.0	// so long others may use it meanwhile, about
#define LEAST_ENTRIES 4096
#define DOUBT_NS UINT64_C(20000000)
#define POLL_NS UINT64_C(4000000)
#define ROUND_NS SECOND_NS
#define CALMEST_ROUND 2
#define MOST_RANGES 512		// each is told apart, which costs as much as to clear many frames
#define BRIDGE 16		// so many frames between two of them are cleared as well
#define BATCH 512
#define SHARED_BY 1		// mapped so often: by one alone

/** Frames [start, end) each. */
struct frame_runs {
	uint64_t (*at)[2];
	size_t nr, room;
};

static int add_run(struct frame_runs *runs, uint64_t start, uint64_t end)
{
	if (runs->nr && runs->at[runs->nr - 1][1] == start) {
		runs->at[runs->nr - 1][1] = end;
		return 0;
	}
	if (runs->nr == runs->room) {
		size_t room = runs->room ? 2 * runs->room : 256;
		void *at = reallocarray(runs->at, room, sizeof(*runs->at));

		if (!at)
			return -ENOMEM;
		runs->at = at;
		runs->room = room;
	}
	runs->at[runs->nr][0] = start;
	runs->at[runs->nr++][1] = end;
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return left[0] < right[0] ? -1 : left[0] > right[0];
}

/** Put them in order, apart. */
static void join(struct frame_runs *runs)
{
	size_t nr = 0;

	if (runs->nr)
		qsort(runs->at, runs->nr, sizeof(*runs->at), by_start);
	for (size_t i = 0; i < runs->nr; i++) {
		uint64_t start = runs->at[i][0], end = runs->at[i][1];

		if (nr && start <= runs->at[nr - 1][1]) {
			if (end > runs->at[nr - 1][1])
				runs->at[nr - 1][1] = end;
		} else {
			runs->at[nr][0] = start;
			runs->at[nr++][1] = end;
		}
	}
	runs->nr = nr;
}

/** The first chunk of a target that ends above @addr. */
static size_t first_chunk(const struct map_target *target, uint64_t addr)
{
	size_t low = 0, high = target->nr_chunks;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (target->chunks[middle].base + CHUNK <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool map_has_frames(const struct map_target *target, const struct map_chunk *chunk)
{
	for (size_t kind = 0; kind < NR_MAP_KINDS; kind++)
		if (target->by_frames[kind] && chunk->tables[kind])
			return true;
	return false;
}

/** The lowest chunk of all targets that ends above @addr and has something to clear by frames. */
static uint64_t next_base(const struct page_map *map, uint64_t addr)
{
	uint64_t base = UINT64_MAX;

	for (size_t i = 0; i < map->nr_targets; i++) {
		const struct map_target *target = &map->targets[i];
		size_t j = target->gone ? target->nr_chunks : first_chunk(target, addr);

		while (j < target->nr_chunks && !map_has_frames(target, &target->chunks[j]))
			j++;
		if (j < target->nr_chunks && target->chunks[j].base < base)
			base = target->chunks[j].base;
	}
	return base;
}

/** Entries of a block, of all targets, that are cleared by frames. */
static uint64_t weight_of(const struct page_map *map, uint64_t block)
{
	uint64_t weight = 0;

	for (size_t i = 0; i < map->nr_targets; i++) {
		const struct map_target *target = &map->targets[i];
		const struct map_chunk *chunk = target->gone ? NULL : map_target_chunk(target, block);

		for (size_t kind = 0; chunk && kind < NR_MAP_KINDS; kind++) {
			const struct map_table *table = map_chunk_table(chunk, kind, (block - chunk->base) / BLOCK);

			if (table && target->by_frames[kind])
				weight += table->present;
		}
	}
	return weight;
}

/** Choose the next piece by what it costs; false if there is none: the round is over. */
static bool choose(struct page_map *map)
{
	struct map_piece *piece = &map->piece;
	uint64_t most = LEAST_ENTRIES + (uint64_t)(PIECE_NS / piece->entry_ns), base;

	piece->start = piece->end = piece->at;
	piece->weight = 0;
	while ((base = next_base(map, piece->end)) != UINT64_MAX) {
		if (piece->end < base)
			piece->end = base;
		if (!piece->weight)
			piece->start = piece->end;
		for (uint64_t block = piece->end; block < base + CHUNK; block += BLOCK) {
			uint64_t weight = weight_of(map, block);

			if (piece->weight && piece->weight + weight > most)
				return true;
			piece->weight += weight;
			piece->end = block + BLOCK;
		}
	}
	return piece->weight > 0;
}

/** Add the frames of a block: those that are young, and all. */
static int add_block(struct page_map *map, const struct map_target *target, enum map_kind kind, uint64_t block,
		     const struct bulk_view *view, size_t i, struct frame_runs *young, struct frame_runs *own)
{
	const struct entry_format *format = &map->ops.format;
	bool huge = bulk_is_huge(format, view->upper[i]);
	const uint64_t *entries = huge ? &view->upper[i] : view->tables[i];
	uint64_t mask[MAP_PAGES / 64];
	int err = 0;

	if ((!huge && !bulk_is_table(format, view->upper[i])) || !map_mask_of(target, kind, block, mask))
		return 0;
	for (size_t j = 0; j < (huge ? 1 : MAP_PAGES) && !err; j++) {
		uint64_t frame = bulk_frame(format, entries[j]), nr = huge ? MAP_PAGES : 1;

		if (!(entries[j] & format->present) || !map_in(mask, j) ||
		    (format->zero_frame && frame == format->zero_frame))
			continue;
		if (huge)
			frame -= frame % MAP_PAGES;
		err = add_run(own, frame, frame + nr);
		if (!err && entries[j] & format->young)
			err = add_run(young, frame, frame + nr);
	}
	return err;
}

/** Gather the frames of the piece from the page tables. */
static int gather(struct page_map *map, struct frame_runs *young, struct frame_runs *own)
{
	const struct map_piece *piece = &map->piece;
	int err = 0;

	for (size_t i = 0; i < map->nr_targets && !err; i++) {
		struct map_target *target = &map->targets[i];

		for (size_t j = first_chunk(target, piece->start);
		     !err && !target->gone && j < target->nr_chunks && target->chunks[j].base < piece->end; j++) {
			struct map_chunk *chunk = &target->chunks[j];
			struct bulk_view view;

			if (!map_has_frames(target, chunk))
				continue;
			if (map->ops.view(map->ops.ctx, i, chunk->base, MAP_CHUNK_BLOCKS, &view)) {
				target->gone = true;
				break;
			}
			for (size_t k = 0; k < NR_MAP_KINDS * MAP_CHUNK_BLOCKS && !err; k++) {
				enum map_kind kind = k / MAP_CHUNK_BLOCKS;
				size_t at = k % MAP_CHUNK_BLOCKS;
				uint64_t block = chunk->base + at * BLOCK;

				if (target->by_frames[kind] && block >= piece->start && block < piece->end)
					err = add_block(map, target, kind, block, &view, at, young, own);
			}
		}
		join(young);
		join(own);
	}
	return err;
}

/** Leave out what one process alone maps, as it is cleared in another way; whole folios of the rest. */
static int only_shared(struct page_map *map, const struct frame_runs *young, struct frame_runs *shared)
{
	uint64_t frames[BATCH];
	uint32_t mappers[BATCH];
	int err = 0;

	for (size_t i = 0; i < young->nr && !err; i++)
		for (uint64_t first = young->at[i][0]; first < young->at[i][1] && !err; first += BATCH) {
			size_t nr = young->at[i][1] - first < BATCH ? young->at[i][1] - first : BATCH;

			for (size_t j = 0; j < nr; j++) {
				frames[j] = first + j;
				mappers[j] = 0;
			}
			if (map->ops.mappers)
				map->ops.mappers(map->ops.ctx, frames, nr, mappers);
			for (size_t j = 0; j < nr && !err; j++)
				if (mappers[j] != SHARED_BY)
					err = add_run(shared, frames[j], frames[j] + 1);
		}
	for (size_t i = 0; map->ops.whole && i < shared->nr; i++)
		map->ops.whole(map->ops.ctx, &shared->at[i][0], &shared->at[i][1]);
	join(shared);
	return err;
}

/** Ask for the shared frames: with own ones between them that are few. */
static int ask(struct map_piece *piece, const struct frame_runs *shared, const struct frame_runs *own)
{
	size_t at = 0;

	piece->nr = 0;
	if (shared->nr > piece->room) {
		void *ranges = reallocarray(piece->ranges, shared->nr, sizeof(*piece->ranges));

		if (!ranges)
			return -ENOMEM;
		piece->ranges = ranges;
		piece->room = shared->nr;
	}
	for (size_t i = 0; i < shared->nr; i++) {
		uint64_t start = shared->at[i][0] * PAGE, end = shared->at[i][1] * PAGE;
		uint64_t last = piece->nr ? piece->ranges[piece->nr - 1][1] : 0;

		while (at < own->nr && own->at[at][1] * PAGE < start)
			at++;
		if (last && start - last <= BRIDGE * PAGE && at < own->nr && own->at[at][0] * PAGE <= last) {
			piece->ranges[piece->nr - 1][1] = end;
		} else {
			piece->ranges[piece->nr][0] = start;
			piece->ranges[piece->nr++][1] = end;
		}
	}
	return 0;
}

/** Look what there is to clear in the piece, and make it smaller if that is in too many parts. */
static int fill(struct page_map *map)
{
	struct map_piece *piece = &map->piece;
	bool fits = false;
	int err = 0;

	while (!fits && !err) {
		struct frame_runs young = {0}, own = {0}, shared = {0};
		uint64_t blocks = (piece->end - piece->start) / BLOCK;

		err = gather(map, &young, &own);
		if (!err)
			err = only_shared(map, &young, &shared);
		if (!err)
			err = ask(piece, &shared, &own);
		free(young.at);
		free(own.at);
		free(shared.at);
		fits = piece->nr <= MOST_RANGES || blocks < 2;
		if (!fits)
			piece->end = piece->start + blocks / 2 * BLOCK;
	}
	return err;
}

/** Read all that may be cleared with the piece: shared memory may be mapped anywhere. */
static void read_all(struct page_map *map, uint64_t now_ns)
{
	for (size_t i = 0; i < map->nr_targets; i++) {
		struct map_target *target = &map->targets[i];
		map_time now = map_now(map, target, now_ns);

		for (size_t j = 0; !target->gone && j < target->nr_chunks; j++) {
			struct bulk_view view;

			if (map_has_frames(target, &target->chunks[j]) &&
			    map_look(map, i, &target->chunks[j], now, &view))
				target->gone = true;
		}
	}
}

static bool is_asked(const struct map_piece *piece, uint64_t frame)
{
	uint64_t byte = frame * PAGE;
	size_t low = 0, high = piece->nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (piece->ranges[middle][1] <= byte)
			low = middle + 1;
		else
			high = middle;
	}
	return low < piece->nr && piece->ranges[low][0] <= byte;
}

static void doubt_table(const struct page_map *map, struct map_table *table, const struct bulk_view *view, size_t i)
{
	const struct entry_format *format = &map->ops.format;
	const uint64_t *entries = table->huge ? &view->upper[i] : view->tables[i];
	size_t nr = map_table_pages(table);

	if (table->huge ? !bulk_is_huge(format, view->upper[i]) : !bulk_is_table(format, view->upper[i]))
		return;
	for (size_t page = 0; page < nr; page++)
		if (entries[page] & format->present && is_asked(&map->piece, bulk_frame(format, entries[page])))
			map_table_doubt(table, page);
}

/** What was cleared may have been used after it was read, wherever it is mapped. */
static void doubt(struct page_map *map)
{
	for (size_t i = 0; i < map->nr_targets; i++) {
		struct map_target *target = &map->targets[i];

		for (size_t j = 0; !target->gone && j < target->nr_chunks; j++) {
			struct map_chunk *chunk = &target->chunks[j];
			struct bulk_view view;

			if (!map_has_frames(target, chunk) ||
			    map->ops.view(map->ops.ctx, i, chunk->base, MAP_CHUNK_BLOCKS, &view))
				continue;
			for (size_t k = 0; k < NR_MAP_KINDS * MAP_CHUNK_BLOCKS; k++) {
				enum map_kind kind = k / MAP_CHUNK_BLOCKS;
				struct map_table *table = map_chunk_table(chunk, kind, k % MAP_CHUNK_BLOCKS);

				if (table && target->by_frames[kind])
					doubt_table(map, table, &view, k % MAP_CHUNK_BLOCKS);
			}
		}
	}
}

static void arm(struct page_map *map)
{
	struct map_piece *piece = &map->piece;

	if (piece->ended_ns - piece->begun_ns > DOUBT_NS)
		doubt(map);
	for (size_t i = 0; i < map->nr_targets; i++) {
		struct map_target *target = &map->targets[i];

		for (size_t j = first_chunk(target, piece->start);
		     !target->gone && j < target->nr_chunks && target->chunks[j].base < piece->end; j++)
			if (map_has_frames(target, &target->chunks[j]) &&
			    map_arm_piece(map, i, &target->chunks[j], &piece->change) == -ESRCH)
				target->gone = true;
	}
	// Of few it would be the time to begin and to end.
	if (piece->cpu_ns && piece->weight >= LEAST_ENTRIES)
		piece->entry_ns += 0.3 * ((double)(piece->ended_ns - piece->begun_ns) / (double)piece->weight -
					  piece->entry_ns);
	map->by_frames.tokens -= piece->cpu_ns;
	piece->spent_ns += piece->cpu_ns;
	piece->pieces++;
	piece->at = piece->end;
	piece->state = MAP_PIECE_NONE;
}

static void end_round(struct map_piece *piece)
{
	piece->calm = piece->change.calm * 10 >= piece->change.used * 9 && piece->change.used
		? piece->calm + (piece->calm < CALMEST_ROUND) : 0;
	piece->due = piece->round_began + map_time_of(ROUND_NS << piece->calm);
	piece->change = (struct map_change){0};
	piece->armed = true;
	piece->at = 0;
	piece->rounds++;
}

/** Ask for the next piece, if it is time and can be paid. */
static void begin(struct page_map *map, uint64_t now_ns)
{
	struct map_piece *piece = &map->piece;
	map_time now = map_now(map, NULL, now_ns);

	if (!piece->any || map->by_frames.tokens < 0)
		return;
	if (!piece->at) {
		if (piece->armed && (int32_t)(piece->due - now) > 0)
			return;
		piece->round_began = now;
	}
	if (!choose(map)) {
		end_round(piece);
		return;
	}
	if (fill(map))
		return;
	piece->begun_ns = piece->ended_ns = now_ns;
	piece->cpu_ns = 0;
	piece->state = piece->nr ? MAP_PIECE_ASKED : MAP_PIECE_ENDED;
}

void map_piece_step(struct page_map *map, uint64_t now_ns)
{
	struct map_piece *piece = &map->piece;
	int64_t mark = bulk_cpu_ns(&map->ops);

	if (piece->state == MAP_PIECE_NONE)
		begin(map, now_ns);
	if (piece->state == MAP_PIECE_READY) {
		piece->begun_ns = map->ops.now_ns(map->ops.ctx);
		for (size_t i = 0; map->panel && i < map->nr_targets; i++)
			panel_before_clear(map->panel, i, 0, UINT64_MAX);
		read_all(map, piece->begun_ns);
		piece->state = MAP_PIECE_BEGUN;
	} else if (piece->state == MAP_PIECE_ENDED) {
		arm(map);
	}
	int64_t ns = bulk_cpu_ns(&map->ops) - mark;

	map->by_frames.tokens -= ns;
	map->stats.cpu_ns += ns;
}

uint64_t map_piece_rest(const struct page_map *map, uint64_t now_ns)
{
	const struct map_piece *piece = &map->piece;
	const struct bucket *bucket = &map->by_frames;
	int32_t left = (int32_t)(piece->due - map_now(map, NULL, now_ns));
	uint64_t paid = 0;

	if (piece->state != MAP_PIECE_NONE)
		return POLL_NS;
	if (!piece->any)
		return SECOND_NS;
	if (bucket->tokens < 0)
		paid = bucket->rate > 0 ? (uint64_t)((double)-bucket->tokens * SECOND_NS / (double)bucket->rate) : SECOND_NS;
	if (!piece->at && piece->armed && left > 0 && map_time_ns((map_time)left) > paid)
		return map_time_ns((map_time)left);
	return paid;
}

static void suspect(const struct map_target *target, struct map_chunk *chunk)
{
	for (size_t k = 0; k < NR_MAP_KINDS * MAP_CHUNK_BLOCKS; k++) {
		struct map_table *table = map_chunk_table(chunk, k / MAP_CHUNK_BLOCKS, k % MAP_CHUNK_BLOCKS);

		if (table && target->by_frames[k / MAP_CHUNK_BLOCKS]) {
			table->suspect = true;
			table->calm = 0;
		}
	}
}

void page_map_lose_frames(struct page_map *map)
{
	if (map->piece.state == MAP_PIECE_BEGUN)
		doubt(map);	// nobody knows what was cleared, and when
	map->settings.frames = false;
	map->piece.any = false;
	map->piece.state = MAP_PIECE_NONE;
	for (size_t i = 0; i < map->nr_targets; i++) {
		struct map_target *target = &map->targets[i];

		for (size_t j = 0; j < target->nr_chunks; j++) {
			suspect(target, &target->chunks[j]);
			target->chunks[j].due = target->chunks[j].read;
		}
		for (size_t kind = 0; kind < NR_MAP_KINDS; kind++)
			if (target->by_frames[kind])
				target->by_frames[kind] = target->all_at_once[kind] = false;
	}
	map->turn_calm = 0;
}
