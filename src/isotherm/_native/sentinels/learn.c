// SPDX-License-Identifier: Apache-2.0
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")	// a pass over thousands of sentinels ten times a second
#endif
#include "sentinels/learn.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TINY 1e-12		// page-seconds: keeps divisions sane
#define CHANGE_PENALTY 4.0	// nats
#define CHANGE_GAIN 6.0
#define SEGMENT_PENALTY 2.5
#define MERGE_GAIN 7.0
#define MERGE_PASSES 24
#define SURE_HITS 3.0		// so many hits make an opinion,
#define SURE_RISK 0.05		// or so many seconds of each page
#define RATE_HITS 8.0
#define WITNESSES 4.0		// so many pages of a clump count
#define QUIET_S 0.15
#define PROVISIONAL_WAIT_S 0.15
#define PROVISIONAL_RISK_S 0.3
#define FRESH_STAYS 0.6		// of 100 ms
#define BELIEF_HALF_LIFE_S 30.0
#define SURPRISE 2.0
#define ROOT_HALF_BITS UINT64_C(0x3fe6a09e667f3bcd)	// of 0.7071...
#define LN2 0.69314718055994530942
#define NORMAL_95 1.959963984540054

double learn_log(double x)
{
	union { double value; uint64_t bits; } u = {x};
	// The exponent of what lies between the roots of 1/2 and 2; no branch, which nobody could predict.
	int64_t above = (int64_t)(u.bits - ROOT_HALF_BITS);
	int64_t exponent = above >> 52;

	u.bits = ((uint64_t)above & UINT64_C(0xfffffffffffff)) + ROOT_HALF_BITS;
	// 2 artanh(s), |s| < 0.172
	double s = (u.value - 1) / (u.value + 1), q = s * s;
	double sum = 1.0 / 9 * q + 1.0 / 7;

	sum = sum * q + 1.0 / 5;
	sum = sum * q + 1.0 / 3;
	sum = sum * q + 1.0;
	return 2 * s * sum + (double)exponent * LN2;
}

double learn_likelihood(const double *hits, const double *risk, unsigned int ages)
{
	double sum = 0;

	for (unsigned int i = 0; i < ages; i++)
		if (hits[i] > 0)
			sum += hits[i] * learn_log(hits[i] / (risk[i] + TINY)) - hits[i];
	return sum;
}

double learn_gain(double hits, double expected, double basis)
{
	double sum = (hits + basis) * learn_log((hits + basis) / (expected + basis + TINY));

	return (hits > 0 ? hits * learn_log(hits / (expected + TINY)) : 0) - sum;
}

struct learn_time learn_time_of(double passed_s)
{
	return (struct learn_time){
		.weight = pow(FRESH_STAYS, passed_s / 0.1),
		.memory = pow(0.5, passed_s / BELIEF_HALF_LIFE_S),
	};
}

void learner_init(struct learner *learner)
{
	*learner = (struct learner){0};
}

void learner_deinit(struct learner *learner)
{
	free(learner->segments);
	free(learner->changes);
	free(learner->nodes);
	free(learner->leaves);
	free(learner->gains);
	free(learner->voters);
	learner_init(learner);
}

static int reserve(struct learner *learner, size_t nr)
{
	if (nr <= learner->room)
		return 0;
	nr += nr / 2 + 64;
#define GROW(member, count)									\
	do {											\
		void *grown = reallocarray(learner->member, count, sizeof(*learner->member));	\
		if (!grown)									\
			return -ENOMEM;								\
		learner->member = grown;							\
	} while (0)
	GROW(nodes, 2 * nr + 128);
	GROW(leaves, nr);
	GROW(gains, nr);
	GROW(segments, nr);
	GROW(voters, nr);
#undef GROW
	learner->room = nr;
	return 0;
}

static bool note_change(struct learner *learner, uint64_t start, uint64_t last)
{
	if (learner->nr_changes == learner->room_changes) {
		size_t room = learner->room_changes * 2 + 16;
		void *grown = reallocarray(learner->changes, room, sizeof(*learner->changes));

		if (!grown)
			return false;
		learner->changes = grown;
		learner->room_changes = room;
	}
	learner->changes[learner->nr_changes++] = (struct change){start, last};
	return true;
}

void learner_forget_changes(struct learner *learner)
{
	learner->nr_changes = 0;
}

const struct segment *learner_segment(const struct learner *learner, uint64_t place)
{
	size_t low = 0, high = learner->nr_segments;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (learner->segments[middle].start <= place)
			low = middle + 1;
		else
			high = middle;
	}
	return learner->nr_segments ? &learner->segments[low ? low - 1 : 0] : NULL;
}

// ---- pyramids ----

