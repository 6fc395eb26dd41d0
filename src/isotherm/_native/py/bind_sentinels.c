// SPDX-License-Identifier: Apache-2.0
// _core.Sentinels: a panel of sentinels over an access check, a simulated world, or a `Bulk` in Python;
// _core.Learner: its learn pass alone.
#include "py/bind_util.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "map/page_map.h"
#include "py/bind.h"
#include "py/source.h"
#include "sentinels/panel.h"
#include "sys/clock.h"

/** Signals and stop requests are looked after at least this often. */
#define POLL_NS (250 * UINT64_C(1000000))
#define HIGHEST (UINT64_C(1) << 56)

struct sentinels_object {
	PyObject_HEAD
	struct panel panel;
	struct source source;
	PyObject *clock, *map;
	bool closed, busy;
	atomic_bool stop;
};

static struct sentinels_object *enter(PyObject *object)
{
	struct sentinels_object *self = (struct sentinels_object *)object;

	if (source_enter(&self->source) < 0)
		return NULL;
	if (!self->closed && !self->busy) {
		self->busy = true;
		return self;
	}
	source_leave(&self->source);
	PyErr_SetString(self->closed ? PyExc_ValueError : PyExc_RuntimeError,
			self->closed ? "the sentinels are closed" : "the sentinels are in use");
	return NULL;
}

static void leave(struct sentinels_object *self)
{
	self->busy = false;
	source_leave(&self->source);
}

/** Whatever one of them clears, the other one knows. Called from inside what both look at. */
static bool tell_each_other(struct sentinels_object *self)
{
	struct page_map *map = self->map == Py_None ? NULL : page_map_of(self->map, &self->source);

	if (self->map != Py_None && (!map || map->panel))
		return false;
	self->panel.map = map;
	if (map)
		map->panel = &self->panel;
	return true;
}

