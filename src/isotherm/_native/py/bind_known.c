// SPDX-License-Identifier: Apache-2.0
// _core.KnownRegions: see map/known.h.
#include "py/bind_util.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "map/known.h"
#include "py/bind.h"

#define NR_COLUMNS 6

struct known_object {
	PyObject_HEAD
	struct known_regions before;
};

static PyTypeObject *known_type;

static PyObject *known_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {NULL};

	return PyArg_ParseTupleAndKeywords(args, kwargs, "", names) ? PyType_GenericAlloc(type, 0) : NULL;
}

static void known_dealloc(PyObject *self)
{
	free(((struct known_object *)self)->before.at);
	free_object(self);
}

/** The columns of buffers of equal length; false with ValueError set. */
static bool columns_of(const Py_buffer *buffers, struct known_columns *columns)
{
	static const size_t widths[NR_COLUMNS] = {4, 8, 8, 4, 4, 8};
	size_t nr = (size_t)buffers[0].len / widths[0];

	for (size_t i = 0; i < NR_COLUMNS; i++)
		if ((size_t)buffers[i].len != nr * widths[i]) {
			PyErr_SetString(PyExc_ValueError, "columns of regions are of one length");
			return false;
		}
	*columns = (struct known_columns){
		.target = buffers[0].buf,
		.start = buffers[1].buf,
		.end = buffers[2].buf,
		.count = buffers[3].buf,
		.age = buffers[4].buf,
		.unobservable = buffers[5].buf,
		.nr = nr,
	};
	return true;
}

enum width { U32, U64, FLOAT };

static const struct {
	enum width width;
	size_t at;
} told_fields[] = {
	{U32, offsetof(struct known_region, place)},
	{U32, offsetof(struct known_region, target)},
	{U64, offsetof(struct known_region, start)},
	{U64, offsetof(struct known_region, end)},
	{U32, offsetof(struct known_region, count)},
	{U32, offsetof(struct known_region, age)},
	{U64, offsetof(struct known_region, unobservable)},
	{U64, offsetof(struct known_region, used)},
	{FLOAT, offsetof(struct known_region, share)},
};
#define NR_FIELDS (sizeof(told_fields) / sizeof(told_fields[0]))

/** An array of one field of all that is told. */
static PyObject *told_column(const struct known_regions *told, enum width width, size_t at)
{
	static const char *const typecodes[] = {"I", "Q", "d"};
	static const size_t sizes[] = {4, 8, sizeof(double)};
	size_t size = sizes[width];
	PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(told->nr * size));
	char *to = bytes ? PyBytes_AsString(bytes) : NULL;

	for (size_t i = 0; to && i < told->nr; i++)
		memcpy(to + i * size, (const char *)&told->at[i] + at, size);
	return new_array(typecodes[width], bytes);
}

/** Columns of what is told, place first; NULL with an exception set. */
static PyObject *told_columns(const struct known_regions *told)
{
	PyObject *all = PyTuple_New(NR_FIELDS);

	for (size_t i = 0; all && i < NR_FIELDS; i++) {
		PyObject *column = told_column(told, told_fields[i].width, told_fields[i].at);

		if (!column || PyTuple_SetItem(all, (Py_ssize_t)i, column) < 0)
			Py_CLEAR(all);
	}
	return all;
}

static PyObject *known_tell(PyObject *object, PyObject *args)
{
	struct known_object *self = (struct known_object *)object;
	struct known_regions told = {0};
	struct known_columns columns;
	struct known_terms terms;
	unsigned long long soon_ns;
	Py_buffer buffers[NR_COLUMNS + 1] = {0};
	PyObject *result = NULL;

	if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*IK", &buffers[0], &buffers[1], &buffers[2], &buffers[3],
			      &buffers[4], &buffers[5], &buffers[6], &terms.most, &soon_ns))
		return NULL;
	const Py_buffer *parts = &buffers[NR_COLUMNS];

	terms.soon_ns = soon_ns;
	if (!terms.most || (size_t)parts->len % sizeof(struct map_part)) {
		PyErr_SetString(PyExc_ValueError, "parts are of eight words each, and windows have samples");
	} else if (columns_of(buffers, &columns)) {
		int err = known_regions_tell(&told, &columns, parts->buf, (size_t)parts->len / sizeof(struct map_part),
					     &self->before, &terms);

		result = err ? PyErr_NoMemory() : told_columns(&told);
	}
	if (result) {
		free(self->before.at);
		self->before = told;
	} else {
		free(told.at);
	}
	for (size_t i = 0; i <= NR_COLUMNS; i++)
		PyBuffer_Release(&buffers[i]);
	return result;
}

static PyMethodDef methods[] = {
	{"tell", known_tell, METH_VARARGS, NULL},
	{0},
};
static PyType_Slot slots[] = {
	{Py_tp_new, known_new},
	{Py_tp_dealloc, known_dealloc},
	{Py_tp_methods, methods},
	{0, NULL},
};
static PyType_Spec spec = {
	.name = "isotherm._core.KnownRegions",
	.basicsize = sizeof(struct known_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};

int bind_known(PyObject *module)
{
	known_type = add_type(module, "KnownRegions", &spec);
	return known_type ? 0 : -1;
}
