// SPDX-License-Identifier: Apache-2.0
#include "py/source.h"
#include "access/access_bpf.h"
#include "access/bulk_bpf.h"
#include "py/bind.h"
#include "py/python_bulk.h"
#include "sim/world.h"
#include "sys/gate.h"

static struct gate *gate_of(const struct source *source)
{
	return source->access ? walker_gate(source->access->walker) : source->sim ? &source->sim->gate : NULL;
}

int source_open(struct source *source, PyObject *object, struct bulk_ops *ops)
{
	*source = (struct source){.object = Py_NewRef(object), .access = access_of(object)};
	if (!source->access)
		source->sim = sim_of(object);
	if (!source->access && !source->sim) {
		source->bulk = python_bulk_new(object, ops);
		return source->bulk ? 0 : -1;
	}
	if (source_enter(source) < 0)
		return -1;
	*ops = source->access ? access_bulk_ops(source->access) : sim_bulk_ops(source->sim);
	return 0;
}

int source_enter(const struct source *source)
{
	struct gate *gate = gate_of(source);

	if (!gate)
		return 0;
	if (enter_gate(gate, source->sim ? "simulated world" : "walker") < 0)
		return -1;
	// It may have been closed alone, and has given back all that reading and clearing need.
	if (!source->access || !source->access->closed)
		return 0;
	gate_leave(gate);
	PyErr_SetString(PyExc_ValueError, "the access check is closed");
	return -1;
}

void source_leave(const struct source *source)
{
	struct gate *gate = gate_of(source);

	if (gate)
		gate_leave(gate);
}

int source_enter_last(const struct source *source, bool *inside)
{
	*inside = source_enter(source) == 0;
	if (!*inside && !PyErr_ExceptionMatches(PyExc_ValueError))
		return -1;
	if (!*inside)
		PyErr_Clear();
	return 0;
}

bool source_is_native(const struct source *source)
{
	return !source->bulk;
}

bool source_is_same(const struct source *a, const struct source *b)
{
	return a->access == b->access && a->sim == b->sim;
}

void source_free(struct source *source)
{
	python_bulk_free(source->bulk);
	Py_CLEAR(source->object);
}
