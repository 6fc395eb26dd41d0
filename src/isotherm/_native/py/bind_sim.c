// SPDX-License-Identifier: Apache-2.0
// _core.SimWorld: see sim/world.h.
#include "py/bind_util.h"
#include <errno.h>
#include <stdlib.h>
#include "py/bind.h"
#include "sim/world.h"

struct sim_object {
	PyObject_HEAD
	struct sim_world world;
	bool made;
};

static PyTypeObject *sim_type;

struct sim_world *sim_of(PyObject *object)
{
	return sim_type && PyObject_TypeCheck(object, sim_type) ? &((struct sim_object *)object)->world : NULL;
}

static struct sim_world *enter(PyObject *object)
{
	struct sim_world *world = sim_of(object);

	return enter_gate(&world->gate, "simulated world") < 0 ? NULL : world;
}

static int take_area(PyObject *item, struct sim_area *area)
{
	int huge, hidden;
	unsigned long long words[5];

	if (!PyArg_ParseTuple(item, "IKKKKKpp", &area->process, &words[0], &words[1], &words[2], &words[3], &words[4],
			      &huge, &hidden))
		return -1;
	area->start = words[0];
	area->end = words[1];
	area->frame = words[2];
	area->from_ns = words[3];
	area->until_ns = words[4];
	area->huge = huge;
	area->hidden = hidden;
	return 0;
}

static int take_pattern(PyObject *item, struct sim_pattern *pattern)
{
	unsigned long long words[6], seed;
	int regular;

	if (!PyArg_ParseTuple(item, "bKKKKKKddIIbdKp", &pattern->kind, &words[0], &words[1], &words[2], &words[3],
			      &words[4], &words[5], &pattern->rate, &pattern->rate_end, &pattern->unit,
			      &pattern->group, &pattern->levels, &pattern->gain, &seed, &regular))
		return -1;
	pattern->first = words[0];
	pattern->last = words[1];
	pattern->from_ns = words[2];
	pattern->until_ns = words[3];
	pattern->period_ns = words[4];
	pattern->on_ns = words[5];
	pattern->seed = seed;
	pattern->regular = regular;
	return 0;
}

/** An array of what @take makes of each item, NULL with an exception set. */
static void *take_all(PyObject *sequence, size_t size, int (*take)(PyObject *, void *), size_t *nr)
{
	Py_ssize_t length = PySequence_Size(sequence);
	char *found = length < 0 ? NULL : calloc((size_t)length + 1, size);

	if (!found) {
		if (length >= 0)
			PyErr_NoMemory();
		return NULL;
	}
	for (Py_ssize_t i = 0; i < length; i++) {
		PyObject *item = PySequence_GetItem(sequence, i);
		int err = item ? take(item, found + (size_t)i * size) : -1;

		Py_XDECREF(item);
		if (err) {
			free(found);
			return NULL;
		}
	}
	*nr = (size_t)length;
	return found;
}

static int take_area_at(PyObject *item, void *at)
{
	return take_area(item, at);
}

static int take_pattern_at(PyObject *item, void *at)
{
	return take_pattern(item, at);
}

static PyObject *sim_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"areas", "patterns", "costs", "overhead_ns", NULL};
	PyObject *area_list, *pattern_list, *cost_list;
	struct sim_pattern *patterns = NULL;
	struct sim_area *areas = NULL;
	size_t nr_areas, nr_patterns;
	struct sim_costs c = {0};
	struct sim_object *self = NULL;
	long long overhead = 0;
	int err;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO!|L", names, &area_list, &pattern_list, &PyTuple_Type,
					 &cost_list, &overhead) ||
	    !PyArg_ParseTuple(cost_list, "ddddddd", &c.read_page_ns, &c.read_clump_ns, &c.read_table_ns, &c.clear_ns,
			      &c.clear_old_ns, &c.clear_page_ns, &c.wake_ns))
		return NULL;
	areas = take_all(area_list, sizeof(*areas), take_area_at, &nr_areas);
	if (areas)
		patterns = take_all(pattern_list, sizeof(*patterns), take_pattern_at, &nr_patterns);
	if (patterns)
		self = (struct sim_object *)PyType_GenericAlloc(type, 0);
	if (self) {
		err = sim_world_init(&self->world, &c, areas, nr_areas, patterns, nr_patterns);
		self->made = !err;
		if (err == -EINVAL)
			PyErr_SetString(PyExc_ValueError, "areas overlap or are not made of pages, or a pattern makes no sense");
		else if (err)
			PyErr_NoMemory();
		if (err)
			Py_CLEAR(self);
		else
			sim_limit(&self->world, overhead);
	}
	free(areas);
	free(patterns);
	return (PyObject *)self;
}