/** Sum up pairs of nodes, level by level from @nr leaves at nodes[0]; how many levels there are. */
static unsigned int build(struct learn_node *nodes, size_t nr, unsigned int ages, double penalty, size_t *levels)
{
	unsigned int level = 0;
	size_t base = 0;

	for (levels[0] = 0; nr > 1; nr = (nr + 1) / 2) {
		struct learn_node *below = nodes + base, *above = below + nr;

		for (size_t i = 0; i < nr / 2; i++) {
			const struct learn_node *a = below + 2 * i, *b = a + 1;
			struct learn_node *node = above + i;

			for (unsigned int j = 0; j < NR_AGES; j++)
				node->sum.pairs[j] = a->sum.pairs[j] + b->sum.pairs[j];
			double whole = learn_likelihood(node->sum.hits, node->sum.risk, ages);
			double parts = a->best + b->best - penalty;

			node->best = whole > parts ? whole : parts;
		}
		if (nr % 2)
			above[nr / 2] = below[nr - 1];
		base += nr;
		levels[++level] = base;
	}
	return level + 1;
}

/** The leaves of the best cut: where a node is no better as a whole its halves are looked at. */
static size_t cut(struct learner *learner, size_t nr, unsigned int ages, double penalty, unsigned int nr_levels,
		  const size_t *levels)
{
	struct { unsigned int level; size_t at; } stack[128];
	size_t depth = 0, found = 0;

	if (!nr)
		return 0;
	stack[depth++].level = nr_levels - 1;
	stack[0].at = 0;
	while (depth) {
		unsigned int level = stack[--depth].level;
		size_t at = stack[depth].at;
		const struct learn_node *node = &learner->nodes[levels[level] + at];
		size_t below = level ? levels[level] - levels[level - 1] : 0;

		if (level && 2 * at + 1 == below) {	// one child: the same node
			stack[depth].level = level - 1;
			stack[depth++].at = 2 * at;
			continue;
		}
		if (level) {
			const struct learn_node *half = &learner->nodes[levels[level - 1] + 2 * at];

			if (half[0].best + half[1].best - penalty > learn_likelihood(node->sum.hits, node->sum.risk, ages)) {
				stack[depth].level = level - 1;
				stack[depth++].at = 2 * at + 1;
				stack[depth].level = level - 1;
				stack[depth++].at = 2 * at;
				continue;
			}
		}
		size_t first = at << level, end = (at + 1) << level;

		learner->leaves[found].first = first;
		learner->leaves[found].end = end < nr ? end : nr;
		learner->leaves[found++].sum = node->sum;
	}
	return found;
}

static size_t pyramid(struct learner *learner, size_t nr, unsigned int ages, double penalty)
{
	size_t levels[66];
	unsigned int nr_levels = build(learner->nodes, nr, ages, penalty, levels);

	return cut(learner, nr, ages, penalty, nr_levels, levels);
}

// ---- change ----

static bool was_read(const struct sentinel *s)
{
	return (s->flags & (SENTINEL_READ | SENTINEL_BLIND)) == SENTINEL_READ;
}

/** What a sentinel expected to see, hits and all ages in one; false: it abstains, as it has no opinion. */
static bool expect(const struct sentinel *s, const struct segment *segment, struct learn_node *node)
{
	double hits = evidence_hits(&s->known), risk = evidence_risk(&s->known);

	// A find in a segment that knows nothing of it must not count as a change: it would be forgotten.
	if (hits < SURE_HITS && risk < SURE_RISK * s->nr)
		return false;
	*node = (struct learn_node){0};
	for (unsigned int i = 0; i < NR_AGES; i++) {
		double prior = hits / (risk + TINY);

		if (hits < SURE_HITS)
			prior = segment ? (segment->sum.hits[i] + 0.5) / (segment->sum.risk[i] + 1) : 0.5;
		double rate = (s->known.hits[i] + 0.5) / (s->known.risk[i] + 0.5 / (prior + 1e-9));

		node->sum.risk[0] += s->fresh.risk[i] * rate;
	}
	// Pages side by side are often accessed together: what a clump says is not that of so many witnesses.
	double weight = s->nr > WITNESSES ? WITNESSES / s->nr : 1;

	node->sum.risk[0] *= weight;
	node->sum.hits[0] = evidence_hits(&s->fresh) * weight;
	node->sum.hits[1] = (hits + 0.5) * weight;
	node->sum.risk[1] = evidence_risk(&s->fresh);
	node->sum.risk[2] = s->nr;
	node->best = learn_likelihood(node->sum.hits, node->sum.risk, 1);
	return true;
}

