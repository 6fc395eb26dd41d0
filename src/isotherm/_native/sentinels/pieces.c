// SPDX-License-Identifier: Apache-2.0
// Regions as DAMON has them: segments and the gaps between them, cut by areas, with their ages.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "sentinels/panel.h"
#include "sys/page.h"

#define ALIKE 0.1	// of all samples: a rate that changes by less stays what it is
#define HOT_SIDE 0.5	// of the hotter rate in the half of a gap on its side
#define COLD_SIDE 0.2
#define BLIND_ROW 3

struct pieces {
	struct panel_piece *at;
	size_t nr, room;
	bool failed;
};

/** What a segment says of a page. */
struct told {
	double count, rate, low, high, used;
};

static struct told told_of(const struct segment *segment, const struct piece_settings *settings)
{
	return (struct told){
		settings->samples * learn_share(segment, settings->sample_s),
		segment->rate, segment->low, segment->high,
		learn_share(segment, settings->used_s),
	};
}

static struct told blend(const struct told *a, const struct told *b, double share)
{
	const struct told *hot = a->rate > b->rate ? a : b, *cold = hot == a ? b : a;

	return (struct told){
		share * hot->count + (1 - share) * cold->count,
		share * hot->rate + (1 - share) * cold->rate,
		cold->low, hot->high,
		share * hot->used + (1 - share) * cold->used,
	};
}

static void add_piece(struct pieces *pieces, struct panel_piece piece)
{
	if (piece.start >= piece.end || pieces->failed)
		return;
	if (pieces->nr == pieces->room) {
		size_t room = pieces->room * 2 + 64;
		void *grown = reallocarray(pieces->at, room, sizeof(*pieces->at));

		if (!grown) {
			pieces->failed = true;
			return;
		}
		pieces->at = grown;
		pieces->room = room;
	}
	pieces->at[pieces->nr++] = piece;
}

/** [from, until) of an area, in places. */
static void add_told(struct pieces *pieces, const struct panel_area *area, uint64_t from, uint64_t until,
		     const struct told *told, double blind_share)
{
	struct panel_piece piece = {
		.start = area->start + (from - area->place) * PAGE,
		.end = area->start + (until - area->place) * PAGE,
		.target = area->target,
		.count = told->count, .rate = told->rate, .low = told->low, .high = told->high,
	};
	double size = (double)(until - from) * PAGE;

	piece.used = size * told->used;
	piece.blind = size * blind_share;
	add_piece(pieces, piece);
}

/** The place of the end, or begin, of the block that holds an address. */
static uint64_t block_end(const struct panel_area *area, uint64_t addr)
{
	uint64_t end = (addr | (BLOCK - 1)) + 1;

	return area->place + ((end < area->end ? end : area->end) - area->start) / PAGE;
}

static uint64_t block_begin(const struct panel_area *area, uint64_t addr)
{
	uint64_t begin = addr & ~(BLOCK - 1);

	return area->place + ((begin > area->start ? begin : area->start) - area->start) / PAGE;
}

static size_t segment_of(const struct learner *learner, size_t sentinel, size_t from)
{
	while (from + 1 < learner->nr_segments && learner->segments[from + 1].first <= sentinel)
		from++;
	return from;
}

static bool is_blind(const struct panel *panel, size_t i)
{
	return panel->sentinels[i].flags & SENTINEL_BLIND;
}

/** Where from @i on it begins, or ends, that use cannot be seen, for some sentinels in a row; @end: nowhere. */
static size_t blind_border(const struct panel *panel, size_t i, size_t end)
{
	for (size_t j = i + 1, row = 0; j < end; j++) {
		row = is_blind(panel, j) != is_blind(panel, i) ? row + 1 : 0;
		if (row == BLIND_ROW || (row && j + 1 == end))
			return j + 1 - row;
	}
	return end;
}

