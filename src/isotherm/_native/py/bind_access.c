// SPDX-License-Identifier: Apache-2.0
#include "py/bind_util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "access/access_bpf.h"
#include "py/bind.h"
#include "sys/failure.h"
#include "sys/gate.h"

struct access_object {
	PyObject_HEAD
	struct access_bpf *access;
	PyObject *walker;
};

/** The access check of @object, from inside its walker's gate; NULL with an exception set. */
static struct access_bpf *enter(PyObject *object)
{
	struct access_bpf *access = ((struct access_object *)object)->access;
	struct gate *gate = walker_gate(access->walker);

	// The walker may have been closed behind our back.
	if (enter_gate(gate, "walker") < 0)
		return NULL;
	if (!access->closed)
		return access;
	gate_leave(gate);
	PyErr_SetString(PyExc_ValueError, "the access check is closed");
	return NULL;
}

static void leave(struct access_bpf *access)
{
	gate_leave(walker_gate(access->walker));
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
	struct failure failure;
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
	if (!walker || enter_gate(walker_gate(walker), "walker") < 0)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	access = access_bpf_create(walker, &settings, &failure);
	gate_leave(walker_gate(walker));
	Py_END_ALLOW_THREADS
	if (!access)
		return raise_failure(&failure);
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
	struct access_bpf *access = ((struct access_object *)object)->access;
	struct gate *gate = walker_gate(access->walker);

	(void)unused;
	if (enter_gate(gate, "walker") < 0) {
		if (!PyErr_ExceptionMatches(PyExc_ValueError))
			return NULL;
		// Nobody comes in through a closed walker.
		PyErr_Clear();
		access_bpf_close(access);
	} else {
		access_bpf_close(access);
		gate_leave(gate);
	}
	Py_RETURN_NONE;
}

static void access_dealloc(PyObject *object)
{
	struct access_object *self = (struct access_object *)object;

	access_bpf_destroy(self->access);
	Py_XDECREF(self->walker);
	free_object(object);
}

static PyObject *set_targets(PyObject *object, PyObject *list)
{
	Py_ssize_t nr = PySequence_Size(list);
	struct access_process *processes;
	struct access_bpf *access;
	int err;

	if (nr < 0)
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
	access = enter(object);
	err = access ? access_bpf_set_targets(access, processes, nr) : 0;
	free(processes);
	if (!access)
		return NULL;
	leave(access);
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *set_mappings(PyObject *object, PyObject *args)
{
	struct access_bpf *access;
	Py_ssize_t target;
	Py_buffer words;
	int err = -EINVAL;

	if (!PyArg_ParseTuple(args, "ny*", &target, &words))
		return NULL;
	access = enter(object);
	if (access) {
		if (target >= 0 && words.len % sizeof(struct mapping) == 0)
			err = access_bpf_set_mappings(access, target, words.buf,
						      words.len / sizeof(struct mapping));
		leave(access);
	}
	PyBuffer_Release(&words);
	if (!access)
		return NULL;
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *settled(PyObject *object, PyObject *unused)
{
	struct access_bpf *access = enter(object);
	bool is;

	(void)unused;
	if (!access)
		return NULL;
	is = access_bpf_is_settled(access);
	leave(access);
	return PyBool_FromLong(is);
}

static PyObject *rest(PyObject *object, PyObject *args)
{
	struct access_bpf *access;
	Py_buffer resting;
	int err = 0;

	if (!PyArg_ParseTuple(args, "y*", &resting))
		return NULL;
	access = enter(object);
	if (access) {
		err = access_bpf_rest(access, resting.buf, resting.len);
		leave(access);
	}
	PyBuffer_Release(&resting);
	if (!access)
		return NULL;
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
	struct access_bpf *access;
	struct access_sample *samples;
	Py_buffer parts[3];
	PyObject *results;
	Py_ssize_t nr, nr_results;
	int err;

	if (!PyArg_ParseTuple(args, "y*y*y*", &parts[0], &parts[1], &parts[2]))
		return NULL;
	samples = join_samples(parts, &nr);
	for (int i = 0; i < 3; i++)
		PyBuffer_Release(&parts[i]);
	if (!samples)
		return NULL;
	access = enter(object);
	nr_results = access ? access->nr_pending : 0;
	if (access)
		leave(access);
	results = access ? PyBytes_FromStringAndSize(NULL, nr_results) : NULL;
	if (!results) {
		free(samples);
		return NULL;
	}
	uint8_t *bytes = (uint8_t *)PyBytes_AsString(results);

	Py_BEGIN_ALLOW_THREADS
	err = access_bpf_turn(access, bytes, nr_results, samples, nr);
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
	long long spent = PyLong_AsLongLong(ns);
	struct access_bpf *access = PyErr_Occurred() ? NULL : enter(object);

	if (!access)
		return NULL;
	if (access->cpu_mark)
		access->cpu_mark += spent;
	leave(access);
	Py_RETURN_NONE;
}

static PyObject *take_cleared(PyObject *object, PyObject *unused)
{
	struct access_bpf *access = enter(object);
	uint64_t cleared;

	(void)unused;
	if (!access)
		return NULL;
	leave(access);
	Py_BEGIN_ALLOW_THREADS
	cleared = access->ops.take_cleared(access);
	Py_END_ALLOW_THREADS
	return PyLong_FromUnsignedLongLong(cleared);
}

static void release_owner(PyObject *capsule)
{
	Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule));
}

