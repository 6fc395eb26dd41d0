// SPDX-License-Identifier: Apache-2.0
// What every binding repeats. The only place that includes Python.h.
#pragma once
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#define WITH_KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

/** Raise OSError of the negative errno @code; NULL. */
PyObject *raise_errno(int code);
/** Raise OSError of the negative errno @code with @text, or with errno's own if that is empty; NULL. */
PyObject *raise_text(int code, const char *text);
/** Raise class @name of isotherm.errors with @text; NULL. */
PyObject *raise_own(const char *name, const char *text);

/** Add @spec's type to @module under @name; the type, or NULL. */
PyTypeObject *add_type(PyObject *module, const char *name, PyType_Spec *spec);
/** Give the memory of @self and its type back. */
void free_object(PyObject *self);
/** An array.array of @typecode from @bytes, whose reference is taken; NULL if that is NULL. */
PyObject *new_array(const char *typecode, PyObject *bytes);
