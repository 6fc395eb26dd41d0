// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "access/access_bpf.h"
#include "sys/clock.h"
#include "sys/gate.h"
#include "sys/page_idle.h"

#define GONE UINT32_MAX

static uint64_t take_cleared(void *ctx)
{
	struct access_bpf *access = ctx;
	uint64_t cleared;

	if (gate_enter(walker_gate(access->walker), true))
		return 0;
	cleared = access->cleared;
	access->cleared = 0;
	gate_leave(walker_gate(access->walker));
	return cleared;
}

static int reserve(struct access_bpf *access, size_t nr)
{
	if (nr <= access->capacity)
		return 0;
#define GROW(member, count)									\
	do {											\
		void *grown = realloc(access->member, (count) * sizeof(*access->member));	\
		if (!grown)									\
			return -ENOMEM;								\
		access->member = grown;								\
	} while (0)
	GROW(pending, nr);
	GROW(requests, 2 * nr);
	GROW(leaves, 2 * nr);
	GROW(candidates, nr);
	GROW(ranges, nr);
	GROW(pfns, nr);
	GROW(outcomes, nr);
#undef GROW
	access->capacity = nr;
	return 0;
}

struct access_bpf *access_bpf_create(struct walker *walker, const struct access_settings *settings,
				     struct failure *failure)
{
	struct access_bpf *access = calloc(1, sizeof(*access));

	*failure = (struct failure){.code = FAIL_OTHER, .err = ENOMEM, .text = "out of memory"};
	if (!access)
		return NULL;
	access->walker = walker;
	access->settings = *settings;
	access->settings.page_idle = NULL;	// the caller's string
	access->idle_fd = settings->page_idle ? page_idle_open(settings->page_idle) : -1;
	access->random = monotonic_ns() | 1;
	access->ops = (struct access_ops){access_bpf_turn, take_cleared, access};
	kpage_open(&access->kpage);
	sweeper_init(&access->sweeper, walker, &access->kpage, access->idle_fd,
		     settings->first_sweep_ns, settings->steady_sweep_ns);
	if (settings->page_idle && access->idle_fd < 0) {
		failure->err = -access->idle_fd;
		if (failure->err == EPERM || failure->err == EACCES)
			failure->code = FAIL_PRIVILEGE;
		snprintf(failure->text, sizeof(failure->text), "%s: %s", settings->page_idle,
			 strerror(failure->err));
		goto fail;
	}
	if (access_bpf_self_test(access, failure) < 0)
		goto fail;
	budget_init(&access->budget, settings->overhead_ns, access->clear_ns);
	return access;
fail:
	access_bpf_destroy(access);
	return NULL;
}

void access_bpf_close(struct access_bpf *access)
{
	if (access->closed)
		return;
	access->closed = true;
	for (size_t i = 0; i < access->nr_memories; i++)
		memory_deinit(&access->memories[i]);
	sweeper_deinit(&access->sweeper);
	kpage_close(&access->kpage);
	if (access->idle_fd >= 0)
		close(access->idle_fd);
	free(access->memories);
	free(access->pending);
	free(access->requests);
	free(access->leaves);
	free(access->candidates);
	free(access->ranges);
	free(access->pfns);
	free(access->outcomes);
}

void access_bpf_destroy(struct access_bpf *access)
{
	access_bpf_close(access);
	free(access);
}

static uint32_t index_of(const struct access_process *processes, size_t nr, uint32_t id)
{
	for (size_t i = 0; i < nr; i++)
		if (processes[i].id == id)
			return i;
	return GONE;
}

