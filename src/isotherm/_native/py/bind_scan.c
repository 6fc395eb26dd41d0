// SPDX-License-Identifier: Apache-2.0
// _core.Scan: see scan/scan.h.
#include "py/bind_util.h"
#include <stdlib.h>
#include <string.h>
#include "py/bind.h"
#include "scan/scan.h"

#define NR_BUFFERS 11
#define MAX_CELLS (1u << 28)

struct scan_object {
	PyObject_HEAD
	Py_buffer buffers[NR_BUFFERS];
	int nr_buffers;
	struct scan scan;
	// Rows of which all was right, of so many targets.
	size_t checked_low, checked_high;
	uint32_t checked_targets;
};

static void scan_dealloc(PyObject *object)
{
	struct scan_object *self = (struct scan_object *)object;

	for (int i = 0; i < self->nr_buffers; i++)
		PyBuffer_Release(&self->buffers[i]);
	free_object(object);
}

/** Take the buffers, each of at least so many items; whether they are. */
static bool take(struct scan_object *self, PyObject *args)
{
	static const size_t sizes[NR_BUFFERS] = {4, 4, 8, 8, 4, 8, 8, 8, 8, 8, 8};
	PyObject *objects[NR_BUFFERS] = {NULL};
	int given = NR_BUFFERS - 1;
	Py_ssize_t rows;

	if (!PyArg_ParseTuple(args, "nOOOOOOOOOO|O", &rows, &objects[0], &objects[1], &objects[2], &objects[3],
			      &objects[4], &objects[5], &objects[6], &objects[7], &objects[8], &objects[9], &objects[10]))
		return false;
	given += objects[given] != NULL;
	for (; self->nr_buffers < given; self->nr_buffers++)
		if (PyObject_GetBuffer(objects[self->nr_buffers], &self->buffers[self->nr_buffers], PyBUF_SIMPLE) < 0)
			return false;
	self->scan.rows = (size_t)rows;
	for (int i = 0; i < given; i++) {
		size_t items = (size_t)self->buffers[i].len / sizes[i], needed = (size_t)rows;

		if (i == 0)
			needed++;
		else if (i == 10 && !items)
			needed = 0;
		else if (i <= 5 || i == 10)	// of regions: as many as the offsets say
			needed = (size_t)((const int32_t *)self->buffers[0].buf)[rows];
		if (rows < 0 || items < needed || (items && (uintptr_t)self->buffers[i].buf % sizes[i]) ||
		    (i == 0 && !scan_offsets(self->buffers[0].buf, (size_t)rows, INT32_MAX))) {
			PyErr_SetString(PyExc_ValueError, "columns are too short or out of line, or offsets run backwards");
			return false;
		}
	}
	return true;
}

static PyObject *scan_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	struct scan_object *self = (struct scan_object *)PyType_GenericAlloc(type, 0);

	(void)kwargs;
	if (!self)
		return NULL;
	if (!take(self, args)) {
		Py_DECREF(self);
		return NULL;
	}
	self->scan = (struct scan){
		.rows = self->scan.rows,
		.offsets = self->buffers[0].buf,
		.target = self->buffers[1].buf,
		.start = self->buffers[2].buf,
		.end = self->buffers[3].buf,
		.nr_accesses = self->buffers[4].buf,
		.unobservable = self->buffers[5].buf,
		.sample_us = self->buffers[6].buf,
		.aggr_us = self->buffers[7].buf,
		.start_ns = self->buffers[8].buf,
		.end_ns = self->buffers[9].buf,
		.heat = self->buffers[10].len ? self->buffers[10].buf : NULL,
	};
	return (PyObject *)self;
}

/** The scan of @object if there are rows [@low, @high); NULL with ValueError set. */
static const struct scan *scan_of(PyObject *object, Py_ssize_t low, Py_ssize_t high)
{
	const struct scan *scan = &((struct scan_object *)object)->scan;

	if (0 <= low && low <= high && (size_t)high <= scan->rows)
		return scan;
	PyErr_SetString(PyExc_ValueError, "no such rows");
	return NULL;
}

/** What scan_check() says, which is not asked again for the rows that it was asked for last. */
static const char *checked(PyObject *object, size_t low, size_t high, uint32_t nr_targets)
{
	struct scan_object *self = (struct scan_object *)object;
	const char *why;

	if (self->checked_low <= low && high <= self->checked_high && nr_targets == self->checked_targets)
		return NULL;
	why = scan_check(&self->scan, low, high, nr_targets);
	if (!why) {
		self->checked_low = low;
		self->checked_high = high;
		self->checked_targets = nr_targets;
	}
	return why;
}

