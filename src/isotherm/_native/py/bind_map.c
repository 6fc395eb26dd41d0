// SPDX-License-Identifier: Apache-2.0
// _core.PageMap: a map of pages over an access check, a simulated world, or a `Bulk` written in Python.
#include "py/bind_map.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "access/access_bpf.h"
#include "py/bind.h"
#include "sim/world.h"
#include "sys/clock.h"

struct map_object *map_enter(PyObject *object)
{
	struct map_object *self = (struct map_object *)object;

	if (source_enter(&self->source) < 0)
		return NULL;
	if (!self->closed && !self->busy) {
		self->busy = true;
		return self;
	}
	source_leave(&self->source);
	PyErr_SetString(self->closed ? PyExc_ValueError : PyExc_RuntimeError,
			self->closed ? "the map is closed" : "the map is in use");
	return NULL;
}

void map_leave(struct map_object *self)
{
	self->busy = false;
	source_leave(&self->source);
}

/** Where what is behind a map knows it, to tell it what else is cleared; NULL: it clears nothing by itself. */
static struct page_map **map_of_source(struct map_object *self)
{
	return self->source.access ? &self->source.access->map : self->source.sim ? &self->source.sim->map : NULL;
}

static PyObject *map_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"source", "now_ns", "share_ns", "first_ns", "stall_ns", "frames", NULL};
	unsigned long long now = 0, stall = 0;
	long long share = 10000000, first = 0;
	struct map_settings settings;
	struct map_object *self;
	struct bulk_ops ops;
	PyObject *source;
	int frames = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OK|$LLKp", names, &source, &now, &share, &first, &stall,
					 &frames))
		return NULL;
	self = (struct map_object *)PyType_GenericAlloc(type, 0);
	if (!self)
		return NULL;
	self->closed = true;	// until it is whole
	settings = (struct map_settings){.share_ns = share > 1000 ? share : 1000, .first_ns = first, .stall_ns = stall,
					 .frames = frames};
	if (source_open(&self->source, source, &ops) < 0)
		goto fail;
	struct page_map **its = map_of_source(self);

	if (its && *its) {
		source_leave(&self->source);
		PyErr_SetString(PyExc_ValueError, self->source.access ? "the access check has a map"
								      : "the simulated world has a map");
		goto fail;
	}
	if (its)
		*its = &self->map;
	page_map_init(&self->map, &ops, &settings, now);
	self->closed = false;
	source_leave(&self->source);
	return (PyObject *)self;
fail:
	Py_DECREF(self);
	return NULL;
}

static void shut(struct map_object *self)
{
	if (self->closed)
		return;
	self->closed = true;
	struct page_map **its = map_of_source(self);

	if (its && *its == &self->map)
		*its = NULL;
	page_map_deinit(&self->map);
}

