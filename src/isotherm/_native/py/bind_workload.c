// SPDX-License-Identifier: Apache-2.0
// TouchArea, touch_paced() and touch_busy(): see workload.h.
#include "py/bind_util.h"
#include <stdlib.h>
#include "py/bind.h"
#include "sys/page.h"
#include "workload/workload.h"

struct area_object {
	PyObject_HEAD
	struct touch_area area;
};

static PyTypeObject *area_type;

static PyObject *area_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"nbytes", "huge", "shared", NULL};
	unsigned long long nbytes;
	int huge = 0, shared = 0, err;
	struct area_object *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "K|pp", names, &nbytes, &huge, &shared))
		return NULL;
	self = (struct area_object *)PyType_GenericAlloc(type, 0);
	if (!self)
		return NULL;
	err = touch_area_init(&self->area, nbytes, huge, shared);
	if (err) {
		Py_DECREF(self);
		return raise_errno(err);
	}
	return (PyObject *)self;
}

static void area_dealloc(PyObject *self)
{

	touch_area_deinit(&((struct area_object *)self)->area);
	free_object(self);
}

static PyObject *area_populate(PyObject *self, PyObject *none)
{
	(void)none;
	Py_BEGIN_ALLOW_THREADS
	touch_populate(&((struct area_object *)self)->area);
	Py_END_ALLOW_THREADS
	Py_RETURN_NONE;
}

static PyObject *area_address(PyObject *self, void *closure)
{
	(void)closure;
	return PyLong_FromVoidPtr(((struct area_object *)self)->area.start);
}

static PyObject *area_nbytes(PyObject *self, void *closure)
{
	(void)closure;
	return PyLong_FromSize_t(((struct area_object *)self)->area.bytes);
}

static PyMethodDef area_methods[] = {
	{"populate", area_populate, METH_NOARGS, NULL},
	{0},
};
static PyGetSetDef area_getset[] = {
	{"address", area_address, NULL, NULL, NULL},
	{"nbytes", area_nbytes, NULL, NULL, NULL},
	{0},
};
static PyType_Slot area_slots[] = {
	{Py_tp_new, area_new},
	{Py_tp_dealloc, area_dealloc},
	{Py_tp_methods, area_methods},
	{Py_tp_getset, area_getset},
	{0, NULL},
};
static PyType_Spec area_spec = {
	.name = "isotherm._core.TouchArea",
	.basicsize = sizeof(struct area_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = area_slots,
};

/** (area, offset, nbytes, period_ns, random), checked against the area's bounds. */
static int parse_range(PyObject *item, struct touch_range *range)
{
	unsigned long long offset, nbytes, period_ns;
	struct area_object *area;
	int random;

	if (!PyArg_ParseTuple(item, "O!KKKp", area_type, &area, &offset, &nbytes, &period_ns,
			      &random))
		return -1;
	if (!nbytes || offset > area->area.bytes || nbytes > area->area.bytes - offset ||
	    offset % PAGE || nbytes % PAGE || !period_ns) {
		PyErr_SetString(PyExc_ValueError,
				"a touched range must be whole pages inside its area, with a period");
		return -1;
	}
	*range = (struct touch_range){
		.start = area->area.start + offset,
		.bytes = nbytes,
		.period_ns = period_ns,
		.random = random,
	};
	return 0;
}

/** NULL with an exception set, or an array to be freed. @list is a tuple: it keeps the areas. */
static struct touch_range *parse_ranges(PyObject *list, size_t *nr)
{
	Py_ssize_t size = PyTuple_Size(list);
	struct touch_range *ranges;

	if (size < 0)
		return NULL;
	ranges = calloc(size ? (size_t)size : 1, sizeof(*ranges));
	if (!ranges) {
		PyErr_NoMemory();
		return NULL;
	}
	for (Py_ssize_t i = 0; i < size; i++) {
		PyObject *item = PyTuple_GetItem(list, i);

		if (!PyTuple_Check(item)) {
			PyErr_SetString(PyExc_TypeError, "a touched range is a tuple");
			free(ranges);
			return NULL;
		}
		if (parse_range(item, &ranges[i])) {
			free(ranges);
			return NULL;
		}
	}
	*nr = (size_t)size;
	return ranges;
}

static PyObject *run(PyObject *args, void (*loop)(const struct touch_range *, size_t, uint64_t,
						  struct touch_control *))
{
	unsigned long long until_ns;
	struct touch_range *ranges;
	PyObject *list;
	Py_buffer control;
	size_t nr;

	if (!PyArg_ParseTuple(args, "O!Kw*", &PyTuple_Type, &list, &until_ns, &control))
		return NULL;
	if ((size_t)control.len < sizeof(struct touch_control) ||
	    (uintptr_t)control.buf % sizeof(uint64_t)) {
		PyBuffer_Release(&control);
		PyErr_SetString(PyExc_ValueError, "the control block is eight aligned 64-bit words");
		return NULL;
	}
	ranges = parse_ranges(list, &nr);
	if (!ranges) {
		PyBuffer_Release(&control);
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS
	loop(ranges, nr, until_ns, control.buf);
	Py_END_ALLOW_THREADS
	free(ranges);
	PyBuffer_Release(&control);
	Py_RETURN_NONE;
}

static PyObject *paced(PyObject *module, PyObject *args)
{
	(void)module;
	return run(args, touch_paced);
}

static PyObject *busy(PyObject *module, PyObject *args)
{
	(void)module;
	return run(args, touch_busy);
}

static PyMethodDef functions[] = {
	{"touch_paced", paced, METH_VARARGS, NULL},
	{"touch_busy", busy, METH_VARARGS, NULL},
	{0},
};

int bind_workload(PyObject *module)
{
	area_type = add_type(module, "TouchArea", &area_spec);
	return area_type ? PyModule_AddFunctions(module, functions) : -1;
}
