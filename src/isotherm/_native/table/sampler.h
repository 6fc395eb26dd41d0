// SPDX-License-Identifier: Apache-2.0
// The tick loop: pick an address per region, sleep, check, count. The fast twin of core/reference/sampler.py.
#pragma once
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "access/access.h"
#include "table/regions.h"
#include "table/rng.h"

/** How the loop meets the process that it runs in; called between system calls only. */
struct sampler_host {
	/** Look after signals; not 0 = end the run. May take long. */
	int (*poll)(void *ctx);
	/**
	 * Another clock than CLOCK_MONOTONIC: both or neither. sleep_until() returns how late it
	 * became in @late_ns, and not 0 to end the run.
	 */
	int (*now)(void *ctx, uint64_t *now_ns);
	int (*sleep_until)(void *ctx, uint64_t deadline_ns, uint64_t *late_ns);
	void *ctx;
};

/** What the ticks cost, since sampler_take(). */
struct sampler_tally {
	uint64_t ticks;		// sampling intervals done
	uint64_t checks;	// samples asked for
	uint64_t missed;	// ... that were not checked for lack of budget
	uint64_t cleared;	// accessed bits cleared
	uint64_t late_ns;	// sum of how late the ticks began
};

struct sampler {
	const struct access_ops *access;
	struct sampler_host host;
	struct sampler_tally tally;
	uint64_t deadline_ns;	// of the last tick; 0 before the first
	uint64_t polled_ns;
	atomic_bool stop;	// end the run early; taken back when it did
	struct access_sample *samples;
	uint8_t *results;
	size_t room;
};

void sampler_init(struct sampler *sampler, const struct access_ops *access,
		  const struct sampler_host *host);
void sampler_deinit(struct sampler *sampler);
/**
 * Do @ticks sampling intervals of @sample_ns; *@done says how many were completed.
 *
 * Deadlines are absolute, so that the work does not shift them; a tick that is late by more than an
 * interval starts a new schedule instead of a burst. A sample that was chosen but not checked when
 * the run ends early is forgotten.
 * Returns 0 (done, or stopped), -EINTR if the host ended the run, or the error of the access check:
 * -ESRCH when every target is gone.
 */
int sampler_run(struct sampler *sampler, struct region_table *table, struct rng *rng,
		uint64_t ticks, uint64_t sample_ns, uint64_t *done);
/** What it cost since the last call. */
struct sampler_tally sampler_take(struct sampler *sampler);
