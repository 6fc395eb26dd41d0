// SPDX-License-Identifier: Apache-2.0
#include "sentinels/panel.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "map/page_map.h"
#include "sys/clock.h"
#include "sys/page.h"

#define BATCH 64	// sentinels that are armed together, so that their times are known
#define READS 256	// ... and read together
#define SMOOTHING 0.05
#define MOST_ASKED 64	// targets
#define LONGEST_STILL_NS SECOND_NS
#define FIRST_READ_NS 140
#define FIRST_CLEAR_NS 9400
#define FIRST_WAKE_NS 25000
#define FIRST_LEARN_NS 30
#define LEAST_SENTINELS 1024
#define MOST_SENTINELS 65536
#define SENTINELS_OF_ONE_PERCENT 16384
#define EARLY_PAGES 4
#define EARLY_ARMS 3
#define INSTANT_S 0.001		// what is young again at once was accessed within that time
#define BELIEF_S 0.02		// less than so likely, and a hit is halfway on average

static uint64_t clamped(uint64_t value, uint64_t least, uint64_t most)
{
	return value < least ? least : value > most ? most : value;
}

int panel_init(struct panel *panel, const struct bulk_ops *ops, const struct panel_settings *settings,
	       uint64_t now_ns)
{
	*panel = (struct panel){.ops = *ops, .settings = *settings, .due_ns = now_ns, .learned_ns = now_ns};
	learner_init(&panel->learner);
	rng_init(&panel->rng, RNG_SPLITMIX, settings->seed);
	panel->explored = rng_u32(&panel->rng);
	panel->costs = (struct panel_costs){FIRST_READ_NS, FIRST_CLEAR_NS, settings->counts ? 0 : FIRST_WAKE_NS,
					    settings->counts ? 0 : FIRST_LEARN_NS};
	panel->most = (size_t)clamped((uint64_t)settings->share_ns * SENTINELS_OF_ONE_PERCENT / 10000000,
				      LEAST_SENTINELS, MOST_SENTINELS);
	panel->bucket = (struct bucket){.rate = settings->share_ns, .depth = settings->share_ns};
	return 0;
}

void panel_deinit(struct panel *panel)
{
	if (panel->map)
		panel->map->panel = NULL;
	learner_deinit(&panel->learner);
	free(panel->targets);
	free(panel->areas);
	free(panel->sentinels);
	free(panel->fresh);
	free(panel->pieces);
	*panel = (struct panel){.due_ns = 0};
}

uint64_t panel_running(const struct panel *panel, uint32_t target, uint64_t now_ns)
{
	return now_ns - panel->targets[target].stopped_ns;
}

void panel_see_who_ran(struct panel *panel, uint64_t now_ns)
{
	for (size_t i = 0; panel->ops.ran_ns && i < panel->nr_targets && panel->nr_targets <= MOST_ASKED; i++) {
		struct panel_target *target = &panel->targets[i];
		int64_t ran = target->lost ? -1 : panel->ops.ran_ns(panel->ops.ctx, i);
		bool still = target->asked_ns && ran >= 0 && ran == target->ran_ns;

		if (!still)
			target->still_ns = now_ns;
		// It waits for a CPU, or for a moment; who sleeps for long has no use for its memory.
		else if (target->stopped || now_ns - target->still_ns < LONGEST_STILL_NS)
			target->stopped_ns += now_ns - target->asked_ns;
		target->ran_ns = ran;
		target->asked_ns = now_ns;
	}
}

int64_t panel_cpu_ns(const struct panel *panel)
{
	return panel->settings.counts ? panel->counted_ns : bulk_cpu_ns(&panel->ops);
}

void panel_pay(struct panel *panel, uint64_t now_ns)
{
	int64_t now = panel_cpu_ns(panel);

	bucket_fill(&panel->bucket, now_ns);
	panel->bucket.tokens -= now - panel->cpu_mark;
	panel->stats.cpu_ns += now - panel->cpu_mark;
	panel->cpu_mark = now;
}