int access_bpf_set_targets(struct access_bpf *access, const struct access_process *processes, size_t nr)
{
	const struct walker_target *known = walker_targets(access->walker, NULL);
	bool stale = walker_targets_epoch(access->walker) != access->targets_epoch;
	struct walker_target *targets = calloc(nr + 1, sizeof(*targets));
	struct target_memory *memories = calloc(nr + 1, sizeof(*memories));
	uint32_t *moved = malloc((access->nr_memories + 1) * sizeof(*moved));
	int err = targets && memories && moved ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < nr; i++) {
		targets[i].pid = processes[i].pid;
		memory_init(&memories[i], processes[i].id, processes[i].pid, processes[i].pidfd);
	}
	for (size_t i = 0; !err && i < access->nr_memories; i++) {
		moved[i] = index_of(processes, nr, access->memories[i].id);
		if (moved[i] == GONE || stale)
			continue;
		targets[moved[i]] = known[i];
		// The memory after an exec is taken as it is found.
		if (known[i].state == WALKER_EXECED) {
			targets[moved[i]].mm = 0;
			memory_forget(&access->memories[i]);
		}
	}
	if (!err)
		err = walker_set_targets(access->walker, targets, nr);
	if (err) {
		free(targets);
		free(memories);
		free(moved);
		return err;
	}
	for (size_t i = 0; i < access->nr_memories; i++) {
		if (moved[i] == GONE) {
			memory_deinit(&access->memories[i]);
			continue;
		}
		memories[moved[i]] = access->memories[i];
		memories[moved[i]].pidfd = processes[moved[i]].pidfd;
	}
	for (size_t i = 0; i < access->nr_pending; i++)
		if (access->pending[i].target != GONE)
			access->pending[i].target = moved[access->pending[i].target];
	free(access->memories);
	access->memories = memories;
	access->nr_memories = nr;
	access->targets_epoch = walker_targets_epoch(access->walker);
	free(targets);
	free(moved);
	return 0;
}

int access_bpf_set_mappings(struct access_bpf *access, size_t target, const struct mapping *mappings,
			    size_t nr)
{
	if (target >= access->nr_memories)
		return -EINVAL;
	return memory_set_mappings(&access->memories[target], mappings, nr, monotonic_ns());
}

bool access_bpf_is_settled(const struct access_bpf *access)
{
	const struct walker_target *known = walker_targets(access->walker, NULL);

	if (walker_targets_epoch(access->walker) != access->targets_epoch)
		return false;
	for (size_t i = 0; i < access->nr_memories; i++)
		if (known[i].state == WALKER_EXECED || access->memories[i].nr_refused)
			return false;
	return true;
}

int access_bpf_rest(struct access_bpf *access, const uint8_t *resting, size_t nr)
{
	if (nr != access->nr_memories)
		return -EINVAL;
	for (size_t i = 0; i < nr; i++)
		access->memories[i].resting = resting[i];
	return 0;
}

/** What the look at an earlier sample says; @leaf: NULL where none was asked for. */
static uint8_t result_of(struct access_bpf *access, const struct pending *sample,
			 const struct leaf *leaf)
{
	if (sample->state == SAMPLE_UNSEEN)
		return CHECK_UNOBSERVABLE;
	if (sample->state == SAMPLE_RESTING)
		return CHECK_RESTING;
	if (!leaf || leaf->state == LEAF_UNREAD)
		return CHECK_MISSED;
	bool hit = leaf->state == LEAF_PRESENT && leaf->young;

	if (sample->state == SAMPLE_OLD)
		return hit ? CHECK_ACCESSED : CHECK_IDLE;
	struct sweep_unit *unit = memory_unit(&access->memories[sample->target], sample->addr);

	if (unit && hit)
		unit->hits++;
	return (hit ? CHECK_ACCESSED : CHECK_IDLE) | CHECK_WAS_YOUNG;
}

static bool all_gone(const struct access_bpf *access)
{
	const struct walker_target *targets = walker_targets(access->walker, NULL);

	for (size_t i = 0; i < access->nr_memories; i++)
		if (targets[i].state == WALKER_ALIVE || targets[i].state == WALKER_EXECED)
			return false;
	return true;
}

/** Whether a look at an earlier sample can tell anything. */
static bool is_open(const struct pending *sample)
{
	return sample->target != GONE &&
	       (sample->state == SAMPLE_OLD || sample->state == SAMPLE_CLEARED);
}

static bool is_read(const struct access_bpf *access, uint32_t target)
{
	return target < access->nr_memories && !access->memories[target].resting;
}

/** @leaves are of the samples that are open, in their order. */
static void check_pending(struct access_bpf *access, uint8_t *results, const struct leaf *leaves)
{
	for (size_t i = 0; i < access->nr_pending; i++) {
		const struct leaf *leaf = is_open(&access->pending[i]) ? leaves++ : NULL;
		uint8_t result = result_of(access, &access->pending[i], leaf);

		if (results)
			results[i] = result;
	}
	access->nr_pending = 0;
}