static void sim_dealloc(PyObject *object)
{
	struct sim_object *self = (struct sim_object *)object;

	if (self->made)
		sim_world_deinit(&self->world);
	free_object(object);
}

static void free_native(PyObject *capsule)
{
	Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule));
}

static PyObject *native(PyObject *self, PyObject *none)
{
	PyObject *capsule = PyCapsule_New(&sim_of(self)->ops, ACCESS_OPS_CAPSULE, free_native);

	(void)none;
	if (capsule)
		PyCapsule_SetContext(capsule, Py_NewRef(self));
	return capsule;
}

static PyObject *set_targets(PyObject *self, PyObject *args)
{
	struct sim_world *world;
	Py_buffer numbers;
	int err = 0;

	if (!PyArg_ParseTuple(args, "y*", &numbers))
		return NULL;
	world = enter(self);
	if (world) {
		err = sim_set_targets(world, numbers.buf, (size_t)numbers.len / sizeof(uint32_t));
		gate_leave(&world->gate);
	}
	PyBuffer_Release(&numbers);
	if (!world)
		return NULL;
	if (err)
		return PyErr_NoMemory();
	Py_RETURN_NONE;
}

static PyObject *now_ns(PyObject *self, PyObject *none)
{
	(void)none;
	return PyLong_FromUnsignedLongLong(sim_of(self)->now_ns);
}

static PyObject *cpu_ns(PyObject *self, PyObject *none)
{
	(void)none;
	return PyLong_FromLongLong(sim_of(self)->cpu_ns);
}

static PyObject *sleep_until(PyObject *self, PyObject *args)
{
	unsigned long long ns;
	struct sim_world *world;
	uint64_t late;

	if (!PyArg_ParseTuple(args, "K", &ns) || !(world = enter(self)))
		return NULL;
	late = sim_sleep_until(world, ns);
	gate_leave(&world->gate);
	return PyLong_FromUnsignedLongLong(late);
}

static PyObject *charge(PyObject *self, PyObject *args)
{
	struct sim_world *world;
	double ns;

	if (!PyArg_ParseTuple(args, "d", &ns))
		return NULL;
	if (!(ns >= 0 && ns < 1e18)) {
		PyErr_SetString(PyExc_ValueError, "CPU time is not negative");
		return NULL;
	}
	if (!(world = enter(self)))
		return NULL;
	sim_charge(world, ns);
	gate_leave(&world->gate);
	Py_RETURN_NONE;
}

/** Copy what a view of whole blocks says of [start, end) as enum PageState. */
static void copy_states(const struct bulk_ops *ops, const struct bulk_view *view, uint64_t base, uint64_t start,
			uint64_t end, char *states)
{
	for (uint64_t at = start; at < end; at += 4096) {
		size_t i = (at - base) >> 21;
		uint64_t entry = bulk_is_table(&ops->format, view->upper[i]) ? view->tables[i][at >> 12 & 511]
									     : view->upper[i];

		*states++ = !(entry & ops->format.present) ? 0
			  : entry & ops->format.unseen ? 3
			  : entry & ops->format.young ? 2 : 1;
	}
}

