// SPDX-License-Identifier: Apache-2.0
// _core.PageMap: a map of pages over an access check, a simulated world, or a `Bulk` written in Python.
#include "py/bind_util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "access/bulk_bpf.h"
#include "map/page_map.h"
#include "map/runs.h"
#include "map/sum.h"
#include "py/bind.h"
#include "py/python_bulk.h"
#include "sim/world.h"
#include "sys/clock.h"
#include "sys/gate.h"

struct map_object {
	PyObject_HEAD
	struct page_map map;
	struct access_bpf *access;	// this, or
	struct sim_world *sim;		// that, or both NULL: over a Python object
	struct python_bulk *bulk;
	PyObject *source;
	bool closed, busy;
};

/** Come in to what is behind the map; -1 with an exception set. */
static int enter_source(struct map_object *self)
{
	if (self->access)
		return enter_gate(walker_gate(self->access->walker), "walker");
	return self->sim ? enter_gate(&self->sim->gate, "simulated world") : 0;
}

static void leave_source(struct map_object *self)
{
	if (self->access)
		gate_leave(walker_gate(self->access->walker));
	else if (self->sim)
		gate_leave(&self->sim->gate);
}

/** Come in, if need be through a gate; NULL with an exception set. */
static struct map_object *enter(PyObject *object)
{
	struct map_object *self = (struct map_object *)object;

	if (enter_source(self) < 0)
		return NULL;
	if (!self->closed && !self->busy) {
		self->busy = true;
		return self;
	}
	leave_source(self);
	PyErr_SetString(self->closed ? PyExc_ValueError : PyExc_RuntimeError,
			self->closed ? "the map is closed" : "the map is in use");
	return NULL;
}

static void leave(struct map_object *self)
{
	self->busy = false;
	leave_source(self);
}

/** Without the interpreter lock where no Python code is called. */
#define BEGIN(self) PyThreadState *state = !(self)->bulk ? PyEval_SaveThread() : NULL
#define END(self)			\
	do {				\
		if (state)		\
			PyEval_RestoreThread(state);	\
	} while (0)

static PyObject *map_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"source", "now_ns", "share_ns", "first_ns", "stall_ns", NULL};
	unsigned long long now = 0, stall = 0;
	long long share = 10000000, first = 0;
	struct map_settings settings;
	struct map_object *self;
	struct bulk_ops ops;
	PyObject *source;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OK|$LLK", names, &source, &now, &share, &first, &stall))
		return NULL;
	self = (struct map_object *)PyType_GenericAlloc(type, 0);
	if (!self)
		return NULL;
	self->closed = true;	// until it is whole
	self->source = Py_NewRef(source);
	settings = (struct map_settings){.share_ns = share > 1000 ? share : 1000, .first_ns = first, .stall_ns = stall};
	self->access = access_of(source);
	if (self->access) {
		if (enter_gate(walker_gate(self->access->walker), "walker") < 0)
			goto fail;
		if (self->access->closed || self->access->map) {
			gate_leave(walker_gate(self->access->walker));
			PyErr_SetString(PyExc_ValueError, "the access check is closed, or has a map");
			goto fail;
		}
		ops = access_bulk_ops(self->access);
		self->access->map = &self->map;
	} else if ((self->sim = sim_of(source))) {
		if (self->sim->map) {
			PyErr_SetString(PyExc_ValueError, "the simulated world has a map");
			self->sim = NULL;
			goto fail;
		}
		ops = sim_bulk_ops(self->sim);
		self->sim->map = &self->map;
	} else {
		self->bulk = python_bulk_new(source, &ops);
		if (!self->bulk)
			goto fail;
	}
	page_map_init(&self->map, &ops, &settings, now);
	self->closed = false;
	if (self->access)
		gate_leave(walker_gate(self->access->walker));
	return (PyObject *)self;
fail:
	self->access = NULL;
	Py_DECREF(self);
	return NULL;
}

static void shut(struct map_object *self)
{
	if (self->closed)
		return;
	self->closed = true;
	if (self->access && self->access->map == &self->map)
		self->access->map = NULL;
	if (self->sim && self->sim->map == &self->map)
		self->sim->map = NULL;
	page_map_deinit(&self->map);
}