static PyObject *sentinels_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"source", "now_ns", "share_ns", "seed", "clump", "clock", "beside", NULL};
	PyObject *source, *clock = Py_None, *map = Py_None;
	unsigned long long now = 0, seed = 0;
	unsigned int clump = 16;
	struct sentinels_object *self;
	struct panel_settings settings;
	struct bulk_ops ops;
	long long share = 3000000;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$KLKIOO", names, &source, &now, &share, &seed, &clump, &clock, &map))
		return NULL;
	if (!clump || clump > 16 || clump & (clump - 1)) {
		PyErr_SetString(PyExc_ValueError, "clump must be 1, 2, 4, 8 or 16 pages");
		return NULL;
	}
	self = (struct sentinels_object *)PyType_GenericAlloc(type, 0);
	if (!self)
		return NULL;
	self->closed = true;	// until it is whole
	self->clock = Py_NewRef(clock);
	self->map = Py_NewRef(map);
	atomic_init(&self->stop, false);
	settings = (struct panel_settings){.share_ns = share > 1000 ? share : 1000, .seed = seed, .clump = clump};
	if ((map != Py_None && !is_page_map(map)) || source_open(&self->source, source, &ops) < 0) {
		Py_DECREF(self);
		return NULL;
	}
	settings.counts = self->source.bulk && !ops.cpu_ns;
	panel_init(&self->panel, &ops, &settings, now);
	self->closed = !tell_each_other(self);
	source_leave(&self->source);
	if (self->closed) {
		PyErr_SetString(PyExc_ValueError, "the map is closed, in use, of something else, or has sentinels");
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

static void shut(struct sentinels_object *self)
{
	if (self->closed)
		return;
	self->closed = true;
	panel_deinit(&self->panel);
}

static PyObject *sentinels_close(PyObject *object, PyObject *unused)
{
	struct sentinels_object *self = (struct sentinels_object *)object;
	bool inside;

	(void)unused;
	if (source_enter_last(&self->source, &inside) < 0)
		return NULL;
	bool busy = self->busy;

	if (!busy)
		shut(self);
	if (inside)
		source_leave(&self->source);
	if (!busy)
		Py_RETURN_NONE;
	PyErr_SetString(PyExc_RuntimeError, "the sentinels are in use");
	return NULL;
}

static void sentinels_dealloc(PyObject *object)
{
	struct sentinels_object *self = (struct sentinels_object *)object;

	shut(self);
	source_free(&self->source);
	Py_XDECREF(self->clock);
	Py_XDECREF(self->map);
	free_object(object);
}

static bool areas_are_good(const struct panel_area *areas, size_t nr, size_t nr_targets)
{
	for (size_t i = 0; i < nr; i++)
		if (areas[i].start >= areas[i].end || areas[i].end > HIGHEST || areas[i].start % 4096 || areas[i].end % 4096 ||
		    areas[i].target >= nr_targets ||
		    (i && (areas[i].target < areas[i - 1].target ||
			   (areas[i].target == areas[i - 1].target && areas[i].start < areas[i - 1].end))))
			return false;
	return true;
}

static PyObject *set_space(PyObject *object, PyObject *args)
{
	Py_buffer ids, words;
	struct sentinels_object *self = NULL;
	int err = -EINVAL;

	if (!PyArg_ParseTuple(args, "y*y*", &ids, &words))
		return NULL;
	size_t nr = (size_t)words.len / (3 * sizeof(uint64_t)), nr_ids = (size_t)ids.len / sizeof(uint32_t);
	struct panel_area *areas = calloc(nr + 1, sizeof(*areas));
	const uint64_t *word = words.buf;

	for (size_t i = 0; areas && i < nr; i++, word += 3)
		areas[i] = (struct panel_area){.target = (uint32_t)word[0], .start = word[1], .end = word[2]};
	if (areas)
		self = enter(object);
	else
		PyErr_NoMemory();
	if (self) {
		if (areas_are_good(areas, nr, nr_ids))
			err = panel_set_space(&self->panel, ids.buf, nr_ids, areas, nr);
		leave(self);
	}
	free(areas);
	PyBuffer_Release(&ids);
	PyBuffer_Release(&words);
	if (!self)
		return NULL;
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

/** Do what is due; 0, -errno, or -EINTR with an exception set. */
static int step_once(struct sentinels_object *self, uint64_t now_ns, uint64_t *next_ns)
{
	int err;

	if (!enter((PyObject *)self))
		return -EINTR;
	PyThreadState *state = source_is_native(&self->source) ? PyEval_SaveThread() : NULL;

	err = panel_step(&self->panel, now_ns, next_ns);
	leave(self);
	if (state)
		PyEval_RestoreThread(state);
	return PyErr_Occurred() ? -EINTR : err;
}

static int call_clock(struct sentinels_object *self, const char *method, uint64_t argument, uint64_t *value)
{
	PyObject *result = *method == 's'
		? PyObject_CallMethod(self->clock, method, "K", (unsigned long long)argument)
		: PyObject_CallMethod(self->clock, method, NULL);

	*value = result ? PyLong_AsUnsignedLongLong(result) : 0;
	Py_XDECREF(result);
	return PyErr_Occurred() ? -EINTR : 0;
}

static int now_of(struct sentinels_object *self, uint64_t *now)
{
	if (self->clock != Py_None)
		return call_clock(self, "now_ns", 0, now);
	*now = monotonic_ns();
	return 0;
}

static int sleep_until(struct sentinels_object *self, uint64_t until_ns, uint64_t *late_ns)
{
	uint64_t now;

	if (self->clock != Py_None) {
		if (call_clock(self, "sleep_until", until_ns, late_ns))
			return -EINTR;
	} else {
		struct timespec t = {.tv_sec = (time_t)(until_ns / SECOND_NS), .tv_nsec = (long)(until_ns % SECOND_NS)};

		Py_BEGIN_ALLOW_THREADS
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
		Py_END_ALLOW_THREADS
		now = monotonic_ns();
		*late_ns = now > until_ns ? now - until_ns : 0;
	}
	return PyErr_CheckSignals() ? -EINTR : 0;
}

/** Step and sleep until a time; (whether it was reached, how late). */
static PyObject *run(PyObject *object, PyObject *args)
{
	struct sentinels_object *self = (struct sentinels_object *)object;
	unsigned long long until;
	uint64_t now = 0, next = 0, late = 0, wake = 0;
	bool reached = false;
	int err = 0;

	if (!PyArg_ParseTuple(args, "K", &until))
		return NULL;
	while (!err && !atomic_load(&self->stop)) {
		err = now_of(self, &now);
		if (!err)
			err = step_once(self, now, &next);
		if (!err)
			err = now_of(self, &now);
		if (err || now >= until) {
			reached = !err;
			break;
		}
		wake = next < until ? next : until;
		if (wake > now + POLL_NS && self->clock == Py_None)
			wake = now + POLL_NS;
		if (wake > now)
			err = sleep_until(self, wake, &late);
	}
	if (!reached)
		atomic_store(&self->stop, false);
	if (PyErr_Occurred())
		return NULL;
	if (err == -ESRCH)
		return raise_own("TargetGoneError", "every monitored process is gone");
	if (err)
		return raise_errno(err);
	return Py_BuildValue("(OK)", reached ? Py_True : Py_False, (unsigned long long)(wake == until ? late : 0));
}

static PyObject *step(PyObject *object, PyObject *args)
{
	unsigned long long now;
	uint64_t next = 0;

	if (!PyArg_ParseTuple(args, "K", &now))
		return NULL;
	int err = step_once((struct sentinels_object *)object, now, &next);

	if (PyErr_Occurred())
		return NULL;
	if (err == -ESRCH)
		return raise_own("TargetGoneError", "every monitored process is gone");
	return err ? raise_errno(err) : PyLong_FromUnsignedLongLong(next);
}

static PyObject *stop(PyObject *object, PyObject *unused)
{
	(void)unused;
	atomic_store(&((struct sentinels_object *)object)->stop, true);
	Py_RETURN_NONE;
}

/** A copy of the pieces, out of reach of whoever concludes from the next window. */
struct told_pieces {
	struct panel_piece *pieces;
	size_t nr;
};

static int copy_pieces(const struct panel *panel, struct told_pieces *told)
{
	*told = (struct told_pieces){malloc(panel->nr_pieces * sizeof(*told->pieces) + 1), panel->nr_pieces};
	if (!told->pieces)
		return -ENOMEM;
	if (told->nr)
		memcpy(told->pieces, panel->pieces, told->nr * sizeof(*told->pieces));
	return 0;
}

static PyObject *column(const struct told_pieces *told, char code, uint64_t (*value)(const struct panel_piece *))
{
	size_t size = code == 'Q' ? 8 : 4;
	PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(told->nr * size));
	char *out = bytes ? PyBytes_AsString(bytes) : NULL;
	const char typecode[] = {code, 0};

	for (size_t i = 0; out && i < told->nr; i++) {
		uint64_t word = value(&told->pieces[i]);
		uint32_t half = (uint32_t)word;

		memcpy(out + i * size, size == 8 ? (void *)&word : (void *)&half, size);
	}
	return new_array(typecode, bytes);
}

static PyObject *numbers(const struct told_pieces *told, double (*value)(const struct panel_piece *))
{
	PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(told->nr * sizeof(double)));
	double *out = bytes ? (double *)(void *)PyBytes_AsString(bytes) : NULL;

	for (size_t i = 0; out && i < told->nr; i++)
		out[i] = value(&told->pieces[i]);
	return new_array("d", bytes);
}

