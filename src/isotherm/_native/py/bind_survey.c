// SPDX-License-Identifier: Apache-2.0
#include "py/bind_util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "py/bind.h"
#include "survey/survey.h"
#include "sys/advise.h"
#include "sys/clock.h"
#include "sys/fault_in.h"
#include "sys/gate.h"
#include "sys/page.h"

#define MAX_PAGES (1 << 20)	// of one survey: 4 GiB of memory, 26 MiB of ours
#define MAX_PIECE (UINT64_C(1) << 40)

struct survey_object {
	PyObject_HEAD
	struct gate gate;
	struct survey survey;
	PyObject *walker;	// NULL without one
	PyObject *map;		// likewise
};

static struct gate *gate_of(PyObject *object)
{
	return &((struct survey_object *)object)->gate;
}

/** The survey of @object, entered; NULL with an exception set. */
static struct survey *enter(PyObject *object)
{
	return enter_gate(gate_of(object), "survey") < 0 ? NULL : &((struct survey_object *)object)->survey;
}

/** The same with its walker, if it has one. */
static struct survey *enter_both(PyObject *object)
{
	struct survey *survey = enter(object);

	if (!survey || !survey->walker || !enter_gate(walker_gate(survey->walker), "walker"))
		return survey;
	gate_leave(gate_of(object));
	return NULL;
}

static void leave_both(PyObject *object)
{
	struct walker *walker = ((struct survey_object *)object)->survey.walker;

	if (walker)
		gate_leave(walker_gate(walker));
	gate_leave(gate_of(object));
}

static PyObject *survey_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	PyObject *walker_object = Py_None, *map = Py_None;
	struct walker *walker = NULL;
	struct survey_object *self;

	if (kwargs && PyDict_Size(kwargs)) {
		PyErr_SetString(PyExc_TypeError, "Survey takes no keyword arguments");
		return NULL;
	}
	if (!PyArg_ParseTuple(args, "|OO", &walker_object, &map))
		return NULL;
	if (walker_object != Py_None && !(walker = walker_of(walker_object)))
		return NULL;
	if (map != Py_None && !is_page_map(map))
		return NULL;
	if (walker && enter_gate(walker_gate(walker), "walker") < 0)
		return NULL;
	if (walker)
		gate_leave(walker_gate(walker));
	self = (struct survey_object *)PyType_GenericAlloc(type, 0);
	if (!self)
		return NULL;
	survey_init(&self->survey, walker);
	self->walker = walker ? Py_NewRef(walker_object) : NULL;
	self->map = map != Py_None ? Py_NewRef(map) : NULL;
	gate_init(&self->gate);
	return (PyObject *)self;
}

static PyObject *survey_close(PyObject *object, PyObject *unused)
{
	struct survey *survey = enter(object);

	(void)unused;
	if (survey) {
		gate_close(gate_of(object));
		survey_deinit(survey);
		gate_leave(gate_of(object));
	} else if (PyErr_ExceptionMatches(PyExc_ValueError)) {
		PyErr_Clear();	// closed before
	} else {
		return NULL;
	}
	Py_RETURN_NONE;
}

static void survey_dealloc(PyObject *object)
{
	struct survey_object *self = (struct survey_object *)object;

	if (gate_close(&self->gate))
		survey_deinit(&self->survey);
	gate_deinit(&self->gate);
	Py_XDECREF(self->map);
	Py_XDECREF(self->walker);
	free_object(object);
}

/** Whole pages, few enough; their number, or -1 with an exception set. */
static Py_ssize_t pages_of(unsigned long long start, unsigned long long end)
{
	if (start % PAGE || end % PAGE || start > end || (end - start) / PAGE > MAX_PAGES) {
		PyErr_SetString(PyExc_ValueError, "[start, end) must be whole pages, at most 4 GiB");
		return -1;
	}
	return (end - start) / PAGE;
}