static PyObject *read_states(PyObject *self, PyObject *args)
{
	unsigned long long start, end;
	struct sim_world *world;
	struct bulk_view view;
	Py_ssize_t target;
	PyObject *bytes;

	if (!PyArg_ParseTuple(args, "nKK", &target, &start, &end))
		return NULL;
	if (start % 4096 || end % 4096 || end < start || end - start > UINT64_C(1) << 40) {
		PyErr_SetString(PyExc_ValueError, "start and end are addresses of pages");
		return NULL;
	}
	bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)((end - start) >> 12));
	world = bytes ? enter(self) : NULL;
	if (!world) {
		Py_XDECREF(bytes);
		return NULL;
	}
	struct bulk_ops ops = sim_bulk_ops(world);
	char *states = PyBytes_AsString(bytes);

	for (uint64_t at = start; at < end;) {
		uint64_t base = at & ~UINT64_C(0x1fffff), stop = base + (UINT64_C(64) << 21);

		stop = stop < end ? stop : end;
		ops.view(world, (size_t)target, base, (stop - base + 0x1fffff) >> 21, &view);
		copy_states(&ops, &view, base, at, stop, states);
		states += (stop - at) >> 12;
		at = stop;
	}
	gate_leave(&world->gate);
	return bytes;
}

static PyObject *clear(PyObject *self, PyObject *args)
{
	struct sim_world *world;
	struct bulk_range *ranges;
	PyObject *list;
	Py_ssize_t target, nr;
	uint64_t before, cleared;
	int err = 0;

	if (!PyArg_ParseTuple(args, "nO", &target, &list) || (nr = PySequence_Size(list)) < 0)
		return NULL;
	ranges = calloc((size_t)nr + 1, sizeof(*ranges));
	for (Py_ssize_t i = 0; ranges && i < nr && !err; i++) {
		PyObject *item = PySequence_GetItem(list, i), *pair = item ? PySequence_Tuple(item) : NULL;
		unsigned long long start, end;

		err = !pair || !PyArg_ParseTuple(pair, "KK", &start, &end) ? -1 : 0;
		if (!err && (start % 4096 || end % 4096 || start >= end)) {
			PyErr_SetString(PyExc_ValueError, "ranges are made of whole pages");
			err = -1;
		}
		if (!err)
			ranges[i] = (struct bulk_range){.start = start, .end = end};
		Py_XDECREF(pair);
		Py_XDECREF(item);
	}
	if (!ranges)
		return PyErr_NoMemory();
	world = err ? NULL : enter(self);
	if (!world) {
		free(ranges);
		return NULL;
	}
	struct bulk_ops ops = sim_bulk_ops(world);

	before = world->stats.clears;
	err = ops.clear(world, (size_t)target, ranges, (size_t)nr);
	cleared = world->stats.clears - before;
	gate_leave(&world->gate);
	free(ranges);
	return err ? PyErr_NoMemory() : PyLong_FromUnsignedLongLong(cleared);
}

static PyObject *peek(PyObject *self, PyObject *args)
{
	unsigned long long start;
	uint64_t present, young;
	struct sim_world *world;
	Py_ssize_t target;
	int nr, huge = 0;

	if (!PyArg_ParseTuple(args, "nKi|p", &target, &start, &nr, &huge))
		return NULL;
	if (nr < 1 || nr > SIM_MOST_CLUMP) {
		PyErr_SetString(PyExc_ValueError, "a clump has 1 to 64 entries");
		return NULL;
	}
	if (!(world = enter(self)))
		return NULL;
	struct bulk_clump clump = {.start = start, .nr = (uint16_t)nr, .huge = huge};
	struct bulk_ops ops = sim_bulk_ops(world);

	ops.peek(world, (size_t)target, &clump, 1, &present, &young);
	gate_leave(&world->gate);
	return Py_BuildValue("KK", present, young);
}

