// SPDX-License-Identifier: Apache-2.0
// _core.Rng: see rng.h.
#include "py/bind_util.h"
#include <stdlib.h>
#include <string.h>
#include "py/bind.h"
#include "py/bind_core.h"

struct rng_object {
	PyObject_HEAD
	struct rng rng;
	uint32_t *draws;
	bool busy;
};

static PyTypeObject *rng_type;

static int copy_draws(struct rng_object *self, PyObject *draws)
{
	Py_ssize_t nr = PySequence_Size(draws);

	if (nr < 0)
		return -1;
	self->draws = calloc((size_t)nr + 1, sizeof(*self->draws));
	if (!self->draws) {
		PyErr_NoMemory();
		return -1;
	}
	for (Py_ssize_t i = 0; i < nr; i++) {
		PyObject *item = PySequence_GetItem(draws, i);

		if (!item)
			return -1;
		self->draws[i] = (uint32_t)PyLong_AsUnsignedLongMask(item);
		Py_DECREF(item);
		if (PyErr_Occurred())
			return -1;
	}
	self->rng.draws = self->draws;
	self->rng.nr_draws = (size_t)nr;
	return 0;
}

static PyObject *rng_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static const char *const kinds[] = {"splitmix", "lcg", "draws"};
	static char *names[] = {"kind", "seed", "draws", NULL};
	const char *kind = "splitmix";
	unsigned long long seed = 0;
	PyObject *draws = NULL;
	struct rng_object *self;
	int k = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|sKO", names, &kind, &seed, &draws))
		return NULL;
	while (k < 3 && strcmp(kind, kinds[k]))
		k++;
	if (k == 3)
		return PyErr_Format(PyExc_ValueError, "no random generator '%s'", kind);
	self = (struct rng_object *)PyType_GenericAlloc(type, 0);
	if (!self)
		return NULL;
	rng_init(&self->rng, (enum rng_kind)k, seed);
	if (draws && copy_draws(self, draws) < 0) {
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

static void rng_dealloc(PyObject *self)
{
	free(((struct rng_object *)self)->draws);
	free_object(self);
}

static PyObject *py_u32(PyObject *self, PyObject *none)
{
	struct rng *rng = rng_of(self);

	(void)none;
	return rng ? PyLong_FromUnsignedLong(rng_u32(rng)) : NULL;
}

static PyObject *py_range(PyObject *self, PyObject *args)
{
	unsigned long long l, r;
	struct rng *rng = PyArg_ParseTuple(args, "KK", &l, &r) ? rng_of(self) : NULL;

	return rng ? PyLong_FromUnsignedLongLong(rng_range(rng, l, r)) : NULL;
}

static PyObject *py_state(PyObject *self, void *closure)
{
	(void)closure;
	return PyLong_FromUnsignedLongLong(((struct rng_object *)self)->rng.state);
}

static PyMethodDef methods[] = {
	{"u32", py_u32, METH_NOARGS, NULL},
	{"range", py_range, METH_VARARGS, NULL},
	{0},
};
static PyGetSetDef getset[] = {
	{"state", py_state, NULL, NULL, NULL},
	{0},
};
static PyType_Slot slots[] = {
	{Py_tp_new, rng_new},
	{Py_tp_dealloc, rng_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, getset},
	{0, NULL},
};
static PyType_Spec spec = {
	.name = "isotherm._core.Rng",
	.basicsize = sizeof(struct rng_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};

struct rng *rng_of(PyObject *object)
{
	if (!PyObject_TypeCheck(object, rng_type)) {
		PyErr_SetString(PyExc_TypeError, "a _core.Rng is needed");
		return NULL;
	}
	if (((struct rng_object *)object)->busy) {
		PyErr_SetString(PyExc_RuntimeError, "a sampler is drawing from this generator");
		return NULL;
	}
	return &((struct rng_object *)object)->rng;
}

void rng_set_busy(PyObject *object, bool busy)
{
	((struct rng_object *)object)->busy = busy;
}

int bind_rng(PyObject *module)
{
	rng_type = add_type(module, "Rng", &spec);
	return rng_type ? 0 : -1;
}
