// SPDX-License-Identifier: Apache-2.0
// Reads what perf script, trace-cmd report or tracefs print of the tracepoint damon_aggregated, as it
// comes: a line for each region. Lines that follow each other and are of one thread, target and moment
// make a run; who reads them joins runs of one snapshot that another thread's lines stand between.
#pragma once
#include "damo/columns.h"

#define DAMO_MAX_LINE 4096u
#define DAMO_MAX_THREAD 64u
#define DAMO_MAX_GAP_NS 50000000u	// between two lines of a snapshot: they are printed in one go

enum damo_line {
	DAMO_LINE_MORE,	// what comes next is not there yet
	DAMO_LINE_RUN,	// a run of regions ended: see the fields
	DAMO_LINE_TUNE,	// the thread's sampling interval is another one from here on
};

struct damo_script {
	char *buffer;
	size_t at, length, room;
	uint64_t nr_lines, nr_bad, first_bad;	// lines; those of the tracepoint that cannot be read
	bool ended;	// no more is fed
	bool handed;	// the run was an event: what comes next is of another
	char thread[DAMO_MAX_THREAD];	// of a run, or of a new interval
	size_t thread_length;
	uint64_t target, time_ns, last_ns, sample_us;	// time of the first line of a run, and of the last
	uint32_t nr_regions;	// of the snapshot, as its lines say
	struct damo_columns columns;
};

/** Add bytes to what is read; 0, or -ENOMEM. */
int damo_script_feed(struct damo_script *script, const char *data, size_t length);
/** Go on to the next event; after `ended` was set also the last run is one. */
enum damo_line damo_script_next(struct damo_script *script);
/** Give the memory back. */
void damo_script_free(struct damo_script *script);
