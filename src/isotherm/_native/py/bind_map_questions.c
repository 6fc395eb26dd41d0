// SPDX-License-Identifier: Apache-2.0
// What _core.PageMap is asked: sums, ages of pages, runs of like use, counts.
#include "py/bind_map.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "map/returns.h"
#include "map/runs.h"
#include "map/sum.h"

#define MOST_SUM_ROWS (1 << 20)

static uint64_t at_most(double value, uint64_t most)
{
	// Sums of fractions, each of another order of adding up.
	return value + 0.5 < (double)most ? (uint64_t)(value + 0.5) : most;
}

/** Whole bytes, with what is less or equal kept so. */
static void round_row(const struct sum *sum, struct sum_row *row, uint64_t *values)
{
	const double *low = sum_figures(sum, row, SUM_LOW), *best = sum_figures(sum, row, SUM_BEST);
	const double *high = sum_figures(sum, row, SUM_HIGH), *idle = sum_figures(sum, row, SUM_IDLE);
	const double *own = sum_figures(sum, row, SUM_OWN);
	uint64_t resident = (uint64_t)(row->resident + 0.5), *next = values + 3;
	size_t windows = sum->nr_windows;

	values[0] = resident;
	values[1] = at_most(row->unseen, resident);
	values[2] = at_most(row->uncovered, resident - values[1]);
	for (size_t i = 0; i < windows; i++, next++) {
		next[2 * windows] = at_most(high[i], resident);
		next[windows] = at_most(best[i], next[2 * windows]);
		next[0] = at_most(low[i], next[windows]);
		next[3 * windows] = at_most(idle[i], resident);
		next[4 * windows] = at_most(own[i], next[3 * windows]);
	}
}

static PyObject *figures_of(const struct sum *sum, struct sum_row *row)
{
	size_t words = 3 + 5 * sum->nr_windows;
	uint64_t values[3 + 5 * SUM_WINDOWS];

	round_row(sum, row, values);
	return new_array("Q", PyBytes_FromStringAndSize((char *)values, (Py_ssize_t)(words * sizeof(*values))));
}

/** (row, kind, node, figures) of what has pages; -1 with an exception set. */
static int add_row(PyObject *list, const struct sum *sum, size_t row, size_t kind, size_t node)
{
	uint32_t place = sum->places[(row * NR_SUM_KINDS + kind) * sum->nr_node_numbers + node];
	struct sum_row *figures = place ? sum_row_at(sum, place) : NULL;

	if (!figures || figures->resident < 1)
		return 0;
	PyObject *array = figures_of(sum, figures);
	PyObject *item = array ? Py_BuildValue("(nnnN)", (Py_ssize_t)row, (Py_ssize_t)kind, (Py_ssize_t)node, array)
			       : NULL;
	int err = item ? PyList_Append(list, item) : -1;

	Py_XDECREF(item);
	return err;
}

static PyObject *rows_of(const struct sum *sum)
{
	PyObject *list = PyList_New(0);

	for (size_t row = 0; row < sum->nr_rows; row++)
		for (size_t kind = 0; kind < NR_SUM_KINDS; kind++)
			for (size_t node = 0; node < sum->nr_node_numbers; node++)
				if (list && add_row(list, sum, row, kind, node) < 0)
					Py_CLEAR(list);
	return list;
}

/** The figures of each group; none where frames are not told. */
static PyObject *groups_of(const struct sum *sum)
{
	size_t nr = sum->groups ? sum->nr_groups : 0;
	PyObject *list = PyList_New((Py_ssize_t)nr);

	for (size_t i = 0; list && i < nr; i++) {
		PyObject *array = figures_of(sum, (struct sum_row *)(void *)(sum->groups + i * sum_row_size(sum)));

		if (!array || PyList_SetItem(list, (Py_ssize_t)i, array) < 0)
			Py_CLEAR(list);
	}
	return list;
}

/** The nodes of a machine, and how many numbers there are; NULL without memory. */
static struct sum_node *read_nodes(struct sum *sum, const Py_buffer *words)
{
	sum->nr_nodes = (size_t)words->len / (3 * sizeof(uint64_t));
	struct sum_node *node = calloc(sum->nr_nodes + 1, sizeof(*node));

	for (size_t i = 0; node && i < sum->nr_nodes; i++) {
		const uint64_t *word = (const uint64_t *)words->buf + 3 * i;

		node[i] = (struct sum_node){word[0], word[1], word[2] < SUM_NODES ? word[2] : 0};
		if (node[i].node >= sum->nr_node_numbers)
			sum->nr_node_numbers = node[i].node + 1;
	}
	sum->nodes = node;
	return node;
}

