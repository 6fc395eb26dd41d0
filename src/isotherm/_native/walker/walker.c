// SPDX-License-Identifier: Apache-2.0
#include "sys/clock.h"
#include "sys/page.h"
#include "walker/walker_private.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct walker_facts *walker_facts(const struct walker *walker)
{
	return &walker->facts;
}

struct gate *walker_gate(struct walker *walker)
{
	return &walker->gate;
}

const struct walker_target *walker_targets(const struct walker *walker, size_t *nr)
{
	if (nr)
		*nr = walker->nr_targets;
	return walker->targets;
}

uint64_t walker_targets_epoch(const struct walker *walker)
{
	return walker->targets_epoch;
}

int walker_set_targets(struct walker *walker, const struct walker_target *targets, size_t nr)
{
	struct walker_target *copy = malloc(nr * sizeof(*copy) + 1);
	struct tracked *tracked = calloc(nr + 1, sizeof(*tracked));

	if (!copy || !tracked || nr > UINT32_MAX) {
		free(copy);
		free(tracked);
		return -ENOMEM;
	}
	for (size_t i = 0; i < nr; i++) {
		copy[i] = targets[i];
		copy[i].state = WALKER_ALIVE;
		copy[i].single_cpu = 0;
		copy[i].cpu = -1;
	}
	free(walker->targets);
	free(walker->tracked);
	walker->targets = copy;
	walker->tracked = tracked;
	walker->nr_targets = nr;
	walker->targets_epoch++;
	return 0;
}

void walker_accept(struct walker *walker, size_t target)
{
	if (target >= walker->nr_targets)
		return;
	walker->targets[target].state = WALKER_ALIVE;
	walker->targets[target].mm = 0;
	walker->targets[target].start_time = 0;
	walker->tracked[target].task = 0;
}

int walker_run(struct walker *walker, uint32_t nr_targets, uint32_t nr_slots)
{
	walker->area->config.nr_targets = nr_targets;
	walker->area->config.nr_slots = nr_slots;
	return bpf_run(walker->walk_fd);
}

void walker_stage(struct walker *walker, uint32_t local, size_t index)
{
	struct walk_target *staged = &walker->area->targets[local];

	staged->task = walker->tracked[index].task;
	staged->tid = walker->tracked[index].tid;
	staged->want_tgid = walker->targets[index].pid;
	staged->want_mm = walker->targets[index].mm;
	staged->want_start = walker->targets[index].start_time;
}

int walker_peek(struct walker *walker, uint64_t address, uint64_t *word)
{
	int ret;

	walker->area->config.nr_slots = 1;
	walker->area->slots[0].addr = address;
	ret = bpf_run(walker->peek_fd);
	*word = walker->area->slots[0].entry;
	return ret;
}

int walker_peek_leaf(struct walker *walker, uint64_t root, uint64_t addr, uint64_t *entry,
		     uint32_t *meta)
{
	struct walk_slot *slot = &walker->area->slots[0];
	int ret;

	// With no target in this call, the root in the area is used as it is.
	walker->area->targets[0].root = root;
	slot->addr = addr;
	slot->target = 0;
	ret = walker_run(walker, 0, 1);
	*entry = slot->entry;
	*meta = slot->meta;
	return ret;
}

// ---- reading ----

// Put requests into the area until it is full or a limit is reached; how many were taken. Those that
// need no walk are answered at once.
static size_t stage_requests(struct walker *walker, const struct leaf_request *requests, size_t nr,
			     struct leaf *out, uint32_t *nr_targets, uint32_t *nr_slots)
{
	uint64_t call = ++walker->call;
	uint32_t slots = 0, targets = 0;
	size_t i;

	for (i = 0; i < nr && slots < walker->max_slots; i++) {
		uint32_t index = requests[i].target;
		struct tracked *tracked;

		out[i] = (struct leaf){.state = LEAF_UNREAD};
		if (index >= walker->nr_targets || walker->targets[index].state != WALKER_ALIVE)
			continue;
		if (requests[i].addr >= walker->format.task_size) {
			out[i].state = LEAF_NONE;
			continue;
		}
		tracked = &walker->tracked[index];
		if (tracked->call != call) {
			if (targets == walker->max_targets)
				break;
			tracked->call = call;
			tracked->local = targets;
			walker->local_target[targets++] = index;
		}
		walker->area->slots[slots].addr = requests[i].addr;
		walker->area->slots[slots].target = tracked->local;
		walker->slot_request[slots++] = i;
	}
	*nr_targets = targets;
	*nr_slots = slots;
	return i;
}