static uint64_t target_of(const struct panel_piece *p) { return p->target; }
static uint64_t start_of(const struct panel_piece *p) { return p->start; }
static uint64_t end_of(const struct panel_piece *p) { return p->end; }
static uint64_t accesses_of(const struct panel_piece *p) { return p->nr_accesses; }
static uint64_t age_of_piece(const struct panel_piece *p) { return p->age; }
static uint64_t blind_of(const struct panel_piece *p) { return (uint64_t)(p->blind + 0.5); }
static uint64_t used_of(const struct panel_piece *p) { return (uint64_t)(p->used + 0.5); }
static double rate_of(const struct panel_piece *p) { return p->rate; }
static double low_of(const struct panel_piece *p) { return p->low; }
static double high_of(const struct panel_piece *p) { return p->high; }
static double count_of(const struct panel_piece *p) { return p->count; }

static PyObject *cut(PyObject *object, PyObject *args)
{
	unsigned long long sample_us, used_us;
	struct piece_settings settings;
	struct sentinels_object *self;
	Py_ssize_t least, most;
	unsigned int samples;

	if (!PyArg_ParseTuple(args, "KIKnn", &sample_us, &samples, &used_us, &least, &most))
		return NULL;
	self = enter(object);
	if (!self)
		return NULL;
	settings = (struct piece_settings){
		.sample_s = (double)sample_us / 1e6, .used_s = (double)used_us / 1e6, .samples = samples,
		.least = least > 0 ? (size_t)least : 0, .most = most > 0 ? (size_t)most : 1};
	struct told_pieces told = {0};
	int err = panel_cut(&self->panel, &settings);

	if (!err)
		err = copy_pieces(&self->panel, &told);
	leave(self);
	if (err)
		return raise_errno(err);
	PyObject *columns = Py_BuildValue("(NNNNNNNNNNN)", column(&told, 'I', target_of), column(&told, 'Q', start_of),
			     column(&told, 'Q', end_of), column(&told, 'I', accesses_of),
			     column(&told, 'I', age_of_piece), column(&told, 'Q', blind_of),
			     column(&told, 'Q', used_of), numbers(&told, rate_of), numbers(&told, low_of),
			     numbers(&told, high_of), numbers(&told, count_of));

	free(told.pieces);
	return columns;
}