static PyObject *map_close(PyObject *object, PyObject *unused)
{
	struct map_object *self = (struct map_object *)object;

	(void)unused;
	if (enter_source(self) < 0) {
		if (!PyErr_ExceptionMatches(PyExc_ValueError))
			return NULL;
		// Nobody comes in through a closed walker.
		PyErr_Clear();
		shut(self);
		Py_RETURN_NONE;
	}
	if (self->busy)
		PyErr_SetString(PyExc_RuntimeError, "the map is in use");
	else
		shut(self);
	leave_source(self);
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

static void map_dealloc(PyObject *object)
{
	struct map_object *self = (struct map_object *)object;

	// The source holds its walker, closed or not: nobody else is inside when the last reference goes.
	shut(self);
	python_bulk_free(self->bulk);
	Py_XDECREF(self->source);
	free_object(object);
}

static PyObject *set_targets(PyObject *object, PyObject *args)
{
	struct map_object *self;
	Py_buffer ids;
	int err = 0;

	if (!PyArg_ParseTuple(args, "y*", &ids))
		return NULL;
	self = enter(object);
	if (self) {
		err = page_map_set_targets(&self->map, ids.buf, ids.len / sizeof(uint32_t));
		leave(self);
	}
	PyBuffer_Release(&ids);
	if (!self)
		return NULL;
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

// No process has memory above it: five levels of page tables.
#define HIGHEST (UINT64_C(1) << 56)

static bool areas_are_good(const struct map_area *areas, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (areas[i].start >= areas[i].end || areas[i].end > HIGHEST || areas[i].start % 4096 || areas[i].end % 4096 ||
		    areas[i].kind >= NR_MAP_KINDS || (i && areas[i].start < areas[i - 1].end))
			return false;
	return true;
}

static PyObject *set_areas(PyObject *object, PyObject *args)
{
	unsigned long long stopped = 0;
	struct map_object *self;
	Py_ssize_t target;
	Py_buffer words;
	int err = -EINVAL;

	if (!PyArg_ParseTuple(args, "ny*|K", &target, &words, &stopped))
		return NULL;
	// Three words each: start, end, and row | kind << 32 | flags << 40.
	size_t nr = words.len / (3 * sizeof(uint64_t));
	struct map_area *areas = calloc(nr + 1, sizeof(*areas));
	const uint64_t *word = words.buf;

	for (size_t i = 0; areas && i < nr; i++, word += 3)
		areas[i] = (struct map_area){word[0], word[1], (uint32_t)word[2], word[2] >> 32 & 0xff,
					     word[2] >> 40 & 0xff};
	self = areas ? enter(object) : (struct map_object *)PyErr_NoMemory();
	if (self) {
		if (target >= 0 && (size_t)target < self->map.nr_targets && areas_are_good(areas, nr)) {
			self->map.targets[target].stopped_ns = stopped;
			err = page_map_set_areas(&self->map, target, areas, nr);
		}
		leave(self);
	}
	free(areas);
	PyBuffer_Release(&words);
	if (!self)
		return NULL;
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *step(PyObject *object, PyObject *args)
{
	unsigned long long now;
	uint64_t next = 0;
	struct map_object *self;
	int err;

	if (!PyArg_ParseTuple(args, "K", &now))
		return NULL;
	self = enter(object);
	if (!self)
		return NULL;
	int64_t cpu = self->map.stats.cpu_ns;
	bool first = !self->map.covered;

	BEGIN(self);
	err = page_map_step(&self->map, now, &next);
	// Work of the start has an allowance of its own.
	if (self->access && first && self->access->cpu_mark && self->map.settings.first_ns)
		self->access->cpu_mark += self->map.stats.cpu_ns - cpu;
	if (self->sim && first && self->sim->cpu_mark && self->map.settings.first_ns)
		self->sim->cpu_mark += self->map.stats.cpu_ns - cpu;
	leave(self);
	END(self);
	if (PyErr_Occurred())
		return NULL;
	return err ? raise_errno(err) : PyLong_FromUnsignedLongLong(next);
}

static PyObject *seen(PyObject *object, PyObject *args)
{
	unsigned long long start, end, now;
	struct map_object *self;
	Py_ssize_t target;

	if (!PyArg_ParseTuple(args, "nKKK", &target, &start, &end, &now))
		return NULL;
	self = enter(object);
	if (!self)
		return NULL;
	if (target >= 0 && start < end && end <= HIGHEST)
		page_map_seen(&self->map, target, start, end, now);
	leave(self);
	Py_RETURN_NONE;
}

static uint64_t at_most(double value, uint64_t most)
{
	// Sums of fractions, each of another order of adding up.
	return value + 0.5 < (double)most ? (uint64_t)(value + 0.5) : most;
}

/** Whole bytes, with what is less or equal kept so. */
static void round_row(const struct sum_row *row, size_t windows, uint64_t *values)
{
	uint64_t resident = (uint64_t)(row->resident + 0.5), *next = values + 3;

	values[0] = resident;
	values[1] = at_most(row->unseen, resident);
	values[2] = at_most(row->uncovered, resident - values[1]);
	for (size_t i = 0; i < windows; i++, next++) {
		next[2 * windows] = at_most(row->high[i], resident);
		next[windows] = at_most(row->best[i], next[2 * windows]);
		next[0] = at_most(row->low[i], next[windows]);
		next[3 * windows] = at_most(row->idle[i], resident);
		next[4 * windows] = at_most(row->own[i], next[3 * windows]);
	}
}

static PyObject *rows_of(const struct sum *sum)
{
	size_t nr = sum->nr_rows * NR_SUM_KINDS * sum->nr_node_numbers, words = 3 + 5 * sum->nr_windows;
	PyObject *list = PyList_New(0);

	for (size_t i = 0; list && i < nr; i++) {
		const struct sum_row *row = &sum->rows[i];
		uint64_t values[3 + 5 * SUM_WINDOWS];

		if (row->resident < 1)
			continue;
		round_row(row, sum->nr_windows, values);
		PyObject *array = new_array("Q", PyBytes_FromStringAndSize((char *)values, words * sizeof(*values)));
		PyObject *item = array ? Py_BuildValue("(nnnN)", (Py_ssize_t)(i / sum->nr_node_numbers / NR_SUM_KINDS),
						       (Py_ssize_t)(i / sum->nr_node_numbers % NR_SUM_KINDS),
						       (Py_ssize_t)(i % sum->nr_node_numbers), array) : NULL;

		if (!item || PyList_Append(list, item))
			Py_CLEAR(list);
		Py_XDECREF(item);
	}
	return list;
}

static PyObject *sum_up(PyObject *object, PyObject *args)
{
	Py_buffer windows, nodes;
	struct map_object *self = NULL;
	PyObject *list = NULL;
	Py_ssize_t rows;
	struct sum sum = {.nr_node_numbers = 1};
	int err = -EINVAL;

	if (!PyArg_ParseTuple(args, "ny*y*", &rows, &windows, &nodes))
		return NULL;
	sum.nr_windows = windows.len / sizeof(uint64_t);
	sum.nr_rows = rows;
	sum.nr_nodes = nodes.len / (3 * sizeof(uint64_t));
	struct sum_node *node = calloc(sum.nr_nodes + 1, sizeof(*node));

	for (size_t i = 0; node && i < sum.nr_nodes; i++) {
		const uint64_t *word = (const uint64_t *)nodes.buf + 3 * i;

		node[i] = (struct sum_node){word[0], word[1], word[2] < SUM_NODES ? word[2] : 0};
		if (node[i].node >= sum.nr_node_numbers)
			sum.nr_node_numbers = node[i].node + 1;
	}
	sum.nodes = node;
	if (node && sum.nr_windows < SUM_WINDOWS && rows >= 0 && rows < 1 << 20) {
		memcpy(sum.windows, windows.buf, windows.len);
		sum.rows = calloc(sum.nr_rows * NR_SUM_KINDS * sum.nr_node_numbers + 1, sizeof(*sum.rows));
		self = sum.rows ? enter(object) : (struct map_object *)PyErr_NoMemory();
	} else {
		PyErr_SetString(PyExc_ValueError, "too many windows or rows");
	}
	PyBuffer_Release(&windows);
	PyBuffer_Release(&nodes);
	if (self) {
		BEGIN(self);
		err = page_map_sum(&self->map, &sum);
		leave(self);
		END(self);
		if (!PyErr_Occurred())
			list = err ? raise_errno(err) : rows_of(&sum);
	}
	free(sum.rows);
	free(node);
	return list ? Py_BuildValue("(NL)", list, (long long)sum.cpu_ns) : NULL;
}

static PyObject *look(PyObject *object, PyObject *args)
{
	unsigned long long start, end;
	struct map_object *self;
	Py_ssize_t target;
	int err = -EINVAL;

	if (!PyArg_ParseTuple(args, "nKK", &target, &start, &end))
		return NULL;
	self = enter(object);
	if (!self)
		return NULL;
	BEGIN(self);
	if (target >= 0 && (size_t)target < self->map.nr_targets)
		err = page_map_look(&self->map, (size_t)target, start, end);
	leave(self);
	END(self);
	if (PyErr_Occurred())
		return NULL;
	if (err && err != -ESRCH)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *ages(PyObject *object, PyObject *args)
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
	self = bytes ? enter(object) : NULL;
	if (self) {
		if (target >= 0 && (size_t)target < self->map.nr_targets)
			page_map_ages(&self->map, target, start, end, windows.buf,
				      windows.len / sizeof(uint64_t), (struct page_ages *)PyBytes_AsString(bytes));
		else
			PyErr_SetString(PyExc_IndexError, "no such target");
		leave(self);
	}
	PyBuffer_Release(&windows);
	if (PyErr_Occurred())
		Py_CLEAR(bytes);
	return bytes;
}

static PyObject *runs(PyObject *object, PyObject *args)
{
	unsigned long long soon, used;
	Py_ssize_t target, most;
	struct map_runs runs = {0};
	PyObject *bytes = NULL;
	struct map_object *self;
	int err = -EINVAL;

	if (!PyArg_ParseTuple(args, "nKKn", &target, &soon, &used, &most))
		return NULL;
	self = enter(object);
	if (!self)
		return NULL;
	if (target >= 0 && (size_t)target < self->map.nr_targets && most > 0)
		err = page_map_runs(&self->map, (size_t)target, soon, used, (size_t)most, &runs);
	leave(self);
	if (!err)
		bytes = PyBytes_FromStringAndSize((char *)runs.at, (Py_ssize_t)(runs.nr * sizeof(*runs.at)));
	free(runs.at);
	return err ? raise_errno(err) : new_array("Q", bytes);
}

/** Words of u64 at a time: of each range its target, start and end. */
static PyObject *used(PyObject *object, PyObject *args)
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
		self = enter(object);
	if (self) {
		const uint64_t *word = ranges.buf;
		uint64_t *out = (uint64_t *)(void *)PyBytes_AsString(bytes);
		int64_t begin = bulk_cpu_ns(&self->map.ops);

		for (size_t i = 0; i < nr; i++, word += 3)
			out[i] = word[0] < self->map.nr_targets && word[1] < word[2]
				? page_map_used(&self->map, word[0], word[1], word[2], used_ns) : 0;
		self->map.stats.cpu_ns += bulk_cpu_ns(&self->map.ops) - begin;
		leave(self);
	} else {
		Py_CLEAR(bytes);
	}
	PyBuffer_Release(&ranges);
	return bytes ? new_array("Q", bytes) : NULL;
}

static PyObject *covered(PyObject *object, PyObject *unused)
{
	struct map_object *self = enter(object);
	bool all;

	(void)unused;
	if (!self)
		return NULL;
	all = self->map.covered;
	leave(self);
	return PyBool_FromLong(all);
}

static PyObject *stats(PyObject *object, PyObject *unused)
{
	struct map_object *self = enter(object);

	(void)unused;
	if (!self)
		return NULL;
	struct map_stats stats = self->map.stats;
	struct map_rounds rounds = self->map.rounds;
	uint32_t turns = self->map.turn_number;
	bool covered = self->map.covered;
	uint64_t bytes = page_map_bytes(&self->map), shared = 0, present = 0, used = self->map.used;

	for (size_t i = 0; i < self->map.nr_targets; i++)
		for (size_t kind = 0; kind < NR_MAP_KINDS; kind++) {
			shared += self->map.targets[i].shared[kind];
			present += self->map.targets[i].present[kind];
		}
	leave(self);
	return Py_BuildValue("{sK sK sK sK sK sK sK sL sK sK sO sO sK sK sK sI}", "tables", stats.tables, "bytes", bytes, "visits",
			     stats.visits, "reads", stats.reads, "clears", stats.clears, "ranges", stats.ranges,
			     "judged", stats.judged, "cpu_ns", (long long)stats.cpu_ns, "rounds", rounds.rounds,
			     "held_ns", rounds.held_ns, "covered", covered ? Py_True : Py_False, "by_rounds",
			     rounds.any ? Py_True : Py_False, "shared_pages", shared,
			     "present_pages", present, "used_pages", used, "turns", turns);
}

static PyMethodDef map_methods[] = {
	{"set_targets", set_targets, METH_VARARGS, NULL},
	{"set_areas", set_areas, METH_VARARGS, NULL},
	{"step", step, METH_VARARGS, NULL},
	{"seen", seen, METH_VARARGS, NULL},
	{"sum", sum_up, METH_VARARGS, NULL},
	{"look", look, METH_VARARGS, NULL},
	{"ages", ages, METH_VARARGS, NULL},
	{"runs", runs, METH_VARARGS, NULL},
	{"used", used, METH_VARARGS, NULL},
	{"covered", covered, METH_NOARGS, NULL},
	{"stats", stats, METH_NOARGS, NULL},
	{"close", map_close, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot map_slots[] = {
	{Py_tp_new, map_new},
	{Py_tp_dealloc, map_dealloc},
	{Py_tp_methods, map_methods},
	{0, NULL},
};

static PyType_Spec map_spec = {
	.name = "isotherm._core.PageMap",
	.basicsize = sizeof(struct map_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = map_slots,
};

static PyTypeObject *map_type;

struct page_map *page_map_of(PyObject *object)
{
	struct map_object *self = (struct map_object *)object;

	if (!map_type || !PyObject_TypeCheck(object, map_type)) {
		PyErr_SetString(PyExc_TypeError, "not a PageMap");
		return NULL;
	}
	return self->closed || self->busy ? NULL : &self->map;
}

int bind_map(PyObject *module)
{
	PyTypeObject *type = add_type(module, "PageMap", &map_spec);

	map_type = type;	// kept, to know its objects by
	return type ? 0 : -1;
}
