// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "map/page_map.h"

/** Pages of a table are gone, so many of each byte that they had. */
void map_gone_add(struct map_target *target, const struct map_table *table, const uint16_t *counts);
/** All of a table is. */
void map_gone_all(struct map_target *target, const struct map_table *table);
