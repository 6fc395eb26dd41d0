// SPDX-License-Identifier: Apache-2.0
// Memory that was there at one read and is not at the next one: how long before it likely was used.
#include "map/gone.h"
#include "map/returns.h"
#include "sys/page.h"

static void add(struct map_target *target, const struct map_table *table, uint8_t byte, uint64_t bytes)
{
	struct map_age age = map_table_age(table, &target->bursts, byte);
	unsigned int i = 0;

	while (i < MAP_RETURN_AGES && map_return_ages_ns[i] < age.best)
		i++;
	if (i < MAP_RETURN_AGES) {
		target->left[i] += bytes;
		target->any_left = true;
	}
}

void map_gone_add(struct map_target *target, const struct map_table *table, const uint16_t *counts)
{
	for (unsigned int byte = 0; byte < MAP_ABSENT && table->nr_epochs; byte++)
		if (counts[byte])
			add(target, table, (uint8_t)byte, counts[byte] * (table->huge ? BLOCK : PAGE));
}

void map_gone_all(struct map_target *target, const struct map_table *table)
{
	uint16_t counts[256] = {0};

	for (size_t i = 0; i < map_table_pages(table); i++)
		counts[table->pages[i]]++;
	map_gone_add(target, table, counts);
}
