// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "access/space.h"

#define REFUSAL_NS 30000000000ULL

const char *const unseen_reason_names[NR_UNSEEN] = {
	[UNSEEN_SHARED] = "shared",
	[UNSEEN_MLOCKED] = "mlocked",
	[UNSEEN_HUGETLB] = "hugetlb",
	[UNSEEN_PFN] = "PFN-mapped",
	[UNSEEN_ZERO] = "zero page",
	[UNSEEN_FOLIO] = "large folio",
	[UNSEEN_STUCK] = "could not be cleared",
};

void space_init(struct space *space, uint32_t id, int pid, int pidfd)
{
	*space = (struct space){.id = id, .pid = pid, .pidfd = pidfd, .maps_fd = -1};
}

void space_forget(struct space *space)
{
	if (space->maps_fd >= 0)
		close(space->maps_fd);
	free(space->mappings);
	free(space->units);
	free(space->refused);
	space_init(space, space->id, space->pid, space->pidfd);
}

void space_deinit(struct space *space)
{
	space_forget(space);
}

/** Units of all sweepable mappings, cut at multiples of SWEEP_UNIT; only counts if @units is NULL. */
static size_t cut_units(const struct mapping *mappings, size_t nr, struct sweep_unit *units)
{
	size_t n = 0;

	for (size_t i = 0; i < nr; i++) {
		if (!(mappings[i].flags & SPACE_SWEEP))
			continue;
		for (uint64_t at = mappings[i].start; at < mappings[i].end; n++) {
			uint64_t end = (at / SWEEP_UNIT + 1) * SWEEP_UNIT;

			if (end > mappings[i].end)
				end = mappings[i].end;
			if (units)
				units[n] = (struct sweep_unit){.start = at, .end = end};
			at = end;
		}
	}
	return n;
}

/** Both lists are address ordered: units of the same start are the same. */
static void keep_units(struct sweep_unit *units, size_t nr, const struct sweep_unit *old, size_t nr_old)
{
	for (size_t i = 0, j = 0; i < nr && j < nr_old;) {
		if (units[i].start == old[j].start) {
			uint64_t end = units[i].end;

			units[i] = old[j];
			units[i].end = end;
			i++, j++;
		} else if (units[i].start < old[j].start) {
			i++;
		} else {
			j++;
		}
	}
}

static void forget_refusals(struct space *space, uint64_t now_ns)
{
	size_t kept = 0;

	for (size_t i = 0; i < space->nr_refused; i++) {
		const struct mapping *mapping = space_mapping(space, space->refused[i].start);

		if (space->refused[i].until_ns > now_ns && mapping && mapping->end >= space->refused[i].end)
			space->refused[kept++] = space->refused[i];
	}
	space->nr_refused = kept;
}

int space_set_mappings(struct space *space, const struct mapping *mappings, size_t nr, uint64_t now_ns)
{
	if (nr == space->nr_mappings && nr && !memcmp(mappings, space->mappings, nr * sizeof(*mappings))) {
		forget_refusals(space, now_ns);
		return 0;
	}
	size_t nr_units = cut_units(mappings, nr, NULL);
	struct mapping *copy = malloc(nr * sizeof(*copy) + 1);
	struct sweep_unit *units = malloc(nr_units * sizeof(*units) + 1);

	if (!copy || !units) {
		free(copy);
		free(units);
		return -ENOMEM;
	}
	if (nr)
		memcpy(copy, mappings, nr * sizeof(*copy));
	cut_units(copy, nr, units);
	keep_units(units, nr_units, space->units, space->nr_units);
	free(space->mappings);
	free(space->units);
	space->mappings = copy;
	space->nr_mappings = nr;
	space->units = units;
	space->nr_units = nr_units;
	forget_refusals(space, now_ns);
	return 0;
}

// Both are sorted and do not overlap: the last item that starts at or below @addr is the only candidate.
#define FIND(items, nr, addr)								\
	size_t low = 0, high = nr;							\
	while (low < high) {								\
		size_t middle = low + (high - low) / 2;					\
		if ((items)[middle].start <= (addr))					\
			low = middle + 1;						\
		else									\
			high = middle;							\
	}										\
	return low && (addr) < (items)[low - 1].end ? &(items)[low - 1] : NULL

const struct mapping *space_mapping(const struct space *space, uint64_t addr)
{
	FIND(space->mappings, space->nr_mappings, addr);
}

struct sweep_unit *space_unit(struct space *space, uint64_t addr)
{
	FIND(space->units, space->nr_units, addr);
}

const struct refused_range *space_refused(const struct space *space, uint64_t addr)
{
	FIND(space->refused, space->nr_refused, addr);
}

void space_refuse(struct space *space, uint64_t start, uint64_t end, enum unseen_reason reason,
		  uint64_t now_ns)
{
	size_t at = 0, last;

	while (at < space->nr_refused && space->refused[at].end <= start)
		at++;
	for (last = at; last < space->nr_refused && space->refused[last].start < end; last++)
		;
	// Whatever overlaps is older knowledge of the same place.
	struct refused_range *refused = realloc(
		space->refused, (space->nr_refused + 1) * sizeof(*refused));

	if (!refused)
		return;
	space->refused = refused;
	memmove(refused + at + 1, refused + last, (space->nr_refused - last) * sizeof(*refused));
	refused[at] = (struct refused_range){start, end, now_ns + REFUSAL_NS, reason};
	space->nr_refused += 1 - (last - at);
}
