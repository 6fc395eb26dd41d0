// SPDX-License-Identifier: Apache-2.0
// _core.PageMap between its two halves: what it is told and does, and what it is asked.
#pragma once
#include "py/bind_util.h"
#include "map/page_map.h"
#include "py/source.h"

struct map_object {
	PyObject_HEAD
	struct page_map map;
	struct source source;
	bool closed, busy;
};

/** Come in, if need be through a gate; NULL with an exception set. */
struct map_object *map_enter(PyObject *object);
void map_leave(struct map_object *self);

/** Without the interpreter lock where no Python code is called. */
#define MAP_BEGIN(self) PyThreadState *state = source_is_native(&(self)->source) ? PyEval_SaveThread() : NULL
#define MAP_END(self)			\
	do {				\
		if (state)		\
			PyEval_RestoreThread(state);	\
	} while (0)

// Methods.
PyObject *map_sum_up(PyObject *object, PyObject *args);
PyObject *map_look_at(PyObject *object, PyObject *args);
PyObject *map_ages(PyObject *object, PyObject *args);
PyObject *map_runs_of(PyObject *object, PyObject *args);
PyObject *map_parts_of(PyObject *object, PyObject *args);
PyObject *map_take_returns(PyObject *object, PyObject *unused);
PyObject *map_take_gone(PyObject *object, PyObject *unused);
PyObject *map_present(PyObject *object, PyObject *unused);
PyObject *map_covered(PyObject *object, PyObject *unused);
PyObject *map_stats_of(PyObject *object, PyObject *unused);
