// SPDX-License-Identifier: Apache-2.0
// The learn pass: from what sentinels saw, in address order, to where something changed and which
// segments of memory are alike. core/reference/sentinels.py is the same in readable form.
#pragma once
#include "sentinels/sentinel.h"

/** Sentinels [first, end) that are used alike. */
struct segment {
	size_t first, end;
	uint64_t start, last;	// places of the first and the last sentinel
	struct evidence sum;
	double rate, low, high;	// accesses of a page a second, and the ends of the 95 % credible interval
};

/** Places [start, last] where use has changed. */
struct change {
	uint64_t start, last;
};

struct learn_node {
	struct evidence sum;
	double best;
};

struct learner {
	struct segment *segments;
	size_t nr_segments;
	struct change *changes;		// since learner_forget_changes()
	size_t nr_changes;
	double surprise[NR_POOLS];	// nats that newly armed sentinels were surprising by, summed up
	double rate;			// the mean of memory
	// Scratch.
	struct learn_node *nodes;
	struct learn_leaf { size_t first, end; struct evidence sum; } *leaves;
	double *gains;
	size_t *voters;
	size_t room, room_changes;
};

struct learn_time {
	double weight;	// of fresh evidence that stays fresh
	double memory;	// of believed evidence that stays believed
};

/** What has been learned of passes 100 ms apart: fresh evidence lasts for a quarter of a second, beliefs for 30 s. */
struct learn_time learn_time_of(double passed_s);

void learner_init(struct learner *learner);
void learner_deinit(struct learner *learner);
/** Learn from @nr sentinels in the order of their places. 0 or -ENOMEM. */
int learn(struct learner *learner, struct sentinel *sentinels, size_t nr, struct learn_time time);
void learner_forget_changes(struct learner *learner);
/** The segment that holds @place, or is the next before it; NULL: there is none. */
const struct segment *learner_segment(const struct learner *learner, uint64_t place);

/** Natural logarithm of a positive, normal number, to 1e-8; the same on every machine. */
double learn_log(double x);
/** The log likelihood of one rate for each age, but for what does not depend on the rates. */
double learn_likelihood(const double *hits, const double *risk, unsigned int ages);
/** By how much @hits are likelier at another rate than that which makes @expected of them and rests on @basis. */
double learn_gain(double hits, double expected, double basis);
/** The share of pages that are accessed within @window_s, starting anywhere. */
double learn_share(const struct segment *segment, double window_s);
