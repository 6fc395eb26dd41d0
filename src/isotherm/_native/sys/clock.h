// SPDX-License-Identifier: Apache-2.0
// Time in nanoseconds.
#pragma once
#include <stdint.h>
#include <time.h>

#define SECOND_NS UINT64_C(1000000000)

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

/** CLOCK_MONOTONIC. */
static inline uint64_t monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/** CPU time of this thread. */
static inline int64_t thread_ns(void)
{
	return (int64_t)clock_ns(CLOCK_THREAD_CPUTIME_ID);
}
