// SPDX-License-Identifier: Apache-2.0
// _core.Sampler (see sampler.h) and python_access(): a Python Ops as struct access_ops.
#include "py/bind_util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "py/bind.h"
#include "py/bind_core.h"
#include "table/sampler.h"

struct sampler_object {
	PyObject_HEAD
	struct sampler sampler;
	PyObject *table, *rng, *access, *clock;
	PyThreadState *thread;	// of the running run(); NULL: nobody runs it
};

// The host: signals and other clocks. Called without the interpreter lock.

static int host_poll(void *ctx)
{
	struct sampler_object *self = ctx;
	int raised;

	PyEval_RestoreThread(self->thread);
	raised = PyErr_CheckSignals();
	self->thread = PyEval_SaveThread();
	return raised;
}

/** Call the clock's @method; 0 and its result as u64, or -1 with an exception set. */
static int call_clock(struct sampler_object *self, const char *method, PyObject *argument,
		      uint64_t *value)
{
	PyObject *result = PyObject_CallMethod(self->clock, method, argument ? "O" : NULL, argument);

	Py_XDECREF(argument);
	*value = result ? PyLong_AsUnsignedLongLong(result) : 0;
	Py_XDECREF(result);
	return PyErr_Occurred() ? -1 : 0;
}

static int host_now(void *ctx, uint64_t *now)
{
	struct sampler_object *self = ctx;
	int err;

	PyEval_RestoreThread(self->thread);
	err = call_clock(self, "now_ns", NULL, now);
	self->thread = PyEval_SaveThread();
	return err;
}

static int host_sleep_until(void *ctx, uint64_t deadline, uint64_t *late)
{
	struct sampler_object *self = ctx;
	PyObject *argument;
	int err;

	PyEval_RestoreThread(self->thread);
	argument = PyLong_FromUnsignedLongLong(deadline);
	err = argument ? call_clock(self, "sleep_until", argument, late) : -1;
	if (!err)
		err = PyErr_CheckSignals();
	self->thread = PyEval_SaveThread();
	return err;
}

// Sampler.

static PyObject *sampler_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"table", "rng", "access", "clock", NULL};
	PyObject *table, *rng, *access, *clock = Py_None;
	struct sampler_host host = {.poll = host_poll};
	const struct access_ops *ops;
	struct sampler_object *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO|O", names, &table, &rng, &access,
					 &clock))
		return NULL;
	ops = PyCapsule_GetPointer(access, ACCESS_OPS_CAPSULE);
	if (!ops || !region_table_of(table) || !rng_of(rng))
		return NULL;
	self = (struct sampler_object *)PyType_GenericAlloc(type, 0);
	if (!self)
		return NULL;
	self->table = Py_NewRef(table);
	self->rng = Py_NewRef(rng);
	self->access = Py_NewRef(access);
	self->clock = Py_NewRef(clock);
	host.ctx = self;
	if (clock != Py_None) {
		host.now = host_now;
		host.sleep_until = host_sleep_until;
	}
	sampler_init(&self->sampler, ops, &host);
	return (PyObject *)self;
}

static void sampler_dealloc(PyObject *object)
{
	struct sampler_object *self = (struct sampler_object *)object;

	sampler_deinit(&self->sampler);
	Py_XDECREF(self->table);
	Py_XDECREF(self->rng);
	Py_XDECREF(self->access);
	Py_XDECREF(self->clock);
	free_object(object);
}

/** Raise what @err of sampler_run() means; NULL. */
static PyObject *raise_run_error(int err)
{
	if (PyErr_Occurred())	// a signal handler, the clock or a Python ops raised
		return NULL;
	if (err == -ENOMEM)
		return PyErr_NoMemory();
	return err == -ESRCH ? raise_own("TargetGoneError", "every monitored process is gone")
			     : raise_errno(err);
}

static PyObject *py_run(PyObject *object, PyObject *args)
{
	struct sampler_object *self = (struct sampler_object *)object;
	unsigned long long ticks, sample_ns;
	struct region_table *table;
	struct rng *rng;
	uint64_t done;
	int err;

	if (!PyArg_ParseTuple(args, "KK", &ticks, &sample_ns))
		return NULL;
	table = region_table_of(self->table);
	rng = table ? rng_of(self->rng) : NULL;
	if (!rng)
		return NULL;
	region_table_set_busy(self->table, true);
	rng_set_busy(self->rng, true);
	self->thread = PyEval_SaveThread();
	err = sampler_run(&self->sampler, table, rng, ticks, sample_ns, &done);
	PyEval_RestoreThread(self->thread);
	self->thread = NULL;
	rng_set_busy(self->rng, false);
	region_table_set_busy(self->table, false);
	return err ? raise_run_error(err) : PyLong_FromUnsignedLongLong(done);
}

static PyObject *py_stop(PyObject *self, PyObject *none)
{
	(void)none;
	atomic_store(&((struct sampler_object *)self)->sampler.stop, true);
	Py_RETURN_NONE;
}

