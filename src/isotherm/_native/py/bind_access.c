// SPDX-License-Identifier: Apache-2.0
#include "py/bind_util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "access/access_bpf.h"
#include "py/bind.h"
#include "sys/page_idle.h"

struct access_object {
	PyObject_HEAD
	struct access_bpf *access;
	PyObject *walker;
};

static struct access_bpf *access_of(PyObject *object)
{
	struct access_object *self = (struct access_object *)object;

	if (!self->access) {
		PyErr_SetString(PyExc_ValueError, "the access check is closed");
		return NULL;
	}
	// The walker may have been closed behind our back.
	return walker_of(self->walker) ? self->access : NULL;
}

static PyObject *access_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"walker", "overhead_ns", "first_sweep_ns", "steady_sweep_ns",
				"follow_from", "page_idle", "ignore_folios", NULL};
	struct access_settings settings = {.overhead_ns = 10000000};
	long long overhead = 10000000, first = 0, steady = 0;
	struct access_object *self;
	struct access_bpf *access;
	struct walker *walker;
	PyObject *walker_object;
	char error[512] = "";
	int ignore = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$LLLizp", names, &walker_object, &overhead,
					 &first, &steady, &settings.follow_from, &settings.page_idle,
					 &ignore))
		return NULL;
	settings.overhead_ns = overhead;
	settings.first_sweep_ns = first;
	settings.steady_sweep_ns = steady;
	settings.ignore_folios = ignore;
	walker = walker_of(walker_object);
	if (!walker)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	access = access_bpf_create(walker, &settings, error, sizeof(error));
	Py_END_ALLOW_THREADS
	if (!access) {
		PyErr_SetString(PyExc_OSError, error);
		return NULL;
	}
	self = (struct access_object *)PyType_GenericAlloc(type, 0);
	if (!self) {
		access_bpf_destroy(access);
		return NULL;
	}
	self->access = access;
	self->walker = Py_NewRef(walker_object);
	return (PyObject *)self;
}

static PyObject *access_close(PyObject *object, PyObject *unused)
{
	struct access_object *self = (struct access_object *)object;

	(void)unused;
	if (self->access)
		access_bpf_destroy(self->access);
	self->access = NULL;
	Py_RETURN_NONE;
}

static void access_dealloc(PyObject *object)
{
	struct access_object *self = (struct access_object *)object;

	if (self->access)
		access_bpf_destroy(self->access);
	Py_XDECREF(self->walker);
	free_object(object);
}

static PyObject *set_targets(PyObject *object, PyObject *list)
{
	struct access_bpf *access = access_of(object);
	struct access_process *processes;
	Py_ssize_t nr;
	int err;

	if (!access || (nr = PySequence_Size(list)) < 0)
		return NULL;
	processes = calloc(nr + 1, sizeof(*processes));
	if (!processes)
		return PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < nr; i++) {
		PyObject *item = PySequence_GetItem(list, i);

		if (item)
			PyArg_ParseTuple(item, "Iii", &processes[i].id, &processes[i].pid,
					 &processes[i].pidfd);
		Py_XDECREF(item);
		if (PyErr_Occurred()) {
			free(processes);
			return NULL;
		}
	}
	err = access_bpf_set_targets(access, processes, nr);
	free(processes);
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *set_mappings(PyObject *object, PyObject *args)
{
	struct access_bpf *access = access_of(object);
	Py_ssize_t target;
	Py_buffer words;
	int err;

	if (!access || !PyArg_ParseTuple(args, "ny*", &target, &words))
		return NULL;
	if (target < 0 || words.len % sizeof(struct mapping))
		err = -EINVAL;
	else
		err = access_bpf_set_mappings(access, target, words.buf,
					      words.len / sizeof(struct mapping));
	PyBuffer_Release(&words);
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

/** Three arrays of 64-bit addresses, 32-bit targets and 32-bit counts, of equal length. */
static struct access_sample *join_samples(const Py_buffer *parts, Py_ssize_t *nr)
{
	const uint64_t *addresses = parts[0].buf;
	const uint32_t *targets = parts[1].buf, *checked = parts[2].buf;
	struct access_sample *samples;

	*nr = parts[0].len / sizeof(*addresses);
	if (parts[1].len != *nr * (Py_ssize_t)sizeof(*targets) ||
	    parts[2].len != *nr * (Py_ssize_t)sizeof(*checked)) {
		PyErr_SetString(PyExc_ValueError, "addresses u64, targets u32 and checked u32 must be of "
				"the same length");
		return NULL;
	}
	samples = malloc(*nr * sizeof(*samples) + 1);
	if (!samples) {
		PyErr_NoMemory();
		return NULL;
	}
	for (Py_ssize_t i = 0; i < *nr; i++)
		samples[i] = (struct access_sample){addresses[i], targets[i], checked[i]};
	return samples;
}

static PyObject *turn(PyObject *object, PyObject *args)
{
	struct access_bpf *access = access_of(object);
	struct access_sample *samples;
	Py_buffer parts[3];
	PyObject *results;
	Py_ssize_t nr;
	int err;

	if (!access || !PyArg_ParseTuple(args, "y*y*y*", &parts[0], &parts[1], &parts[2]))
		return NULL;
	samples = join_samples(parts, &nr);
	for (int i = 0; i < 3; i++)
		PyBuffer_Release(&parts[i]);
	if (!samples)
		return NULL;
	results = PyBytes_FromStringAndSize(NULL, access->nr_pending);
	if (!results) {
		free(samples);
		return NULL;
	}
	uint8_t *bytes = (uint8_t *)PyBytes_AsString(results);

	Py_BEGIN_ALLOW_THREADS
	err = access_bpf_turn(access, bytes, samples, nr);
	Py_END_ALLOW_THREADS
	free(samples);
	if (err) {
		Py_DECREF(results);
		return raise_errno(err);
	}
	return results;
}

static PyObject *exempt(PyObject *object, PyObject *ns)
{
	struct access_bpf *access = access_of(object);
	long long spent = access ? PyLong_AsLongLong(ns) : 0;

	if (!access || PyErr_Occurred())
		return NULL;
	if (access->cpu_mark)
		access->cpu_mark += spent;
	Py_RETURN_NONE;
}

static PyObject *take_cleared(PyObject *object, PyObject *unused)
{
	struct access_bpf *access = access_of(object);

	(void)unused;
	return access ? PyLong_FromUnsignedLongLong(access->ops.take_cleared(access)) : NULL;
}

static void release_owner(PyObject *capsule)
{
	Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule));
}

