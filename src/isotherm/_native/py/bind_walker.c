// SPDX-License-Identifier: Apache-2.0
#include "py/bind_util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "py/bind.h"
#include "sys/failure.h"
#include "sys/gate.h"
#include "sys/page.h"
#include "walker/walker.h"

struct walker_object {
	PyObject_HEAD
	struct walker *walker;
};

static PyTypeObject *walker_type;

struct walker *walker_of(PyObject *object)
{
	if (!walker_type || !PyObject_TypeCheck(object, walker_type)) {
		PyErr_SetString(PyExc_TypeError, "a Walker is needed");
		return NULL;
	}
	return ((struct walker_object *)object)->walker;
}

/** The walker of @object, entered; NULL with an exception set. */
static struct walker *enter(PyObject *object)
{
	struct walker *walker = ((struct walker_object *)object)->walker;

	return enter_gate(walker_gate(walker), "walker") < 0 ? NULL : walker;
}

static void leave(struct walker *walker)
{
	gate_leave(walker_gate(walker));
}

static PyObject *walker_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	struct walker_objects objects;
	struct walker_object *self;
	struct walker *walker;
	struct failure failure;
	Py_buffer base, fast;

	if (kwargs && PyDict_Size(kwargs)) {
		PyErr_SetString(PyExc_TypeError, "Walker takes no keyword arguments");
		return NULL;
	}
	if (!PyArg_ParseTuple(args, "y*y*", &base, &fast))
		return NULL;
	objects = (struct walker_objects){base.buf, fast.buf, base.len, fast.len};
	Py_BEGIN_ALLOW_THREADS
	walker = walker_open(&objects, &failure);
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&base);
	PyBuffer_Release(&fast);
	if (!walker)
		return raise_failure(&failure);
	self = (struct walker_object *)PyType_GenericAlloc(type, 0);
	if (!self) {
		walker_free(walker);
		return NULL;
	}
	self->walker = walker;
	return (PyObject *)self;
}

static PyObject *walker_close_method(PyObject *object, PyObject *unused)
{
	struct walker *walker = enter(object);

	(void)unused;
	if (walker) {
		walker_close(walker);
		leave(walker);
	} else if (PyErr_ExceptionMatches(PyExc_ValueError)) {
		PyErr_Clear();	// closed before
	} else {
		return NULL;
	}
	Py_RETURN_NONE;
}

static void walker_dealloc(PyObject *object)
{

	walker_free(((struct walker_object *)object)->walker);
	free_object(object);
}

static PyObject *set_targets(PyObject *object, PyObject *list)
{
	Py_ssize_t nr = PySequence_Size(list);
	struct walker_target *targets;
	struct walker *walker;
	int ret;

	if (nr < 0)
		return NULL;
	targets = calloc(nr + 1, sizeof(*targets));
	if (!targets)
		return PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < nr; i++) {
		PyObject *pid = PySequence_GetItem(list, i);
		long value = pid ? PyLong_AsLong(pid) : -1;

		Py_XDECREF(pid);
		if (PyErr_Occurred()) {
			free(targets);
			return NULL;
		}
		targets[i].pid = value;
	}
	walker = enter(object);
	ret = walker ? walker_set_targets(walker, targets, nr) : 0;
	free(targets);
	if (!walker)
		return NULL;
	leave(walker);
	if (ret)
		return raise_errno(ret);
	Py_RETURN_NONE;
}

static PyObject *get_targets(PyObject *object, PyObject *unused)
{
	struct walker *walker = enter(object);
	const struct walker_target *known;
	struct walker_target *targets;
	PyObject *list;
	size_t nr;

	(void)unused;
	if (!walker)
		return NULL;
	known = walker_targets(walker, &nr);
	targets = malloc(nr * sizeof(*targets) + 1);
	if (targets && nr)
		memcpy(targets, known, nr * sizeof(*targets));
	leave(walker);
	if (!targets)
		return PyErr_NoMemory();
	list = PyList_New(nr);
	for (size_t i = 0; list && i < nr; i++) {
		const struct walker_target *t = &targets[i];
		PyObject *item = Py_BuildValue("(iiOiK)", t->pid, t->state, t->single_cpu ? Py_True : Py_False,
					       t->cpu, (unsigned long long)t->start_time);

		if (!item || PyList_SetItem(list, i, item))
			Py_CLEAR(list);
	}
	free(targets);
	return list;
}

static PyObject *accept_target(PyObject *object, PyObject *index)
{
	size_t value = PyLong_AsSize_t(index);
	struct walker *walker = PyErr_Occurred() ? NULL : enter(object);

	if (!walker)
		return NULL;
	walker_accept(walker, value);
	leave(walker);
	Py_RETURN_NONE;
}

static struct leaf_request *parse_requests(PyObject *list, Py_ssize_t *nr)
{
	struct leaf_request *requests;

