// SPDX-License-Identifier: Apache-2.0
#include "damo/columns.h"
#include <stdlib.h>

static bool grow(void **column, size_t room, size_t size)
{
	void *larger = realloc(*column, room * size);

	if (larger)
		*column = larger;
	return larger;
}

static bool make_room(struct damo_columns *columns)
{
	uint32_t room = columns->room ? 2 * columns->room : 256;

	if (!grow((void **)&columns->start, room, sizeof(uint64_t)) ||
	    !grow((void **)&columns->end, room, sizeof(uint64_t)) ||
	    !grow((void **)&columns->age, room, sizeof(uint64_t)) ||
	    !grow((void **)&columns->nr_accesses, room, sizeof(uint32_t)))
		return false;
	columns->room = room;
	return true;
}

const char *damo_columns_add(struct damo_columns *columns, const struct damo_region *region)
{
	uint32_t i = columns->length;

	if (!i) {
		columns->counts_percent = region->counts_percent;
		columns->age_is_us = region->age_is_us;
	}
	if (columns->counts_percent != region->counts_percent || columns->age_is_us != region->age_is_us)
		return "the regions of a snapshot tell accesses or ages in different units";
	if (i == DAMO_MAX_REGIONS)
		return "a snapshot has more than a million regions";
	if (i == columns->room && !make_room(columns))
		return "no memory is left for its regions";
	columns->start[i] = region->start;
	columns->end[i] = region->end;
	columns->age[i] = region->age;
	columns->nr_accesses[i] = region->nr_accesses;
	columns->length++;
	return NULL;
}

bool damo_columns_ordered(const struct damo_columns *columns)
{
	for (uint32_t i = 0; i < columns->length; i++)
		if (columns->start[i] >= columns->end[i] || (i && columns->end[i - 1] > columns->start[i]))
			return false;
	return true;
}

void damo_columns_free(struct damo_columns *columns)
{
	free(columns->start);
	free(columns->end);
	free(columns->age);
	free(columns->nr_accesses);
	*columns = (struct damo_columns){};
}