static void learn_cost(double *cost, int64_t ns, size_t nr)
{
	if (nr && ns > 0)
		*cost += SMOOTHING * ((double)ns / (double)nr - *cost);
}

// ---- space ----

/** Where target @id of before is among the new ones; UINT32_MAX: nowhere. */
static uint32_t index_of(const uint32_t *ids, size_t nr, uint32_t id)
{
	for (size_t i = 0; i < nr; i++)
		if (ids[i] == id)
			return (uint32_t)i;
	return UINT32_MAX;
}

static bool same_space(const struct panel *panel, const uint32_t *ids, size_t nr_ids,
		       const struct panel_area *areas, size_t nr)
{
	bool same = nr_ids == panel->nr_targets && nr == panel->nr_areas;

	for (size_t i = 0; same && i < nr_ids; i++)
		same = ids[i] == panel->targets[i].id && !panel->targets[i].lost;
	for (size_t i = 0; same && i < nr; i++)
		same = areas[i].start == panel->areas[i].start && areas[i].end == panel->areas[i].end &&
		       areas[i].target == panel->areas[i].target;
	return same;
}

size_t panel_area_at(const struct panel *panel, uint64_t place)
{
	size_t low = 0, high = panel->nr_areas;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (panel->areas[middle].place <= place)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/** The area that holds an address of a target; NULL: none. */
static struct panel_area *find_area(struct panel_area *areas, size_t nr, uint32_t target, uint64_t addr)
{
	size_t low = 0, high = nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (areas[middle].target < target || (areas[middle].target == target && areas[middle].end <= addr))
			low = middle + 1;
		else
			high = middle;
	}
	return low < nr && areas[low].target == target && areas[low].start <= addr ? &areas[low] : NULL;
}

static void lay_out(struct panel *panel, struct panel_area *areas, size_t nr)
{
	panel->nr_places = panel->nr_blocks = 0;
	for (size_t i = 0; i < nr; i++) {
		areas[i].place = panel->nr_places;
		areas[i].block = panel->nr_blocks;
		areas[i].owed = 0;
		panel->nr_places += (areas[i].end - areas[i].start) / PAGE;
		panel->nr_blocks += (areas[i].end - 1) / BLOCK - areas[i].start / BLOCK + 1;
	}
}

/** Sentinels of memory that is no longer there are dropped, the others take their new places. */
static void keep_sentinels(struct panel *panel, struct panel_area *areas, size_t nr_areas, const uint32_t *moved)
{
	size_t kept = 0;

	for (size_t i = 0; i < panel->nr; i++) {
		struct sentinel *s = &panel->sentinels[i];
		uint32_t target = panel->targets[s->target].lost ? UINT32_MAX : moved[s->target];
		uint64_t size = s->flags & SENTINEL_HUGE ? BLOCK : s->nr * PAGE;
		struct panel_area *area = target == UINT32_MAX ? NULL : find_area(areas, nr_areas, target, s->addr);

		if (!area || s->addr + size > area->end)
			continue;
		s->target = target;
		s->place = area->place + (s->addr - area->start) / PAGE;
		panel->sentinels[kept++] = *s;
	}
	panel->stats.dropped += panel->nr - kept;
	panel->nr = kept;
	panel->nr_sorted = 0;
	panel->nr_fresh = 0;
}

/** Memory that is new is explored as densely as the rest, at once. */
static void owe(struct panel *panel, struct panel_area *areas, size_t nr, const uint32_t *moved)
{
	double density = panel->nr_blocks ? (double)panel->nr / (double)panel->nr_blocks : 0;

	for (size_t i = 0; i < nr && panel->nr; i++) {
		uint64_t blocks = (areas[i].end - 1) / BLOCK - areas[i].start / BLOCK + 1, known = 0;

		for (size_t j = 0; j < panel->nr_areas && !known; j++)
			known = moved[panel->areas[j].target] == areas[i].target &&
				panel->areas[j].start < areas[i].end && areas[i].start < panel->areas[j].end;
		if (!known)
			areas[i].owed = 1 + (uint64_t)((double)blocks * (density < 1 ? density : 1));
	}
}