/** The results of the last batch, then the next: u64 addresses, u32 targets and counts. */
static PyObject *turn(PyObject *self, PyObject *args)
{
	struct access_sample *samples;
	Py_buffer addrs, targets, checked;
	PyObject *results = NULL;
	size_t nr, nr_old;
	int err = -EINVAL;

	if (!PyArg_ParseTuple(args, "y*y*y*", &addrs, &targets, &checked))
		return NULL;
	nr = (size_t)addrs.len / 8;
	samples = calloc(nr + 1, sizeof(*samples));
	nr_old = sim_of(self)->nr_samples;
	if (samples && (size_t)targets.len == 4 * nr && (size_t)checked.len == 4 * nr) {
		for (size_t i = 0; i < nr; i++)
			samples[i] = (struct access_sample){((uint64_t *)addrs.buf)[i], ((uint32_t *)targets.buf)[i],
							    ((uint32_t *)checked.buf)[i]};
		results = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)nr_old);
		err = results ? sim_turn(sim_of(self), (uint8_t *)PyBytes_AsString(results), nr_old, samples, nr) : -ENOMEM;
	}
	free(samples);
	PyBuffer_Release(&addrs);
	PyBuffer_Release(&targets);
	PyBuffer_Release(&checked);
	if (!err)
		return results;
	Py_XDECREF(results);
	return PyErr_Occurred() ? NULL : raise_errno(err);
}

static PyObject *take_cleared(PyObject *self, PyObject *none)
{
	struct sim_world *world = sim_of(self);

	(void)none;
	return PyLong_FromUnsignedLongLong(world->ops.take_cleared(world));
}

/** Of ranges, u64 target, start and end each: hot bytes, used bytes and uses, as doubles. */
static PyObject *truth(PyObject *self, PyObject *args)
{
	unsigned long long since, until;
	struct sim_world *world;
	PyObject *bytes = NULL;
	Py_buffer ranges;
	double hot;

	if (!PyArg_ParseTuple(args, "y*KKd", &ranges, &since, &until, &hot))
		return NULL;
	size_t nr = (size_t)ranges.len / 24;

	if (since >= until)
		PyErr_SetString(PyExc_ValueError, "an interval of time has a length");
	else
		bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(nr * 24));
	world = bytes ? enter(self) : NULL;
	if (world) {
		struct sim_truth *out = (struct sim_truth *)(void *)PyBytes_AsString(bytes);
		const uint64_t *word = ranges.buf;

		for (size_t i = 0; i < nr; i++, word += 3)
			out[i] = sim_truth_of(world, (uint32_t)word[0], word[1], word[2], since, until, hot);
		gate_leave(&world->gate);
	} else {
		Py_CLEAR(bytes);
	}
	PyBuffer_Release(&ranges);
	return bytes ? new_array("d", bytes) : NULL;
}

static PyObject *stats(PyObject *self, PyObject *none)
{
	struct sim_stats s = sim_of(self)->stats;

	(void)none;
	return Py_BuildValue("{sK sK sK sK sK}", "reads", s.reads, "tables", s.tables, "clears", s.clears, "ranges",
			     s.ranges, "missed", s.missed);
}

static PyMethodDef methods[] = {
	{"native", native, METH_NOARGS, NULL},
	{"set_targets", set_targets, METH_VARARGS, NULL},
	{"now_ns", now_ns, METH_NOARGS, NULL},
	{"cpu_ns", cpu_ns, METH_NOARGS, NULL},
	{"sleep_until", sleep_until, METH_VARARGS, NULL},
	{"charge", charge, METH_VARARGS, NULL},
	{"read", read_states, METH_VARARGS, NULL},
	{"clear", clear, METH_VARARGS, NULL},
	{"peek", peek, METH_VARARGS, NULL},
	{"turn", turn, METH_VARARGS, NULL},
	{"take_cleared", take_cleared, METH_NOARGS, NULL},
	{"truth", truth, METH_VARARGS, NULL},
	{"stats", stats, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
	{Py_tp_new, sim_new},
	{Py_tp_dealloc, sim_dealloc},
	{Py_tp_methods, methods},
	{0, NULL},
};

static PyType_Spec spec = {
	.name = "isotherm._core.SimWorld",
	.basicsize = sizeof(struct sim_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};

int bind_sim(PyObject *module)
{
	sim_type = add_type(module, "SimWorld", &spec);
	return sim_type ? 0 : -1;
}
