// SPDX-License-Identifier: Apache-2.0
// A round: learn, choose places for the clears that can be paid, arm them, read them at 5, 20 and 80 ms,
// and at its end read what else is due.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "sentinels/panel.h"
#include "sys/page.h"

#define SHORTEST_ROUND_NS UINT64_C(100000000)
#define LONGEST_ROUND_NS UINT64_C(2000000000)
#define WAKES 4			// of a round
#define WAKE_SHARE 0.25		// of all CPU time for being woken up
#define READ_SHARE 0.25		// of the rest for reads,
#define READ_SHARE_ALIKE 0.10	// less while nothing is hot
#define ALIKE_RATE 1.0
#define ALIKE_HITS 8.0
#define NEAR_SHARE 0.15		// of the reads for what is close to borders
#define NEAR 24
#define LEARN_SHARE 0.08
#define SAVED_ROUNDS 4
#define LENT_S 1.0		// so much is lent at the beginning, and may be saved until it is spent
#define LENT_NS UINT64_C(3000000000)
#define PEEKS 4			// clumps that are looked at for one that is cleared, at most
#define WATCH_AFTER_NS UINT64_C(90000000)
#define CONFIRM_SHARE 0.2
#define CONFIRMED_PAGES 4
#define MOST_CUTS 15		// of a gap
#define BLIND_NS UINT64_C(10000000000)
#define GAP_SHARE 0.005		// a gap is worth a clear if it is more than this of its smaller neighbour
#define BANDIT_HALF_LIFE_S 2.0
#define MOST_SURPRISE 20.0
#define MOST_WAKE_NS 200000	// more is other work
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static const uint64_t read_after_ns[WAKES] = {0, 5000000, 20000000, 80000000};
static const double floors[NR_POOLS] = {
	[POOL_EXPLORE] = 0.15, [POOL_BISECT] = 0.05, [POOL_EDGE] = 0.05, [POOL_WATCH] = 0.10};

/** Where nothing is used more than once a second, as far as that is known, reading more often shows nothing. */
static double read_share(const struct panel *panel)
{
	for (size_t i = 0; i < panel->learner.nr_segments; i++)
		if (panel->learner.segments[i].rate > ALIKE_RATE &&
		    evidence_hits(&panel->learner.segments[i].sum) >= ALIKE_HITS)
			return READ_SHARE;
	return READ_SHARE_ALIKE;
}

static double random_share(struct panel *panel)
{
	return rng_u32(&panel->rng) / 4294967296.0;
}

static bool note_fresh(struct panel *panel, size_t which)
{
	if (panel->nr_fresh == panel->room_fresh) {
		size_t room = panel->room_fresh * 2 + 64;
		void *grown = reallocarray(panel->fresh, room, sizeof(*panel->fresh));

		if (!grown)
			return false;
		panel->fresh = grown;
		panel->room_fresh = room;
	}
	panel->fresh[panel->nr_fresh++] = which;
	return true;
}

/** Arm sentinels; what that cost is taken off @left, in ns of CPU time. */
static int arm(struct panel *panel, const size_t *which, size_t nr, enum sentinel_pool pool, double *left)
{
	size_t paid;

	for (size_t i = 0; i < nr; i++) {
		panel->sentinels[which[i]].pool = pool;
		if (!note_fresh(panel, which[i]))
			return -ENOMEM;
	}
	int64_t spent = panel_cpu_ns(panel);
	int err = panel_arm(panel, which, nr, &paid);

	spent = panel_cpu_ns(panel) - spent;
	panel->pools[pool].clears += (double)spent / panel->costs.clear;
	*left -= (double)spent;
	return err;
}

// ---- where to clear ----

/** What of the clears each pool gets: more where the last ones taught most. */
static void share_out(struct panel *panel, double bisect_weight, double *shares)
{
	double gains[NR_POOLS], all = 0, rest = 1;

	for (int i = 0; i < NR_POOLS; i++) {
		double gain = panel->pools[i].surprise / (panel->pools[i].clears + 1);

		if (i == POOL_BISECT)
			gain *= bisect_weight;
		gains[i] = pow(gain < MOST_SURPRISE ? gain : MOST_SURPRISE, 0.75);
		all += gains[i];
		rest -= floors[i];
	}
	for (int i = 0; i < NR_POOLS; i++)
		shares[i] = floors[i] + (all > 0 ? rest * gains[i] / all : 0);
}