	*nr = PySequence_Size(list);
	if (*nr < 0)
		return NULL;
	requests = calloc(*nr + 1, sizeof(*requests));
	if (!requests) {
		PyErr_NoMemory();
		return NULL;
	}
	for (Py_ssize_t i = 0; i < *nr; i++) {
		PyObject *pair = PySequence_GetItem(list, i);
		unsigned long long addr;
		unsigned int target;

		if (pair && PyArg_ParseTuple(pair, "KI", &addr, &target))
			requests[i] = (struct leaf_request){.addr = addr, .target = target};
		Py_XDECREF(pair);
		if (PyErr_Occurred()) {
			free(requests);
			return NULL;
		}
	}
	return requests;
}

static PyObject *leaf_tuple(const struct leaf *leaf)
{
	return Py_BuildValue("(iKiiiiiiI)", leaf->state, (unsigned long long)leaf->pfn, leaf->level,
			     leaf->young, leaf->dirty, leaf->write, leaf->folio_flags,
			     leaf->folio_order, leaf->folio_index);
}

static PyObject *leaf_list(const struct leaf *leaves, Py_ssize_t nr)
{
	PyObject *list = PyList_New(nr);

	for (Py_ssize_t i = 0; list && i < nr; i++) {
		PyObject *item = leaf_tuple(&leaves[i]);

		if (!item || PyList_SetItem(list, i, item)) {
			Py_DECREF(list);
			return NULL;
		}
	}
	return list;
}

static PyObject *read_leaves(PyObject *object, PyObject *args)
{
	struct leaf_request *requests;
	PyObject *list, *result = NULL;
	struct walker *walker;
	struct leaf *leaves;
	Py_ssize_t nr;
	int folios = 0, ret;

	if (!PyArg_ParseTuple(args, "O|p", &list, &folios))
		return NULL;
	requests = parse_requests(list, &nr);
	if (!requests)
		return NULL;
	leaves = calloc(nr + 1, sizeof(*leaves));
	if (!leaves) {
		free(requests);
		return PyErr_NoMemory();
	}
	walker = enter(object);
	if (walker) {
		Py_BEGIN_ALLOW_THREADS
		ret = walker_read(walker, requests, nr, leaves, folios);
		leave(walker);
		Py_END_ALLOW_THREADS
		result = ret ? raise_errno(ret) : leaf_list(leaves, nr);
	}
	free(requests);
	free(leaves);
	return result;
}

static PyObject *read_tables(PyObject *object, PyObject *args)
{
	PyObject *tables, *pmds, *result = NULL;
	unsigned long long start;
	struct walker *walker;
	Py_ssize_t target, nr;
	int ret;

	if (!PyArg_ParseTuple(args, "nKn", &target, &start, &nr))
		return NULL;
	if (nr < 0 || nr > WALKER_MAX_TABLES)
		return raise_errno(-E2BIG);
	tables = PyBytes_FromStringAndSize(NULL, nr * PAGE);
	pmds = PyBytes_FromStringAndSize(NULL, nr * 8);
	walker = tables && pmds ? enter(object) : NULL;
	if (walker) {
		uint64_t (*to)[512] = (void *)PyBytes_AsString(tables);
		uint64_t *entries = (void *)PyBytes_AsString(pmds);

		Py_BEGIN_ALLOW_THREADS
		ret = walker_read_tables(walker, target, start, nr, to, entries);
		leave(walker);
		Py_END_ALLOW_THREADS
		result = ret ? raise_errno(ret) : PyTuple_Pack(2, tables, pmds);
	}
	Py_XDECREF(tables);
	Py_XDECREF(pmds);
	return result;
}

static PyObject *get_facts(PyObject *object, PyObject *unused)
{
	struct walker *walker = enter(object);
	const struct walker_facts *facts;

	(void)unused;
	if (!walker)
		return NULL;
	facts = walker_facts(walker);	// they never change
	leave(walker);
	return Py_BuildValue("{sOsOsisKssssss}", "fast", facts->fast ? Py_True : Py_False,
			     "folios", facts->folios ? Py_True : Py_False, "levels", facts->levels,
			     "direct_map", (unsigned long long)facts->direct_map,
			     "direct_map_source", facts->direct_map_source,
			     "fast_why_not", facts->fast_why_not,
			     "folios_why_not", facts->folios_why_not);
}

static PyMethodDef walker_methods[] = {
	{"set_targets", set_targets, METH_O, NULL},
	{"targets", get_targets, METH_NOARGS, NULL},
	{"accept", accept_target, METH_O, NULL},
	{"read", read_leaves, METH_VARARGS, NULL},
	{"read_tables", read_tables, METH_VARARGS, NULL},
	{"facts", get_facts, METH_NOARGS, NULL},
	{"close", walker_close_method, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot walker_slots[] = {
	{Py_tp_new, walker_new},
	{Py_tp_dealloc, walker_dealloc},
	{Py_tp_methods, walker_methods},
	{0, NULL},
};

static PyType_Spec walker_spec = {
	.name = "isotherm._core.Walker",
	.basicsize = sizeof(struct walker_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = walker_slots,
};

int bind_walker(PyObject *module)
{
	walker_type = add_type(module, "Walker", &walker_spec);
	return walker_type ? 0 : -1;
}