int panel_set_space(struct panel *panel, const uint32_t *ids, size_t nr_ids, const struct panel_area *areas,
		    size_t nr)
{
	if (same_space(panel, ids, nr_ids, areas, nr))
		return 0;
	struct panel_target *targets = calloc(nr_ids + 1, sizeof(*targets));
	struct panel_area *copy = malloc(nr * sizeof(*copy) + 1);
	uint32_t *moved = malloc(panel->nr_targets * sizeof(*moved) + 1);

	if (!targets || !copy || !moved) {
		free(targets);
		free(copy);
		free(moved);
		return -ENOMEM;
	}
	if (nr)
		memcpy(copy, areas, nr * sizeof(*copy));
	for (size_t i = 0; i < panel->nr_targets; i++) {
		moved[i] = index_of(ids, nr_ids, panel->targets[i].id);
		if (moved[i] != UINT32_MAX)
			targets[moved[i]] = panel->targets[i];
	}
	for (size_t i = 0; i < nr_ids; i++) {
		targets[i].id = ids[i];
		targets[i].lost = false;
	}
	lay_out(panel, copy, nr);
	keep_sentinels(panel, copy, nr, moved);
	owe(panel, copy, nr, moved);
	for (size_t i = 0; i < panel->nr_pieces; i++)
		panel->pieces[i].target = panel->targets[panel->pieces[i].target].lost
			? UINT32_MAX : moved[panel->pieces[i].target];
	free(panel->targets);
	free(panel->areas);
	free(moved);
	panel->targets = targets;
	panel->nr_targets = nr_ids;
	panel->areas = copy;
	panel->nr_areas = nr;
	panel->nr_sorted = 0;
	// Places have moved: what is known of segments is found anew from the sentinels.
	learner_forget_changes(&panel->learner);
	return panel_learn(panel, (struct learn_time){1, 1});
}

// ---- sentinels ----

static int by_place(const void *a, const void *b)
{
	const struct sentinel *left = a, *right = b;

	return (left->place > right->place) - (left->place < right->place);
}

void panel_sort(struct panel *panel)
{
	size_t to = 0;

	if (panel->nr_sorted == panel->nr)
		return;
	// Those at the end are few: sorted by themselves, and merged in from behind.
	qsort(panel->sentinels + panel->nr_sorted, panel->nr - panel->nr_sorted, sizeof(struct sentinel), by_place);
	size_t nr_tail = panel->nr - panel->nr_sorted, i = panel->nr_sorted, j = nr_tail, at = panel->nr;
	struct sentinel *tail = i ? malloc(nr_tail * sizeof(*tail)) : NULL;

	if (tail) {
		memcpy(tail, panel->sentinels + i, nr_tail * sizeof(*tail));
		while (j)
			panel->sentinels[--at] = i && panel->sentinels[i - 1].place > tail[j - 1].place
				? panel->sentinels[--i] : tail[--j];
		free(tail);
	} else if (i) {
		qsort(panel->sentinels, panel->nr, sizeof(struct sentinel), by_place);
	}
	// Of two that overlap the newer knows what memory is made of now.
	for (size_t k = 0; k < panel->nr; k++) {
		struct sentinel *s = &panel->sentinels[k], *last = to ? &panel->sentinels[to - 1] : NULL;
		uint64_t pages = last && last->flags & SENTINEL_HUGE ? BLOCK_PAGES : last ? last->nr : 0;

		if (s->flags & SENTINEL_DROPPED)
			continue;
		if (last && last->target == s->target && s->addr < last->addr + pages * PAGE) {
			if (s->cleared_ns > last->cleared_ns)
				*last = *s;
			continue;
		}
		panel->sentinels[to++] = *s;
	}
	panel->nr = panel->nr_sorted = to;
	panel->nr_fresh = 0;
}

