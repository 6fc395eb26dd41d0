// SPDX-License-Identifier: Apache-2.0
// The pure parts under the walker, bound so that tests can try them on made-up input.
#include "py/bind_util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "py/bind.h"
#include "loader/bpf_object.h"
#include "loader/btf.h"
#include "walker/page_table.h"

static PyObject *format_walk(PyObject *module, PyObject *args)
{
	unsigned long long root, addr, turn = ~0ull;
	struct page_found leaf;
	struct page_format format;
	struct page_image image;
	Py_buffer before, after;
	int machine, levels;

	(void)module;
	if (!PyArg_ParseTuple(args, "iiy*y*KKK", &machine, &levels, &before, &after, &turn, &root, &addr))
		return NULL;
	format = page_format(machine, levels, 0);
	image = (struct page_image){before.buf, after.buf, before.len, turn, 0};
	if (after.len < before.len)
		image.size = after.len;
	leaf = page_walk(&format, &image, root, addr);
	PyBuffer_Release(&before);
	PyBuffer_Release(&after);
	return Py_BuildValue("(KIK)", (unsigned long long)leaf.entry, leaf.meta,
			     (unsigned long long)image.reads);
}

static PyObject *format_decode(PyObject *module, PyObject *args)
{
	unsigned long long entry, addr;
	struct page_format format;
	unsigned int meta;
	int machine, levels, none_bit = -1;
	struct leaf leaf;

	(void)module;
	if (!PyArg_ParseTuple(args, "iiKIK|i", &machine, &levels, &entry, &meta, &addr, &none_bit))
		return NULL;
	format = page_format(machine, levels, 0);
	if (none_bit >= 0)
		format.none_bit = none_bit;
	leaf = page_decode(&format, entry, meta, addr);
	return Py_BuildValue("(iKiiii)", leaf.state, (unsigned long long)leaf.pfn, leaf.level, leaf.young,
			     leaf.dirty, leaf.write);
}

static PyObject *format_btf(PyObject *module, PyObject *args)
{
	struct btf_name name = {};
	const char *member;
	struct btf btf;
	uint8_t *copy;
	Py_buffer data;
	PyObject *result;
	int ret;

	(void)module;
	if (!PyArg_ParseTuple(args, "y*sIs", &data, &name.name, &name.kind, &member))
		return NULL;
	copy = malloc(data.len + 1);
	if (!copy) {
		PyBuffer_Release(&data);
		return PyErr_NoMemory();
	}
	memcpy(copy, data.buf, data.len);
	ret = btf_init(&btf, copy, data.len, &name, 1);
	PyBuffer_Release(&data);
	if (ret)
		return raise_text(ret, "not a BTF");
	result = Py_BuildValue("(Iii)", name.id, btf_member(&btf, name.id, member),
			       btf_enumerator(&btf, name.id, member));
	btf_deinit(&btf);
	return result;
}

static PyObject *format_program(PyObject *module, PyObject *args)
{
	const char *section, *symbol_name;
	struct bpf_symbol symbols[32];
	struct bpf_object object = {.symbols = symbols};
	struct bpf_program program;
	PyObject *known, *result = NULL;
	char error[128] = "";
	Py_buffer data;
	Py_ssize_t nr;
	int ret;

	(void)module;
	if (!PyArg_ParseTuple(args, "y*sO", &data, &section, &known))
		return NULL;
	nr = PyList_Size(known);
	for (Py_ssize_t i = 0; i < nr && i < 32; i++) {
		int kind;

		if (!PyArg_ParseTuple(PyList_GetItem(known, i), "sii", &symbol_name, &kind,
				      &symbols[i].value))
			goto out;
		symbols[i].name = symbol_name;
		symbols[i].kind = kind;
		object.nr_symbols = i + 1;
	}
	if (nr < 0)
		goto out;
	object.data = data.buf;
	object.size = data.len;
	ret = bpf_program_init(&program, &object, section, error, sizeof(error));
	if (ret) {
		raise_text(ret, error);
		goto out;
	}
	result = PyBytes_FromStringAndSize((const char *)program.insns,
					   program.nr * sizeof(*program.insns));
	bpf_program_deinit(&program);
out:
	PyBuffer_Release(&data);
	return result;
}

int bind_formats(PyObject *module)
{
	static PyMethodDef functions[] = {
		{"page_walk", format_walk, METH_VARARGS, NULL},
		{"page_decode", format_decode, METH_VARARGS, NULL},
		{"btf_lookup", format_btf, METH_VARARGS, NULL},
		{"bpf_program", format_program, METH_VARARGS, NULL},
		{NULL, NULL, 0, NULL},
	};

	return PyModule_AddFunctions(module, functions);
}