/** Between two segments of one area: after the end of the last sentinel, before the first. */
struct border {
	size_t segment;		// behind it
	uint64_t gap;		// pages
	double weight;
};

static uint64_t pages_of(const struct sentinel *s)
{
	return s->flags & SENTINEL_HUGE ? BLOCK_PAGES : s->nr;
}

static uint64_t gap_before(const struct panel *panel, size_t segment)
{
	const struct sentinel *last = &panel->sentinels[panel->learner.segments[segment - 1].end - 1];
	const struct sentinel *first = &panel->sentinels[panel->learner.segments[segment].first];
	uint64_t end = last->place + pages_of(last);

	if (panel_area_at(panel, last->place) != panel_area_at(panel, first->place))
		return 0;
	return first->place > end ? first->place - end : 0;
}

static uint64_t size_of(const struct segment *segment)
{
	return segment->last - segment->start + 1;
}

static int widest_first(const void *a, const void *b)
{
	double left = ((const struct border *)a)->weight, right = ((const struct border *)b)->weight;

	return (left < right) - (left > right);
}

/** Gaps that are worth narrowing, the best first. */
static size_t find_gaps(const struct panel *panel, struct border *gaps, size_t room)
{
	const struct segment *segments = panel->learner.segments;
	size_t nr = 0;

	for (size_t i = 1; i < panel->learner.nr_segments && nr < room; i++) {
		uint64_t gap = gap_before(panel, i);
		uint64_t left = size_of(&segments[i - 1]), right = size_of(&segments[i]);
		double smaller = (double)(left < right ? left : right), part = (double)gap / smaller;
		double rate = segments[i].rate > segments[i - 1].rate ? segments[i].rate : segments[i - 1].rate;

		if (gap > 2 * panel->settings.clump && part > GAP_SHARE)
			gaps[nr++] = (struct border){i, gap, (double)gap * (part < 1 ? part : 1) * rate};
	}
	qsort(gaps, nr, sizeof(*gaps), widest_first);
	return nr;
}

/**
 * Cut a gap into parts by sentinels within it: into halves if it is asked about again in the next round,
 * else into so many that as much is learned at once.
 */
static int cut_gap(struct panel *panel, const struct border *border, size_t cuts, double *left)
{
	const struct segment *before = &panel->learner.segments[border->segment - 1];
	const struct sentinel *last = &panel->sentinels[before->end - 1];
	uint64_t start = last->place + pages_of(last);
	size_t which[MOST_CUTS], nr = 0;

	for (size_t i = 0; i < cuts; i++) {
		double where = ((double)i + 0.7 + 0.6 * random_share(panel)) / (double)(cuts + 1);
		uint64_t place = start + (uint64_t)((double)border->gap * where);
		size_t area = panel_area_at(panel, place);

		which[nr] = panel_add(panel, area, panel->areas[area].start + (place - panel->areas[area].place) * PAGE,
				      panel->settings.clump, POOL_BISECT);
		nr += which[nr] != SIZE_MAX;
	}
	return nr ? arm(panel, which, nr, POOL_BISECT, left) : 0;
}

static int bisect(struct panel *panel, const struct border *gaps, size_t nr, double part, double *left)
{
	double until = *left - part;
	uint64_t period = panel->learned_ns - panel->learned_before_ns;
	size_t rounds = (size_t)(period / (panel->length_ns + 1)), cuts = 1;

	// Nothing is known of the last cuts before something is learned.
	if (panel->bisected_ns == panel->learned_ns)
		return 0;
	panel->bisected_ns = panel->learned_ns;
	if (rounds > 1) {
		cuts = rounds < 4 ? (1u << rounds) - 1 : MOST_CUTS;
		until = *left - (part * (double)rounds < *left / 2 ? part * (double)rounds : *left / 2);
	}
	for (size_t i = 0; i < nr && *left > until; i++) {
		size_t paid = (size_t)((*left - until) / panel->costs.clear) + 1;
		int err = cut_gap(panel, &gaps[i], paid < cuts ? paid : cuts, left);

		if (err)
			return err;
	}
	return 0;
}