size_t panel_first_at(const struct panel *panel, uint64_t place)
{
	size_t low = 0, high = panel->nr_sorted;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (panel->sentinels[middle].place < place)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/**
 * Make room for one more by giving up any that is at no border. Not by what it saw: what is in use is used
 * up soonest, and to forget that first would make all memory look colder than it is.
 */
static size_t victim(struct panel *panel)
{
	for (int tries = 0; tries < 8; tries++) {
		size_t i = (size_t)rng_range(&panel->rng, 0, panel->nr_sorted);

		if (!(panel->sentinels[i].flags & (SENTINEL_NEAR | SENTINEL_DROPPED | SENTINEL_EARLY)))
			return i;
	}
	return SIZE_MAX;
}

size_t panel_add(struct panel *panel, size_t area_index, uint64_t addr, uint32_t clump, enum sentinel_pool pool)
{
	const struct panel_area *area = &panel->areas[area_index];
	size_t at = panel->nr;

	addr &= ~(clump * PAGE - 1);
	if (addr < area->start)
		addr = area->start;
	uint64_t end = (addr & ~(clump * PAGE - 1)) + clump * PAGE;

	end = end < area->end ? end : area->end;
	if (panel->nr >= panel->most && panel->nr_sorted) {
		size_t i = victim(panel);

		if (i == SIZE_MAX)
			return i;
		// It keeps its place in the order until that is made anew, as one that nobody reads.
		panel->sentinels[i].left = 0;
		panel->sentinels[i].flags |= SENTINEL_DROPPED;
	}
	if (panel->nr == panel->room) {
		size_t room = panel->room * 2 + 256;
		void *grown = reallocarray(panel->sentinels, room, sizeof(*panel->sentinels));

		if (!grown)
			return SIZE_MAX;
		panel->sentinels = grown;
		panel->room = room;
	}
	panel->sentinels[at] = (struct sentinel){
		.addr = addr,
		.place = area->place + (addr - area->start) / PAGE,
		.target = area->target,
		.nr = (uint8_t)((end - addr) / PAGE),
		.pool = pool,
	};
	panel->nr++;
	return at;
}

// ---- reading ----

/** What a read says of a clump, a bit a page; of a page of 2 MiB the first bit. */
struct seen {
	uint16_t present, young;
	uint16_t unseen;	// its use cannot be seen
	bool huge;		// it is in a page of 2 MiB
	bool gone;		// the target is
};

static struct bulk_clump clump_of(const struct sentinel *s, bool huge)
{
	if (huge)
		return (struct bulk_clump){.start = s->addr & ~(BLOCK - 1), .nr = 1, .huge = true};
	return (struct bulk_clump){.start = s->addr, .nr = s->nr};
}

static struct seen seen_of(const struct entry_format *format, const struct bulk_view *view, const struct sentinel *s)
{
	bool table = bulk_is_table(format, view->upper[0]);
	struct seen seen = {.huge = bulk_is_huge(format, view->upper[0])};

	for (size_t i = 0; i < (table ? s->nr : seen.huge); i++) {
		uint64_t entry = table ? view->tables[0][s->addr / PAGE % BLOCK_PAGES + i] : view->upper[0];

		if (!(entry & format->present))
			continue;
		seen.present |= (uint16_t)(1u << i);
		seen.young |= (uint16_t)((entry & format->young ? 1u : 0u) << i);
		seen.unseen |= (uint16_t)((entry & format->unseen ? 1u : 0u) << i);
	}
	return seen;
}

static int view_each(struct panel *panel, const size_t *which, size_t nr, struct seen *seen)
{
	for (size_t i = 0; i < nr; i++) {
		const struct sentinel *s = &panel->sentinels[which[i]];
		struct bulk_view view;
		int err = panel->ops.view(panel->ops.ctx, s->target, s->addr & ~(BLOCK - 1), 1, &view);

		if (err && err != -ESRCH)
			return err;
		seen[i] = err ? (struct seen){.gone = true} : seen_of(&panel->ops.format, &view, s);
	}
	return 0;
}

/** Read sentinels of one target, @nr at most READS, as what they are or, if @other, as what they are not. */
static int peek_run(struct panel *panel, const size_t *which, size_t nr, bool other, struct seen *seen)
{
	uint32_t target = panel->sentinels[which[0]].target;
	uint64_t present[READS], young[READS];
	struct bulk_clump clumps[READS];
	size_t of[READS], asked = 0;

	for (size_t i = 0; i < nr; i++) {
		const struct sentinel *s = &panel->sentinels[which[i]];

		if (other && (seen[i].present || seen[i].gone))
			continue;
		clumps[asked] = clump_of(s, !!(s->flags & SENTINEL_HUGE) != other);
		of[asked++] = i;
	}
	int err = asked ? panel->ops.peek(panel->ops.ctx, target, clumps, asked, present, young) : 0;

	panel->stats.reads += asked;
	for (size_t i = 0; i < asked; i++)
		seen[of[i]] = err ? (struct seen){.gone = true}
				  : (struct seen){.present = (uint16_t)present[i], .young = (uint16_t)young[i],
						  .huge = clumps[i].huge && present[i]};
	return err == -ESRCH ? 0 : err;
}

/** Read sentinels, @nr at most READS. */
static int peek(struct panel *panel, const size_t *which, size_t nr, struct seen *seen)
{
	int64_t begin = panel_cpu_ns(panel);
	int err = 0;

	if (!panel->ops.peek) {
		err = view_each(panel, which, nr, seen);
		panel->stats.reads += nr;
	}
	for (size_t i = 0, end; panel->ops.peek && i < nr && !err; i = end) {
		uint32_t target = panel->sentinels[which[i]].target;

		for (end = i + 1; end < nr && panel->sentinels[which[end]].target == target; end++)
			;
		err = peek_run(panel, which + i, end - i, false, seen + i);
		// Where nothing is there may be a huge page by now, or pages where one was.
		if (!err)
			err = peek_run(panel, which + i, end - i, true, seen + i);
	}
	panel->counted_ns += (int64_t)nr * FIRST_READ_NS;
	learn_cost(&panel->costs.read, panel_cpu_ns(panel) - begin, nr);
	return err;
}

int panel_warm_up(struct panel *panel)
{
	struct bulk_clump clump = {.start = panel->areas[0].start, .nr = 1};
	uint64_t present, young;
	int err = panel->ops.peek
		? panel->ops.peek(panel->ops.ctx, panel->areas[0].target, &clump, 1, &present, &young) : 0;

	return err == -ESRCH ? 0 : err;
}

/**
 * Pages @young of those at risk were accessed since the last read, which is to be @passed_s ago. Of one that was in
 * memory then, and is no longer @present, nobody knows whether it was before it was given up.
 */
static void take(struct sentinel *s, uint16_t young, uint16_t present, uint64_t now_ns)
{
	uint16_t known = s->left & (uint16_t)~(s->there & ~present), hits = known & young;
	double risk = __builtin_popcount(known), found = __builtin_popcount(hits);
	double passed_s = now_ns > s->read_ns ? (double)(now_ns - s->read_ns) / 1e9 : 0;

	if (risk > 0 && passed_s > 0) {
		double share = found / risk, most = 1 - 1 / (2 * risk);

		share = share < most ? share : most;
		double exposed = share > BELIEF_S ? share / -learn_log(1 - share) : 1 - share / 2;
		unsigned int age = age_of((s->read_ns + now_ns) / 2 - s->cleared_ns);

		s->fresh.hits[age] += found;
		s->fresh.risk[age] += passed_s * risk * exposed;
		s->flags |= SENTINEL_READ;
		if (hits) {
			s->touched = (uint8_t)(s->touched + __builtin_popcount(hits));
			s->waited_s = (float)((double)(now_ns - s->cleared_ns) / 1e9);
			if (s->nr <= EARLY_PAGES && s->arms <= EARLY_ARMS && age == 0)
				s->flags |= SENTINEL_EARLY;
		}
		s->left &= (uint16_t)~hits;
	}
	s->there = present;
	s->read_ns = now_ns > s->read_ns ? now_ns : s->read_ns;
}

int panel_read(struct panel *panel, const size_t *which, size_t nr)
{
	struct seen seen[READS];

	for (size_t done = 0; done < nr;) {
		size_t n = nr - done < READS ? nr - done : READS;
		int err = peek(panel, which + done, n, seen);

		if (err)
			return err;
		uint64_t now_ns = panel->ops.now_ns(panel->ops.ctx);

		for (size_t i = 0; i < n; i++) {
			struct sentinel *s = &panel->sentinels[which[done + i]];

			if (seen[i].gone)
				panel->targets[s->target].lost = true;
			// What was armed is something else now, a huge page or single ones.
			if (seen[i].gone || (seen[i].present && seen[i].huge != !!(s->flags & SENTINEL_HUGE)))
				s->left = 0;
			else
				take(s, seen[i].young, seen[i].present, panel_running(panel, s->target, now_ns));
		}
		done += n;
	}
	return 0;
}

/** The next sentinel of a target that has pages in [start, end), from index *@at on; false: none. */
static bool next_within(const struct panel *panel, size_t target, uint64_t start, uint64_t end, size_t *at)
{
	for (; *at < panel->nr; ++*at) {
		const struct sentinel *s = &panel->sentinels[*at];
		bool behind = s->target > target || (s->target == target && s->addr >= end);

		if (*at < panel->nr_sorted && behind) {
			*at = panel->nr_sorted - 1;
			continue;
		}
		if (s->target == target && !behind &&
		    s->addr + (s->flags & SENTINEL_HUGE ? BLOCK : s->nr * PAGE) > start)
			return true;
	}
	return false;
}

/** From where next_within() goes. */
static size_t first_within(const struct panel *panel, size_t target, uint64_t start)
{
	size_t low = 0, high = panel->nr_sorted;
	uint64_t from = start > BLOCK ? start - BLOCK : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct sentinel *s = &panel->sentinels[middle];

		if (s->target < target || (s->target == target && s->addr < from))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int panel_before_clear(struct panel *panel, size_t target, uint64_t start, uint64_t end)
{
	size_t which[READS], nr = 0;

	for (size_t at = first_within(panel, target, start); next_within(panel, target, start, end, &at); at++) {
		if (!panel->sentinels[at].left)
			continue;
		which[nr++] = at;
		if (nr == READS) {
			int err = panel_read(panel, which, nr);

			if (err)
				return err;
			nr = 0;
		}
	}
	return nr ? panel_read(panel, which, nr) : 0;
}

void panel_seen(struct panel *panel, size_t target, uint64_t start, uint64_t end, uint64_t now_ns)
{
	for (size_t at = first_within(panel, target, start); next_within(panel, target, start, end, &at); at++) {
		struct sentinel *s = &panel->sentinels[at];
		uint64_t unit = s->flags & SENTINEL_HUGE ? BLOCK : PAGE;
		uint16_t young = 0;

		for (unsigned int j = 0; j < s->nr; j++)
			if (s->addr + j * unit < end && s->addr + (j + 1) * unit > start)
				young |= (uint16_t)(1u << j);
		if (s->left & young)
			take(s, young, s->there, panel_running(panel, (uint32_t)target, now_ns));
	}
}

// ---- arming ----

/** Turn a sentinel into what its memory is made of. */
static void fit(struct panel *panel, struct sentinel *s, const struct seen *seen)
{
	bool huge = s->flags & SENTINEL_HUGE;
	uint64_t start = s->addr & ~(BLOCK - 1);

	if (!seen->present || seen->huge == huge)
		return;
	struct panel_area *area = find_area(panel->areas, panel->nr_areas, s->target, s->addr);

	s->known = s->fresh = (struct evidence){0};
	if (huge) {
		s->flags &= (uint8_t)~SENTINEL_HUGE;
		s->nr = (uint8_t)panel->settings.clump;
	} else if (area && area->start <= start && start + BLOCK <= area->end) {
		s->flags |= SENTINEL_HUGE;
		s->nr = 1;
		s->place -= (s->addr - start) / PAGE;
		s->addr = start;
		panel->nr_sorted = panel->nr_sorted < (size_t)(s - panel->sentinels)
			? panel->nr_sorted : (size_t)(s - panel->sentinels);
	}
}

static uint16_t all_of(const struct sentinel *s)
{
	return (uint16_t)((1u << s->nr) - 1);
}

static void begin_watch(struct panel *panel, struct sentinel *s, uint16_t armed, uint16_t present, uint64_t now_ns)
{
	uint64_t running = panel_running(panel, s->target, now_ns);

	if (s->flags & SENTINEL_PROVISIONAL) {
		s->known = (struct evidence){0};
		s->flags &= (uint8_t)~SENTINEL_PROVISIONAL;
	}
	for (unsigned int i = 0; i < NR_AGES; i++) {
		s->known.hits[i] += s->fresh.hits[i];
		s->known.risk[i] += s->fresh.risk[i];
	}
	s->fresh = (struct evidence){0};
	s->flags &= (uint8_t)~SENTINEL_EARLY;
	s->cleared_ns = s->read_ns = running;
	s->left = armed;
	s->there = present;
	s->arms += s->arms < UINT8_MAX;
}

/** Why the use of a page that stayed young cannot be seen: enum map_unseen, MAP_SEEN if it is just in use. */
static uint8_t why_young(struct panel *panel, const struct sentinel *s, unsigned int page)
{
	uint64_t block = s->addr & ~(BLOCK - 1), entry;
	bool huge = s->flags & SENTINEL_HUGE;
	uint8_t why = MAP_SEEN;
	struct bulk_view view;

	if (panel->ops.view(panel->ops.ctx, s->target, block, 1, &view))
		return MAP_SEEN;
	if (bulk_is_table(&panel->ops.format, view.upper[0]) == huge)
		return MAP_SEEN;
	entry = huge ? view.upper[0] : view.tables[0][(s->addr - block) / PAGE + page];
	if (entry & panel->ops.format.unseen)
		return MAP_OTHER;
	if (panel->ops.judge)
		panel->ops.judge(panel->ops.ctx, &entry, 1, huge, &why);
	else if (s->instant)
		why = MAP_OTHER;
	return why;
}

/** A clear left @young as it was: pages in use all the time, or those whose use cannot be seen. */
static void settle(struct panel *panel, struct sentinel *s, uint16_t young, bool refused)
{
	uint8_t why = MAP_SEEN;

	s->instant = (young & all_of(s)) == all_of(s);
	if (!young && !refused) {
		s->flags &= (uint8_t)~SENTINEL_BLIND;
		return;
	}
	// A hot program touches some pages again within the clear; that alone is no reason to be blind.
	if (young && !refused)
		why = why_young(panel, s, (unsigned int)__builtin_ctz(young));
	if (refused || why != MAP_SEEN) {
		s->flags |= SENTINEL_BLIND;
		s->known = s->fresh = (struct evidence){0};
		s->left = 0;
		return;
	}
	s->flags &= (uint8_t)~SENTINEL_BLIND;
	double hits = __builtin_popcount(young);

	s->fresh.hits[0] += hits;
	s->fresh.risk[0] += hits * INSTANT_S;
	s->flags |= SENTINEL_READ;
}

/** Tell the map which pages were found young. */
static void tell_map(struct panel *panel, const struct sentinel *s, uint16_t young, uint64_t now_ns)
{
	uint64_t unit = s->flags & SENTINEL_HUGE ? BLOCK : PAGE;

	for (unsigned int i = 0; panel->map && i < s->nr; i++)
		if (young >> i & 1)
			map_note_seen(panel->map, s->target, s->addr + i * unit, s->addr + (i + 1) * unit, now_ns);
}

/** Clear ranges that lie in order of their targets, target by target. */
static int clear(struct panel *panel, struct bulk_range *ranges, const uint32_t *targets, size_t nr)
{
	int64_t begin = panel_cpu_ns(panel);

	for (size_t i = 0, end; i < nr; i = end) {
		for (end = i + 1; end < nr && targets[end] == targets[i]; end++)
			;
		int err = panel->ops.clear(panel->ops.ctx, targets[i], ranges + i, end - i);

		if (err == -ESRCH)
			panel->targets[targets[i]].lost = true;
		else if (err)
			return err;
	}
	panel->stats.clears += nr;
	panel->counted_ns += (int64_t)nr * FIRST_CLEAR_NS;
	learn_cost(&panel->costs.clear, panel_cpu_ns(panel) - begin, nr);
	return 0;
}

static int arm_batch(struct panel *panel, const size_t *which, size_t nr, size_t *paid)
{
	struct seen seen[BATCH], after[BATCH];
	struct bulk_range ranges[BATCH];
	uint32_t targets[BATCH];
	size_t of[BATCH], nr_ranges = 0;
	int err = peek(panel, which, nr, seen);

	if (err)
		return err;
	uint64_t now_ns = panel->ops.now_ns(panel->ops.ctx);

	for (size_t i = 0; i < nr; i++) {
		struct sentinel *s = &panel->sentinels[which[i]];

		if (seen[i].gone) {
			panel->targets[s->target].lost = true;
			continue;
		}
		bool huge = s->flags & SENTINEL_HUGE;

		if (s->left && (!seen[i].present || seen[i].huge == huge))
			take(s, seen[i].young, seen[i].present, panel_running(panel, s->target, now_ns));
		fit(panel, s, &seen[i]);
		if (seen[i].unseen & all_of(s)) {
			s->flags |= SENTINEL_BLIND;
			s->left = 0;
			continue;
		}
		uint16_t young = seen[i].young & all_of(s);
		uint64_t unit = s->flags & SENTINEL_HUGE ? BLOCK : PAGE;

		if (!young) {
			begin_watch(panel, s, all_of(s), seen[i].present, now_ns);
			continue;
		}
		unsigned int first = (unsigned int)__builtin_ctz(young), last = 31 - (unsigned int)__builtin_clz(young);

		tell_map(panel, s, young, now_ns);
		ranges[nr_ranges] = (struct bulk_range){.start = s->addr + first * unit, .end = s->addr + (last + 1) * unit};
		targets[nr_ranges] = s->target;
		of[nr_ranges++] = which[i];
	}
	if (!nr_ranges)
		return 0;
	*paid += nr_ranges;
	err = clear(panel, ranges, targets, nr_ranges);
	now_ns = panel->ops.now_ns(panel->ops.ctx);
	if (!err)
		err = peek(panel, of, nr_ranges, after);
	for (size_t i = 0; i < nr_ranges && !err; i++) {
		struct sentinel *s = &panel->sentinels[of[i]];
		uint16_t young = after[i].young & all_of(s);

		if (after[i].gone || ranges[i].refused == BULK_GONE)
			continue;
		begin_watch(panel, s, all_of(s) & (uint16_t)~young, after[i].present, now_ns);
		settle(panel, s, young, ranges[i].refused);
	}
	return err;
}

int panel_arm(struct panel *panel, const size_t *which, size_t nr, size_t *paid)
{
	*paid = 0;
	for (size_t done = 0; done < nr; done += BATCH) {
		int err = arm_batch(panel, which + done, nr - done < BATCH ? nr - done : BATCH, paid);

		if (err)
			return err;
	}
	panel->stats.armed += nr;
	return 0;
}