static bool target_was_alive(const struct walk_target *seen)
{
	return seen->root && seen->users_after && seen->pgd_after == seen->pgd;
}

// Take what the call told of its targets; those that were not as wanted are gathered in @lost.
static size_t settle_targets(struct walker *walker, uint32_t nr, uint32_t *lost)
{
	size_t nr_lost = 0;

	for (uint32_t i = 0; i < nr; i++) {
		struct walk_target *seen = &walker->area->targets[i];
		uint32_t index = walker->local_target[i];

		walker->targets[index].cpu = walker->area->config.task_cpu ? seen->cpu : 0;
		walker->targets[index].single_cpu = seen->one_cpu;
		if (!target_was_alive(seen)) {
			seen->root = 0;
			lost[nr_lost++] = index;
		}
	}
	return nr_lost;
}

// A torn leaf may also lie in memory that was added since; look at its end again, once a second.
static void follow_hotplug(struct walker *walker)
{
	uint64_t now_ns = monotonic_ns();

	if (now_ns - walker->limit_checked_ns < SECOND_NS)
		return;
	walker->limit_checked_ns = now_ns;
	walker->area->config.format.table_limit = walker_memory_end(&walker->format);
}

static void decode_slots(struct walker *walker, uint32_t nr, struct leaf *out)
{
	bool torn = false;

	for (uint32_t i = 0; i < nr; i++) {
		const struct walk_slot *slot = &walker->area->slots[i];

		if (!walker->area->targets[slot->target].root)
			continue;
		out[walker->slot_request[i]] =
			page_decode(&walker->format, slot->entry, slot->meta, slot->addr);
		torn |= slot->meta & WALK_UNSTABLE;
	}
	if (torn)
		follow_hotplug(walker);
}

static int resolve_new(struct walker *walker, uint32_t nr_targets)
{
	uint32_t *unknown = malloc(nr_targets * sizeof(*unknown) + 1);
	size_t nr = 0;
	int ret;

	if (!unknown)
		return -ENOMEM;
	for (uint32_t i = 0; i < nr_targets; i++)
		if (!walker->tracked[walker->local_target[i]].task)
			unknown[nr++] = walker->local_target[i];
	ret = nr ? walker_resolve(walker, unknown, nr) : 0;
	free(unknown);
	return ret;
}

static int walk_once(struct walker *walker, uint32_t nr_targets, uint32_t nr_slots,
		     struct leaf *out, uint32_t *lost, size_t *nr_lost)
{
	int ret = resolve_new(walker, nr_targets);

	if (ret)
		return ret;
	for (uint32_t i = 0; i < nr_targets; i++)
		walker_stage(walker, i, walker->local_target[i]);
	ret = walker_run(walker, nr_targets, nr_slots);
	if (ret)
		return ret;
	*nr_lost = settle_targets(walker, nr_targets, lost);
	decode_slots(walker, nr_slots, out);
	return 0;
}

// One call of the program. A target whose main thread has just ended is found again under another
// thread, which is worth a second call; all other losses are final and say so in their state.
static int read_staged(struct walker *walker, uint32_t nr_targets, uint32_t nr_slots,
		       struct leaf *out)
{
	uint32_t *lost = malloc(nr_targets * sizeof(*lost) + 1);
	size_t nr_lost = 0;
	bool found = false;
	int ret;

	if (!lost)
		return -ENOMEM;
	ret = walk_once(walker, nr_targets, nr_slots, out, lost, &nr_lost);
	if (!ret && nr_lost) {
		size_t alive = 0;

		for (size_t i = 0; i < nr_lost; i++)
			if (walker->targets[lost[i]].state == WALKER_ALIVE)
				lost[alive++] = lost[i];
		ret = alive ? walker_resolve(walker, lost, alive) : 0;
		for (size_t i = 0; i < alive && !ret; i++)
			found |= walker->targets[lost[i]].state == WALKER_ALIVE;
	}
	if (!ret && found)
		ret = walk_once(walker, nr_targets, nr_slots, out, lost, &nr_lost);
	free(lost);
	return ret;
}

int walker_read(struct walker *walker, const struct leaf_request *requests, size_t nr,
		struct leaf *out, bool folios)
{
	for (size_t done = 0; done < nr;) {
		uint32_t nr_targets, nr_slots;
		size_t taken = stage_requests(walker, requests + done, nr - done, out + done,
					      &nr_targets, &nr_slots);
		int ret = nr_slots ? read_staged(walker, nr_targets, nr_slots, out + done) : 0;

		if (!ret && folios && walker->facts.folios)
			ret = walker_folios_read(walker, requests + done, taken, out + done);
		if (ret)
			return ret;
		done += taken;
	}
	return 0;
}