/** Whoever acts on memory makes its age 0. */
static PyObject *renew(PyObject *object, PyObject *args)
{
	unsigned long long start, end;
	struct sentinels_object *self;
	Py_ssize_t target;

	if (!PyArg_ParseTuple(args, "nKK", &target, &start, &end))
		return NULL;
	self = enter(object);
	if (!self)
		return NULL;
	for (size_t i = 0; i < self->panel.nr_pieces; i++) {
		struct panel_piece *piece = &self->panel.pieces[i];

		if (piece->target == (size_t)target && piece->start < end && start < piece->end)
			piece->age = 0;
	}
	leave(self);
	Py_RETURN_NONE;
}

/** Runs of memory, u64 start and size each, are about to be cleared. */
static PyObject *before_clear(PyObject *object, PyObject *args)
{
	struct sentinels_object *self;
	Py_ssize_t target;
	Py_buffer runs;
	int err = 0;

	if (!PyArg_ParseTuple(args, "ny*", &target, &runs))
		return NULL;
	const uint64_t *word = runs.buf;

	self = enter(object);
	for (size_t i = 0; self && !err && target >= 0 && i < (size_t)runs.len / (2 * sizeof(*word)); i++, word += 2)
		err = panel_before_clear(&self->panel, (size_t)target, word[0], word[0] + word[1]);
	if (self)
		leave(self);
	PyBuffer_Release(&runs);
	if (PyErr_Occurred())
		return NULL;
	if (err && err != -ESRCH)
		return raise_errno(err);
	Py_RETURN_NONE;
}

/** A byte a target: not 0, it stands still. */
static PyObject *set_stopped(PyObject *object, PyObject *args)
{
	struct sentinels_object *self;
	Py_buffer still;

	if (!PyArg_ParseTuple(args, "y*", &still))
		return NULL;
	self = enter(object);
	for (size_t i = 0; self && i < self->panel.nr_targets && i < (size_t)still.len; i++)
		self->panel.targets[i].stopped = ((const uint8_t *)still.buf)[i];
	if (self)
		leave(self);
	PyBuffer_Release(&still);
	if (!self)
		return NULL;
	Py_RETURN_NONE;
}

/** Ages are counted in windows of another length from now on. */
static PyObject *rescale(PyObject *object, PyObject *args)
{
	unsigned long long old_us, new_us;
	struct sentinels_object *self;

	if (!PyArg_ParseTuple(args, "KK", &old_us, &new_us))
		return NULL;
	self = enter(object);
	if (!self)
		return NULL;
	for (size_t i = 0; i < self->panel.nr_pieces && new_us; i++)
		self->panel.pieces[i].age = (uint32_t)((double)self->panel.pieces[i].age * (double)old_us / (double)new_us);
	leave(self);
	Py_RETURN_NONE;
}

