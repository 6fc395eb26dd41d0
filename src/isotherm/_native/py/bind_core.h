// SPDX-License-Identifier: Apache-2.0
// What the bindings of the monitoring core share.
#pragma once
#include "py/bind_util.h"
#include "table/regions.h"

/**
 * The generator inside a _core.Rng and the table inside a _core.RegionTable, or NULL with TypeError
 * set, or RuntimeError: what a sampler works with, without the interpreter lock, is busy, and
 * everybody else leaves it alone.
 */
struct rng *rng_of(PyObject *object);
void rng_set_busy(PyObject *object, bool busy);
struct region_table *region_table_of(PyObject *object);
void region_table_set_busy(PyObject *object, bool busy);

/** Translate a negative errno of regions.c; returns NULL. */
PyObject *raise_table_error(int err);

/** Read the rules off a core.profile.Profile, the newest if it is NULL; -1 with an exception. */
int parse_rules(PyObject *profile, struct region_rules *rules);

// Methods of RegionTable that are in bind_regions_out.c.
PyObject *region_table_columns(PyObject *self, PyObject *none);
PyObject *region_table_mvsum(PyObject *self, PyObject *args);
PyObject *region_table_moving_sums(PyObject *self, PyObject *none);
PyObject *region_table_rows(PyObject *self, PyObject *none);
PyObject *region_table_windows(PyObject *self, PyObject *none);
PyObject *region_table_target_ids(PyObject *self, PyObject *none);

// Methods of RegionTable that are in bind_regions_schemes.c.
PyObject *region_table_spans(PyObject *self, PyObject *none);
PyObject *region_table_matching(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *region_table_region(PyObject *self, PyObject *args);
PyObject *region_table_cut(PyObject *self, PyObject *args);
PyObject *region_table_renew(PyObject *self, PyObject *args);
PyObject *region_table_rejoin(PyObject *self, PyObject *args);