/**
 * Have the survey, entered, know its map for a call, in which nobody else comes to the map: the gate
 * of the walker is held, or the interpreter.
 */
static void find_map(struct survey_object *self)
{
	survey_ask(&self->survey, self->map ? page_map_of(self->map, NULL) : NULL, self->survey.idle_ns);
}

static PyObject *survey_read_method(PyObject *object, PyObject *args)
{
	int fd, detail = SURVEY_FOLIOS, err;
	unsigned long long start, end;
	Py_ssize_t target, nr;
	struct survey *survey;

	if (!PyArg_ParseTuple(args, "inKK|i", &fd, &target, &start, &end, &detail) ||
	    (nr = pages_of(start, end)) < 0 || !(survey = enter_both(object)))
		return NULL;
	find_map((struct survey_object *)object);
	Py_BEGIN_ALLOW_THREADS
	err = survey_read(survey, fd, target, start, nr, detail);
	leave_both(object);
	Py_END_ALLOW_THREADS
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *survey_ask_method(PyObject *object, PyObject *args)
{
	struct survey_object *self = (struct survey_object *)object;
	unsigned long long idle_ns;
	struct survey *survey;

	if (!PyArg_ParseTuple(args, "K", &idle_ns) || !(survey = enter(object)))
		return NULL;
	survey_ask(survey, NULL, idle_ns);
	gate_leave(gate_of(object));
	return PyBool_FromLong(self->map != NULL);
}

static PyObject *survey_recall_method(PyObject *object, PyObject *args)
{
	unsigned long long now_ns;
	struct survey *survey;
	Py_ssize_t target;

	if (!PyArg_ParseTuple(args, "nK", &target, &now_ns) || !(survey = enter_both(object)))
		return NULL;
	find_map((struct survey_object *)object);
	survey_recall(survey, target, now_ns);
	leave_both(object);
	Py_RETURN_NONE;
}

static PyObject *survey_tell_method(PyObject *object, PyObject *args)
{
	struct survey *survey;
	Py_ssize_t target;
	Py_buffer runs;

	if (!PyArg_ParseTuple(args, "ny*", &target, &runs))
		return NULL;
	survey = enter_both(object);
	if (survey) {
		find_map((struct survey_object *)object);
		survey_tell(survey, target, runs.buf, runs.len / sizeof(struct survey_run));
		leave_both(object);
	}
	PyBuffer_Release(&runs);
	if (!survey)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *survey_may_be_idle_method(PyObject *object, PyObject *args)
{
	unsigned long long start, end;
	struct survey_run *runs = NULL;
	struct survey *survey;
	bool early = false;
	Py_ssize_t target;
	size_t nr = 0;

	if (!PyArg_ParseTuple(args, "nKK", &target, &start, &end))
		return NULL;
	if (start % PAGE || end % PAGE || start > end || end - start > MAX_PIECE) {
		PyErr_SetString(PyExc_ValueError, "[start, end) must be whole pages, at most 1 TiB");
		return NULL;
	}
	runs = malloc(((end - start) / BLOCK + 2) * sizeof(*runs));
	if (!runs)
		return PyErr_NoMemory();
	survey = enter_both(object);
	if (survey) {
		find_map((struct survey_object *)object);
		Py_BEGIN_ALLOW_THREADS
		nr = survey_may_be_idle(survey, target, start, end, runs, &early);
		leave_both(object);
		Py_END_ALLOW_THREADS
	}
	PyObject *result = survey ? Py_BuildValue("(y#O)", (const char *)runs, (Py_ssize_t)(nr * sizeof(*runs)),
						  early ? Py_True : Py_False) : NULL;

	free(runs);
	return result;
}

static PyObject *survey_find_huge_method(PyObject *object, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"pagemap_fd", "target", "start", "end", "space", "rules", NULL};
	unsigned long long start, end, space = 0;
	struct survey_run *runs = NULL;
	Py_buffer rules = {0};
	PyObject *result = NULL;
	struct survey *survey;
	Py_ssize_t target;
	ssize_t nr = 0;
	int fd;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "inKK|$Ky*", names, &fd, &target, &start, &end, &space,
					 &rules))
		return NULL;
	if (start % PAGE || end % PAGE || start > end || end - start > MAX_PIECE)
		PyErr_SetString(PyExc_ValueError, "[start, end) must be whole pages, at most 1 TiB");
	else if (!(runs = malloc(((end - start) / BLOCK + 1) * sizeof(*runs))))
		PyErr_NoMemory();
	if (runs && (survey = enter_both(object))) {
		uint64_t number = survey_rules_number(rules.buf, rules.len / sizeof(struct survey_rule));

		Py_BEGIN_ALLOW_THREADS
		nr = survey_find_huge(survey, fd, target, space, start, end, number, runs);
		leave_both(object);
		Py_END_ALLOW_THREADS
		result = nr < 0 ? raise_errno(nr)
				: PyBytes_FromStringAndSize((const char *)runs, nr * sizeof(*runs));
	}
	free(runs);
	if (rules.obj)
		PyBuffer_Release(&rules);
	return result;
}