static bool used_up(const struct sentinel *s)
{
	return !(s->flags & SENTINEL_BLIND) && 2 * __builtin_popcount(s->left) <= s->nr;
}

/** Worth to be armed again: used up, or blind for so long that this may be over. */
static bool is_due(const struct sentinel *s, uint64_t running)
{
	uint64_t since = running - s->cleared_ns;

	return s->flags & SENTINEL_BLIND ? since > BLIND_NS : used_up(s) && since > WATCH_AFTER_NS;
}

/** Arm what is used up on the hotter side of borders: half of them where most changes, half anywhere. */
static int edge(struct panel *panel, double part, double *left)
{
	static const uint8_t distances[] = {0, 0, 1, 1, 2, 3, 5, 8, 13};
	const struct segment *segments = panel->learner.segments;
	size_t nr = panel->learner.nr_segments;
	double all = 0, until = *left - part;
	int most = 4 + 2 * (int)(part / panel->costs.clear);

	for (size_t i = 1; i < nr; i++)
		all += fabs(segments[i].rate - segments[i - 1].rate) * (double)size_of(&segments[i]);
	for (int tries = 0; nr > 1 && *left > until && tries < most; tries++) {
		size_t at = 1 + (size_t)rng_range(&panel->rng, 0, nr - 1);
		double draw = random_share(panel) * all;

		if (tries % 2)
			for (at = 1; at + 1 < nr; at++) {
				draw -= fabs(segments[at].rate - segments[at - 1].rate) * (double)size_of(&segments[at]);
				if (draw <= 0)
					break;
			}
		bool behind = segments[at].rate > segments[at - 1].rate;
		size_t distance = distances[rng_range(&panel->rng, 0, sizeof(distances))];
		const struct segment *hot = &segments[behind ? at : at - 1];
		size_t which = behind ? hot->first + distance : hot->end - 1 - distance;

		if (distance >= hot->end - hot->first || !used_up(&panel->sentinels[which]) ||
		    panel->sentinels[which].cleared_ns + WATCH_AFTER_NS >
			    panel_running(panel, panel->sentinels[which].target, panel->round_ns))
			continue;
		int err = arm(panel, &which, 1, POOL_EDGE, left);

		if (err)
			return err;
	}
	return 0;
}

/**
 * Arm again at once what was accessed soon after it was cleared for the first times: an access of one page
 * proves little, and waits for long among all those that cold memory has now and then.
 */
static int confirm(struct panel *panel, double part, uint64_t now_ns, double *left)
{
	size_t which[256], nr = 0, most = (size_t)(part / panel->costs.clear);

	if (panel->settings.clump > CONFIRMED_PAGES)
		return 0;
	for (size_t i = 0; i < panel->nr && nr < most && nr < 256; i++) {
		const struct sentinel *s = &panel->sentinels[i];

		if ((s->flags & (SENTINEL_EARLY | SENTINEL_BLIND)) == SENTINEL_EARLY && used_up(s) &&
		    panel_running(panel, s->target, now_ns) - s->cleared_ns > WATCH_AFTER_NS)
			which[nr++] = i;
	}
	return nr ? arm(panel, which, nr, POOL_WATCH, left) : 0;
}

/**
 * Arm again what is used up, without replacement: half by segments, half by size, and the longer it was
 * not armed the likelier.
 */
static int watch(struct panel *panel, double part, uint64_t now_ns, double *left)
{
	const struct learner *learner = &panel->learner;
	double all = 0, clears = part / panel->costs.clear, *weights = calloc(panel->nr_sorted + 1, sizeof(*weights));
	size_t which[256], nr = 0;

	if (!weights)
		return -ENOMEM;
	for (size_t i = 0; i < learner->nr_segments; i++) {
		const struct segment *segment = &learner->segments[i];
		double share = 0.5 / (double)learner->nr_segments +
			       0.5 * (double)size_of(segment) / (double)(panel->nr_places + 1);
		size_t candidates = 0;

		for (size_t j = segment->first; j < segment->end && j < panel->nr_sorted; j++) {
			const struct sentinel *s = &panel->sentinels[j];
			uint64_t running = panel_running(panel, s->target, now_ns);

			if (!is_due(s, running))
				continue;
			weights[j] = share * (double)(running - s->cleared_ns);
			candidates++;
		}
		for (size_t j = segment->first; j < segment->end && candidates && j < panel->nr_sorted; j++) {
			weights[j] /= (double)candidates;
			all += weights[j];
		}
	}
	size_t wanted = clears < 1 ? (random_share(panel) < clears) : clears < 256 ? (size_t)clears : 256;
	double step = wanted ? all / (double)wanted : 0, at = random_share(panel) * step;

	for (size_t i = 0; i < panel->nr_sorted && step > 0 && nr < wanted; i++) {
		if (at < weights[i])
			which[nr++] = i;
		at -= weights[i];
		while (at < 0)
			at += step;
	}
	free(weights);
	return nr ? arm(panel, which, nr, POOL_WATCH, left) : 0;
}

