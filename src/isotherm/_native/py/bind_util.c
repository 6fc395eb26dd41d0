// SPDX-License-Identifier: Apache-2.0
#include "py/bind_util.h"
#include <errno.h>
#include <string.h>
#include "py/bind.h"
#include "sys/failure.h"
#include "sys/gate.h"

int enter_gate(struct gate *gate, const char *what)
{
	int err = gate_enter(gate, false);

	if (err == -EBUSY) {
		Py_BEGIN_ALLOW_THREADS
		err = gate_enter(gate, true);
		Py_END_ALLOW_THREADS
	}
	if (err == -ESHUTDOWN)
		PyErr_Format(PyExc_ValueError, "the %s is closed", what);
	else if (err)
		PyErr_Format(PyExc_RuntimeError, "the %s is in use by this thread", what);
	return err ? -1 : 0;
}

PyObject *raise_errno(int code)
{
	if (code == -ESHUTDOWN) {
		PyErr_SetString(PyExc_ValueError, "closed by another thread");
		return NULL;
	}
	if (code == -ESTALE) {
		PyErr_SetString(PyExc_RuntimeError, "somebody else uses this walker or access check: the "
				"targets or the prepared samples are not the caller's");
		return NULL;
	}
	errno = -code;
	return PyErr_SetFromErrno(PyExc_OSError);
}

PyObject *raise_text(int code, const char *text)
{
	const char *said = *text ? text : strerror(-code);
	// names in a damaged file are any bytes
	PyObject *reason = PyUnicode_DecodeUTF8(said, strlen(said), "replace");
	PyObject *value = reason ? Py_BuildValue("(iN)", -code, reason) : NULL;

	if (value)
		PyErr_SetObject(PyExc_OSError, value);
	Py_XDECREF(value);
	return NULL;
}

static PyObject *core_error;

PyObject *raise_failure(const struct failure *failure)
{
	PyObject *text = PyUnicode_DecodeUTF8(failure->text, strlen(failure->text), "replace");
	PyObject *error = text ? PyObject_CallFunction(core_error, "iN", failure->err, text) : NULL;
	PyObject *code = error ? PyLong_FromLong(failure->code) : NULL;

	if (code && !PyObject_SetAttrString(error, "code", code))
		PyErr_SetObject(core_error, error);
	Py_XDECREF(code);
	Py_XDECREF(error);
	return NULL;
}

int bind_failure(PyObject *module)
{
	if (!core_error)
		core_error = PyErr_NewExceptionWithDoc(
			"isotherm._core.CoreError",
			"Something cannot be opened: `code`, a FAIL_ constant, says why, `strerror` in words.",
			PyExc_OSError, NULL);
	return core_error ? PyModule_AddObjectRef(module, "CoreError", core_error) : -1;
}

PyObject *raise_own(const char *name, const char *text)
{
	PyObject *errors = PyImport_ImportModule("isotherm.errors");
	PyObject *type = errors ? PyObject_GetAttrString(errors, name) : NULL;

	if (type)
		PyErr_SetString(type, text);
	Py_XDECREF(type);
	Py_XDECREF(errors);
	return NULL;
}

PyTypeObject *add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
	PyObject *type = PyType_FromSpec(spec);

	if (!type)
		return NULL;
	if (PyModule_AddObjectRef(module, name, type) < 0) {
		Py_DECREF(type);
		return NULL;
	}
	return (PyTypeObject *)type;
}

void free_object(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *array_type(void)
{
	static PyObject *type;

	if (!type) {
		PyObject *module = PyImport_ImportModule("array");

		type = module ? PyObject_GetAttrString(module, "array") : NULL;
		Py_XDECREF(module);
	}
	return type;
}

PyObject *new_array(const char *typecode, PyObject *bytes)
{
	PyObject *type = array_type();
	PyObject *result = type && bytes ? PyObject_CallFunction(type, "sO", typecode, bytes) : NULL;

	Py_XDECREF(bytes);
	return result;
}