static PyObject *survey_was_split_method(PyObject *object, PyObject *args)
{
	const struct survey_run *run;
	unsigned long long space;
	struct survey *survey;
	Py_buffer runs;

	if (!PyArg_ParseTuple(args, "Ky*", &space, &runs))
		return NULL;
	survey = enter(object);
	for (run = runs.buf; survey && (const char *)(run + 1) <= (const char *)runs.buf + runs.len; run++)
		contents_split(&survey->contents, space, run->start, monotonic_ns());
	if (survey)
		gate_leave(gate_of(object));
	PyBuffer_Release(&runs);
	if (!survey)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *survey_contents_read(PyObject *object, PyObject *unused)
{
	struct survey *survey = enter(object);
	unsigned long long nr;
	int error;

	(void)unused;
	if (!survey)
		return NULL;
	nr = survey->contents.nr_read;
	error = contents_take_error(&survey->contents);
	gate_leave(gate_of(object));
	return Py_BuildValue("(Ki)", nr, error);
}

static PyObject *survey_load(PyObject *object, PyObject *args)
{
	unsigned long long start;
	Py_buffer facts, cgroups;
	struct survey *survey;
	int err = -EINVAL;
	size_t nr;

	if (!PyArg_ParseTuple(args, "Ky*y*", &start, &facts, &cgroups))
		return NULL;
	survey = enter(object);
	if (!survey) {
		PyBuffer_Release(&facts);
		PyBuffer_Release(&cgroups);
		return NULL;
	}
	nr = facts.len / sizeof(*survey->facts);
	if (start % PAGE == 0 && nr <= MAX_PAGES && cgroups.len == (Py_ssize_t)(nr * sizeof(*survey->cgroups)))
		err = survey_reset(survey, start, nr);
	if (!err && nr) {
		memcpy(survey->facts, facts.buf, nr * sizeof(*survey->facts));
		memcpy(survey->cgroups, cgroups.buf, nr * sizeof(*survey->cgroups));
	}
	gate_leave(gate_of(object));
	PyBuffer_Release(&facts);
	PyBuffer_Release(&cgroups);
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *survey_facts(PyObject *object, PyObject *unused)
{
	struct survey *survey = enter(object);
	PyObject *result = NULL;
	uint16_t *facts;
	size_t bytes;

	(void)unused;
	if (!survey)
		return NULL;
	bytes = survey->nr * sizeof(*facts);
	facts = malloc(bytes + 1);
	if (facts && bytes)
		memcpy(facts, survey->facts, bytes);
	gate_leave(gate_of(object));
	result = facts ? PyBytes_FromStringAndSize((const char *)facts, bytes) : PyErr_NoMemory();
	free(facts);
	return result;
}

static PyObject *choose(PyObject *object, PyObject *args, PyObject *kwargs, bool blocks)
{
	static char *names[] = {"start", "end", "need", "avoid", "rules", "reject_rest", "strict",
				"max_run", "min_present", "min_dense", "contents_of", NULL};
	unsigned long long from, to, max_run = 0, space = 0;
	struct survey *survey;
	int reject_rest = 0, strict = 0;
	unsigned short need, avoid;
	struct survey_run *runs;
	Py_ssize_t min_present = 0, min_dense = 0;
	int pid = 0;
	Py_buffer rules = {0};
	uint64_t passed;
	size_t nr;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KKHH|$y*ppKnn(iK)", names, &from, &to, &need,
					 &avoid, &rules, &reject_rest, &strict, &max_run, &min_present,
					 &min_dense, &pid, &space))
		return NULL;
	struct survey_wish wish = {
		.from = from, .to = to, .need = need, .avoid = avoid, .strict = strict,
		.reject_rest = reject_rest, .rules = rules.buf,
		.nr_rules = rules.len / sizeof(struct survey_rule), .max_run = max_run,
		.min_present = min_present, .min_dense = min_dense, .pid = pid, .space = space};

	survey = enter(object);
	if (survey && pid)
		wish.contents = &survey->contents;
	runs = survey ? malloc((survey->nr + 1) * sizeof(*runs)) : NULL;
	if (runs) {
		Py_BEGIN_ALLOW_THREADS
		nr = blocks ? survey_blocks(survey, &wish, runs, &passed)
			    : survey_pick(survey, &wish, runs, &passed);
		Py_END_ALLOW_THREADS
	}
	if (survey)
		gate_leave(gate_of(object));
	if (!runs) {
		if (rules.obj)
			PyBuffer_Release(&rules);
		return survey ? PyErr_NoMemory() : NULL;
	}
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
	unsigned short need, avoid;
	struct survey *survey;
	uint64_t bytes = 0;
	Py_buffer runs;

	if (!PyArg_ParseTuple(args, "y*HH", &runs, &need, &avoid))
		return NULL;
	survey = enter(object);
	if (survey) {
		Py_BEGIN_ALLOW_THREADS
		bytes = survey_count(survey, runs.buf, runs.len / sizeof(struct survey_run), need, avoid);
		gate_leave(gate_of(object));
		Py_END_ALLOW_THREADS
	}
	PyBuffer_Release(&runs);
	return survey ? PyLong_FromUnsignedLongLong(bytes) : NULL;
}

