// SPDX-License-Identifier: Apache-2.0
// Each part of the core adds its types and functions to the module.
#pragma once
#include <stdbool.h>
#include "py/bind_util.h"

/** Every part: add to @module; 0, or -1 with an exception set. */
int bind_constants(PyObject *module);
int bind_failure(PyObject *module);
int bind_access(PyObject *module);
int bind_map(PyObject *module);
int bind_maps(PyObject *module);
int bind_known(PyObject *module);
int bind_workload(PyObject *module);
int bind_formats(PyObject *module);
int bind_walker(PyObject *module);
int bind_rng(PyObject *module);
int bind_regions(PyObject *module);
int bind_sampler(PyObject *module);
int bind_survey(PyObject *module);
int bind_sentinels(PyObject *module);
int bind_damo(PyObject *module);
int bind_scan(PyObject *module);
int bind_sim(PyObject *module);

struct walker;
/** The walker inside a _core.Walker, closed or not, or NULL with TypeError set. */
struct walker *walker_of(PyObject *object);

struct page_map;
struct source;
/** Whether it is a _core.PageMap; if not, TypeError is set. */
bool is_page_map(PyObject *object);
/** The map inside a _core.PageMap; NULL if it is closed, in use, or not of @source, unless that is NULL. */
struct page_map *page_map_of(PyObject *object, const struct source *source);

struct access_bpf;
/** The access check inside a _core.AccessBpf, closed or not; NULL without an exception: it is none. */
struct access_bpf *access_of(PyObject *object);

struct sim_world;
/** The world inside a _core.SimWorld; NULL without an exception: it is none. */
struct sim_world *sim_of(PyObject *object);
