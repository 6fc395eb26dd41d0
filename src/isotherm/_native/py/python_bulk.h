// SPDX-License-Identifier: Apache-2.0
// A `core.look.Bulk` written in Python, as the ops of a map.
#pragma once
#include "py/bind_util.h"
#include "map/bulk.h"

struct python_bulk;

/** Over @bulk, which the caller holds; NULL with an exception set. Calls Python code. */
struct python_bulk *python_bulk_new(PyObject *bulk, struct bulk_ops *ops);
void python_bulk_free(struct python_bulk *bulk);