/** A clump of a random place in a block of an area. */
static size_t add_in(struct panel *panel, size_t area_index, uint64_t block)
{
	const struct panel_area *area = &panel->areas[area_index];
	uint64_t start = (area->start / BLOCK + block) * BLOCK, end = start + BLOCK;

	start = start > area->start ? start : area->start;
	end = end < area->end ? end : area->end;
	return panel_add(panel, area_index, rng_range(&panel->rng, start / PAGE, end / PAGE) * PAGE,
			 panel->settings.clump, POOL_EXPLORE);
}

/** The next place to explore: of new areas first, then evenly over all memory. */
static size_t explore_next(struct panel *panel)
{
	for (size_t i = 0; i < panel->nr_areas; i++) {
		struct panel_area *area = &panel->areas[i];
		uint64_t blocks = (area->end - 1) / BLOCK - area->start / BLOCK + 1;

		if (!area->owed)
			continue;
		area->owed--;
		return add_in(panel, i, (uint64_t)((unsigned __int128)(area->owed * GOLDEN) * blocks >> 64));
	}
	uint64_t block = (uint64_t)((unsigned __int128)(++panel->explored * GOLDEN) * panel->nr_blocks >> 64);
	size_t low = 0, high = panel->nr_areas;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (panel->areas[middle].block <= block)
			low = middle;
		else
			high = middle;
	}
	panel->stats.explored++;
	return add_in(panel, low, block - panel->areas[low].block);
}

static int explore(struct panel *panel, double *left)
{
	double clear = panel->costs.clear;
	size_t most = PEEKS * (size_t)(*left / clear + 1), which[BLOCK_PAGES];
	int err = 0;

	while (*left >= clear && most && !err) {
		size_t wanted = *left < 64 * clear ? (size_t)(*left / clear) : 64, nr = 0;

		for (size_t i = 0; i < wanted && most; i++, most--) {
			which[nr] = explore_next(panel);
			nr += which[nr] != SIZE_MAX;
		}
		if (!nr)
			break;
		err = arm(panel, which, nr, POOL_EXPLORE, left);
		clear = panel->costs.clear;
	}
	return err;
}

int panel_choose(struct panel *panel, double ns, uint64_t now_ns)
{
	double left = ns, shares[NR_POOLS], gaps_mean = 0, between;
	struct border gaps[256];
	size_t nr_gaps = find_gaps(panel, gaps, 256);
	int err = 0;

	if (!panel->nr_places)
		return 0;
	for (size_t i = 0; i < nr_gaps; i++)
		gaps_mean += (double)gaps[i].gap / (double)nr_gaps;
	between = 2 * (double)panel->nr_places / (double)(panel->nr_sorted + 1);
	share_out(panel, gaps_mean < between ? gaps_mean / between : 1, shares);
	double all = left;

	err = confirm(panel, all * CONFIRM_SHARE, now_ns, &left);
	if (!err && nr_gaps)
		err = bisect(panel, gaps, nr_gaps, all * shares[POOL_BISECT], &left);
	if (!err)
		err = edge(panel, all * shares[POOL_EDGE], &left);
	if (!err)
		err = watch(panel, all * shares[POOL_WATCH], now_ns, &left);
	return err ? err : explore(panel, &left);
}

// ---- reading ----

static void mark_near(struct panel *panel)
{
	const struct learner *learner = &panel->learner;

	for (size_t i = 0; i < panel->nr_sorted; i++)
		panel->sentinels[i].flags &= (uint8_t)~SENTINEL_NEAR;
	for (size_t i = 1; i < learner->nr_segments; i++) {
		size_t at = learner->segments[i].first;

		for (size_t j = at > NEAR ? at - NEAR : 0; j < at + NEAR && j < panel->nr_sorted; j++)
			panel->sentinels[j].flags |= SENTINEL_NEAR;
	}
}

