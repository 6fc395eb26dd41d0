// SPDX-License-Identifier: Apache-2.0
// _core.RegionTable: see regions.h.
#include "py/bind_util.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "py/bind.h"
#include "py/bind_core.h"
#include "sys/page.h"

struct table_object {
	PyObject_HEAD
	struct region_table table;
	bool busy;
};

static PyTypeObject *table_type;

PyObject *raise_table_error(int err)
{
	if (err == -ENOMEM)
		return PyErr_NoMemory();
	if (err == -ENOENT) {
		PyErr_SetString(PyExc_KeyError, "no such target");
		return NULL;
	}
	return raise_own("BadValueError", "ranges or regions are empty, out of order or overlap, "
					  "or a target is listed twice");
}

/** The table of @self, or NULL with an exception set while a sampler works on it. */
static struct region_table *table_of(PyObject *self)
{
	struct table_object *object = (struct table_object *)self;

	if (object->busy) {
		PyErr_SetString(PyExc_RuntimeError, "a sampler is working on this table");
		return NULL;
	}
	return &object->table;
}

struct region_table *region_table_of(PyObject *object)
{
	if (!PyObject_TypeCheck(object, table_type)) {
		PyErr_SetString(PyExc_TypeError, "a _core.RegionTable is needed");
		return NULL;
	}
	return table_of(object);
}

void region_table_set_busy(PyObject *object, bool busy)
{
	((struct table_object *)object)->busy = busy;
}

static PyObject *table_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"min_region_bytes", "profile", "samples", NULL};
	unsigned long long min_region = PAGE;
	struct region_rules rules;
	struct table_object *self;
	PyObject *profile = NULL;
	unsigned int samples = 1;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|KOI", names, &min_region, &profile,
					 &samples) ||
	    parse_rules(profile, &rules) < 0)
		return NULL;
	if (!min_region || min_region > MAX_ADDRESS)
		return raise_table_error(-EINVAL);
	self = (struct table_object *)PyType_GenericAlloc(type, 0);
	if (self)
		table_init(&self->table, min_region, &rules, samples);
	return (PyObject *)self;
}

static void table_dealloc(PyObject *self)
{
	table_deinit(&((struct table_object *)self)->table);
	free_object(self);
}

static Py_ssize_t table_length(PyObject *self)
{
	return (Py_ssize_t)((struct table_object *)self)->table.regions.nr;
}

/** None, or NULL with the exception for @err. */
static PyObject *done(int err)
{
	if (err)
		return raise_table_error(err);
	Py_RETURN_NONE;
}

// Parsing. All functions return 0, or -1 with an exception set.

static int parse_probes(PyObject *list, uint8_t *hits)
{
	for (Py_ssize_t p = 0; p < MAX_PROBES; p++) {
		PyObject *item = PySequence_GetItem(list, p);

		if (!item)
			return -1;
		hits[p] = (uint8_t)PyLong_AsUnsignedLongMask(item);
		Py_DECREF(item);
		if (PyErr_Occurred())
			return -1;
	}
	return 0;
}

static int parse_row(PyObject *item, struct region *r)
{
	unsigned long long start, end;
	PyObject *hits = NULL, *last_hits = NULL, *row = PySequence_Tuple(item);
	int ok;

	memset(r, 0, sizeof(*r));
	ok = row && PyArg_ParseTuple(row, "KK|IIIOO", &start, &end, &r->nr_accesses,
				     &r->last_nr_accesses, &r->age, &hits, &last_hits);
	if (ok) {
		r->start = start;
		r->end = end;
		ok = (!hits || parse_probes(hits, r->probe_hits) == 0) &&
		     (!last_hits || parse_probes(last_hits, r->last_probe_hits) == 0);
	}
	Py_XDECREF(row);
	return ok ? 0 : -1;
}