static void read_members(struct sum *sum, const Py_buffer *words)
{
	sum->members = words->buf;
	sum->nr_members = (size_t)words->len / sizeof(*sum->members);
	for (size_t i = 0; i < sum->nr_members; i++)
		if (sum->members[i].group != NO_GROUP && sum->members[i].group >= sum->nr_groups)
			sum->nr_groups = (size_t)sum->members[i].group + 1;
}

PyObject *map_sum_up(PyObject *object, PyObject *args)
{
	Py_buffer windows, nodes, members = {0};
	struct map_object *self = NULL;
	PyObject *list = NULL, *groups = NULL;
	Py_ssize_t rows;
	struct sum sum = {.nr_node_numbers = 1};
	int err = -EINVAL;

	if (!PyArg_ParseTuple(args, "ny*y*|y*", &rows, &windows, &nodes, &members))
		return NULL;
	sum.nr_windows = windows.len / sizeof(uint64_t);
	sum.nr_rows = rows;
	struct sum_node *node = read_nodes(&sum, &nodes);

	read_members(&sum, &members);
	if (node && sum.nr_windows < SUM_WINDOWS && rows >= 0 && rows < MOST_SUM_ROWS && sum.nr_groups < MOST_SUM_ROWS) {
		memcpy(sum.windows, windows.buf, windows.len);
		self = map_enter(object);
	} else {
		PyErr_SetString(PyExc_ValueError, "too many windows, rows or groups");
	}
	if (self) {
		MAP_BEGIN(self);
		err = page_map_sum(&self->map, &sum);
		map_leave(self);
		MAP_END(self);
		if (!PyErr_Occurred())
			list = err ? raise_errno(err) : rows_of(&sum);
	}
	groups = list ? groups_of(&sum) : NULL;
	PyBuffer_Release(&windows);
	PyBuffer_Release(&nodes);
	if (members.obj)
		PyBuffer_Release(&members);
	sum_free(&sum);
	free(node);
	if (!groups)
		Py_CLEAR(list);
	return list ? Py_BuildValue("(NLN)", list, (long long)sum.cpu_ns, groups) : NULL;
}

PyObject *map_look_at(PyObject *object, PyObject *args)
{
	unsigned long long start, end;
	struct map_object *self;
	Py_ssize_t target;
	int err = -EINVAL;

	if (!PyArg_ParseTuple(args, "nKK", &target, &start, &end))
		return NULL;
	self = map_enter(object);
	if (!self)
		return NULL;
	MAP_BEGIN(self);
	if (target >= 0 && (size_t)target < self->map.nr_targets)
		err = page_map_look(&self->map, (size_t)target, start, end);
	map_leave(self);
	MAP_END(self);
	if (PyErr_Occurred())
		return NULL;
	if (err && err != -ESRCH)
		return raise_errno(err);
	Py_RETURN_NONE;
}

PyObject *map_ages(PyObject *object, PyObject *args)
{
	unsigned long long start, end;
	struct map_object *self;
	Py_buffer windows;
	Py_ssize_t target;
	PyObject *bytes = NULL;

	if (!PyArg_ParseTuple(args, "nKKy*", &target, &start, &end, &windows))
		return NULL;
	if (start % 4096 || end % 4096 || end < start || end - start > UINT64_C(1) << 40) {
		PyErr_SetString(PyExc_ValueError, "start and end are addresses of pages");
	} else {
		bytes = PyBytes_FromStringAndSize(NULL, (end - start) / 4096 * sizeof(struct page_ages));
	}
	self = bytes ? map_enter(object) : NULL;
	if (self) {
		if (target >= 0 && (size_t)target < self->map.nr_targets)
			page_map_ages(&self->map, target, start, end, windows.buf,
				      windows.len / sizeof(uint64_t), (struct page_ages *)PyBytes_AsString(bytes));
		else
			PyErr_SetString(PyExc_IndexError, "no such target");
		map_leave(self);
	}
	PyBuffer_Release(&windows);
	if (PyErr_Occurred())
		Py_CLEAR(bytes);
	return bytes;
}

PyObject *map_runs_of(PyObject *object, PyObject *args)
{
	unsigned long long soon, used;
	Py_ssize_t target, most;
	struct map_runs runs = {0};
	PyObject *bytes = NULL;
	struct map_object *self;
	int err = -EINVAL;

	if (!PyArg_ParseTuple(args, "nKKn", &target, &soon, &used, &most))
		return NULL;
	self = map_enter(object);
	if (!self)
		return NULL;
	if (target >= 0 && (size_t)target < self->map.nr_targets && most > 0)
		err = page_map_runs(&self->map, (size_t)target, soon, used, (size_t)most, &runs);
	map_leave(self);
	if (!err)
		bytes = PyBytes_FromStringAndSize((char *)runs.at, (Py_ssize_t)(runs.nr * sizeof(*runs.at)));
	free(runs.at);
	return err ? raise_errno(err) : new_array("Q", bytes);
}

