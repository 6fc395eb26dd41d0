// SPDX-License-Identifier: Apache-2.0
// The map's clock and its scale of times: from a tenth of a second to an hour, in steps of about two.
#pragma once
#include <stddef.h>
#include <stdint.h>

/** A time of the map's clock, in units of 2^22 ns (4.2 ms); wraps after 208 days. */
typedef uint32_t map_time;
#define MAP_TIME_SHIFT 22

static inline map_time map_time_of(uint64_t ns)
{
	return (map_time)(ns >> MAP_TIME_SHIFT);
}
static inline uint64_t map_time_ns(map_time time)
{
	return (uint64_t)time << MAP_TIME_SHIFT;
}

static inline uint64_t map_since(map_time now, map_time then)
{
	return map_time_ns(now - then);
}

/** Classes of the time from a clear to the first use that was seen after it. */
#define MAP_CLASSES 15
extern const uint64_t map_class_ns[MAP_CLASSES];

/** The class of a use seen so long after a clear; a read that comes a little late still is of its class. */
unsigned int map_class_of(uint64_t ns);
/** The upper end of a class. */
uint64_t map_class_end(unsigned int class_);
/** When, after a clear, the next read is worth while that comes after @ns; at most a minute later. */
uint64_t map_next_read(uint64_t ns);
