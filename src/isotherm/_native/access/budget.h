// SPDX-License-Identifier: Apache-2.0
// CPU time that may be spent, as a token bucket, and what a clear costs.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct bucket {
	int64_t tokens;		// ns of CPU time; below zero after a dear step
	int64_t rate;		// ns per second
	int64_t depth;		// most tokens
	uint64_t filled;	// when, ns of CLOCK_MONOTONIC; 0: never
};

/** Add what has come in until @now_ns. Returns how much of that there was no room for. */
int64_t bucket_fill(struct bucket *bucket, uint64_t now_ns);
/** Add some, as far as there is room. */
void bucket_add(struct bucket *bucket, int64_t ns);

/**
 * The clear budget: what the overhead target leaves over.
 *
 * The thread's other work (reads, the sampler, the interpreter) is measured over spans of at least
 * BUDGET_SPAN_NS and taken off the target; a quarter of the target stays for clears, because without
 * any clear a hot page could not be told from one touched long ago.
 */
#define BUDGET_SPAN_NS 100000000ULL
struct budget {
	int64_t target;		// ns of CPU per second for everything
	struct bucket clears;
	uint64_t span_begin;
	int64_t other;		// ns of other work in the running span
	double other_rate;	// ns per second, smoothed
	double clear_ns;	// one young clear, smoothed
};

void budget_init(struct budget *budget, int64_t target_ns, double clear_ns);
/** Account @ns of other work until @now_ns and refill. */
void budget_other(struct budget *budget, int64_t ns, uint64_t now_ns);
/** How many clears can be paid now. */
size_t budget_affords(const struct budget *budget);
/** Pay for @nr clears that took @ns. */
void budget_pay(struct budget *budget, size_t nr, int64_t ns);