int panel_learn(struct panel *panel, struct learn_time time)
{
	panel_sort(panel);
	int err = learn(&panel->learner, panel->sentinels, panel->nr, time);

	mark_near(panel);
	return err;
}

/** Read what was armed in this round. */
static int read_fresh(struct panel *panel)
{
	size_t nr = 0;

	for (size_t i = 0; i < panel->nr_fresh; i++)
		if (panel->sentinels[panel->fresh[i]].left)
			panel->fresh[nr++] = panel->fresh[i];
	panel->nr_fresh = nr;
	return panel_read(panel, panel->fresh, nr);
}

/** Read what is due of those that are armed, going on where the last round stopped. */
static int read_due(struct panel *panel, uint64_t now_ns)
{
	double part = panel_affords(panel) / SAVED_ROUNDS;
	double floor = read_share(panel) * (double)panel->settings.share_ns * (double)panel->length_ns / 1e9;
	size_t most = (size_t)((part > floor ? part : panel_affords(panel) > 0 ? floor : 0) / panel->costs.read);
	size_t near = (size_t)(NEAR_SHARE * (double)most), armed = 0, which[256], nr = 0;
	int err = 0;

	for (size_t i = 0; i < panel->nr; i++)
		armed += panel->sentinels[i].left != 0;
	double cadence_s = (double)armed * panel->costs.read /
			   (read_share(panel) * (double)panel->settings.share_ns + 1);
	uint64_t cadence_ns = cadence_s > 0.1 ? (uint64_t)(cadence_s * 1e9) : 100000000;

	for (size_t i = 0; i < panel->nr && most && !err; i++) {
		size_t at = panel->turn + i < panel->nr ? panel->turn + i : panel->turn + i - panel->nr;
		const struct sentinel *s = &panel->sentinels[at];

		if (!s->left)
			continue;
		uint64_t running = panel_running(panel, s->target, now_ns), since = running - s->read_ns;
		uint64_t rest = (s->read_ns - s->cleared_ns) / 2;

		rest = rest > 100000000 ? rest : 100000000;
		rest = rest < cadence_ns ? rest : cadence_ns;
		bool close_by = s->flags & SENTINEL_NEAR && near && since > SHORTEST_ROUND_NS / 10;

		// What is due before the next round is due.
		if (!close_by && since + SHORTEST_ROUND_NS / 10 < rest)
			continue;
		near -= close_by;
		most--;
		which[nr++] = at;
		if (nr == 256 || !most) {
			err = panel_read(panel, which, nr);
			nr = 0;
			if (!most)
				panel->turn = at;
		}
	}
	return err ? err : nr ? panel_read(panel, which, nr) : 0;
}

// ---- rounds ----

static int learn_now(struct panel *panel, uint64_t now_ns)
{
	double passed_s = (double)(now_ns - panel->learned_ns) / 1e9;
	double half = pow(0.5, passed_s / BANDIT_HALF_LIFE_S);
	int64_t begin = bulk_cpu_ns(&panel->ops);

	int err = panel_learn(panel, learn_time_of(passed_s));

	for (int i = 0; i < NR_POOLS; i++) {
		panel->pools[i].surprise = panel->pools[i].surprise * half + panel->learner.surprise[i];
		panel->pools[i].clears *= half;
		panel->learner.surprise[i] = 0;
	}
	panel->learned_before_ns = panel->learned_ns;
	panel->learned_ns = now_ns;
	panel->stats.learned++;
	if (!panel->settings.counts && panel->nr)
		panel->costs.learn += 0.05 * ((double)(bulk_cpu_ns(&panel->ops) - begin) / (double)panel->nr - panel->costs.learn);
	return err;
}

/** As long as it takes to pay for being woken up. */
static uint64_t round_length(const struct panel *panel)
{
	double ns = WAKES * panel->costs.wake / (WAKE_SHARE * (double)panel->settings.share_ns) * 1e9;

	return ns < (double)SHORTEST_ROUND_NS ? SHORTEST_ROUND_NS
	     : ns > (double)LONGEST_ROUND_NS ? LONGEST_ROUND_NS : (uint64_t)ns;
}