static PyObject *native(PyObject *object, PyObject *unused)
{
	struct access_bpf *access = enter(object);
	PyObject *capsule;

	(void)unused;
	if (!access)
		return NULL;
	leave(access);
	capsule = PyCapsule_New(&access->ops, ACCESS_OPS_CAPSULE, release_owner);
	if (capsule)
		PyCapsule_SetContext(capsule, Py_NewRef(object));
	return capsule;
}

static PyObject *unobservable(PyObject *object, PyObject *index)
{
	size_t target = PyLong_AsSize_t(index), nr = 0;
	struct access_bpf *access = PyErr_Occurred() ? NULL : enter(object);
	struct refused_range *refused = NULL;
	bool known;
	PyObject *list;

	if (!access)
		return NULL;
	known = target < access->nr_memories;
	if (known) {
		nr = access->memories[target].nr_refused;
		refused = malloc(nr * sizeof(*refused) + 1);
		if (refused && nr)
			memcpy(refused, access->memories[target].refused, nr * sizeof(*refused));
	}
	leave(access);
	if (!refused)
		return known ? PyErr_NoMemory() : raise_errno(-EINVAL);
	list = PyList_New(nr);
	for (size_t i = 0; list && i < nr; i++) {
		const struct refused_range *range = &refused[i];
		PyObject *item = Py_BuildValue("(KKs)", range->start, range->end,
					       unseen_reason_names[range->reason]);

		if (!item || PyList_SetItem(list, i, item))
			Py_CLEAR(list);
	}
	free(refused);
	return list;
}

static PyObject *self_test(PyObject *object, PyObject *unused)
{
	struct access_bpf *access = enter(object);
	struct failure failure;
	double read_ns, clear_ns;
	int err;

	(void)unused;
	if (!access)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	err = access_bpf_self_test(access, &failure);
	read_ns = access->read_ns;
	clear_ns = access->clear_ns;
	leave(access);
	Py_END_ALLOW_THREADS
	if (err < 0)
		return raise_failure(&failure);
	return Py_BuildValue("(dd)", read_ns / 1e3, clear_ns / 1e3);
}

static PyObject *unseen_counts(const uint64_t unseen[NR_UNSEEN])
{
	PyObject *counts = PyDict_New();

	for (int reason = 0; counts && reason < NR_UNSEEN; reason++) {
		PyObject *value = PyLong_FromUnsignedLongLong(unseen[reason]);

		if (!value || PyDict_SetItemString(counts, unseen_reason_names[reason], value))
			Py_CLEAR(counts);
		Py_XDECREF(value);
	}
	return counts;
}

static PyObject *stats(PyObject *object, PyObject *unused)
{
	struct access_bpf *access = enter(object), now;
	uint64_t counts[NR_UNSEEN] = {0};

	(void)unused;
	if (!access)
		return NULL;
	now = *access;
	for (size_t i = 0; i < access->nr_memories; i++)
		for (int reason = 0; reason < NR_UNSEEN; reason++)
			counts[reason] += access->memories[i].unseen[reason];
	leave(access);
	const struct access_stats *s = &now.stats;
	const struct sweeper *sweeper = &now.sweeper;
	PyObject *unseen = unseen_counts(counts);

	return unseen ? Py_BuildValue(
		"{sK sK sK sK sK sK sK sK sK sO sO sd sd sd sN}", "reads", s->reads, "young", s->young,
		"clears", s->clears, "missed", s->missed, "stuck", s->stuck, "followed", s->followed,
		"sweep_steps", sweeper->steps, "swept_bytes", sweeper->bytes,
		"unswept_bytes", sweeper->skipped,
		"first_sweep_done", sweeper->first_done ? Py_True : Py_False,
		"large_folios", sweeper->large_ok ? Py_True : Py_False,
		"read_us", now.read_ns / 1e3, "own_clear_us", now.clear_ns / 1e3,
		"clear_us", now.budget.clear_ns / 1e3, "unobservable", unseen) : NULL;
}

static PyMethodDef access_methods[] = {
	{"set_targets", set_targets, METH_O, NULL},
	{"set_mappings", set_mappings, METH_VARARGS, NULL},
	{"settled", settled, METH_NOARGS, NULL},
	{"rest", rest, METH_VARARGS, NULL},
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

static PyTypeObject *access_type;

struct access_bpf *access_of(PyObject *object)
{
	return access_type && Py_TYPE(object) == access_type ? ((struct access_object *)object)->access : NULL;
}

int bind_access(PyObject *module)
{
	access_type = add_type(module, "AccessBpf", &access_spec);
	return access_type ? 0 : -1;
}
