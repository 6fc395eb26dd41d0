// SPDX-License-Identifier: Apache-2.0
// Random numbers of the monitor. Same sequences as core/reference/rng.py: a seed gives the same regions in both.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum rng_kind {
	RNG_SPLITMIX,	// default: splitmix64, upper 32 bits
	RNG_LCG,	// x = x * 1664525 + 1013904223: the generator of the conformance scenarios
	RNG_DRAWS,	// given numbers, in order: conformance unit vectors; 0 when used up
};

struct rng {
	enum rng_kind kind;
	uint64_t state;
	const uint32_t *draws;	// RNG_DRAWS: not owned
	size_t nr_draws, next_draw;
};

void rng_init(struct rng *rng, enum rng_kind kind, uint64_t seed);
/** Next 32 random bits. */
uint32_t rng_u32(struct rng *rng);
/** Uniform in [@l, @r), as damon_rand(): one draw, or two (high word first) for spans above 2^32-1. */
uint64_t rng_range(struct rng *rng, uint64_t l, uint64_t r);