static bool learn_is_due(const struct panel *panel, uint64_t now_ns)
{
	double ns = (double)panel->nr * panel->costs.learn / (LEARN_SHARE * (double)panel->settings.share_ns) * 1e9;

	return now_ns - panel->learned_ns + SHORTEST_ROUND_NS / 10 >= (uint64_t)ns;
}

static int end_round(struct panel *panel, uint64_t now_ns)
{
	int err = read_due(panel, now_ns);

	if (!err && learn_is_due(panel, now_ns))
		err = learn_now(panel, now_ns);
	return err;
}

static int begin_round(struct panel *panel, uint64_t now_ns)
{
	panel->length_ns = round_length(panel);
	panel->round_ns = now_ns;
	double saved_s = SAVED_ROUNDS * (double)panel->length_ns / 1e9;

	if (now_ns - panel->began_ns < LENT_NS && saved_s < LENT_S)
		saved_s = LENT_S;
	panel->bucket.depth = (int64_t)((double)panel->settings.share_ns * saved_s);
	panel->nr_fresh = 0;
	panel->stats.rounds++;
	panel_pay(panel, now_ns);
	double ns = panel_affords(panel) * (1 - read_share(panel));

	// Even while nothing can be paid what was armed is read, a little.
	return ns > panel->costs.clear ? panel_choose(panel, ns, now_ns) : 0;
}

static bool all_lost(const struct panel *panel)
{
	for (size_t i = 0; i < panel->nr_targets; i++)
		if (!panel->targets[i].lost)
			return false;
	return panel->nr_targets > 0;
}

static void note_wake(struct panel *panel)
{
	int64_t ns = panel->settings.counts ? 0 : bulk_cpu_ns(&panel->ops) - panel->cpu_mark;

	panel->stats.wakes++;
	if (ns >= 0 && ns < MOST_WAKE_NS)
		panel->costs.wake += 0.02 * ((double)ns - panel->costs.wake);
}

/** What it takes to be ready is not paid for, and something is lent: a panel that is small knows little. */
static int begin(struct panel *panel, uint64_t now_ns)
{
	int err = panel->nr_places ? panel_warm_up(panel) : 0;

	panel_pay(panel, now_ns);
	panel->stats = (struct panel_stats){0};
	panel->bucket.tokens = (int64_t)((double)panel->settings.share_ns * LENT_S);
	panel->bucket.depth = panel->bucket.tokens;
	panel->length_ns = SHORTEST_ROUND_NS;
	panel->began_ns = now_ns;
	panel->began = true;
	return err;
}

int panel_step(struct panel *panel, uint64_t now_ns, uint64_t *next_ns)
{
	int err = 0;

	*next_ns = panel->due_ns;
	if (!panel->began)
		err = begin(panel, now_ns);
	if (err || now_ns < panel->due_ns)
		return err;
	note_wake(panel);
	panel_pay(panel, now_ns);
	panel_see_who_ran(panel, now_ns);
	if (panel->phase) {
		err = read_fresh(panel);
	} else {
		err = end_round(panel, now_ns);
		if (!err)
			err = begin_round(panel, now_ns);
	}
	panel_pay(panel, now_ns);
	do {
		panel->phase = (panel->phase + 1) % WAKES;
	} while (panel->phase && !panel->nr_fresh);
	uint64_t after = panel->phase ? read_after_ns[panel->phase] : panel->length_ns;

	panel->due_ns = panel->round_ns + after;
	if (panel->due_ns < now_ns) {	// late by more than a step: no burst
		panel->phase = panel->phase && now_ns < panel->round_ns + panel->length_ns ? panel->phase : 0;
		panel->due_ns = now_ns;
	}
	// In debt it rests: nothing else holds the budget when others spend in this thread.
	if (!panel->phase && panel->bucket.tokens < 0) {
		double rest = -(double)panel->bucket.tokens / (double)panel->settings.share_ns * 1e9;
		uint64_t until = now_ns + (rest < 1e10 ? (uint64_t)rest : UINT64_C(10000000000));

		panel->due_ns = panel->due_ns > until ? panel->due_ns : until;
	}
	*next_ns = panel->due_ns;
	return err ? err : all_lost(panel) ? -ESRCH : 0;
}
