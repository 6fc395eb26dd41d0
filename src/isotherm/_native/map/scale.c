// SPDX-License-Identifier: Apache-2.0
#include "map/scale.h"

#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)
#define LONGEST_GAP (60 * S)

const uint64_t map_class_ns[MAP_CLASSES] = {
	100 * MS, 200 * MS, 500 * MS, 1 * S, 2 * S, 3 * S, 5 * S, 10 * S, 20 * S,
	30 * S, 60 * S, 300 * S, 600 * S, 1800 * S, 3600 * S,
};

static uint64_t with_lateness(uint64_t ns)
{
	return ns + ns / 4;
}

unsigned int map_class_of(uint64_t ns)
{
	unsigned int class_ = 0;

	while (class_ < MAP_CLASSES - 1 && with_lateness(map_class_ns[class_]) < ns)
		class_++;
	return class_;
}

uint64_t map_class_end(unsigned int class_)
{
	return map_class_ns[class_ < MAP_CLASSES ? class_ : MAP_CLASSES - 1];
}

uint64_t map_next_read(uint64_t ns)
{
	for (unsigned int i = 0; i < MAP_CLASSES; i++)
		if (map_class_ns[i] > ns)
			return map_class_ns[i] < ns + LONGEST_GAP ? map_class_ns[i] : ns + LONGEST_GAP;
	return ns + LONGEST_GAP;
}