static PyObject *seen(PyObject *object, PyObject *args)
{
	unsigned long long start, end, now;
	struct sentinels_object *self;
	Py_ssize_t target;

	if (!PyArg_ParseTuple(args, "nKKK", &target, &start, &end, &now))
		return NULL;
	self = enter(object);
	if (!self)
		return NULL;
	if (target >= 0 && start < end && end <= HIGHEST)
		panel_seen(&self->panel, (size_t)target, start, end, now);
	leave(self);
	Py_RETURN_NONE;
}

static PyObject *stats(PyObject *object, PyObject *unused)
{
	struct sentinels_object *self = enter(object);

	(void)unused;
	if (!self)
		return NULL;
	const struct panel *panel = &self->panel;
	size_t armed = 0, blind = 0;

	for (size_t i = 0; i < panel->nr; i++) {
		armed += panel->sentinels[i].left != 0;
		blind += !!(panel->sentinels[i].flags & SENTINEL_BLIND);
	}
	struct panel_costs costs = panel->costs;
	struct panel_stats copy = panel->stats, *s = &copy;
	Py_ssize_t nr = (Py_ssize_t)panel->nr, segments = (Py_ssize_t)panel->learner.nr_segments;

	leave(self);
	return Py_BuildValue("{sn sn sn sn sK sK sK sK sK sK sK sK sL sd sd sd sd}", "sentinels", nr,
			     "armed", (Py_ssize_t)armed, "blind", (Py_ssize_t)blind, "segments",
			     segments, "rounds", s->rounds, "wakes", s->wakes,
			     "reads", s->reads, "clears", s->clears, "arms", s->armed, "learned", s->learned,
			     "explored", s->explored, "dropped", s->dropped, "cpu_ns", (long long)s->cpu_ns,
			     "read_ns", costs.read, "clear_ns", costs.clear, "wake_ns",
			     costs.wake, "learn_ns", costs.learn);
}

static PyMethodDef sentinels_methods[] = {
	{"set_space", set_space, METH_VARARGS, NULL},
	{"run", run, METH_VARARGS, NULL},
	{"step", step, METH_VARARGS, NULL},
	{"stop", stop, METH_NOARGS, NULL},
	{"cut", cut, METH_VARARGS, NULL},
	{"renew", renew, METH_VARARGS, NULL},
	{"rescale", rescale, METH_VARARGS, NULL},
	{"set_stopped", set_stopped, METH_VARARGS, NULL},
	{"before_clear", before_clear, METH_VARARGS, NULL},
	{"seen", seen, METH_VARARGS, NULL},
	{"stats", stats, METH_NOARGS, NULL},
	{"close", sentinels_close, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};
static PyType_Slot sentinels_slots[] = {
	{Py_tp_new, sentinels_new},
	{Py_tp_dealloc, sentinels_dealloc},
	{Py_tp_methods, sentinels_methods},
	{0, NULL},
};
static PyType_Spec sentinels_spec = {
	.name = "isotherm._core.Sentinels",
	.basicsize = sizeof(struct sentinels_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = sentinels_slots,
};

// The learn pass alone.

/** A sentinel as numbers: place, pages, flags, pool, touched, waited, and evidence known and fresh. */
#define ROW 18

struct learner_object {
	PyObject_HEAD
	struct learner learner;
};

static void from_row(const double *row, struct sentinel *s)
{
	*s = (struct sentinel){.place = (uint64_t)row[0], .nr = (uint8_t)row[1], .flags = (uint8_t)row[2],
			       .pool = (uint8_t)row[3], .touched = (uint8_t)row[4], .waited_s = (float)row[5]};
	memcpy(&s->known, row + 6, sizeof(s->known));
	memcpy(&s->fresh, row + 12, sizeof(s->fresh));
}

static void to_row(const struct sentinel *s, double *row)
{
	const double head[] = {(double)s->place, s->nr, s->flags, s->pool, s->touched, s->waited_s};

	memcpy(row, head, sizeof(head));
	memcpy(row + 6, &s->known, sizeof(s->known));
	memcpy(row + 12, &s->fresh, sizeof(s->fresh));
}

static PyObject *learner_learn(PyObject *object, PyObject *args)
{
	struct learner_object *self = (struct learner_object *)object;
	struct learn_time time;
	PyObject *bytes = NULL;
	Py_buffer rows;

	if (!PyArg_ParseTuple(args, "y*dd", &rows, &time.weight, &time.memory))
		return NULL;
	size_t nr = (size_t)rows.len / (ROW * sizeof(double));
	struct sentinel *sentinels = calloc(nr + 1, sizeof(*sentinels));
	int err = sentinels ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < nr; i++) {
		from_row((const double *)rows.buf + i * ROW, &sentinels[i]);
		if (sentinels[i].pool >= NR_POOLS || (i && sentinels[i].place <= sentinels[i - 1].place))
			err = -EINVAL;
	}
	if (!err)
		err = learn(&self->learner, sentinels, nr, time);
	if (!err)
		bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(nr * ROW * sizeof(double)));
	for (size_t i = 0; bytes && i < nr; i++)
		to_row(&sentinels[i], (double *)(void *)PyBytes_AsString(bytes) + i * ROW);
	free(sentinels);
	PyBuffer_Release(&rows);
	return err ? raise_errno(err) : new_array("d", bytes);
}