static void forget(struct sentinel *s, bool up)
{
	s->known = (struct evidence){0};
	// What is fresh is of since the clear. Long after it that may be of before the change, and would
	// dilute what follows; that nothing happened since is what has changed, if use has ended.
	if (!up || (s->touched && s->waited_s <= PROVISIONAL_WAIT_S))
		return;
	s->fresh = (struct evidence){0};
	if (s->touched) {
		// One first access proves one access; only a sentinel that is armed again proves a rate.
		double risk = s->waited_s < PROVISIONAL_RISK_S ? s->waited_s : PROVISIONAL_RISK_S;

		s->known.hits[1] = s->touched;
		s->known.risk[1] = s->nr * risk;
		s->flags |= SENTINEL_PROVISIONAL;
	}
}

/** No more was seen than expected. */
static bool is_quiet(const struct learn_node *node)
{
	return node->sum.hits[0] <= node->sum.risk[0];
}

static int find_changes(struct learner *learner, struct sentinel *sentinels, size_t nr)
{
	size_t at = 0, votes = 0;

	for (size_t i = 0; i < nr; i++) {
		if (!was_read(&sentinels[i]))
			continue;
		while (at + 1 < learner->nr_segments && learner->segments[at + 1].start <= sentinels[i].place)
			at++;
		if (expect(&sentinels[i], learner->nr_segments ? &learner->segments[at] : NULL, &learner->nodes[votes]))
			learner->voters[votes++] = i;
	}
	size_t nr_leaves = pyramid(learner, votes, 1, CHANGE_PENALTY);
	double needed = CHANGE_GAIN + learn_log(1.0 + (double)nr_leaves);

	for (size_t i = 0; i < nr_leaves; i++) {
		size_t first = learner->leaves[i].first, end = learner->leaves[i].end;
		double hits = learner->leaves[i].sum.hits[0], expected = learner->leaves[i].sum.risk[0];
		double quiet = learner->leaves[i].sum.risk[1];
		bool up = hits > 2 * expected + 1, down = hits < expected / 2 - 0.5;

		// A program that is held up for a moment has not changed.
		down = down && quiet >= QUIET_S * learner->leaves[i].sum.risk[2];

		if (!(up || down) || learn_gain(hits, expected, learner->leaves[i].sum.hits[1]) <= needed)
			continue;
		// Around what is busier may lie memory that expected nothing and saw nothing: it goes on as it is.
		while (up && is_quiet(&learner->nodes[first]))
			first++;
		while (up && is_quiet(&learner->nodes[end - 1]))
			end--;
		first = learner->voters[first];
		end = learner->voters[end - 1] + 1;
		double all_hits = 0, all_risk = 0;

		for (size_t j = first; j < end; j++) {
			all_hits += evidence_hits(&sentinels[j].known);
			all_risk += evidence_risk(&sentinels[j].known);
		}
		for (size_t j = first; j < end; j++) {
			double own = evidence_hits(&sentinels[j].known);

			if (up || (own >= 1 && own * (all_risk + TINY) * 2 > all_hits * evidence_risk(&sentinels[j].known)))
				forget(&sentinels[j], up);
		}
		if (!note_change(learner, sentinels[first].place, sentinels[end - 1].place))
			return -ENOMEM;
	}
	return 0;
}

// ---- fold ----

/** Believe more of what is fresh; what both make together is a leaf. */
static void fold(struct sentinel *s, struct learn_time time, struct learn_node *node)
{
	const pair_t weight = {time.weight, time.weight}, rest = 1 - weight, memory = {time.memory, time.memory};

	for (unsigned int i = 0; i < NR_AGES; i++) {
		pair_t fresh = s->fresh.pairs[i], known = (s->known.pairs[i] + rest * fresh) * memory;

		fresh *= weight;
		s->known.pairs[i] = known;
		s->fresh.pairs[i] = fresh;
		node->sum.pairs[i] = known + fresh;
	}
	if (s->flags & SENTINEL_BLIND)
		node->sum = (struct evidence){0};
	node->best = learn_likelihood(node->sum.hits, node->sum.risk, NR_AGES);
	s->flags &= (uint8_t)~SENTINEL_READ;
	s->touched = 0;
}

// ---- segments ----

static void add(struct evidence *sum, const struct evidence *more)
{
	for (unsigned int i = 0; i < NR_AGES; i++)
		sum->pairs[i] += more->pairs[i];
}

static double gain_of(const struct segment *a, const struct segment *b)
{
	struct evidence sum = a->sum;

	add(&sum, &b->sum);
	return learn_likelihood(a->sum.hits, a->sum.risk, NR_AGES) +
	       learn_likelihood(b->sum.hits, b->sum.risk, NR_AGES) -
	       learn_likelihood(sum.hits, sum.risk, NR_AGES);
}