/** The pieces of an area that sentinels [first, end) are in. */
static void cut_area(const struct panel *panel, const struct panel_area *area, size_t first, size_t end,
		     const struct piece_settings *settings, struct pieces *pieces)
{
	const struct learner *learner = &panel->learner;
	uint64_t from = area->place, area_end = area->place + (area->end - area->start) / PAGE;

	if (first == end || !learner->nr_segments) {	// nobody looked yet
		add_told(pieces, area, from, area_end, &(struct told){0}, 1);
		return;
	}
	for (size_t i = first, at = segment_of(learner, first, 0); i < end;) {
		size_t segment_end = learner->segments[at].end < end ? learner->segments[at].end : end, blind = 0;
		size_t last = blind_border(panel, i, segment_end);
		struct told told = told_of(&learner->segments[at], settings);
		uint64_t until = area_end;

		for (size_t j = i; j < last; j++)
			blind += is_blind(panel, j);
		double blind_share = (double)blind / (double)(last - i);

		if (last == end) {
			add_told(pieces, area, from, area_end, &told, blind_share);
			return;
		}
		const struct sentinel *a = &panel->sentinels[last - 1], *b = &panel->sentinels[last];
		uint64_t core = block_end(area, a->addr), next = block_begin(area, b->addr);
		struct told other = told_of(&learner->segments[last == segment_end ? at + 1 : at], settings);

		if (core > next) {	// both in one block
			until = (a->place + (a->flags & SENTINEL_HUGE ? BLOCK_PAGES : a->nr) + b->place) / 2;
			add_told(pieces, area, from, until, &told, blind_share);
			from = until;
		} else if (last < segment_end) {
			add_told(pieces, area, from, next, &told, blind_share);
			from = next;
		} else {
			uint64_t middle = core + (next - core) / 2;
			bool hot_first = told.rate > other.rate;
			struct told left = blend(&told, &other, hot_first ? HOT_SIDE : COLD_SIDE);
			struct told right = blend(&told, &other, hot_first ? COLD_SIDE : HOT_SIDE);

			add_told(pieces, area, from, core, &told, blind_share);
			add_told(pieces, area, core, middle, &left, 0);
			add_told(pieces, area, middle, next, &right, 0);
			from = next;
		}
		i = last;
		at += last == segment_end;
	}
}

static double size_of(const struct panel_piece *piece)
{
	return (double)(piece->end - piece->start);
}

static bool adjoin(const struct panel_piece *a, const struct panel_piece *b)
{
	return a->target == b->target && a->end == b->start;
}

static void join(struct panel_piece *a, const struct panel_piece *b)
{
	double left = size_of(a), right = size_of(b), both = left + right;

	a->count = (a->count * left + b->count * right) / both;
	a->rate = (a->rate * left + b->rate * right) / both;
	a->low = a->low < b->low ? a->low : b->low;
	a->high = a->high > b->high ? a->high : b->high;
	a->used += b->used;
	a->blind += b->blind;
	a->end = b->end;
}

/** Join those that differ least, by what they say of how much memory, until there are @most. */
static void at_most(struct pieces *pieces, size_t most)
{
	while (pieces->nr > most) {
		double least = HUGE_VAL;
		size_t best = SIZE_MAX;

		for (size_t i = 0; i + 1 < pieces->nr; i++) {
			const struct panel_piece *a = &pieces->at[i], *b = a + 1;
			double smaller = size_of(a) < size_of(b) ? size_of(a) : size_of(b);
			double differ = (fabs(a->count - b->count) + 1e-6) * smaller;

			if (adjoin(a, b) && differ < least) {
				least = differ;
				best = i;
			}
		}
		if (best == SIZE_MAX)
			return;
		join(&pieces->at[best], &pieces->at[best + 1]);
		memmove(&pieces->at[best + 1], &pieces->at[best + 2],
			(pieces->nr - best - 2) * sizeof(*pieces->at));
		pieces->nr--;
	}
}

/** Cut the largest evenly, all parts know the same, until there are @least. */
static void at_least(struct pieces *pieces, size_t least)
{
	struct pieces cut = {0};
	uint64_t all = 0, limit;

	for (size_t i = 0; i < pieces->nr; i++)
		all += pieces->at[i].end - pieces->at[i].start;
	if (!pieces->nr || pieces->nr >= least || !least)
		return;
	limit = (all / least + PAGE - 1) / PAGE * PAGE;
	limit = limit > PAGE ? limit : PAGE;
	for (size_t i = 0; i < pieces->nr; i++) {
		struct panel_piece whole = pieces->at[i], part = whole;

		for (part.start = whole.start; part.start < whole.end; part.start = part.end) {
			part.end = whole.end - part.start > limit ? part.start + limit : whole.end;
			part.used = whole.used * size_of(&part) / size_of(&whole);
			part.blind = whole.blind * size_of(&part) / size_of(&whole);
			add_piece(&cut, part);
		}
	}
	if (cut.failed) {
		free(cut.at);
		return;
	}
	free(pieces->at);
	*pieces = cut;
}