static PyObject *learner_found(PyObject *object, PyObject *unused)
{
	struct learner *learner = &((struct learner_object *)object)->learner;
	PyObject *segments = PyList_New(0), *changes = PyList_New(0);

	(void)unused;
	for (size_t i = 0; segments && changes && i < learner->nr_segments; i++) {
		const struct segment *s = &learner->segments[i];
		PyObject *item = Py_BuildValue("(nnddd)", (Py_ssize_t)s->first, (Py_ssize_t)s->end, s->rate, s->low, s->high);

		if (!item || PyList_Append(segments, item))
			Py_CLEAR(segments);
		Py_XDECREF(item);
	}
	for (size_t i = 0; segments && changes && i < learner->nr_changes; i++) {
		PyObject *item = Py_BuildValue("(KK)", learner->changes[i].start, learner->changes[i].last);

		if (!item || PyList_Append(changes, item))
			Py_CLEAR(changes);
		Py_XDECREF(item);
	}
	if (!segments || !changes) {
		Py_XDECREF(segments);
		Py_XDECREF(changes);
		return NULL;
	}
	learner_forget_changes(learner);
	return Py_BuildValue("(NN(dddd))", segments, changes, learner->surprise[0], learner->surprise[1],
			     learner->surprise[2], learner->surprise[3]);
}

static PyObject *learner_share(PyObject *object, PyObject *args)
{
	struct learner *learner = &((struct learner_object *)object)->learner;
	Py_ssize_t segment;
	double window;

	if (!PyArg_ParseTuple(args, "n" "d", &segment, &window))
		return NULL;
	if (segment < 0 || (size_t)segment >= learner->nr_segments) {
		PyErr_SetString(PyExc_IndexError, "no such segment");
		return NULL;
	}
	return PyFloat_FromDouble(learn_share(&learner->segments[segment], window));
}

static void learner_dealloc(PyObject *object)
{
	learner_deinit(&((struct learner_object *)object)->learner);
	free_object(object);
}

static PyMethodDef learner_methods[] = {
	{"learn", learner_learn, METH_VARARGS, NULL},
	{"found", learner_found, METH_NOARGS, NULL},
	{"share", learner_share, METH_VARARGS, NULL},
	{NULL, NULL, 0, NULL},
};
static PyType_Slot learner_slots[] = {
	{Py_tp_dealloc, learner_dealloc},
	{Py_tp_methods, learner_methods},
	{0, NULL},
};
static PyType_Spec learner_spec = {
	.name = "isotherm._core.Learner",
	.basicsize = sizeof(struct learner_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = learner_slots,
};

int bind_sentinels(PyObject *module)
{
	PyTypeObject *sentinels = add_type(module, "Sentinels", &sentinels_spec);
	PyTypeObject *learner = sentinels ? add_type(module, "Learner", &learner_spec) : NULL;
	int err = learner ? 0 : -1;

	Py_XDECREF((PyObject *)sentinels);
	Py_XDECREF((PyObject *)learner);
	return err;
}
