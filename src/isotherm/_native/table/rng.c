// SPDX-License-Identifier: Apache-2.0
#include "table/rng.h"

void rng_init(struct rng *rng, enum rng_kind kind, uint64_t seed)
{
	*rng = (struct rng){
		.kind = kind,
		.state = kind == RNG_LCG ? (uint32_t)seed : seed,
	};
}

uint32_t rng_u32(struct rng *rng)
{
	uint64_t z;

	switch (rng->kind) {
	case RNG_DRAWS:
		return rng->next_draw < rng->nr_draws ? rng->draws[rng->next_draw++] : 0;
	case RNG_LCG:
		rng->state = (uint32_t)(rng->state * 1664525 + 1013904223);
		return (uint32_t)rng->state;
	case RNG_SPLITMIX:
		break;
	}
	z = rng->state += 0x9E3779B97F4A7C15;
	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
	return (uint32_t)((z ^ (z >> 31)) >> 32);
}

uint64_t rng_range(struct rng *rng, uint64_t l, uint64_t r)
{
	uint64_t span = r - l, high;

	if (span <= UINT32_MAX)
		return l + ((rng_u32(rng) * span) >> 32);
	high = rng_u32(rng);
	return l + (uint64_t)(((unsigned __int128)(high << 32 | rng_u32(rng)) * span) >> 64);
}
