// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "access/target_memory.h"

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

void memory_init(struct target_memory *memory, uint32_t id, int pid, int pidfd)
{
	*memory = (struct target_memory){.id = id, .pid = pid, .pidfd = pidfd, .maps_fd = -1};
}

void memory_forget(struct target_memory *memory)
{
	if (memory->maps_fd >= 0)
		close(memory->maps_fd);
	free(memory->mappings);
	free(memory->units);
	free(memory->refused);
	memory_init(memory, memory->id, memory->pid, memory->pidfd);
}

void memory_deinit(struct target_memory *memory)
{
	memory_forget(memory);
}

/** Units of all sweepable mappings, cut at multiples of SWEEP_UNIT; only counts if @units is NULL. */
static size_t cut_units(const struct mapping *mappings, size_t nr, struct sweep_unit *units)
{
	size_t n = 0;

	for (size_t i = 0; i < nr; i++) {
		if (!(mappings[i].flags & MAPPING_SWEEPABLE))
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

static void forget_refusals(struct target_memory *memory, uint64_t now_ns)
{
	size_t kept = 0;

	for (size_t i = 0; i < memory->nr_refused; i++) {
		const struct mapping *mapping = memory_mapping(memory, memory->refused[i].start);

		if (memory->refused[i].until_ns > now_ns && mapping && mapping->end >= memory->refused[i].end)
			memory->refused[kept++] = memory->refused[i];
	}
	memory->nr_refused = kept;
}

int memory_set_mappings(struct target_memory *memory, const struct mapping *mappings, size_t nr,
			uint64_t now_ns)
{
	if (nr == memory->nr_mappings && nr && !memcmp(mappings, memory->mappings, nr * sizeof(*mappings))) {
		forget_refusals(memory, now_ns);
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
	keep_units(units, nr_units, memory->units, memory->nr_units);
	free(memory->mappings);
	free(memory->units);
	memory->mappings = copy;
	memory->nr_mappings = nr;
	memory->units = units;
	memory->nr_units = nr_units;
	forget_refusals(memory, now_ns);
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

const struct mapping *memory_mapping(const struct target_memory *memory, uint64_t addr)
{
	FIND(memory->mappings, memory->nr_mappings, addr);
}

struct sweep_unit *memory_unit(struct target_memory *memory, uint64_t addr)
{
	FIND(memory->units, memory->nr_units, addr);
}

const struct refused_range *memory_refused(const struct target_memory *memory, uint64_t addr)
{
	FIND(memory->refused, memory->nr_refused, addr);
}

void memory_refuse(struct target_memory *memory, uint64_t start, uint64_t end, enum unseen_reason reason,
		   uint64_t now_ns)
{
	size_t at = 0, last;

	while (at < memory->nr_refused && memory->refused[at].end <= start)
		at++;
	for (last = at; last < memory->nr_refused && memory->refused[last].start < end; last++)
		;
	// Whatever overlaps is older knowledge of the same place.
	struct refused_range *refused = realloc(
		memory->refused, (memory->nr_refused + 1) * sizeof(*refused));

	if (!refused)
		return;
	memory->refused = refused;
	memmove(refused + at + 1, refused + last, (memory->nr_refused - last) * sizeof(*refused));
	refused[at] = (struct refused_range){start, end, now_ns + REFUSAL_NS, reason};
	memory->nr_refused += 1 - (last - at);
}
