// SPDX-License-Identifier: Apache-2.0
// Inside regions*.c: lists of regions and the arithmetic that all parts need.
#pragma once
#include <errno.h>
#include <stdlib.h>
#include "table/regions.h"

typedef unsigned __int128 u128;

static inline uint64_t size_of(const struct region *r)
{
	return r->end - r->start;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/** @x * @n / @d as mult_frac() of the kernel; its order of divisions decides the rounding. */
static inline u128 mult_frac(u128 x, u128 n, u128 d)
{
	return x / d * n + x % d * n / d;
}

static inline uint32_t clamp_u32(u128 x)
{
	return x > UINT32_MAX ? UINT32_MAX : (uint32_t)x;
}

static inline int reserve(struct region_list *list, size_t room)
{
	struct region *at;

	if (room <= list->room)
		return 0;
	if (room < 2 * list->room)
		room = 2 * list->room;
	if (room < 64)
		room = 64;
	at = reallocarray(list->at, room, sizeof(*at));
	if (!at)
		return -ENOMEM;
	list->at = at;
	list->room = room;
	return 0;
}

static inline struct region *push(struct region_list *list, const struct region *region)
{
	if (reserve(list, list->nr + 1) < 0)
		return NULL;
	list->at[list->nr] = *region;
	return &list->at[list->nr++];
}

static inline void swap_lists(struct region_table *table)
{
	struct region_list done = table->next;

	table->next = table->regions;
	table->regions = done;
}

/** Have the moving sum be @hits of a whole window. */
static inline void set_moving_sum(struct region *r, uint32_t hits)
{
	r->moving_bp = hits * UINT32_C(10000);
}

/** Merge the adjacent @r into @l. */
void region_absorb(struct region *l, const struct region *r);

/** Split: keep the left @size bytes, return the rest; both have the same history. */
static inline struct region cut(struct region *l, uint64_t size)
{
	struct region r = *l;
	uint64_t left = (uint64_t)((u128)l->unobservable * size / size_of(l));

	r.start = l->start + size;
	r.unobservable -= left;
	l->unobservable = left;
	l->end = r.start;
	return r;
}
