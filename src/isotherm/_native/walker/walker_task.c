// SPDX-License-Identifier: Apache-2.0
// From process numbers to tasks: by a look-up for each (fast), or by one pass over all (base).
#include "walker/walker_private.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wanted {
	int32_t pid;
	uint32_t index;
};

static int by_pid(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

static size_t first_of(const struct wanted *wanted, size_t nr, int32_t pid)
{
	size_t low = 0, high = nr;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (wanted[middle].pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int locate_by_pass(struct walker *walker, const uint32_t *indices, size_t nr)
{
	struct wanted *wanted = malloc(nr * sizeof(*wanted) + 1);
	struct walk_process *processes;
	void *data = NULL;
	long size;

	if (!wanted)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		wanted[i] = (struct wanted){walker->targets[indices[i]].pid, indices[i]};
		walker->tracked[indices[i]].task = 0;
	}
	qsort(wanted, nr, sizeof(*wanted), by_pid);
	size = bpf_read_iterator(walker->find_fd, &data);
	if (size < 0) {
		free(wanted);
		return size;
	}
	processes = data;
	for (size_t i = 0; i < size / sizeof(*processes); i++) {
		size_t at = first_of(wanted, nr, processes[i].tgid);

		for (; at < nr && wanted[at].pid == processes[i].tgid; at++)
			if (!walker->tracked[wanted[at].index].task)
				walker->tracked[wanted[at].index].task = processes[i].task;
	}
	free(data);
	free(wanted);
	return 0;
}

static int look_up(struct walker *walker, const uint32_t *indices, size_t nr)
{
	int ret;

	for (size_t i = 0; i < nr; i++)
		walker->area->targets[i].tid = walker->tracked[indices[i]].tid;
	walker->area->config.nr_targets = nr;
	ret = bpf_run(walker->find_fd);
	for (size_t i = 0; i < nr && !ret; i++)
		walker->tracked[indices[i]].task = walker->area->targets[i].task;
	return ret;
}

// A process whose main thread has ended lives on in its other threads, which hold the memory map.
static int try_threads(struct walker *walker, uint32_t index)
{
	struct dirent *entry;
	char path[32];
	int ret = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", walker->targets[index].pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (!ret && (entry = readdir(dir))) {
		int tid = atoi(entry->d_name);

		if (tid <= 0 || tid == walker->targets[index].pid)
			continue;
		walker->tracked[index].tid = tid;
		ret = look_up(walker, &index, 1);
		if (ret || !walker->tracked[index].task)
			continue;
		walker_stage(walker, 0, index);
		ret = walker_run(walker, 1, 0);
		if (walker->area->targets[0].mm)
			break;
	}
	closedir(dir);
	return ret;
}

static int locate(struct walker *walker, const uint32_t *indices, size_t nr)
{
	if (!walker->facts.fast)
		return locate_by_pass(walker, indices, nr);
	for (size_t i = 0; i < nr; i++)
		walker->tracked[indices[i]].tid = walker->targets[indices[i]].pid;
	for (size_t done = 0; done < nr;) {
		size_t step = nr - done < walker->max_targets ? nr - done : walker->max_targets;
		int ret = look_up(walker, indices + done, step);

		if (ret)
			return ret;
		done += step;
	}
	return 0;
}

static enum walker_target_state judge(struct walker_target *target, const struct walk_target *seen,
				      uint64_t task)
{
	if (!task || !seen->mm || !seen->pgd || seen->tgid != target->pid)
		return WALKER_GONE;
	if (target->start_time && target->start_time != seen->start)
		return WALKER_REUSED;
	if (target->mm && target->mm != seen->mm)
		return WALKER_EXECED;
	target->start_time = seen->start;
	target->mm = seen->mm;
	return WALKER_ALIVE;
}

static int identify(struct walker *walker, const uint32_t *indices, size_t nr)
{
	int ret;

	for (size_t i = 0; i < nr; i++)
		walker_stage(walker, i, indices[i]);
	ret = walker_run(walker, nr, 0);
	for (size_t i = 0; i < nr && !ret; i++)
		walker->targets[indices[i]].state =
			judge(&walker->targets[indices[i]], &walker->area->targets[i],
			      walker->tracked[indices[i]].task);
	return ret;
}

int walker_resolve(struct walker *walker, const uint32_t *indices, size_t nr)
{
	int ret = locate(walker, indices, nr);

	for (size_t done = 0; done < nr && !ret;) {
		size_t step = nr - done < walker->max_targets ? nr - done : walker->max_targets;

		ret = identify(walker, indices + done, step);
		done += step;
	}
	for (size_t i = 0; i < nr && !ret && walker->facts.fast; i++) {
		if (walker->targets[indices[i]].state != WALKER_GONE)
			continue;
		ret = try_threads(walker, indices[i]);
		if (!ret && walker->tracked[indices[i]].task)
			ret = identify(walker, indices + i, 1);
	}
	return ret;
}
