// SPDX-License-Identifier: Apache-2.0
// A sentinel: a clump of pages side by side whose accessed bits were cleared, and what it saw since.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Times since the clear are compared with like ones: until 80 ms, until 1.28 s, longer. */
#define NR_AGES 3
#define AGE_SHORT_NS UINT64_C(80000000)
#define AGE_MIDDLE_NS UINT64_C(1280000000)

/** Two numbers at a time: most processors can. */
typedef double pair_t __attribute__((vector_size(16), aligned(8)));

/** First accesses, and the page-seconds in which they could have happened, by the time since the clear. */
struct evidence {
	union {
		struct {
			double hits[NR_AGES], risk[NR_AGES];
		};
		pair_t pairs[NR_AGES];
	};
};

/** Which choice of a place a clear was spent on. */
enum sentinel_pool {
	POOL_EXPLORE,	// anywhere
	POOL_BISECT,	// in a wide gap between two segments
	POOL_EDGE,	// where segments differ most
	POOL_WATCH,	// what is used up
	NR_POOLS,
};

enum sentinel_flag {
	SENTINEL_HUGE = 1,	// one page of 2 MiB
	SENTINEL_BLIND = 2,	// its use cannot be seen
	SENTINEL_NEAR = 4,	// close to a border
	SENTINEL_READ = 8,	// since the last learn pass
	SENTINEL_PROVISIONAL = 16,	// what it knows is of one first access
	SENTINEL_DROPPED = 32,	// another one has its room
	SENTINEL_EARLY = 64,	// of few pages, accessed soon after one of its first clears: worth asking again
};

struct sentinel {
	uint64_t addr;		// of its first page
	uint64_t place;		// likewise in pages among those of all areas
	uint64_t cleared_ns;	// in time that the target ran
	uint64_t read_ns;
	uint32_t target;
	uint16_t left;		// a bit a page: not accessed since the clear
	uint16_t there;		// in memory when it was looked at last
	uint8_t nr;		// pages; of 2 MiB: one
	uint8_t pool;
	uint8_t flags;
	bool instant;		// after the last clear all was young at once
	uint8_t touched;	// pages first accessed since the last learn pass ...
	uint8_t arms;
	float waited_s;		// ... and how long after the clear
	struct evidence known;	// believed
	struct evidence fresh;	// of the last quarter of a second
};

static inline unsigned int age_of(uint64_t since_clear_ns)
{
	return since_clear_ns <= AGE_SHORT_NS ? 0 : since_clear_ns <= AGE_MIDDLE_NS ? 1 : 2;
}

static inline double evidence_hits(const struct evidence *e)
{
	return e->hits[0] + e->hits[1] + e->hits[2];
}

static inline double evidence_risk(const struct evidence *e)
{
	return e->risk[0] + e->risk[1] + e->risk[2];
}