static PyObject *native(PyObject *object, PyObject *unused)
{
	struct access_bpf *access = access_of(object);
	PyObject *capsule = access ? PyCapsule_New(&access->ops, ACCESS_OPS_CAPSULE, release_owner) : NULL;

	(void)unused;
	if (capsule)
		PyCapsule_SetContext(capsule, Py_NewRef(object));
	return capsule;
}

static PyObject *unobservable(PyObject *object, PyObject *index)
{
	struct access_bpf *access = access_of(object);
	size_t target = access ? PyLong_AsSize_t(index) : 0;
	PyObject *list;

	if (PyErr_Occurred())
		return NULL;
	if (target >= access->nr_memories)
		return raise_errno(-EINVAL);
	const struct target_memory *memory = &access->memories[target];

	list = PyList_New(memory->nr_refused);
	for (size_t i = 0; list && i < memory->nr_refused; i++) {
		const struct refused_range *range = &memory->refused[i];
		PyObject *item = Py_BuildValue("(KKs)", range->start, range->end,
					       unseen_reason_names[range->reason]);

		if (!item || PyList_SetItem(list, i, item)) {
			Py_DECREF(list);
			return NULL;
		}
	}
	return list;
}

static PyObject *self_test(PyObject *object, PyObject *unused)
{
	struct access_bpf *access = access_of(object);
	char error[512];

	(void)unused;
	if (!access)
		return NULL;
	if (access_bpf_self_test(access, error, sizeof(error)) < 0) {
		PyErr_SetString(PyExc_OSError, error);
		return NULL;
	}
	return Py_BuildValue("(dd)", access->read_ns / 1e3, access->clear_ns / 1e3);
}

static PyObject *unseen_counts(const struct access_bpf *access)
{
	PyObject *counts = PyDict_New();

	for (int reason = 0; counts && reason < NR_UNSEEN; reason++) {
		uint64_t nr = 0;

		for (size_t i = 0; i < access->nr_memories; i++)
			nr += access->memories[i].unseen[reason];
		PyObject *value = PyLong_FromUnsignedLongLong(nr);

		if (!value || PyDict_SetItemString(counts, unseen_reason_names[reason], value))
			Py_CLEAR(counts);
		Py_XDECREF(value);
	}
	return counts;
}

static PyObject *stats(PyObject *object, PyObject *unused)
{
	struct access_bpf *access = access_of(object);

	(void)unused;
	if (!access)
		return NULL;
	const struct access_stats *s = &access->stats;
	const struct sweeper *sweeper = &access->sweeper;
	PyObject *unseen = unseen_counts(access);

	return unseen ? Py_BuildValue(
		"{sK sK sK sK sK sK sK sK sK sO sO sd sd sd sN}", "reads", s->reads, "young", s->young,
		"clears", s->clears, "missed", s->missed, "stuck", s->stuck, "followed", s->followed,
		"sweep_steps", sweeper->steps, "swept_bytes", sweeper->bytes,
		"unswept_bytes", sweeper->skipped,
		"first_sweep_done", sweeper->first_done ? Py_True : Py_False,
		"large_folios", sweeper->large_ok ? Py_True : Py_False,
		"read_us", access->read_ns / 1e3, "own_clear_us", access->clear_ns / 1e3,
		"clear_us", access->budget.clear_ns / 1e3, "unobservable", unseen) : NULL;
}

static PyMethodDef access_methods[] = {
	{"set_targets", set_targets, METH_O, NULL},
	{"set_mappings", set_mappings, METH_VARARGS, NULL},
	{"turn", turn, METH_VARARGS, NULL},
	{"take_cleared", take_cleared, METH_NOARGS, NULL},
	{"exempt", exempt, METH_O, NULL},
	{"native", native, METH_NOARGS, NULL},
	{"unobservable", unobservable, METH_O, NULL},
	{"self_test", self_test, METH_NOARGS, NULL},
	{"stats", stats, METH_NOARGS, NULL},
	{"close", access_close, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot access_slots[] = {
	{Py_tp_new, access_new},
	{Py_tp_dealloc, access_dealloc},
	{Py_tp_methods, access_methods},
	{0, NULL},
};

static PyType_Spec access_spec = {
	.name = "isotherm._core.AccessBpf",
	.basicsize = sizeof(struct access_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = access_slots,
};

int bind_access(PyObject *module)
{
	PyTypeObject *type = add_type(module, "AccessBpf", &access_spec);

	Py_XDECREF((PyObject *)type);
	return type ? PyModule_AddStringConstant(module, "PAGE_IDLE_BITMAP", PAGE_IDLE_BITMAP) : -1;
}