/** Join neighbours that are alike, the most alike of a neighbourhood first. */
static void merge(struct learner *learner)
{
	struct segment *segments = learner->segments;
	double *gains = learner->gains;

	for (int pass = 0; pass < MERGE_PASSES && learner->nr_segments > 1; pass++) {
		size_t nr = learner->nr_segments, to = 0;

		for (size_t i = 0; i + 1 < nr; i++)
			gains[i] = gain_of(&segments[i], &segments[i + 1]);
		for (size_t i = 0; i < nr; i++) {
			bool joins = i + 1 < nr && gains[i] < MERGE_GAIN && (!i || gains[i] <= gains[i - 1]) &&
				     (i + 2 >= nr || gains[i] <= gains[i + 1]);

			segments[to] = segments[i];
			if (joins) {
				add(&segments[to].sum, &segments[i + 1].sum);
				segments[to].end = segments[i + 1].end;
				i++;
			}
			to++;
		}
		learner->nr_segments = to;
		if (to == nr)
			break;
	}
}

/** The ends of the middle 95 % of a gamma distribution (Wilson and Hilferty). */
static double gamma_end(double shape, double normal)
{
	double root = 1 - 1 / (9 * shape) + normal / (3 * sqrt(shape));

	return root > 0 ? shape * root * root * root : 0;
}

static void rate_segment(struct segment *segment)
{
	double hits = 0, risk = 0;

	// The shortest ages that tell enough: what was not accessed for long is not like the rest.
	for (unsigned int i = 0; i < NR_AGES && hits < RATE_HITS; i++) {
		hits += segment->sum.hits[i];
		risk += segment->sum.risk[i];
	}
	segment->rate = hits / (risk + TINY);
	segment->low = gamma_end(hits + 0.5, -NORMAL_95) / (risk + TINY);
	segment->high = gamma_end(hits + 0.5, NORMAL_95) / (risk + TINY);
	if (segment->low > segment->rate)
		segment->low = segment->rate;
}

/** From the leaves that are there. */
static void find_segments(struct learner *learner, const struct sentinel *sentinels, size_t nr)
{
	learner->nr_segments = pyramid(learner, nr, NR_AGES, SEGMENT_PENALTY);
	for (size_t i = 0; i < learner->nr_segments; i++) {
		struct learn_leaf *leaf = &learner->leaves[i];

		learner->segments[i] = (struct segment){.first = leaf->first, .end = leaf->end, .sum = leaf->sum};
	}
	merge(learner);
	double rate = 0, pages = 0;

	for (size_t i = 0; i < learner->nr_segments; i++) {
		struct segment *segment = &learner->segments[i];

		segment->start = sentinels[segment->first].place;
		segment->last = sentinels[segment->end - 1].place;
		rate_segment(segment);
		rate += segment->rate * (double)(segment->last - segment->start + 1);
		pages += (double)(segment->last - segment->start + 1);
	}
	learner->rate = pages > 0 ? rate / pages : 0;
}

/** By how much the newly armed differ from what their segments made expect; here everybody votes. */
static void find_surprises(struct learner *learner, const struct sentinel *sentinels, size_t nr)
{
	size_t at = 0;

	for (size_t i = 0; i < nr && learner->nr_segments; i++) {
		const struct sentinel *s = &sentinels[i];
		double expected = 0;

		if (!was_read(s) || evidence_risk(&s->known) > 0)
			continue;
		while (at + 1 < learner->nr_segments && learner->segments[at + 1].start <= s->place)
			at++;
		const struct segment *segment = &learner->segments[at];

		for (unsigned int j = 0; j < NR_AGES; j++)
			expected += s->fresh.risk[j] * ((segment->sum.hits[j] + 0.5) / (segment->sum.risk[j] + 1));
		double gain = learn_gain(evidence_hits(&s->fresh), expected, evidence_hits(&segment->sum) + 0.5);

		if (gain > SURPRISE)
			learner->surprise[s->pool] += gain - SURPRISE;
	}
}

int learn(struct learner *learner, struct sentinel *sentinels, size_t nr, struct learn_time time)
{
	int err = reserve(learner, nr);

	if (err)
		return err;
	find_surprises(learner, sentinels, nr);
	err = find_changes(learner, sentinels, nr);
	for (size_t i = 0; i < nr; i++)
		fold(&sentinels[i], time, &learner->nodes[i]);
	find_segments(learner, sentinels, nr);
	return err;
}

double learn_share(const struct segment *segment, double window_s)
{
	const double begins[] = {0, AGE_SHORT_NS / 1e9, AGE_MIDDLE_NS / 1e9, HUGE_VAL};
	double sum = 0;

	for (unsigned int i = 0; i < NR_AGES && window_s > begins[i]; i++) {
		double length = (window_s < begins[i + 1] ? window_s : begins[i + 1]) - begins[i];
		double risk = segment->sum.risk[i];

		sum += length * (risk > 1e-3 ? segment->sum.hits[i] / risk : segment->rate);
	}
	return 1 - exp(-sum);
}