/** Append @list's rows to @regions. */
static int parse_rows(PyObject *list, struct region_list *regions)
{
	Py_ssize_t nr = PySequence_Size(list);
	uint64_t end = 0;

	if (nr < 0)
		return -1;
	for (Py_ssize_t i = 0; i < nr; i++) {
		struct region *at = reallocarray(regions->at, regions->nr + 1, sizeof(*at));
		PyObject *item;
		int err;

		if (!at) {
			PyErr_NoMemory();
			return -1;
		}
		regions->at = at;
		at += regions->nr;
		item = PySequence_GetItem(list, i);
		err = item ? parse_row(item, at) : -1;
		Py_XDECREF(item);
		if (err < 0)
			return -1;
		if (at->start < end || at->end <= at->start || at->end > MAX_ADDRESS) {
			raise_table_error(-EINVAL);
			return -1;
		}
		end = at->end;
		regions->nr++;
	}
	return 0;
}

static int parse_weights(PyObject *list, struct probe_weights *weights)
{
	Py_ssize_t nr = list ? PySequence_Size(list) : 0;

	*weights = (struct probe_weights){0};
	if (nr > MAX_PROBES)
		PyErr_SetString(PyExc_ValueError, "there are at most four probes");
	if (nr < 0 || nr > MAX_PROBES)
		return -1;
	for (Py_ssize_t p = 0; p < nr; p++) {
		PyObject *item = PySequence_GetItem(list, p);

		if (!item)
			return -1;
		weights->of[p] = (uint32_t)PyLong_AsUnsignedLongMask(item);
		Py_DECREF(item);
		if (PyErr_Occurred())
			return -1;
	}
	return 0;
}

static PyObject *py_load(PyObject *self, PyObject *list)
{
	struct region_table *table = table_of(self);
	Py_ssize_t nr = PySequence_Size(list);
	struct region_list regions = {0};
	struct region_target *targets;
	PyObject *result = NULL;

	if (!table || nr < 0)
		return NULL;
	targets = calloc((size_t)nr + 1, sizeof(*targets));
	if (!targets)
		return PyErr_NoMemory();
	for (Py_ssize_t t = 0; t < nr; t++) {
		PyObject *rows = PySequence_GetItem(list, t);
		int err;

		targets[t] = (struct region_target){.id = (uint32_t)t, .first = regions.nr};
		err = rows ? parse_rows(rows, &regions) : -1;
		Py_XDECREF(rows);
		if (err < 0)
			goto out;
		targets[t].nr = regions.nr - targets[t].first;
	}
	result = done(table_load(table, targets, (size_t)nr, regions.at, regions.nr));
out:
	free(regions.at);
	free(targets);
	return result;
}

static PyObject *py_set_targets(PyObject *self, PyObject *list)
{
	struct region_table *table = table_of(self);
	Py_ssize_t nr = PySequence_Size(list);
	uint32_t *ids;
	PyObject *result = NULL;

	if (!table || nr < 0)
		return NULL;
	ids = calloc((size_t)nr + 1, sizeof(*ids));
	if (!ids)
		return PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < nr; i++) {
		PyObject *item = PySequence_GetItem(list, i);
		unsigned long id = item ? PyLong_AsUnsignedLong(item) : 0;

		Py_XDECREF(item);
		if (PyErr_Occurred())
			goto out;
		ids[i] = (uint32_t)id;
	}
	result = done(table_set_targets(table, ids, (size_t)nr));
out:
	free(ids);
	return result;
}

static PyObject *py_set_regions(PyObject *self, PyObject *args)
{
	struct region_table *table = table_of(self);
	struct address_range *ranges;
	PyObject *list, *result = NULL;
	unsigned int id;
	Py_ssize_t nr;

	if (!table || !PyArg_ParseTuple(args, "IO", &id, &list))
		return NULL;
	nr = PySequence_Size(list);
	if (nr < 0)
		return NULL;
	ranges = calloc((size_t)nr + 1, sizeof(*ranges));
	if (!ranges)
		return PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < nr; i++) {
		PyObject *item = PySequence_GetItem(list, i);
		PyObject *pair = item ? PySequence_Tuple(item) : NULL;
		unsigned long long start, end;
		int ok = pair && PyArg_ParseTuple(pair, "KK", &start, &end);

		Py_XDECREF(pair);
		Py_XDECREF(item);
		if (!ok)
			goto out;
		ranges[i] = (struct address_range){start, end};
	}
	result = done(table_set_regions(table, id, ranges, (size_t)nr));
