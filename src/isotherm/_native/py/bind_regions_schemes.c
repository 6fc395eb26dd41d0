// SPDX-License-Identifier: Apache-2.0
// Methods of RegionTable that the scheme engine uses.
#include "py/bind_util.h"
#include <errno.h>
#include <stdlib.h>
#include "py/bind_core.h"

PyObject *region_table_spans(PyObject *self, PyObject *none)
{
	const struct region_table *table = region_table_of(self);
	PyObject *list = table ? PyList_New(0) : NULL;

	(void)none;
	for (size_t t = 0; list && t < table->nr_targets; t++) {
		const struct region_target *target = &table->targets[t];
		PyObject *pair = Py_BuildValue("nn", (Py_ssize_t)target->first,
					       (Py_ssize_t)(target->first + target->nr));

		if (!pair || PyList_Append(list, pair) < 0)
			Py_CLEAR(list);
		Py_XDECREF(pair);
	}
	return list;
}

PyObject *region_table_matching(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"limits", "left_bp", "known", NULL};
	const struct region_table *table = region_table_of(self);
	struct region_limits limits;
	PyObject *bytes = NULL;
	unsigned int left_bp;
	uint64_t *places;
	size_t nr = 0;
	int known;

	if (!table || !PyArg_ParseTupleAndKeywords(args, kwargs, "(KKKKKK)I$p", names,
						   &limits.min_size, &limits.max_size,
						   &limits.min_accesses, &limits.max_accesses,
						   &limits.min_age, &limits.max_age, &left_bp, &known))
		return NULL;
	places = malloc((table->regions.nr + 1) * sizeof(*places));
	if (!places)
		return PyErr_NoMemory();
	for (size_t i = 0; i < table->regions.nr; i++)
		if (table_matches(table, &table->regions.at[i], &limits, left_bp, known))
			places[nr++] = i;
	bytes = PyBytes_FromStringAndSize((const char *)places, (Py_ssize_t)(nr * sizeof(*places)));
	free(places);
	return new_array("Q", bytes);
}

/** The region at @place, or NULL with IndexError set. */
static struct region *region_at(struct region_table *table, Py_ssize_t place)
{
	if (place >= 0 && (size_t)place < table->regions.nr)
		return &table->regions.at[place];
	PyErr_Format(PyExc_IndexError, "there is no region %zd", place);
	return NULL;
}

PyObject *region_table_region(PyObject *self, PyObject *args)
{
	struct region_table *table = region_table_of(self);
	const struct region *r;
	unsigned int left_bp;
	Py_ssize_t place;

	if (!table || !PyArg_ParseTuple(args, "nI", &place, &left_bp))
		return NULL;
	r = region_at(table, place);
	return r ? Py_BuildValue("KKKIK", r->start, r->end, table_rate(table, r, left_bp),
				 r->age, r->unobservable)
		 : NULL;
}

PyObject *region_table_cut(PyObject *self, PyObject *args)
{
	struct region_table *table = region_table_of(self);
	unsigned long long size;
	Py_ssize_t place;
	int err;

	if (!table || !PyArg_ParseTuple(args, "nK", &place, &size) || !region_at(table, place))
		return NULL;
	err = table_cut(table, (size_t)place, size);
	if (err == -EINVAL)
		PyErr_Format(PyExc_ValueError, "cannot cut %llu bytes off region %zd", size, place);
	else if (err)
		return raise_table_error(err);
	if (err)
		return NULL;
	Py_RETURN_NONE;
}

PyObject *region_table_renew(PyObject *self, PyObject *args)
{
	struct region_table *table = region_table_of(self);
	struct region *r;
	Py_ssize_t place;

	if (!table || !PyArg_ParseTuple(args, "n", &place))
		return NULL;
	r = region_at(table, place);
	if (!r)
		return NULL;
	r->age = r->waits = 0;
	Py_RETURN_NONE;
}

PyObject *region_table_rejoin(PyObject *self, PyObject *args)
{
	struct region_table *table = region_table_of(self);
	unsigned long long size_limit;

	if (!table || !PyArg_ParseTuple(args, "K", &size_limit))
		return NULL;
	table_rejoin(table, size_limit);
	Py_RETURN_NONE;
}