static PyObject *scan_py_check(PyObject *self, PyObject *args)
{
	const struct scan *scan;
	unsigned int nr_targets;
	Py_ssize_t low, high;
	const char *why;

	if (!PyArg_ParseTuple(args, "nnI", &low, &high, &nr_targets))
		return NULL;
	scan = scan_of(self, low, high);
	if (!scan)
		return NULL;
	why = checked(self, (size_t)low, (size_t)high, nr_targets);
	if (!why)
		Py_RETURN_NONE;
	return PyUnicode_FromString(why);
}

static PyObject *scan_py_check_used(PyObject *self, PyObject *args)
{
	const struct scan *scan;
	Py_buffer valid, offsets, used;
	Py_ssize_t low, high;
	bool right = false;

	if (!PyArg_ParseTuple(args, "nny*y*y*", &low, &high, &valid, &offsets, &used))
		return NULL;
	scan = scan_of(self, low, high);
	if (scan && (!valid.len || (size_t)valid.len >= (scan->rows + 7) / 8) &&
	    (size_t)offsets.len / 4 > scan->rows && !((uintptr_t)offsets.buf % 4) &&
	    !(used.len && (uintptr_t)used.buf % 8) &&
	    scan_offsets(offsets.buf, scan->rows, (size_t)used.len / 8))
		right = scan_check_used(scan, (size_t)low, (size_t)high, valid.len ? valid.buf : NULL, offsets.buf,
					used.buf);
	PyBuffer_Release(&valid);
	PyBuffer_Release(&offsets);
	PyBuffer_Release(&used);
	return scan ? PyBool_FromLong(right) : NULL;
}

static PyObject *scan_py_used(PyObject *self, PyObject *args)
{
	PyObject *used, *unseen;
	const struct scan *scan;
	double least_percent;
	Py_ssize_t low, high;
	bool fits;
	int shares;

	if (!PyArg_ParseTuple(args, "nndp", &low, &high, &least_percent, &shares))
		return NULL;
	scan = scan_of(self, low, high);
	if (!scan)
		return NULL;
	used = PyBytes_FromStringAndSize(NULL, 8 * (high - low));
	unseen = PyBytes_FromStringAndSize(NULL, 8 * (high - low));
	if (used && unseen) {
		uint64_t *into[] = {(uint64_t *)PyBytes_AsString(used), (uint64_t *)PyBytes_AsString(unseen)};

		Py_BEGIN_ALLOW_THREADS
		fits = scan_used(scan, (size_t)low, (size_t)high, least_percent, shares, into[0], into[1]);
		Py_END_ALLOW_THREADS
		if (fits)
			return Py_BuildValue("(NN)", used, unseen);
		PyErr_SetString(PyExc_OverflowError, "a sum of bytes does not fit");
	}
	Py_XDECREF(used);
	Py_XDECREF(unseen);
	return NULL;
}

/** Append the runs of each row that differ from those before to @list; 0, or -1. */
static int append_runs(const struct scan *scan, size_t low, size_t high, double *heat, PyObject *list)
{
	struct scan_run *runs[2] = {NULL, NULL};
	size_t most = 1, counts[2] = {0, 0};
	int err = 0, now = 0;

	for (size_t row = low; row < high; row++) {
		size_t length = (size_t)(scan->offsets[row + 1] - scan->offsets[row]);

		most = length > most ? length : most;
	}
	for (int i = 0; i < 2; i++)
		runs[i] = calloc(most, sizeof(**runs));
	if (!runs[0] || !runs[1]) {
		PyErr_NoMemory();
		err = -1;
	}
	for (size_t row = low; row < high && !err; row++) {
		PyObject *item;

		counts[now] = scan_runs(scan, row, runs[now], heat);
		if (counts[now] == counts[!now] &&
		    !memcmp(runs[now], runs[!now], counts[now] * sizeof(**runs)))
			continue;
		item = PyBytes_FromStringAndSize((const char *)runs[now], (Py_ssize_t)(counts[now] * sizeof(**runs)));
		err = item ? PyList_Append(list, item) : -1;
		Py_XDECREF(item);
		now = !now;
	}
	free(runs[0]);
	free(runs[1]);
	return err;
}