static PyObject *map_close(PyObject *object, PyObject *unused)
{
	struct map_object *self = (struct map_object *)object;

	bool inside;

	(void)unused;
	if (source_enter_last(&self->source, &inside) < 0)
		return NULL;
	if (self->busy)
		PyErr_SetString(PyExc_RuntimeError, "the map is in use");
	else
		shut(self);
	if (inside)
		source_leave(&self->source);
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

static void map_dealloc(PyObject *object)
{
	struct map_object *self = (struct map_object *)object;

	// The source holds its walker, closed or not: nobody else is inside when the last reference goes.
	shut(self);
	source_free(&self->source);
	free_object(object);
}

static PyObject *set_targets(PyObject *object, PyObject *args)
{
	struct map_object *self;
	Py_buffer ids;
	int err = 0;

	if (!PyArg_ParseTuple(args, "y*", &ids))
		return NULL;
	self = map_enter(object);
	if (self) {
		err = page_map_set_targets(&self->map, ids.buf, ids.len / sizeof(uint32_t));
		map_leave(self);
	}
	PyBuffer_Release(&ids);
	if (!self)
		return NULL;
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

// No process has memory above it: five levels of page tables.
#define HIGHEST (UINT64_C(1) << 56)

static bool areas_are_good(const struct map_area *areas, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (areas[i].start >= areas[i].end || areas[i].end > HIGHEST || areas[i].start % 4096 || areas[i].end % 4096 ||
		    areas[i].kind >= NR_MAP_KINDS || (i && areas[i].start < areas[i - 1].end))
			return false;
	return true;
}

static PyObject *set_areas(PyObject *object, PyObject *args)
{
	struct map_object *self;
	Py_ssize_t target;
	unsigned long long since = 0;
	Py_buffer words;
	int err = -EINVAL;

	if (!PyArg_ParseTuple(args, "ny*|K", &target, &words, &since))
		return NULL;
	// Three words each: start, end, and row | kind << 32 | flags << 40.
	size_t nr = words.len / (3 * sizeof(uint64_t));
	struct map_area *areas = calloc(nr + 1, sizeof(*areas));
	const uint64_t *word = words.buf;

	for (size_t i = 0; areas && i < nr; i++, word += 3)
		areas[i] = (struct map_area){word[0], word[1], (uint32_t)word[2], word[2] >> 32 & 0xff,
					     word[2] >> 40 & 0xff};
	self = areas ? map_enter(object) : (struct map_object *)PyErr_NoMemory();
	if (self) {
		if (target >= 0 && (size_t)target < self->map.nr_targets && areas_are_good(areas, nr))
			err = page_map_set_areas(&self->map, target, areas, nr, since);
		map_leave(self);
	}
	free(areas);
	PyBuffer_Release(&words);
	if (!self)
		return NULL;
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *set_stopped(PyObject *object, PyObject *args)
{
	unsigned long long stopped, now;
	struct map_object *self;
	Py_ssize_t target;
	int still, err = -EINVAL;

	if (!PyArg_ParseTuple(args, "nKpK", &target, &stopped, &still, &now))
		return NULL;
	self = map_enter(object);
	if (!self)
		return NULL;
	if (target >= 0 && (size_t)target < self->map.nr_targets) {
		page_map_set_stopped(&self->map, target, stopped, still, now);
		err = 0;
	}
	map_leave(self);
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *begins(PyObject *object, PyObject *unused)
{
	struct map_object *self = map_enter(object);

	(void)unused;
	if (!self)
		return NULL;
	bool first = !self->map.covered && self->map.settings.first_ns;

	map_leave(self);
	return PyBool_FromLong(first);
}

static PyObject *set_share(PyObject *object, PyObject *args)
{
	struct map_object *self;
	long long share, first = -1;

	if (!PyArg_ParseTuple(args, "L|L", &share, &first))
		return NULL;
	self = map_enter(object);
	if (!self)
		return NULL;
	if (share > 0)
		self->map.settings.share_ns = share;
	if (first >= 0)
		self->map.settings.first_ns = first;
	map_leave(self);
	Py_RETURN_NONE;
}

static PyObject *step(PyObject *object, PyObject *args)
{
	unsigned long long now;
	uint64_t next = 0;
	struct map_object *self;
	int err;

	if (!PyArg_ParseTuple(args, "K", &now))
		return NULL;
	self = map_enter(object);
	if (!self)
		return NULL;
	int64_t cpu = self->map.stats.cpu_ns;
	bool first = !self->map.covered;

	MAP_BEGIN(self);
	err = page_map_step(&self->map, now, &next);
	// Work of the start has an allowance of its own.
	int64_t *mark = self->source.access ? &self->source.access->cpu_mark
		: self->source.sim ? &self->source.sim->cpu_mark : NULL;

	if (mark && *mark && first && self->map.settings.first_ns)
		*mark += self->map.stats.cpu_ns - cpu;
	map_leave(self);
	MAP_END(self);
	if (PyErr_Occurred())
		return NULL;
	return err ? raise_errno(err) : PyLong_FromUnsignedLongLong(next);
}

static PyObject *seen(PyObject *object, PyObject *args)
{
	unsigned long long start, end, now;
	struct map_object *self;
	Py_ssize_t target;

	if (!PyArg_ParseTuple(args, "nKKK", &target, &start, &end, &now))
		return NULL;
	self = map_enter(object);
	if (!self)
		return NULL;
	if (target >= 0 && start < end && end <= HIGHEST)
		page_map_seen(&self->map, target, start, end, now);
	map_leave(self);
	Py_RETURN_NONE;
}

/** Hear from who clears frames, and tell what is to be done: state, and ranges where that is new. */
static PyObject *piece(PyObject *object, PyObject *args)
{
	unsigned long long ended_ns = 0;
	struct map_object *self;
	long long cpu_ns = 0;
	int news = 0;

	if (!PyArg_ParseTuple(args, "|iKL", &news, &ended_ns, &cpu_ns))
		return NULL;
	self = map_enter(object);
	if (!self)
		return NULL;
	struct map_piece *piece = &self->map.piece;

	if (news == MAP_PIECE_READY && piece->state == MAP_PIECE_ASKED) {
		piece->state = MAP_PIECE_READY;
	} else if (news == MAP_PIECE_ENDED && piece->state == MAP_PIECE_BEGUN) {
		piece->state = MAP_PIECE_ENDED;
		piece->ended_ns = ended_ns;
		piece->cpu_ns = cpu_ns;
	} else if (news == MAP_PIECE_NONE && PyTuple_Size(args)) {
		page_map_lose_frames(&self->map);
	}
	size_t nr = piece->state == MAP_PIECE_ASKED ? piece->nr : 0;
	PyObject *ranges = PyBytes_FromStringAndSize((const char *)piece->ranges,
						     (Py_ssize_t)(nr * sizeof(*piece->ranges)));
	int state = piece->state;

	map_leave(self);
	return Py_BuildValue("(iN)", state, new_array("Q", ranges));
}

static PyMethodDef map_methods[] = {
	{"set_targets", set_targets, METH_VARARGS, NULL},
	{"set_areas", set_areas, METH_VARARGS, NULL},
	{"set_stopped", set_stopped, METH_VARARGS, NULL},
	{"set_share", set_share, METH_VARARGS, NULL},
	{"begins", begins, METH_NOARGS, NULL},
	{"step", step, METH_VARARGS, NULL},
	{"seen", seen, METH_VARARGS, NULL},
	{"sum", map_sum_up, METH_VARARGS, NULL},
	{"look", map_look_at, METH_VARARGS, NULL},
	{"ages", map_ages, METH_VARARGS, NULL},
	{"runs", map_runs_of, METH_VARARGS, NULL},
	{"parts", map_parts_of, METH_VARARGS, NULL},
	{"take_returns", map_take_returns, METH_NOARGS, NULL},
	{"take_gone", map_take_gone, METH_NOARGS, NULL},
	{"present", map_present, METH_NOARGS, NULL},
	{"piece", piece, METH_VARARGS, NULL},
	{"covered", map_covered, METH_NOARGS, NULL},
	{"stats", map_stats_of, METH_NOARGS, NULL},
	{"close", map_close, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot map_slots[] = {
	{Py_tp_new, map_new},
	{Py_tp_dealloc, map_dealloc},
	{Py_tp_methods, map_methods},
	{0, NULL},
};

static PyType_Spec map_spec = {
	.name = "isotherm._core.PageMap",
	.basicsize = sizeof(struct map_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = map_slots,
};

static PyTypeObject *map_type;

bool is_page_map(PyObject *object)
{
	bool is = map_type && PyObject_TypeCheck(object, map_type);

	if (!is)
		PyErr_SetString(PyExc_TypeError, "not a PageMap");
	return is;
}

struct page_map *page_map_of(PyObject *object, const struct source *source)
{
	struct map_object *self = (struct map_object *)object;

	if (self->closed || self->busy || (source && !source_is_same(&self->source, source)))
		return NULL;
	return &self->map;
}

int bind_map(PyObject *module)
{
	PyTypeObject *type = add_type(module, "PageMap", &map_spec);

	map_type = type;	// kept, to know its objects by
	return type ? 0 : -1;
}