out:
	free(ranges);
	return result;
}

static PyObject *py_end_window(PyObject *self, PyObject *args)
{
	struct region_table *table = table_of(self);
	unsigned int samples;

	if (!table || !PyArg_ParseTuple(args, "I", &samples))
		return NULL;
	return PyLong_FromUnsignedLong(table_end_window(table, samples));
}

static PyObject *py_merge(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"threshold", "size_limit", "count_age", "weights", NULL};
	struct region_table *table = table_of(self);
	unsigned long long threshold, limit;
	struct probe_weights weights;
	PyObject *list = NULL;
	int count_age = 1;

	if (!table || !PyArg_ParseTupleAndKeywords(args, kwargs, "KK|$pO", names, &threshold,
						   &limit, &count_age, &list))
		return NULL;
	if (parse_weights(list, &weights) < 0)
		return NULL;
	table_merge(table, threshold, limit, count_age, &weights);
	Py_RETURN_NONE;
}

static PyObject *py_merge_to(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"max_nr", "threshold", "size_limit", "samples", "weights", NULL};
	struct region_table *table = table_of(self);
	unsigned long long max_nr, threshold, limit;
	struct probe_weights weights;
	PyObject *list = NULL;
	unsigned int samples;

	if (!table || !PyArg_ParseTupleAndKeywords(args, kwargs, "KKKI|O", names, &max_nr,
						   &threshold, &limit, &samples, &list))
		return NULL;
	if (parse_weights(list, &weights) < 0)
		return NULL;
	table_merge_to(table, max_nr, threshold, limit, samples, &weights);
	Py_RETURN_NONE;
}

static PyObject *py_enforce_min(PyObject *self, PyObject *args)
{
	struct region_table *table = table_of(self);
	unsigned long long min_nr;
	uint64_t limit;
	int err;

	if (!table || !PyArg_ParseTuple(args, "K", &min_nr))
		return NULL;
	err = table_enforce_min(table, min_nr, &limit);
	return err ? raise_table_error(err) : PyLong_FromUnsignedLongLong(limit);
}

static PyObject *py_reset(PyObject *self, PyObject *none)
{
	struct region_table *table = table_of(self);

	(void)none;
	if (!table)
		return NULL;
	table_reset(table);
	Py_RETURN_NONE;
}

/** Parse (number, Rng). */
static struct rng *parse_split(PyObject *args, unsigned long long *number)
{
	PyObject *rng;

	return PyArg_ParseTuple(args, "KO", number, &rng) ? rng_of(rng) : NULL;
}

static PyObject *py_split(PyObject *self, PyObject *args)
{
	struct region_table *table = table_of(self);
	unsigned long long max_nr;
	struct rng *rng = table ? parse_split(args, &max_nr) : NULL;

	return rng ? done(table_split(table, max_nr, rng)) : NULL;
}

static PyObject *py_split_all(PyObject *self, PyObject *args)
{
	struct region_table *table = table_of(self);
	unsigned long long pieces;
	struct rng *rng = table ? parse_split(args, &pieces) : NULL;

	return rng ? done(table_split_all(table, (unsigned int)pieces, rng)) : NULL;
}

static PyObject *py_split_every(PyObject *self, PyObject *args)
{
	struct region_table *table = table_of(self);
	unsigned long long step;
	struct rng *rng = table ? parse_split(args, &step) : NULL;

	return rng ? done(table_split_every(table, step, rng)) : NULL;
}

static PyObject *py_rescale(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"old_samples", "new_samples", "old_aggr_us",
				"new_aggr_us", "aggregating", NULL};
	struct region_table *table = table_of(self);
	struct region_intervals from, to;
	unsigned long long old_aggr, new_aggr;
	int aggregating;

	if (!table || !PyArg_ParseTupleAndKeywords(args, kwargs, "IIKK$p", names, &from.samples,
						   &to.samples, &old_aggr, &new_aggr, &aggregating))
		return NULL;
	if (!from.samples) {
		PyErr_SetString(PyExc_ValueError, "a window has at least one sample");
		return NULL;
	}
	from.aggr_us = old_aggr;
	to.aggr_us = new_aggr;
	table_rescale(table, from, to, aggregating);
	Py_RETURN_NONE;
}

