// SPDX-License-Identifier: Apache-2.0
// Region table: the fast twin of core/regions.py, which is the readable reference.
//
// Invariants: a target's regions are address ordered, never empty, never overlap; the regions of all
// targets lie in one array, target after target, in the order of the targets.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "rng.h"

#define MAX_PROBES 4

/** What the ticks of the running window found; reset with the counters. */
struct region_window {
	uint32_t old;		// samples that were old (accessed bit clear) when chosen
	uint32_t old_hits;	// ... and were accessed after it
	uint32_t young_cleared;	// samples that were young when chosen, and cleared
	uint32_t young_hits;	// ... and were accessed again
	uint32_t missed;	// samples that were young when chosen and left so: imputed
	uint32_t unobservable;	// samples whose accesses cannot be seen
};

struct region {
	uint64_t start, end;
	uint32_t nr_accesses, last_nr_accesses, age;
	uint8_t probe_hits[MAX_PROBES], last_probe_hits[MAX_PROBES];
	struct region_window window;
};

struct region_target {
	uint32_t id;
	size_t first, nr;	// slice of regions
};