/** Words of u64 at a time: of each range its target, start and end. */
PyObject *map_used_in(PyObject *object, PyObject *args)
{
	unsigned long long used_ns;
	struct map_object *self = NULL;
	PyObject *bytes;
	Py_buffer ranges;

	if (!PyArg_ParseTuple(args, "y*K", &ranges, &used_ns))
		return NULL;
	size_t nr = (size_t)ranges.len / (3 * sizeof(uint64_t));

	bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(nr * sizeof(uint64_t)));
	if (bytes)
		self = map_enter(object);
	if (self) {
		const uint64_t *word = ranges.buf;
		uint64_t *out = (uint64_t *)(void *)PyBytes_AsString(bytes);
		int64_t begin = bulk_cpu_ns(&self->map.ops);

		for (size_t i = 0; i < nr; i++, word += 3)
			out[i] = word[0] < self->map.nr_targets && word[1] < word[2]
				? page_map_used(&self->map, word[0], word[1], word[2], used_ns) : 0;
		self->map.stats.cpu_ns += bulk_cpu_ns(&self->map.ops) - begin;
		map_leave(self);
	} else {
		Py_CLEAR(bytes);
	}
	PyBuffer_Release(&ranges);
	return bytes ? new_array("Q", bytes) : NULL;
}

/** Add (row, kind, counts) of what came back, if it did; -1 with an exception set. */
static int add_returns(PyObject *list, size_t row, size_t kind, const uint64_t *counts)
{
	uint64_t any = 0;

	for (size_t i = 0; i < MAP_RETURN_AGES; i++)
		any |= counts[i];
	if (!any)
		return 0;
	PyObject *array = new_array("Q", PyBytes_FromStringAndSize((const char *)counts,
								   MAP_RETURN_AGES * sizeof(*counts)));
	PyObject *item = array ? Py_BuildValue("(nnN)", (Py_ssize_t)row, (Py_ssize_t)kind, array) : NULL;
	int err = item ? PyList_Append(list, item) : -1;

	Py_XDECREF(item);
	return err;
}

PyObject *map_take_returns(PyObject *object, PyObject *unused)
{
	struct map_object *self = map_enter(object);
	struct map_returns returns;
	PyObject *list;

	(void)unused;
	if (!self)
		return NULL;
	returns = self->map.returns;
	self->map.returns = (struct map_returns){0};
	map_leave(self);
	list = PyList_New(0);
	for (size_t row = 0; row < returns.nr_rows; row++)
		for (size_t own = 0; own < 2; own++)
			if (list && add_returns(list, row, own ? SUM_ANON : SUM_FILE,
						map_returns_of(&returns, row, own)) < 0)
				Py_CLEAR(list);
	free(returns.bytes);
	return list;
}

PyObject *map_covered(PyObject *object, PyObject *unused)
{
	struct map_object *self = map_enter(object);
	bool all;

	(void)unused;
	if (!self)
		return NULL;
	all = self->map.covered;
	map_leave(self);
	return PyBool_FromLong(all);
}

PyObject *map_stats_of(PyObject *object, PyObject *unused)
{
	struct map_object *self = map_enter(object);

	(void)unused;
	if (!self)
		return NULL;
	struct map_stats stats = self->map.stats;
	struct map_rounds rounds = self->map.rounds;
	struct map_piece piece = self->map.piece;
	uint32_t turns = self->map.turn_number;
	bool covered = self->map.covered;
	uint64_t bytes = page_map_bytes(&self->map), shared = 0, present = 0, used = self->map.used;

	for (size_t i = 0; i < self->map.nr_targets; i++)
		for (size_t kind = 0; kind < NR_MAP_KINDS; kind++) {
			shared += self->map.targets[i].shared[kind];
			present += self->map.targets[i].present[kind];
		}
	map_leave(self);
	return Py_BuildValue("{sK sK sK sK sK sK sK sL sK sK sO sO sK sK sK sI sO sK sK sL}", "tables", stats.tables, "bytes", bytes, "visits",
			     stats.visits, "reads", stats.reads, "clears", stats.clears, "ranges", stats.ranges,
			     "judged", stats.judged, "cpu_ns", (long long)stats.cpu_ns, "rounds", rounds.rounds,
			     "held_ns", rounds.held_ns, "covered", covered ? Py_True : Py_False, "by_rounds",
			     rounds.any ? Py_True : Py_False, "shared_pages", shared,
			     "present_pages", present, "used_pages", used, "turns", turns,
			     "by_frames", piece.any ? Py_True : Py_False, "frame_rounds", piece.rounds,
			     "pieces", piece.pieces, "aged_ns", (long long)piece.spent_ns);
}
