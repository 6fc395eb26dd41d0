// SPDX-License-Identifier: Apache-2.0
#include "py/bind_util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "sys/advise.h"
#include "py/bind.h"
#include "survey/survey.h"
#include "sys/fault_in.h"

#define MAX_PAGES (1 << 20)	// of one survey: 4 GiB of memory, 26 MiB of ours

struct survey_object {
	PyObject_HEAD
	struct survey survey;
	PyObject *walker;	// NULL without one
	bool open;
};

static struct survey *survey_of(PyObject *object)
{
	struct survey_object *self = (struct survey_object *)object;

	if (!self->open) {
		PyErr_SetString(PyExc_ValueError, "the survey is closed");
		return NULL;
	}
	return !self->walker || walker_of(self->walker) ? &self->survey : NULL;
}

static PyObject *survey_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	PyObject *walker_object = Py_None;
	struct walker *walker = NULL;
	struct survey_object *self;

	if (kwargs && PyDict_Size(kwargs)) {
		PyErr_SetString(PyExc_TypeError, "Survey takes no keyword arguments");
		return NULL;
	}
	if (!PyArg_ParseTuple(args, "|O", &walker_object))
		return NULL;
	if (walker_object != Py_None && !(walker = walker_of(walker_object)))
		return NULL;
	self = (struct survey_object *)PyType_GenericAlloc(type, 0);
	if (!self)
		return NULL;
	survey_init(&self->survey, walker);
	self->walker = walker ? Py_NewRef(walker_object) : NULL;
	self->open = true;
	return (PyObject *)self;
}

static PyObject *survey_close(PyObject *object, PyObject *unused)
{
	struct survey_object *self = (struct survey_object *)object;

	(void)unused;
	if (self->open)
		survey_deinit(&self->survey);
	self->open = false;
	Py_RETURN_NONE;
}

static void survey_dealloc(PyObject *object)
{
	struct survey_object *self = (struct survey_object *)object;

	if (self->open)
		survey_deinit(&self->survey);
	Py_XDECREF(self->walker);
	free_object(object);
}

/** Whole pages, few enough; their number, or -1 with an exception set. */
static Py_ssize_t pages_of(unsigned long long start, unsigned long long end)
{
	if (start % 4096 || end % 4096 || start > end || (end - start) / 4096 > MAX_PAGES) {
		PyErr_SetString(PyExc_ValueError, "[start, end) must be whole pages, at most 4 GiB");
		return -1;
	}
	return (end - start) / 4096;
}

