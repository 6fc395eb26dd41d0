// SPDX-License-Identifier: Apache-2.0
// What a map of pages and a panel of sentinels look at: chosen, entered and left in one way.
#pragma once
#include "py/bind_util.h"
#include "map/bulk.h"

struct access_bpf;
struct python_bulk;
struct sim_world;

struct source {
	PyObject *object;		// held
	struct access_bpf *access;	// this, or
	struct sim_world *sim;		// that, or
	struct python_bulk *bulk;	// a `Bulk` in Python; nobody else is inside of that: it takes the interpreter lock
};

/**
 * Take @object for what it is, and tell how it is read and cleared. 0, and inside of it until
 * source_leave(); or -1 with an exception set. source_free() is called in either case.
 */
int source_open(struct source *source, PyObject *object, struct bulk_ops *ops);
/** Come in; -1 with an exception set, ValueError if it was closed. See enter_gate() for what may be done inside. */
int source_enter(const struct source *source);
void source_leave(const struct source *source);
/** Come in to take leave of it: through what is closed as well, where nobody comes in; -1 with an exception set. */
int source_enter_last(const struct source *source, bool *inside);
/** Whether it works without the interpreter lock. */
bool source_is_native(const struct source *source);
/** Whether who is inside of one is inside of the other. */
bool source_is_same(const struct source *a, const struct source *b);
void source_free(struct source *source);
