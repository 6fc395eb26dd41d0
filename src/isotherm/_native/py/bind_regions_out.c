// SPDX-License-Identifier: Apache-2.0
// What leaves a _core.RegionTable: columns and rows.
#include "py/bind_util.h"
#include <stddef.h>
#include "py/bind.h"
#include "py/bind_core.h"

// Columns: one array.array each.

/** The u32 at @offset of each region, or the target's index if it is negative. */
static PyObject *column_u32(const struct region_table *table, ptrdiff_t offset)
{
	PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(table->regions.nr * 4));
	uint32_t *to = bytes ? (uint32_t *)(void *)PyBytes_AsString(bytes) : NULL;

	for (size_t t = 0; to && t < table->nr_targets; t++)
		for (size_t i = 0; i < table->targets[t].nr; i++) {
			const struct region *r = &table->regions.at[table->targets[t].first + i];

			*to++ = offset < 0 ? (uint32_t)t
					   : *(const uint32_t *)(const void *)((const char *)r + offset);
		}
	return new_array("I", bytes);
}

static PyObject *column_u64(const struct region_table *table, size_t offset)
{
	PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(table->regions.nr * 8));
	uint64_t *to = bytes ? (uint64_t *)(void *)PyBytes_AsString(bytes) : NULL;

	for (size_t i = 0; to && i < table->regions.nr; i++) {
		const char *r = (const char *)&table->regions.at[i];

		to[i] = *(const uint64_t *)(const void *)(r + offset);
	}
	return new_array("Q", bytes);
}

PyObject *region_table_columns(PyObject *self, PyObject *none)
{
	static PyObject *columns;
	const struct region_table *table = region_table_of(self);

	(void)none;
	if (!columns) {
		PyObject *module = PyImport_ImportModule("isotherm.model.snapshot");

		columns = module ? PyObject_GetAttrString(module, "Columns") : NULL;
		Py_XDECREF(module);
	}
	if (!columns || !table)
		return NULL;
	return PyObject_CallFunction(columns, "NNNNNN", column_u32(table, -1),
				     column_u64(table, offsetof(struct region, start)),
				     column_u64(table, offsetof(struct region, end)),
				     column_u32(table, offsetof(struct region, nr_accesses)),
				     column_u32(table, offsetof(struct region, age)),
				     column_u64(table, offsetof(struct region, unobservable)));
}

PyObject *region_table_mvsum(PyObject *self, PyObject *args)
{
	const struct region_table *table = region_table_of(self);
	unsigned int left_bp;
	PyObject *bytes;

	if (!table || !PyArg_ParseTuple(args, "I", &left_bp))
		return NULL;
	bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(table->regions.nr * 8));
	for (size_t i = 0; bytes && i < table->regions.nr; i++)
		((uint64_t *)(void *)PyBytes_AsString(bytes))[i] =
			table_rate(table, &table->regions.at[i], left_bp);
	return new_array("Q", bytes);
}

PyObject *region_table_moving_sums(PyObject *self, PyObject *none)
{
	const struct region_table *table = region_table_of(self);

	(void)none;
	return table ? column_u32(table, offsetof(struct region, moving_bp)) : NULL;
}

// Everything else that goes out.

static PyObject *row_of(const struct region *r)
{
	const uint8_t *p = r->probe_hits, *l = r->last_probe_hits;

	return Py_BuildValue("KKIII(IIII)(IIII)", r->start, r->end, r->nr_accesses,
			     r->last_nr_accesses, r->age, p[0], p[1], p[2], p[3], l[0], l[1], l[2],
			     l[3]);
}

static PyObject *window_of(const struct region *r)
{
	const struct region_window *w = &r->window;

	return Py_BuildValue("IIIIII", w->old, w->old_hits, w->young_cleared, w->young_hits,
			     w->missed, w->unobservable);
}

static PyObject *list_of(const struct region *regions, size_t nr,
			 PyObject *(*make)(const struct region *))
{
	PyObject *list = PyList_New((Py_ssize_t)nr);

	for (size_t i = 0; list && i < nr; i++) {
		PyObject *item = make(&regions[i]);

		if (!item || PyList_SetItem(list, (Py_ssize_t)i, item) < 0) {
			Py_DECREF(list);
			return NULL;
		}
	}
	return list;
}

PyObject *region_table_rows(PyObject *self, PyObject *none)
{
	const struct region_table *table = region_table_of(self);
	PyObject *list = table ? PyList_New((Py_ssize_t)table->nr_targets) : NULL;

	(void)none;
	for (size_t t = 0; list && t < table->nr_targets; t++) {
		PyObject *rows = list_of(table->regions.at + table->targets[t].first,
					 table->targets[t].nr, row_of);

		if (!rows || PyList_SetItem(list, (Py_ssize_t)t, rows) < 0) {
			Py_DECREF(list);
			return NULL;
		}
	}
	return list;
}

PyObject *region_table_windows(PyObject *self, PyObject *none)
{
	const struct region_table *table = region_table_of(self);

	(void)none;
	return table ? list_of(table->regions.at, table->regions.nr, window_of) : NULL;
}

PyObject *region_table_target_ids(PyObject *self, PyObject *none)
{
	const struct region_table *table = region_table_of(self);
	PyObject *list = table ? PyList_New((Py_ssize_t)table->nr_targets) : NULL;

	(void)none;
	for (size_t t = 0; list && t < table->nr_targets; t++) {
		PyObject *id = PyLong_FromUnsignedLong(table->targets[t].id);

		if (!id || PyList_SetItem(list, (Py_ssize_t)t, id) < 0) {
			Py_DECREF(list);
			return NULL;
		}
	}
	return list;
}