static PyObject *survey_sources(PyObject *object, PyObject *unused)
{
	struct survey *survey = enter(object);
	bool accessed, flags, cgroups, huge;

	(void)unused;
	if (!survey)
		return NULL;
	accessed = survey->walker;
	flags = survey->flags_fd >= 0;
	cgroups = survey->cgroup_fd >= 0;
	huge = survey_knows_huge(survey);
	gate_leave(gate_of(object));
	return Py_BuildValue("{sOsOsOsO}", "accessed", accessed ? Py_True : Py_False,
			     "flags", flags ? Py_True : Py_False,
			     "cgroups", cgroups ? Py_True : Py_False,
			     "huge", huge ? Py_True : Py_False);
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
	{"ask", survey_ask_method, METH_VARARGS, NULL},
	{"recall", survey_recall_method, METH_VARARGS, NULL},
	{"tell", survey_tell_method, METH_VARARGS, NULL},
	{"may_be_idle", survey_may_be_idle_method, METH_VARARGS, NULL},
	{"find_huge", WITH_KEYWORDS(survey_find_huge_method), METH_VARARGS | METH_KEYWORDS, NULL},
	{"was_split", survey_was_split_method, METH_VARARGS, NULL},
	{"contents_read", survey_contents_read, METH_NOARGS, NULL},
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