static PyObject *py_take(PyObject *object, PyObject *none)
{
	struct sampler_object *self = (struct sampler_object *)object;
	struct sampler_tally t;

	(void)none;
	if (self->thread) {
		PyErr_SetString(PyExc_RuntimeError, "the sampler is running");
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS
	t = sampler_take(&self->sampler);
	Py_END_ALLOW_THREADS
	if (PyErr_Occurred())
		return NULL;
	return Py_BuildValue("KKKKK", t.ticks, t.checks, t.missed, t.cleared, t.late_ns);
}

static PyMethodDef methods[] = {
	{"run", py_run, METH_VARARGS, NULL},
	{"stop", py_stop, METH_NOARGS, NULL},
	{"take", py_take, METH_NOARGS, NULL},
	{0},
};
static PyType_Slot slots[] = {
	{Py_tp_new, sampler_new},
	{Py_tp_dealloc, sampler_dealloc},
	{Py_tp_methods, methods},
	{0, NULL},
};
static PyType_Spec spec = {
	.name = "isotherm._core.Sampler",
	.basicsize = sizeof(struct sampler_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};

// A Python Ops as struct access_ops.

struct python_access {
	struct access_ops ops;
	PyObject *python;	// the Ops
	PyObject *samples;	// class Samples
};

static int check_python(struct python_access *access, uint8_t *results, size_t nr)
{
	PyObject *checks = PyObject_CallMethod(access->python, "check", NULL);
	Py_buffer view;
	int err = -1;

	if (checks && PyObject_GetBuffer(checks, &view, PyBUF_SIMPLE) == 0) {
		if (view.len == (Py_ssize_t)nr) {
			memcpy(results, view.buf, nr);
			err = 0;
		} else {
			PyErr_Format(PyExc_ValueError, "check() gave %zd results for %zu samples",
				     view.len, nr);
		}
		PyBuffer_Release(&view);
	}
	Py_XDECREF(checks);
	return err;
}

static int prepare_python(struct python_access *access, const struct access_sample *samples,
			  size_t nr)
{
	PyObject *addr = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(nr * 8));
	PyObject *target = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(nr * 4));
	PyObject *checked = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(nr * 4));
	PyObject *batch, *result = NULL;

	for (size_t i = 0; addr && target && checked && i < nr; i++) {
		((uint64_t *)(void *)PyBytes_AsString(addr))[i] = samples[i].addr;
		((uint32_t *)(void *)PyBytes_AsString(target))[i] = samples[i].target;
		((uint32_t *)(void *)PyBytes_AsString(checked))[i] = samples[i].checked;
	}
	batch = PyObject_CallFunction(access->samples, "NNN", new_array("Q", addr),
				      new_array("I", target), new_array("I", checked));
	if (batch)
		result = PyObject_CallMethod(access->python, "prepare", "O", batch);
	Py_XDECREF(batch);
	Py_XDECREF(result);
	return result ? 0 : -1;
}

static int turn_python(void *ctx, uint8_t *results, size_t nr_results,
		       const struct access_sample *samples, size_t nr)
{
	PyGILState_STATE state = PyGILState_Ensure();
	int err = results ? check_python(ctx, results, nr_results) : 0;

	if (!err && nr)
		err = prepare_python(ctx, samples, nr);
	PyGILState_Release(state);
	return err ? -EIO : 0;
}

static uint64_t take_cleared_python(void *ctx)
{
	struct python_access *access = ctx;
	PyGILState_STATE state = PyGILState_Ensure();
	PyObject *result = PyObject_CallMethod(access->python, "cleared", NULL);
	uint64_t cleared = result ? PyLong_AsUnsignedLongLong(result) : 0;

	Py_XDECREF(result);
	PyGILState_Release(state);
	return cleared;
}

static void free_python_access(PyObject *capsule)
{
	struct access_ops *ops = PyCapsule_GetPointer(capsule, ACCESS_OPS_CAPSULE);
	struct python_access *access = ops->ctx;

	Py_DECREF(access->python);
	Py_DECREF(access->samples);
	free(access);
}

static PyObject *python_access(PyObject *module, PyObject *ops)
{
	PyObject *seam = PyImport_ImportModule("isotherm.core.look"), *samples, *capsule;
	struct python_access *access;

	(void)module;
	samples = seam ? PyObject_GetAttrString(seam, "Samples") : NULL;
	Py_XDECREF(seam);
	if (!samples)
		return NULL;
	access = calloc(1, sizeof(*access));
	capsule = access ? PyCapsule_New(&access->ops, ACCESS_OPS_CAPSULE, free_python_access)
			 : PyErr_NoMemory();
	if (!capsule) {
		Py_DECREF(samples);
		free(access);
		return NULL;
	}
	access->ops = (struct access_ops){turn_python, take_cleared_python, access};
	access->python = Py_NewRef(ops);
	access->samples = samples;
	return capsule;
}

static PyMethodDef functions[] = {
	{"python_access", python_access, METH_O, NULL},
	{0},
};

int bind_sampler(PyObject *module)
{
	PyTypeObject *type = add_type(module, "Sampler", &spec);

	if (!type)
		return -1;
	Py_DECREF(type);
	return PyModule_AddFunctions(module, functions);
}