static PyObject *scan_py_runs(PyObject *self, PyObject *args)
{
	PyObject *list, *heat_bytes, *result = NULL;
	const struct scan *scan;
	unsigned int nr_targets;
	Py_ssize_t low, high;
	double *heat;

	if (!PyArg_ParseTuple(args, "nnI", &low, &high, &nr_targets))
		return NULL;
	scan = scan_of(self, low, high);
	// What was not checked must not be believed here.
	if (!scan || checked(self, (size_t)low, (size_t)high, nr_targets)) {
		if (scan)
			PyErr_SetString(PyExc_ValueError, "regions make no sense");
		return NULL;
	}
	list = PyList_New(0);
	heat = calloc((size_t)nr_targets + 1, sizeof(*heat));
	if (list && heat && !append_runs(scan, (size_t)low, (size_t)high, heat, list)) {
		heat_bytes = PyBytes_FromStringAndSize((const char *)heat, (Py_ssize_t)(nr_targets * sizeof(*heat)));
		result = Py_BuildValue("(ON)", list, heat_bytes);
	} else if (!PyErr_Occurred()) {
		PyErr_NoMemory();
	}
	Py_XDECREF(list);
	free(heat);
	return result;
}

static bool fits(const Py_buffer *buffer, size_t items)
{
	return (size_t)buffer->len == items * 8;
}

static PyObject *scan_py_heat(PyObject *self, PyObject *args)
{
	Py_buffer gaps[2], rows[2], cells[4];
	Py_buffer *all[] = {&gaps[0], &gaps[1], &rows[0], &rows[1], &cells[0], &cells[1], &cells[2], &cells[3]};
	struct scan_grid grid = {};
	const struct scan *scan;
	unsigned int target;
	Py_ssize_t low, high, columns;
	long long start_ns, end_ns;
	bool right;

	if (!PyArg_ParseTuple(args, "nnIy*y*y*y*w*w*w*w*nLL", &low, &high, &target, &gaps[0], &gaps[1], &rows[0],
			      &rows[1], &cells[0], &cells[1], &cells[2], &cells[3], &columns, &start_ns, &end_ns))
		return NULL;
	scan = scan_of(self, low, high);
	grid.rows = (size_t)rows[0].len / 8;
	grid.columns = (size_t)columns;
	right = scan && columns > 0 && start_ns < end_ns && grid.rows && grid.rows < MAX_CELLS &&
		grid.columns < MAX_CELLS && grid.rows * grid.columns < MAX_CELLS && fits(&rows[0], grid.rows) &&
		fits(&rows[1], grid.rows) && gaps[0].len == gaps[1].len && fits(&gaps[0], (size_t)gaps[0].len / 8);
	for (int i = 0; i < 4; i++)
		right = right && fits(&cells[i], grid.rows * grid.columns);
	if (right)
		grid.sums = calloc(4 * grid.rows, sizeof(*grid.sums));
	if (grid.sums) {
		grid.starts = rows[0].buf;
		grid.ends = rows[1].buf;
		grid.hot = cells[0].buf;
		grid.seen = cells[1].buf;
		grid.unseen = cells[2].buf;
		grid.peak = cells[3].buf;
		grid.start_ns = start_ns;
		grid.end_ns = end_ns;
		Py_BEGIN_ALLOW_THREADS
		scan_heat(scan, (size_t)low, (size_t)high, target, gaps[0].buf, gaps[1].buf, (size_t)gaps[0].len / 8, &grid);
		Py_END_ALLOW_THREADS
		free(grid.sums);
	} else if (right) {
		PyErr_NoMemory();
	} else if (scan) {
		PyErr_SetString(PyExc_ValueError, "the grid has not the size that it says");
	}
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		PyBuffer_Release(all[i]);
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{"check", scan_py_check, METH_VARARGS, NULL},
	{"check_used", scan_py_check_used, METH_VARARGS, NULL},
	{"used", scan_py_used, METH_VARARGS, NULL},
	{"runs", scan_py_runs, METH_VARARGS, NULL},
	{"heat", scan_py_heat, METH_VARARGS, NULL},
	{0},
};
static PyType_Slot slots[] = {
	{Py_tp_new, scan_new},
	{Py_tp_dealloc, scan_dealloc},
	{Py_tp_methods, methods},
	{0, NULL},
};
static PyType_Spec spec = {
	.name = "isotherm._core.Scan",
	.basicsize = sizeof(struct scan_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};

int bind_scan(PyObject *module)
{
	return add_type(module, "Scan", &spec) ? 0 : -1;
}
