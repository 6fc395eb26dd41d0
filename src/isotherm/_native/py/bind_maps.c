// SPDX-License-Identifier: Apache-2.0
// _core.AddressMap: the address map of a process, read again and compared; what is made of such maps.
#include "py/bind_util.h"
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include "py/bind.h"
#include "sys/address_map.h"
#include "sys/coalesce.h"

struct maps_object {
	PyObject_HEAD
	struct address_map map;
};

static PyObject *maps_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {NULL};
	struct maps_object *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "", names))
		return NULL;
	self = (struct maps_object *)PyType_GenericAlloc(type, 0);
	if (self)
		self->map = (struct address_map){};
	return (PyObject *)self;
}

static void maps_dealloc(PyObject *object)
{
	address_map_deinit(&((struct maps_object *)object)->map);
	free_object(object);
}

static PyObject *maps_read(PyObject *object, PyObject *args)
{
	struct address_map *map = &((struct maps_object *)object)->map;
	bool changed = false;
	int tid, err;

	if (!PyArg_ParseTuple(args, "i", &tid))
		return NULL;
	err = address_map_read(map, tid, &changed);
	return err ? raise_errno(err) : PyBool_FromLong(changed);
}

static PyObject *maps_parse(PyObject *object, PyObject *args)
{
	struct address_map *map = &((struct maps_object *)object)->map;
	bool changed = false;
	Py_buffer text;
	int err;

	if (!PyArg_ParseTuple(args, "y*", &text))
		return NULL;
	err = address_map_parse(map, text.buf, text.len, &changed);
	PyBuffer_Release(&text);
	return err ? raise_errno(err) : PyBool_FromLong(changed);
}

static PyObject *bytes_of(const void *items, size_t nr, size_t size)
{
	return PyBytes_FromStringAndSize(nr ? items : "", (Py_ssize_t)(nr * size));
}

static PyObject *maps_columns(PyObject *object, PyObject *unused)
{
	const struct address_map *map = &((struct maps_object *)object)->map;
	PyObject *bounds = new_array("Q", bytes_of(map->bounds, map->nr, 2 * sizeof(*map->bounds)));
	PyObject *kinds = bounds ? new_array("I", bytes_of(map->kinds, map->nr, sizeof(*map->kinds))) : NULL;

	(void)unused;
	if (!kinds) {
		Py_XDECREF(bounds);
		return NULL;
	}
	return Py_BuildValue("(NN)", bounds, kinds);
}

static PyObject *maps_kinds(PyObject *object, PyObject *args)
{
	const struct address_map *map = &((struct maps_object *)object)->map;
	Py_ssize_t first;
	PyObject *list;

	if (!PyArg_ParseTuple(args, "n", &first))
		return NULL;
	if (first < 0 || (size_t)first > map->nr_kinds)
		first = (Py_ssize_t)map->nr_kinds;
	list = PyList_New((Py_ssize_t)map->nr_kinds - first);
	for (size_t i = (size_t)first; list && i < map->nr_kinds; i++) {
		size_t size;
		const char *text = address_map_kind(map, i, &size);
		PyObject *bytes = PyBytes_FromStringAndSize(text, (Py_ssize_t)size);

		if (!bytes)
			Py_CLEAR(list);
		else
			PyList_SetItem(list, (Py_ssize_t)i - first, bytes);
	}
	return list;
}

static PyMethodDef maps_methods[] = {
	{"read", maps_read, METH_VARARGS, NULL},
	{"parse", maps_parse, METH_VARARGS, NULL},
	{"columns", maps_columns, METH_NOARGS, NULL},
	{"kinds", maps_kinds, METH_VARARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot maps_slots[] = {
	{Py_tp_new, maps_new},
	{Py_tp_dealloc, maps_dealloc},
	{Py_tp_methods, maps_methods},
	{0, NULL},
};

static PyType_Spec maps_spec = {
	.name = "isotherm._core.AddressMap",
	.basicsize = sizeof(struct maps_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = maps_slots,
};

static PyObject *mapping_words(PyObject *module, PyObject *args)
{
	Py_buffer bounds, kinds, words;
	PyObject *bytes = NULL;
	uint64_t *out;
	size_t nr, written;

	(void)module;
	if (!PyArg_ParseTuple(args, "y*y*y*", &bounds, &kinds, &words))
		return NULL;
	nr = kinds.len / sizeof(uint32_t);
	out = bounds.len / (Py_ssize_t)(2 * sizeof(*out)) == (Py_ssize_t)nr ? malloc(3 * nr * sizeof(*out) + 1) : NULL;
	if (out) {
		written = address_words(bounds.buf, kinds.buf, nr, words.buf, words.len / sizeof(*out), out);
		bytes = bytes_of(out, written, 3 * sizeof(*out));
	} else {
		PyErr_SetString(PyExc_ValueError, "bounds are not two u64 for each u32 of kinds");
	}
	free(out);
	PyBuffer_Release(&bounds);
	PyBuffer_Release(&kinds);
	PyBuffer_Release(&words);
	return bytes ? new_array("Q", bytes) : NULL;
}

#define MOST_RANGES (1 << 20)

static PyObject *coalesce_areas(PyObject *module, PyObject *args)
{
	PyObject *bytes = NULL;
	Py_ssize_t max_ranges;
	uint64_t *ranges;
	Py_buffer words;
	size_t nr = 0;
	int err = -EINVAL;

	(void)module;
	if (!PyArg_ParseTuple(args, "y*n", &words, &max_ranges))
		return NULL;
	ranges = max_ranges > 0 && max_ranges <= MOST_RANGES ? malloc(2 * max_ranges * sizeof(*ranges)) : NULL;
	if (ranges && words.len % sizeof(struct coalesce_area) == 0)
		err = coalesce(words.buf, words.len / sizeof(struct coalesce_area), max_ranges, ranges, &nr);
	if (err)
		raise_errno(err);
	else
		bytes = bytes_of(ranges, nr, 2 * sizeof(*ranges));
	free(ranges);
	PyBuffer_Release(&words);
	return bytes ? new_array("Q", bytes) : NULL;
}

static PyObject *give_back_memory(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
#ifdef __GLIBC__
	Py_BEGIN_ALLOW_THREADS
	malloc_trim(0);
	Py_END_ALLOW_THREADS
#endif
	Py_RETURN_NONE;
}

/** Fewer bytes than that come from the heap, of which glibc keeps no more than that for later. */
#define KEPT_BYTES (128 << 10)

static PyObject *keep_little_memory(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
#ifdef __GLIBC__
	// By itself it has a heap for each thread, and keeps as much as was once freed at a time.
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, KEPT_BYTES);
	mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
#endif
	Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
	{"keep_little_memory", keep_little_memory, METH_NOARGS, NULL},
	{"give_back_memory", give_back_memory, METH_NOARGS, NULL},
	{"mapping_words", mapping_words, METH_VARARGS, NULL},
	{"coalesce", coalesce_areas, METH_VARARGS, NULL},
	{NULL, NULL, 0, NULL},
};

int bind_maps(PyObject *module)
{
	PyTypeObject *type = add_type(module, "AddressMap", &maps_spec);

	Py_XDECREF((PyObject *)type);
	return type ? PyModule_AddFunctions(module, functions) : -1;
}
