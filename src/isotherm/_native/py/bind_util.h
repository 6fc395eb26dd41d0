// SPDX-License-Identifier: Apache-2.0
// What every binding repeats. The only place that includes Python.h.
#pragma once
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#define WITH_KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

struct gate;

/**
 * Come into the gate of a @what, without the interpreter lock if that means to wait: whoever is inside
 * may need it. 0, or -1 with ValueError (closed) or RuntimeError (called from inside). Between this
 * and gate_leave() no Python code may run, not even by making an object: it may come here again.
 */
int enter_gate(struct gate *gate, const char *what);

/**
 * Raise OSError of the negative errno @code, but ValueError for -ESHUTDOWN (closed) and RuntimeError
 * for -ESTALE (somebody else uses it too); NULL.
 */
PyObject *raise_errno(int code);
/** Raise OSError of the negative errno @code with @text, or with errno's own if that is empty; NULL. */
PyObject *raise_text(int code, const char *text);
struct failure;
/** Raise CoreError, an OSError that has the code as well; NULL. */
PyObject *raise_failure(const struct failure *failure);
/** Raise class @name of isotherm.errors with @text; NULL. */
PyObject *raise_own(const char *name, const char *text);

/** Add @spec's type to @module under @name; the type, or NULL. */
PyTypeObject *add_type(PyObject *module, const char *name, PyType_Spec *spec);
/** Give the memory of @self and its type back. */
void free_object(PyObject *self);
/** An array.array of @typecode from @bytes, whose reference is taken; NULL if that is NULL. */
PyObject *new_array(const char *typecode, PyObject *bytes);