/** Ask for what earlier samples became, and for what new ones are; returns how many of the former. */
static size_t ask(struct access_bpf *access, const struct access_sample *samples, size_t nr, size_t *all)
{
	size_t at = 0, old;

	for (size_t i = 0; i < access->nr_pending; i++)
		if (is_open(&access->pending[i]))
			access->requests[at++] = (struct leaf_request){
				access->pending[i].addr, access->pending[i].target, true};
	old = at;
	for (size_t i = 0; i < nr; i++)
		if (is_read(access, samples[i].target))
			access->requests[at++] = (struct leaf_request){
				samples[i].addr, samples[i].target, false};
	*all = at;
	return old;
}

static int read_leaves(struct access_bpf *access, size_t from, size_t nr)
{
	access->stats.reads += nr;
	return nr ? walker_read(access->walker, access->requests + from, nr,
						     access->leaves + from, true) : 0;
}

/**
 * Take the new batch: old pages need nothing, young ones are judged and, if paid for, cleared. @leaves
 * are of those that are read, in their order.
 */
static void prepare(struct access_bpf *access, struct leaf *leaves,
		    const struct access_sample *samples, size_t nr)
{
	size_t nr_candidates = 0;

	for (size_t i = 0; i < nr; i++) {
		struct pending *sample = &access->pending[i];
		struct candidate *candidate = &access->candidates[nr_candidates];

		*sample = (struct pending){samples[i].addr, samples[i].target, SAMPLE_OLD};
		if (sample->target >= access->nr_memories) {
			sample->target = GONE;
			continue;
		}
		if (!is_read(access, sample->target)) {
			sample->state = SAMPLE_RESTING;
			continue;
		}
		struct leaf *leaf = leaves++;

		if (leaf->state == LEAF_UNREAD)
			sample->state = SAMPLE_MISSED;
		if (leaf->state != LEAF_PRESENT || !leaf->young)
			continue;
		access->stats.young++;
		if (access_judge(access, sample, leaf, candidate)) {
			struct sweep_unit *unit = memory_unit(&access->memories[sample->target], sample->addr);

			if (unit)
				unit->young++;
			candidate->sample = i;
			candidate->checked = samples[i].checked;
			nr_candidates++;
		}
	}
	access->nr_pending = nr;
	access_clear(access, access->candidates, nr_candidates);
}

static void sweep(struct access_bpf *access, struct sweep_unit *unit, size_t target, uint64_t now_ns)
{
	int64_t begin = thread_ns(), used;
	struct target_memory *memory = &access->memories[target];
	uint64_t start = unit->start;

	if (memory->pidfd >= 0 &&
	    sweeper_step(&access->sweeper, memory, target, unit, now_ns) == -EINVAL)
		access_refused(access, target, start, NULL);
	used = thread_ns() - begin;
	sweeper_pay(&access->sweeper, used);
	// The first sweep has its own allowance, later ones come out of the overhead target.
	if (!access->sweeper.first_done)
		access->cpu_mark += used;
}

static int turn(struct access_bpf *access, uint8_t *results, const struct access_sample *samples,
		size_t nr)
{
	size_t pending = access->nr_pending, old, all, target;
	int err = reserve(access, nr > pending ? nr : pending);

	if (err)
		return err;
	uint64_t now_ns = monotonic_ns();
	struct sweep_unit *unit = sweeper_due(&access->sweeper, access->memories, access->nr_memories,
					      now_ns, &target);

	old = ask(access, samples, nr, &all);
	if (unit) {
		// Between the two reads: it must take neither a hit from the old batch nor leave stale bits.
		err = read_leaves(access, 0, old);
		if (!err)
			sweep(access, unit, target, now_ns);
		if (!err)
			err = read_leaves(access, old, all - old);
	} else {
		err = read_leaves(access, 0, all);
	}
	if (err) {
		access->nr_pending = 0;
		return err;
	}
	check_pending(access, results, access->leaves);
	if (all_gone(access))
		return -ESRCH;
	prepare(access, access->leaves + old, samples, nr);
	return 0;
}

int access_bpf_turn(void *ctx, uint8_t *results, size_t nr_results,
		    const struct access_sample *samples, size_t nr)
{
	struct access_bpf *access = ctx;
	int err = gate_enter(walker_gate(access->walker), true);

	if (err)
		return err;
	if (access->closed)
		err = -ESHUTDOWN;
	else if ((results && nr_results != access->nr_pending) ||
		 walker_targets_epoch(access->walker) != access->targets_epoch)
		err = -ESTALE;
	else
		err = turn(access, results, samples, nr);
	gate_leave(walker_gate(access->walker));
	return err;
}
