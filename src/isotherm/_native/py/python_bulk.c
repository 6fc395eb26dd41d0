// SPDX-License-Identifier: Apache-2.0
#include "py/python_bulk.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "map/page_map.h"
#include "sys/page.h"

// Entries of our own making: what PageState says, as bits.
enum { PRESENT = 1, TABLE = 2, YOUNG = 4, UNSEEN = 8 };
// Of a PageState; and beside that of a block's first page: all of it is one page.
enum { STATES = 3, HUGE = 4 };

struct python_bulk {
	PyObject *object;
	uint64_t tables[MAP_CHUNK_BLOCKS][512];
	uint64_t upper[MAP_CHUNK_BLOCKS];
	int64_t cpu_ns;
};

/** What a method without arguments says; 0 with an exception, or where there was one. */
static uint64_t ask(void *ctx, const char *name)
{
	PyObject *found = PyErr_Occurred()
		? NULL : PyObject_CallMethod(((struct python_bulk *)ctx)->object, name, NULL);
	uint64_t ns = found ? PyLong_AsUnsignedLongLong(found) : 0;

	Py_XDECREF(found);
	return ns;
}

static uint64_t now_ns(void *ctx)
{
	return ask(ctx, "now_ns");
}

static int64_t cpu_ns(void *ctx)
{
	struct python_bulk *bulk = ctx;
	int64_t ns = (int64_t)ask(ctx, "cpu_ns");

	// No time goes by in what failed.
	if (!PyErr_Occurred())
		bulk->cpu_ns = ns;
	return bulk->cpu_ns;
}

static int view(void *ctx, size_t target, uint64_t start, size_t nr, struct bulk_view *out)
{
	static const uint64_t entries[4] = {0, PRESENT, PRESENT | YOUNG, PRESENT | UNSEEN};
	struct python_bulk *bulk = ctx;
	PyObject *found;
	char *states;
	Py_ssize_t length;

	if (PyErr_Occurred())
		return -EINTR;
	found = PyObject_CallMethod(bulk->object, "read", "nKK", (Py_ssize_t)target, start, start + nr * BLOCK);
	if (!found && PyErr_ExceptionMatches(PyExc_ProcessLookupError)) {
		PyErr_Clear();
		return -ESRCH;
	}
	if (!found || PyBytes_AsStringAndSize(found, &states, &length)) {
		Py_XDECREF(found);
		return -EINTR;
	}
	if ((size_t)length != nr * BLOCK_PAGES) {
		Py_DECREF(found);
		PyErr_SetString(PyExc_ValueError, "read() must return a byte per page");
		return -EINTR;
	}
	for (size_t block = 0; block < nr; block++) {
		const uint8_t *state = (const uint8_t *)states + block * BLOCK_PAGES;
		uint8_t any = 0;

		for (size_t i = 0; i < BLOCK_PAGES; i++) {
			bulk->tables[block][i] = entries[state[i] & STATES];
			any |= state[i];
		}
		bulk->upper[block] = state[0] & HUGE ? entries[state[0] & STATES] : any ? PRESENT | TABLE : 0;
	}
	Py_DECREF(found);
	*out = (struct bulk_view){bulk->tables, bulk->upper};
	return 0;
}

/** Each clump is a read of its own, where nothing is huge. What cannot be seen is young, always. */
static int peek(void *ctx, size_t target, const struct bulk_clump *clumps, size_t nr, uint64_t *present,
		uint64_t *young)
{
	for (size_t i = 0; i < nr; i++) {
		char *states;
		Py_ssize_t length;
		PyObject *found;

		present[i] = young[i] = 0;
		if (clumps[i].huge)
			continue;
		found = PyErr_Occurred() ? NULL
			: PyObject_CallMethod(((struct python_bulk *)ctx)->object, "read", "nKK", (Py_ssize_t)target,
					      clumps[i].start, clumps[i].start + clumps[i].nr * PAGE);
		if (!found && PyErr_ExceptionMatches(PyExc_ProcessLookupError)) {
			PyErr_Clear();
			return -ESRCH;
		}
		if (!found || PyBytes_AsStringAndSize(found, &states, &length)) {
			Py_XDECREF(found);
			return -EINTR;
		}
		for (Py_ssize_t j = 0; j < length && j < clumps[i].nr; j++) {
			present[i] |= (uint64_t)(states[j] != 0) << j;
			young[i] |= (uint64_t)(states[j] >= 2) << j;
		}
		Py_DECREF(found);
	}
	return 0;
}

static int clear(void *ctx, size_t target, struct bulk_range *ranges, size_t nr)
{
	PyObject *list = PyList_New((Py_ssize_t)nr), *done;

	for (size_t i = 0; list && i < nr; i++) {
		PyObject *item = Py_BuildValue("(KK)", ranges[i].start, ranges[i].end);

		if (!item || PyList_SetItem(list, (Py_ssize_t)i, item))
			Py_CLEAR(list);
	}
	done = list ? PyObject_CallMethod(((struct python_bulk *)ctx)->object, "clear", "nO", (Py_ssize_t)target, list)
		    : NULL;
	Py_XDECREF(list);
	Py_XDECREF(done);
	return done ? 0 : -EINTR;
}

static int clear_all(void *ctx, size_t target, enum map_kind kind, uint64_t *held_ns)
{
	PyObject *held = PyErr_Occurred() ? NULL
		: PyObject_CallMethod(((struct python_bulk *)ctx)->object, "clear_all", "ni", (Py_ssize_t)target, (int)kind);

	if (!held) {
		int err = PyErr_ExceptionMatches(PyExc_ProcessLookupError) ? -ESRCH
			: PyErr_ExceptionMatches(PyExc_NotImplementedError) ? -ENOTSUP : -EINTR;

		if (err != -EINTR)
			PyErr_Clear();
		return err;
	}
	*held_ns = PyLong_AsUnsignedLongLong(held);
	Py_DECREF(held);
	return PyErr_Occurred() ? -EINTR : 0;
}

/** Whether clear() reaches everybody who maps a page; -1 with an exception. */
static int frames_are_cleared(PyObject *object)
{
	PyObject *told = PyObject_HasAttrString(object, "frames_cleared")
		? PyObject_GetAttrString(object, "frames_cleared") : Py_NewRef(Py_False);
	int is = told ? PyObject_IsTrue(told) : -1;

	Py_XDECREF(told);
	return is;
}

struct python_bulk *python_bulk_new(PyObject *object, struct bulk_ops *ops)
{
	int frames_cleared = frames_are_cleared(object);
	struct python_bulk *bulk = frames_cleared < 0 ? NULL : calloc(1, sizeof(*bulk));

	if (!bulk) {
		if (!PyErr_Occurred())
			PyErr_NoMemory();
		return NULL;
	}
	bulk->object = object;
	*ops = (struct bulk_ops){
		.ctx = bulk,
		.format = {.present = PRESENT, .young = YOUNG, .unseen = UNSEEN, .leaf_bit = 1, .leaf_flip = 1},
		.frames_cleared = frames_cleared,
		.now_ns = now_ns,
		.cpu_ns = PyObject_HasAttrString(object, "cpu_ns") ? cpu_ns : NULL,
		.view = view,
		.peek = peek,
		.clear = clear,
		.clear_all = PyObject_HasAttrString(object, "clear_all") ? clear_all : NULL,
	};
	return bulk;
}

void python_bulk_free(struct python_bulk *bulk)
{
	free(bulk);
}
