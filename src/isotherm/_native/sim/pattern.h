// SPDX-License-Identifier: Apache-2.0
// How often a stretch of simulated pages is used, and whether a page was used in an interval: decided
// by hashes of page and time, so that any interval can be asked for, in any order, and all answers agree.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sim_kind {
	SIM_RANDOM,	// uses of a page are a Poisson process
	SIM_SWEEP,	// one page after the other, evenly, again and again
	NR_SIM_KINDS,
};

/**
 * Uses of the pages [first, last), from @from_ns until @until_ns: for the first @on_ns of each
 * @period_ns if that is not 0. The rate rises (or falls) evenly from @rate to @rate_end in that time,
 * which is for SIM_RANDOM without a period only; otherwise both are equal.
 *
 * Of each @group units of @unit pages one is used, level 1; of each @group of those one is of level 2,
 * and so on up to @levels: it is used @gain times as often for each level above 1. @group 1: all are.
 * @regular: it is always the first of a group, else one that is drawn by @seed.
 */
struct sim_pattern {
	uint64_t first, last;
	uint64_t from_ns, until_ns, period_ns, on_ns;
	double rate, rate_end;	// uses per second of a page of level 1; SIM_SWEEP: sweeps per second
	double gain;
	uint64_t seed;
	uint32_t unit, group;
	uint8_t levels, kind;
	bool regular;
};

bool sim_pattern_is_good(const struct sim_pattern *pattern);
/** How often a page of level 1 is used from the beginning of time until @ns, on average; exact. */
double sim_uses(const struct sim_pattern *pattern, uint64_t ns);
/** How many pages of [@first, @last) are of @level or above. */
uint64_t sim_chosen(const struct sim_pattern *pattern, uint64_t first, uint64_t last, unsigned int level);
/** The level of a page; 0: it is not used. */
unsigned int sim_level(const struct sim_pattern *pattern, uint64_t page);
/** How often a page of a level is used while one of level 1 is once. */
double sim_weight(const struct sim_pattern *pattern, unsigned int level);
/**
 * Whether any page of [@first, @last), which share an accessed bit, was used while sim_uses() went from
 * @begin to @end.
 */
bool sim_was_used(const struct sim_pattern *pattern, uint64_t first, uint64_t last, double begin, double end);