static PyObject *survey_read_method(PyObject *object, PyObject *args)
{
	struct survey *survey = survey_of(object);
	unsigned long long start, end;
	int fd, detail = SURVEY_FOLIOS, err;
	Py_ssize_t target, nr;

	if (!survey || !PyArg_ParseTuple(args, "inKK|i", &fd, &target, &start, &end, &detail) ||
	    (nr = pages_of(start, end)) < 0)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	err = survey_read(survey, fd, target, start, nr, detail);
	Py_END_ALLOW_THREADS
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *survey_remember_method(PyObject *object, PyObject *args)
{
	struct survey *survey = survey_of(object);
	unsigned long long within_ns;

	if (!survey || !PyArg_ParseTuple(args, "K", &within_ns))
		return NULL;
	if (survey_remember(survey, within_ns))
		return PyErr_NoMemory();
	Py_RETURN_NONE;
}

static PyObject *survey_load(PyObject *object, PyObject *args)
{
	struct survey *survey = survey_of(object);
	unsigned long long start;
	Py_buffer facts, cgroups;
	int err = -EINVAL;
	size_t nr;

	if (!survey || !PyArg_ParseTuple(args, "Ky*y*", &start, &facts, &cgroups))
		return NULL;
	nr = facts.len / sizeof(*survey->facts);
	if (start % 4096 == 0 && nr <= MAX_PAGES && cgroups.len == (Py_ssize_t)(nr * sizeof(*survey->cgroups)))
		err = survey_reset(survey, start, nr);
	if (!err && nr) {
		memcpy(survey->facts, facts.buf, nr * sizeof(*survey->facts));
		memcpy(survey->cgroups, cgroups.buf, nr * sizeof(*survey->cgroups));
	}
	PyBuffer_Release(&facts);
	PyBuffer_Release(&cgroups);
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *survey_facts(PyObject *object, PyObject *unused)
{
	struct survey *survey = survey_of(object);

	(void)unused;
	return survey ? PyBytes_FromStringAndSize((const char *)survey->facts,
						  survey->nr * sizeof(*survey->facts)) : NULL;
}

static PyObject *choose(PyObject *object, PyObject *args, PyObject *kwargs, bool blocks)
{
	static char *names[] = {"start", "end", "need", "avoid", "rules", "reject_rest", "strict",
				"max_run", "min_present", NULL};
	struct survey *survey = survey_of(object);
	unsigned long long from, to, max_run = 0;
	int reject_rest = 0, strict = 0;
	unsigned short need, avoid;
	struct survey_run *runs;
	Py_ssize_t min_present = 0;
	Py_buffer rules = {0};
	uint64_t passed;
	size_t nr;

	if (!survey || !PyArg_ParseTupleAndKeywords(args, kwargs, "KKHH|$y*ppKn", names, &from, &to,
						    &need, &avoid, &rules, &reject_rest, &strict,
						    &max_run, &min_present))
		return NULL;
	struct survey_wish wish = {
		.from = from, .to = to, .need = need, .avoid = avoid, .strict = strict,
		.reject_rest = reject_rest, .rules = rules.buf,
		.nr_rules = rules.len / sizeof(struct survey_rule), .max_run = max_run,
		.min_present = min_present};

	runs = malloc((survey->nr + 1) * sizeof(*runs));
	if (!runs) {
		PyBuffer_Release(&rules);
		return PyErr_NoMemory();
	}
	Py_BEGIN_ALLOW_THREADS
	nr = blocks ? survey_blocks(survey, &wish, runs, &passed)
		    : survey_pick(survey, &wish, runs, &passed);
	Py_END_ALLOW_THREADS
	PyObject *result = Py_BuildValue("(y#K)", (const char *)runs, (Py_ssize_t)(nr * sizeof(*runs)),
					 (unsigned long long)passed);

	free(runs);
	if (rules.obj)
		PyBuffer_Release(&rules);
	return result;
}

static PyObject *survey_pick_method(PyObject *object, PyObject *args, PyObject *kwargs)
{
	return choose(object, args, kwargs, false);
}

static PyObject *survey_blocks_method(PyObject *object, PyObject *args, PyObject *kwargs)
{
	return choose(object, args, kwargs, true);
}

static PyObject *survey_count_method(PyObject *object, PyObject *args)
{
	struct survey *survey = survey_of(object);
	unsigned short need, avoid;
	Py_buffer runs;
	uint64_t bytes;

	if (!survey || !PyArg_ParseTuple(args, "y*HH", &runs, &need, &avoid))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	bytes = survey_count(survey, runs.buf, runs.len / sizeof(struct survey_run), need, avoid);
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&runs);
	return PyLong_FromUnsignedLongLong(bytes);
}

static PyObject *survey_sources(PyObject *object, PyObject *unused)
{
	struct survey *survey = survey_of(object);

	(void)unused;
	return survey ? Py_BuildValue("{sOsOsO}", "accessed", survey->walker ? Py_True : Py_False,
				      "flags", survey->flags_fd >= 0 ? Py_True : Py_False,
				      "cgroups", survey->cgroup_fd >= 0 ? Py_True : Py_False) : NULL;
}

static PyObject *advise(PyObject *module, PyObject *args)
{
	Py_ssize_t max_bytes;
	PyObject *outcomes;
	Py_buffer ranges;
	int fd, advice, err;
	size_t nr;

	(void)module;
	if (!PyArg_ParseTuple(args, "iiny*", &fd, &advice, &max_bytes, &ranges))
		return NULL;
	nr = ranges.len / sizeof(struct iovec);
	outcomes = PyBytes_FromStringAndSize(NULL, nr);
	if (outcomes) {
		uint8_t *bytes = (uint8_t *)PyBytes_AsString(outcomes);

		Py_BEGIN_ALLOW_THREADS
		err = advise_ranges(fd, advice, max_bytes, ranges.buf, nr, bytes);
		Py_END_ALLOW_THREADS
		if (err) {
			Py_CLEAR(outcomes);
			raise_errno(err);
		}
	}
	PyBuffer_Release(&ranges);
	return outcomes;
}

static PyObject *fault_in(PyObject *module, PyObject *args)
{
	Py_buffer ranges;
	uint64_t pages;
	int pid, err;

	(void)module;
	if (!PyArg_ParseTuple(args, "iy*", &pid, &ranges))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	err = fault_in_pages(pid, ranges.buf, ranges.len / sizeof(struct iovec), &pages);
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&ranges);
	return err ? raise_errno(err) : PyLong_FromUnsignedLongLong(pages);
}

static PyMethodDef survey_methods[] = {
	{"read", survey_read_method, METH_VARARGS, NULL},
	{"remember", survey_remember_method, METH_VARARGS, NULL},
	{"load", survey_load, METH_VARARGS, NULL},
	{"facts", survey_facts, METH_NOARGS, NULL},
	{"pick", WITH_KEYWORDS(survey_pick_method), METH_VARARGS | METH_KEYWORDS, NULL},
	{"blocks", WITH_KEYWORDS(survey_blocks_method), METH_VARARGS | METH_KEYWORDS, NULL},
	{"count", survey_count_method, METH_VARARGS, NULL},
	{"sources", survey_sources, METH_NOARGS, NULL},
	{"close", survey_close, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot survey_slots[] = {
	{Py_tp_new, survey_new},
	{Py_tp_dealloc, survey_dealloc},
	{Py_tp_methods, survey_methods},
	{0, NULL},
};

static PyType_Spec survey_spec = {
	.name = "isotherm._core.Survey",
	.basicsize = sizeof(struct survey_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = survey_slots,
};

static PyMethodDef functions[] = {
	{"advise", advise, METH_VARARGS, NULL},
	{"fault_in", fault_in, METH_VARARGS, NULL},
	{NULL, NULL, 0, NULL},
};

int bind_survey(PyObject *module)
{
	PyTypeObject *type = add_type(module, "Survey", &survey_spec);

	Py_XDECREF((PyObject *)type);
	return type ? PyModule_AddFunctions(module, functions) : -1;
}