/**
 * Run a program that copies from targets[0], for @nr_slots slots; what else it needs is in the area.
 * To find a target again sets the number of slots, and leaves what they hold.
 */
static int run_copy(struct walker *walker, size_t target, int program, uint32_t nr_slots)
{
	uint32_t index = target;
	int ret = 0;

	for (int tries = 0; tries < 2; tries++) {
		if (!walker->tracked[target].task)
			ret = walker_resolve(walker, &index, 1);
		if (ret || walker->targets[target].state != WALKER_ALIVE)
			return ret ? ret : -ESRCH;
		walker_stage(walker, 0, target);
		walker->area->config.nr_slots = nr_slots;
		ret = bpf_run(program);
		if (ret || target_was_alive(&walker->area->targets[0]))
			return ret;
		walker->tracked[target].task = 0;
	}
	return -ESRCH;
}

int walker_view_tables(struct walker *walker, size_t target, uint64_t start, size_t nr,
		       const uint64_t (**tables)[512], uint64_t **pmds)
{
	int ret = walker_tables_init(walker);

	if (ret)
		return ret;
	if (target >= walker->nr_targets || start % BLOCK || start >= walker->format.task_size)
		return -EINVAL;
	if (nr > walker->max_tables)
		return -E2BIG;
	walker->area->config.table_start = start;
	walker->area->config.nr_tables = nr;
	ret = run_copy(walker, target, walker->copy_fd, 0);
	if (ret)
		return ret;
	*tables = (const uint64_t (*)[512])walker->tables->entry;
	*pmds = (uint64_t *)walker->tables->pmd;
	for (size_t i = 0; i < nr; i++)
		if (walker->tables->level[i] == 2)
			(*pmds)[i] = page_split_entry(&walker->format, (*pmds)[i],
						      start + i * BLOCK);
	return 0;
}

int walker_view_clumps(struct walker *walker, size_t target, const uint64_t *addrs, size_t nr,
		       const uint64_t (**entries)[WALKER_CLUMP], uint64_t *pmds)
{
	_Static_assert(WALKER_CLUMP == WALK_CLUMP, "clumps are as the programs copy them");
	int ret = walker_clumps_init(walker);

	if (ret)
		return ret;
	if (target >= walker->nr_targets)
		return -EINVAL;
	if (nr > walker->facts.max_clumps)
		return -E2BIG;
	for (size_t i = 0; i < nr; i++) {
		if (addrs[i] >= walker->format.task_size)
			return -EINVAL;
		walker->area->slots[i].addr = addrs[i];
	}
	ret = run_copy(walker, target, walker->clumps_fd, nr);
	if (ret)
		return ret;
	*entries = (const uint64_t (*)[WALKER_CLUMP])walker->tables->entry;
	for (size_t i = 0; i < nr; i++) {
		const struct walk_slot *slot = &walker->area->slots[i];

		pmds[i] = slot->meta == 2 ? page_split_entry(&walker->format, slot->entry, addrs[i] & ~(BLOCK - 1))
					  : slot->entry;
	}
	return 0;
}

const struct page_format *walker_format(const struct walker *walker)
{
	return &walker->format;
}

bool walker_is_table(const struct walker *walker, uint64_t pmd)
{
	return page_is_table(&walker->format, pmd);
}

struct leaf walker_decode(const struct walker *walker, uint64_t entry, int level, uint64_t addr)
{
	return page_decode(&walker->format, entry, level, addr);
}

int walker_read_tables(struct walker *walker, size_t target, uint64_t start, size_t nr,
		       uint64_t (*tables)[512], uint64_t *pmds)
{
	const uint64_t (*seen)[512];
	uint64_t *entries;

	if (nr > WALKER_MAX_TABLES)
		return -E2BIG;
	for (size_t done = 0; done < nr;) {
		size_t step = nr - done < walker->max_tables ? nr - done : walker->max_tables;
		int ret = walker_view_tables(walker, target, start + done * BLOCK, step, &seen, &entries);

		if (ret)
			return ret;
		for (size_t i = 0; i < step; i++) {
			pmds[done + i] = entries[i];
			if (page_is_table(&walker->format, entries[i]))
				memcpy(tables[done + i], seen[i], sizeof(*seen));
			else
				memset(tables[done + i], 0, sizeof(*seen));
		}
		done += step;
	}
	return 0;
}