static PyObject *from_u128(unsigned __int128 value)
{
	char hex[33];
	int at = 32;

	hex[32] = 0;
	do {
		hex[--at] = "0123456789abcdef"[(int)(value & 15)];
		value >>= 4;
	} while (value);
	return PyLong_FromString(hex + at, NULL, 16);
}

static PyObject *py_access_events(PyObject *self, PyObject *none)
{
	const struct region_table *table = table_of(self);
	unsigned __int128 events = 0, bytes = 0;

	(void)none;
	if (!table)
		return NULL;
	for (size_t i = 0; i < table->regions.nr; i++) {
		const struct region *r = &table->regions.at[i];

		bytes += r->end - r->start;
		events += (unsigned __int128)(r->end - r->start) * r->nr_accesses;
	}
	return Py_BuildValue("NN", from_u128(events), from_u128(bytes));
}

static PyObject *py_min_region(PyObject *self, void *closure)
{
	(void)closure;
	return PyLong_FromUnsignedLongLong(((struct table_object *)self)->table.min_region);
}

static PyMethodDef methods[] = {
	{"load", py_load, METH_O, NULL},
	{"target_ids", region_table_target_ids, METH_NOARGS, NULL},
	{"set_targets", py_set_targets, METH_O, NULL},
	{"set_regions", py_set_regions, METH_VARARGS, NULL},
	{"end_window", py_end_window, METH_VARARGS, NULL},
	{"merge", WITH_KEYWORDS(py_merge), METH_VARARGS | METH_KEYWORDS, NULL},
	{"merge_to", WITH_KEYWORDS(py_merge_to), METH_VARARGS | METH_KEYWORDS, NULL},
	{"enforce_min", py_enforce_min, METH_VARARGS, NULL},
	{"reset", py_reset, METH_NOARGS, NULL},
	{"split", py_split, METH_VARARGS, NULL},
	{"split_all", py_split_all, METH_VARARGS, NULL},
	{"split_every", py_split_every, METH_VARARGS, NULL},
	{"rescale", WITH_KEYWORDS(py_rescale), METH_VARARGS | METH_KEYWORDS, NULL},
	{"access_events", py_access_events, METH_NOARGS, NULL},
	{"mvsum", region_table_mvsum, METH_VARARGS, NULL},
	{"moving_sums", region_table_moving_sums, METH_NOARGS, NULL},
	{"spans", region_table_spans, METH_NOARGS, NULL},
	{"matching", WITH_KEYWORDS(region_table_matching), METH_VARARGS | METH_KEYWORDS, NULL},
	{"region", region_table_region, METH_VARARGS, NULL},
	{"cut", region_table_cut, METH_VARARGS, NULL},
	{"renew", region_table_renew, METH_VARARGS, NULL},
	{"rejoin", region_table_rejoin, METH_VARARGS, NULL},
	{"columns", region_table_columns, METH_NOARGS, NULL},
	{"rows", region_table_rows, METH_NOARGS, NULL},
	{"windows", region_table_windows, METH_NOARGS, NULL},
	{0},
};
static PyGetSetDef getset[] = {
	{"min_region_bytes", py_min_region, NULL, NULL, NULL},
	{0},
};
static PyType_Slot slots[] = {
	{Py_tp_new, table_new},
	{Py_tp_dealloc, table_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, getset},
	{Py_sq_length, table_length},
	{0, NULL},
};
static PyType_Spec spec = {
	.name = "isotherm._core.RegionTable",
	.basicsize = sizeof(struct table_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};

int bind_regions(PyObject *module)
{
	table_type = add_type(module, "RegionTable", &spec);
	return table_type ? 0 : -1;
}
