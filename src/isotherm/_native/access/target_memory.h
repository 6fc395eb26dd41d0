// SPDX-License-Identifier: Apache-2.0
// What the access check knows of one target: its mappings, what the kernel refused to clear in them,
// and how well each piece of its anonymous memory has been swept.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Why accesses of a page cannot be seen. */
enum unseen_reason {
	UNSEEN_SHARED,	// mapped more than once: MADV_COLD leaves it alone
	UNSEEN_MLOCKED,
	UNSEEN_HUGETLB,
	UNSEEN_PFN,	// device or kernel memory
	UNSEEN_ZERO,	// the kernel's page of zeros
	UNSEEN_FOLIO,	// clearing could split the large folio it belongs to
	UNSEEN_STUCK,	// stayed young when cleared, with no reason known
	NR_UNSEEN,
};
extern const char *const unseen_reason_names[NR_UNSEEN];

#define MAPPING_SWEEPABLE 1	// mapping flag: private and anonymous, may be swept by range

struct mapping {
	uint64_t start, end, flags;
};

/** A range that the kernel refused to clear. Mappings change (munlock): believed for a while only. */
struct refused_range {
	uint64_t start, end, until_ns;
	enum unseen_reason reason;
};

/** A piece of a sweepable mapping, at most SWEEP_UNIT bytes, and what samples in it found since its sweep. */
#define SWEEP_UNIT (32ULL << 20)
struct sweep_unit {
	uint64_t start, end;
	uint64_t swept_ns;	// 0: never
	uint32_t young;		// samples that were young when chosen
	uint32_t cleared;	// ... of them cleared
	uint32_t hits;		// ... and then accessed
};

struct target_memory {
	uint32_t id;
	int pid, pidfd;
	int maps_fd;		// -1: not open
	bool resting;		// others have their turn
	struct mapping *mappings;
	size_t nr_mappings;
	struct sweep_unit *units;
	size_t nr_units;
	struct refused_range *refused;
	size_t nr_refused;
	uint64_t unseen[NR_UNSEEN];	// samples, by reason
};

void memory_init(struct target_memory *memory, uint32_t id, int pid, int pidfd);
void memory_deinit(struct target_memory *memory);
/** Replace the mappings (address ordered); units keep what they know. 0 or -ENOMEM. */
int memory_set_mappings(struct target_memory *memory, const struct mapping *mappings, size_t nr,
			uint64_t now_ns);
/** After an exec: nothing of what was known holds. */
void memory_forget(struct target_memory *memory);
const struct mapping *memory_mapping(const struct target_memory *memory, uint64_t addr);
struct sweep_unit *memory_unit(struct target_memory *memory, uint64_t addr);
/** The refused range that holds @addr, or NULL. */
const struct refused_range *memory_refused(const struct target_memory *memory, uint64_t addr);
/** Remember [start, end) as refused for a while; without memory for that it is found again later. */
void memory_refuse(struct target_memory *memory, uint64_t start, uint64_t end, enum unseen_reason reason,
		   uint64_t now_ns);
