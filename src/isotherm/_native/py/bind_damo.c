// SPDX-License-Identifier: Apache-2.0
// _core.DamoJson, _core.DamoScript: see damo/json.h and damo/script.h.
#include "py/bind_util.h"
#include "damo/json.h"
#include "damo/script.h"
#include "py/bind.h"

struct json_object {
	PyObject_HEAD
	struct damo_json json;
};

struct script_object {
	PyObject_HEAD
	struct damo_script script;
};

/** (counts_percent, age_is_us, ordered, start, end, nr_accesses, age): u64, u64, u32 and u32, or u64 us. */
static PyObject *columns_tuple(const struct damo_columns *columns)
{
	Py_ssize_t n = columns->length, width = columns->age_is_us ? 8 : 4;
	PyObject *ages = PyBytes_FromStringAndSize(NULL, n * width);

	if (!ages)
		return NULL;
	for (Py_ssize_t i = 0; i < n; i++) {
		if (columns->age_is_us)
			((uint64_t *)PyBytes_AsString(ages))[i] = columns->age[i];
		else
			((uint32_t *)PyBytes_AsString(ages))[i] = (uint32_t)columns->age[i];
	}
	return Py_BuildValue("(NNNy#y#y#N)", PyBool_FromLong(columns->counts_percent),
			     PyBool_FromLong(columns->age_is_us), PyBool_FromLong(damo_columns_ordered(columns)),
			     n ? (const char *)columns->start : "", 8 * n, n ? (const char *)columns->end : "", 8 * n,
			     n ? (const char *)columns->nr_accesses : "", 4 * n, ages);
}

static struct damo_json *json_of(PyObject *object)
{
	return &((struct json_object *)object)->json;
}

static void json_dealloc(PyObject *self)
{
	damo_json_free(json_of(self));
	free_object(self);
}

static PyObject *json_feed(PyObject *self, PyObject *args)
{
	Py_buffer data;
	int err;

	if (!PyArg_ParseTuple(args, "y*", &data))
		return NULL;
	err = damo_json_feed(json_of(self), data.buf, (size_t)data.len);
	PyBuffer_Release(&data);
	if (err)
		return PyErr_NoMemory();
	Py_RETURN_NONE;
}

static PyObject *json_next(PyObject *self, PyObject *none)
{
	struct damo_json *json = json_of(self);
	enum damo_event event = damo_json_next(json);

	(void)none;
	switch (event) {
	case DAMO_MORE:
		Py_RETURN_NONE;
	case DAMO_MEMBER:
		return Py_BuildValue("(sy#y#)", "member", json->key.at, (Py_ssize_t)json->key.length, json->value.at,
				     (Py_ssize_t)json->value.length);
	case DAMO_SNAPSHOT:
		return Py_BuildValue("(sKKKN)", "snapshot", (unsigned long long)json->start_ns,
				     (unsigned long long)json->end_ns, (unsigned long long)json->sample_us,
				     columns_tuple(&json->columns));
	case DAMO_RECORD:
		return Py_BuildValue("(s)", "record");
	case DAMO_END:
		return Py_BuildValue("(s)", "end");
	case DAMO_BAD:
		break;
	}
	PyErr_SetString(PyExc_ValueError, json->why);
	return NULL;
}

static PyObject *json_position(PyObject *self, void *closure)
{
	(void)closure;
	return PyLong_FromUnsignedLongLong(json_of(self)->passed + json_of(self)->at);
}

static PyMethodDef json_methods[] = {
	{"feed", json_feed, METH_VARARGS, NULL},
	{"next", json_next, METH_NOARGS, NULL},
	{0},
};
static PyGetSetDef json_getset[] = {
	{"position", json_position, NULL, NULL, NULL},
	{0},
};
static PyType_Slot json_slots[] = {
	{Py_tp_dealloc, json_dealloc},
	{Py_tp_methods, json_methods},
	{Py_tp_getset, json_getset},
	{0, NULL},
};
static PyType_Spec json_spec = {
	.name = "isotherm._core.DamoJson",
	.basicsize = sizeof(struct json_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = json_slots,
};

static struct damo_script *script_of(PyObject *object)
{
	return &((struct script_object *)object)->script;
}

static void script_dealloc(PyObject *self)
{
	damo_script_free(script_of(self));
	free_object(self);
}

static PyObject *script_feed(PyObject *self, PyObject *args)
{
	Py_buffer data;
	int err;

	if (!PyArg_ParseTuple(args, "y*", &data))
		return NULL;
	err = damo_script_feed(script_of(self), data.buf, (size_t)data.len);
	PyBuffer_Release(&data);
	if (err)
		return PyErr_NoMemory();
	Py_RETURN_NONE;
}

static PyObject *script_end(PyObject *self, PyObject *none)
{
	(void)none;
	script_of(self)->ended = true;
	Py_RETURN_NONE;
}

static PyObject *script_next(PyObject *self, PyObject *none)
{
	struct damo_script *script = script_of(self);

	(void)none;
	switch (damo_script_next(script)) {
	case DAMO_LINE_MORE:
		Py_RETURN_NONE;
	case DAMO_LINE_RUN:
		return Py_BuildValue("(sy#KKKIN)", "run", script->thread, (Py_ssize_t)script->thread_length,
				     (unsigned long long)script->target, (unsigned long long)script->time_ns,
				     (unsigned long long)script->last_ns, (unsigned int)script->nr_regions,
				     columns_tuple(&script->columns));
	case DAMO_LINE_TUNE:
		break;
	}
	return Py_BuildValue("(sy#K)", "tune", script->thread, (Py_ssize_t)script->thread_length,
			     (unsigned long long)script->sample_us);
}

static PyObject *script_bad(PyObject *self, void *closure)
{
	struct damo_script *script = script_of(self);

	(void)closure;
	return Py_BuildValue("(KK)", (unsigned long long)script->nr_bad, (unsigned long long)script->first_bad + 1);
}

static PyMethodDef script_methods[] = {
	{"feed", script_feed, METH_VARARGS, NULL},
	{"end", script_end, METH_NOARGS, NULL},
	{"next", script_next, METH_NOARGS, NULL},
	{0},
};
static PyGetSetDef script_getset[] = {
	{"bad", script_bad, NULL, NULL, NULL},
	{0},
};
static PyType_Slot script_slots[] = {
	{Py_tp_dealloc, script_dealloc},
	{Py_tp_methods, script_methods},
	{Py_tp_getset, script_getset},
	{0, NULL},
};
static PyType_Spec script_spec = {
	.name = "isotherm._core.DamoScript",
	.basicsize = sizeof(struct script_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = script_slots,
};

int bind_damo(PyObject *module)
{
	if (!add_type(module, "DamoJson", &json_spec))
		return -1;
	return add_type(module, "DamoScript", &script_spec) ? 0 : -1;
}