/** How much of a piece lies in what has changed, in bytes. */
static double changed(const struct panel *panel, const struct panel_piece *piece)
{
	double bytes = 0;

	for (size_t i = 0; i < panel->learner.nr_changes; i++) {
		const struct change *change = &panel->learner.changes[i];
		const struct panel_area *area = &panel->areas[panel_area_at(panel, change->start)];
		const struct panel_area *last = &panel->areas[panel_area_at(panel, change->last)];
		uint64_t start = area->start + (change->start - area->place) * PAGE;
		uint64_t end = last->start + (change->last - last->place + panel->settings.clump) * PAGE;

		if (piece->target < area->target || piece->target > last->target)
			continue;
		start = area->target < piece->target || start < piece->start ? piece->start : start;
		end = last->target > piece->target || end > piece->end ? piece->end : end;
		bytes += end > start ? (double)(end - start) : 0;
	}
	return bytes;
}

static int by_address(const void *a, const void *b)
{
	const struct panel_piece *left = a, *right = b;

	if (left->target != right->target)
		return left->target < right->target ? -1 : 1;
	return (left->start > right->start) - (left->start < right->start);
}

/** Ages and what is left over of counts come from the pieces of the window before, by their overlap. */
static void inherit(struct panel *panel, struct pieces *pieces, const struct piece_settings *settings)
{
	size_t at = 0;

	if (panel->nr_pieces)
		qsort(panel->pieces, panel->nr_pieces, sizeof(*panel->pieces), by_address);
	for (size_t i = 0; i < pieces->nr; i++) {
		struct panel_piece *piece = &pieces->at[i];
		double age = 0, carry = 0;

		while (at < panel->nr_pieces && (panel->pieces[at].target < piece->target ||
						 (panel->pieces[at].target == piece->target &&
						  panel->pieces[at].end <= piece->start)))
			at++;
		for (size_t j = at; j < panel->nr_pieces && panel->pieces[j].target == piece->target &&
				    panel->pieces[j].start < piece->end; j++) {
			const struct panel_piece *old = &panel->pieces[j];
			uint64_t start = old->start > piece->start ? old->start : piece->start;
			uint64_t end = old->end < piece->end ? old->end : piece->end;
			double share = end > start ? (double)(end - start) / size_of(piece) : 0;

			carry += share * old->carry;
			if (fabs(old->count - piece->count) <= ALIKE * settings->samples)
				age += share * ((old->age + 1.0));
		}
		piece->age = changed(panel, piece) * 2 > size_of(piece) ? 0 : (uint32_t)(age + 1e-9);
		piece->carry = carry;
	}
}

static void count(struct panel_piece *piece, uint32_t samples)
{
	double whole = piece->count + piece->carry;
	double told = floor(whole < samples ? whole : samples);

	piece->nr_accesses = (uint32_t)told;
	piece->carry = whole - told < 1 ? whole - told : 0;
}

int panel_cut(struct panel *panel, const struct piece_settings *settings)
{
	struct pieces pieces = {0};
	size_t first = 0;

	for (size_t i = 0; i < panel->nr_areas; i++) {
		const struct panel_area *area = &panel->areas[i];
		uint64_t area_end = area->place + (area->end - area->start) / PAGE;
		size_t end = panel_first_at(panel, area_end);

		cut_area(panel, area, first, end, settings, &pieces);
		first = end;
	}
	at_most(&pieces, settings->most);
	at_least(&pieces, settings->least);
	if (pieces.failed) {
		free(pieces.at);
		return -ENOMEM;
	}
	inherit(panel, &pieces, settings);
	for (size_t i = 0; i < pieces.nr; i++)
		count(&pieces.at[i], settings->samples);
	free(panel->pieces);
	panel->pieces = pieces.at;
	panel->nr_pieces = pieces.nr;
	learner_forget_changes(&panel->learner);
	return 0;
}
